//! A signature of the store on a software TPM, beside what it cannot do without: TPM2_Sign in a long-lived HMAC session,
//! and one verification.
//!
//! Wall-clock time, because the work is done by another process; in turns, so that both see the same machine.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use countersign_backend_tpm::TpmProvider;
use countersign_benches::{Bound, Report, Table};
use countersign_keys::{Algorithm, KeyProvider as _, KeyTemplate, KeyUri, PublicKey};
use countersign_testing::swtpm::Swtpm;
use sha2::{Digest as _, Sha256};
use std::str::FromStr as _;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{
    Digest, HashScheme, HashcheckTicket, Signature, SignatureScheme, SymmetricDefinition,
};
use tss_esapi::tss2_esys::{TPM2B_DIGEST, TPMT_TK_HASHCHECK};
use tss_esapi::{Context, TctiNameConf};

/// How many pairs are measured.
const PAIRS: usize = 301;

/// What a guest waits for at most, in the raw signature and its verification.
const AT_MOST: f64 = 1.15;

const HANDLE: u32 = 0x8101_0001;

fn main() -> ExitCode {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let uri: KeyUri = format!("tpm:{HANDLE:#010x}").parse().expect("a key URI");
    store
        .generate(&uri, &KeyTemplate::signing(Algorithm::Esp256))
        .expect("a key");
    let key = store.open(&uri).expect("it opens");
    let mut raw = Raw::open(tpm.tcti().as_str(), key.public_key().clone());
    let message = [0x5a; 256];
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        times.0.push(timed(|| {
            key.sign(&message).expect("it signs");
        }));
        times.1.push(timed(|| raw.sign_and_verify(&message)));
    }
    let (ours, theirs) = (median(times.0), median(times.1));
    let mut table = Table::new(&["", "store", "raw", "ratio", "at most"]);
    table.ratio("256 bytes", (ours, theirs), Bound::Ratio(AT_MOST), &[]);
    let mut report = Report::default();
    report.print(
        "Signing with a key in a software TPM (swtpm), beside TPM2_Sign in a long-lived, salted HMAC session with one verification of the signature. Wall-clock time, median.",
        table,
    );
    report.finish()
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The commands alone.
struct Raw {
    context: Context,
    key: KeyHandle,
    public: PublicKey,
}

impl Raw {
    fn open(tcti: &str, public: PublicKey) -> Self {
        let tcti = TctiNameConf::from_str(tcti).expect("a way to a TPM");
        let mut context = Context::new(tcti).expect("a TPM");
        let mut handle = |handle| {
            let handle = PersistentTpmHandle::new(handle).expect("a handle");
            context
                .tr_from_tpm_public(TpmHandle::Persistent(handle))
                .expect("it is there")
        };
        let (root, key) = (handle(0x8100_0001), handle(HANDLE));
        let session = context
            .start_auth_session(
                Some(root.into()),
                None,
                None,
                SessionType::Hmac,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )
            .expect("a session");
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(true)
            .with_encrypt(true)
            .build();
        context
            .tr_sess_set_attributes(session.expect("a session"), attributes, mask)
            .expect("its attributes");
        context.set_sessions((session, None, None));
        Self {
            context,
            key: key.into(),
            public,
        }
    }

    fn sign_and_verify(&mut self, message: &[u8]) {
        let digest = Digest::try_from(Sha256::digest(message).as_slice()).expect("a digest");
        let scheme = SignatureScheme::EcDsa {
            hash_scheme: HashScheme::new(HashingAlgorithm::Sha256),
        };
        let ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: tss_esapi::constants::tss::TPM2_ST_HASHCHECK,
            hierarchy: tss_esapi::constants::tss::TPM2_RH_NULL,
            digest: TPM2B_DIGEST::default(),
        })
        .expect("a ticket");
        let signature = self
            .context
            .sign(self.key, digest, scheme, ticket)
            .expect("it signs");
        let Signature::EcDsa(signature) = signature else {
            panic!("another kind");
        };
        let mut raw = [0; 64];
        for (half, number) in raw
            .chunks_mut(32)
            .zip([signature.signature_r(), signature.signature_s()])
        {
            half[32 - number.value().len()..].copy_from_slice(number.value());
        }
        countersign_keys::Signature::checked(&self.public, message, &raw).expect("it verifies");
    }
}

//! What a guest's signature costs, with the key in a TPM: a guest's `sign`, from its call to the COSE_Sign1 in its memory,
//! beside a TPM2_Sign without us, in an HMAC session that is kept open, with one verification.
//!
//! Two TPMs of the same kind (swtpm), so that each side keeps its connection and they take turns. Time is the wall's: the
//! TPM is another process.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use countersign_backend_tpm::TpmProvider;
use countersign_benches::{Bound, Report, Table, micros};
use countersign_format::{BootId, DeviceIdentity, KeyGrant};
use countersign_keys::{
    Algorithm, KeyProvider as _, KeyTemplate, KeyUri, PublicKey, Signature, Tcti, TpmKey,
    TpmKeyName,
};
use countersign_runtime::host::{Device, KeyCeiling, LentKey, SigningRecord};
use countersign_runtime::wasmtime;
use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::{ComponentType, Lift, Linker};
use countersign_runtime::{Ceiling, GuestContext, RunningGuest, Runtime};
use countersign_testing::swtpm::Swtpm;
use countersign_testing::{Profile, TestPki};
use der::Decode as _;
use sha2::{Digest as _, Sha256};
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Digest, HashScheme, HashcheckTicket, Signature as TpmSignature, SignatureScheme,
    SymmetricDefinition,
};
use tss_esapi::tss2_esys::{TPM2B_DIGEST, TPMT_TK_HASHCHECK};
use tss_esapi::{Context, TctiNameConf};

/// Pairs of signatures.
const PAIRS: usize = 400;
/// Guests at once, and how often each signs.
const GUESTS: usize = 100;
const EACH: usize = 10;
/// Signatures by which the TPM's own rate is taken, before and after.
const RAW: usize = 400;

const SIGNER: &str = include_str!("../../../../runtime/tests/guests/signer.wat");
const KEY: &str = "telemetry";
const CONTEXT: &str = "reading/v1";
const MESSAGE: &[u8] = b"temperature=21.5";
/// Where the keys are kept, and the storage root key.
const HANDLE: u32 = 0x8101_0001;
const ROOT: u32 = 0x8100_0001;

fn main() -> ExitCode {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    let mut report = Report::default();
    tokio.block_on(async {
        let raw_tpm = Swtpm::start();
        let public = generate(&raw_tpm.tcti());
        let mut raw = Raw::connect(&raw_tpm.tcti(), public);
        let tpm = Swtpm::start();
        let plant = Plant::new(&tpm.tcti());
        one(&plant, &mut raw, &mut report).await;
        many(&plant, &mut raw, &mut report).await;
    });
    report.finish()
}

/// A guest's signature beside a raw one, in turns.
async fn one(plant: &Plant, raw: &mut Raw, report: &mut Report) {
    let mut guest = plant.guest("test:telemetry").await;
    // Connections, sessions and keys are looked up once.
    for _ in 0..20 {
        sign(&mut guest).await;
        raw.sign_and_verify();
    }
    let mut guests = Vec::new();
    let mut raws = Vec::new();
    for _ in 0..PAIRS {
        let start = Instant::now();
        sign(&mut guest).await;
        guests.push(start.elapsed());
        let start = Instant::now();
        raw.sign_and_verify();
        raws.push(start.elapsed());
    }
    let mut table = Table::new(&[
        "",
        "guest",
        "TPM2_Sign and verification",
        "ratio",
        "at most",
    ]);
    let costs = (median(guests), median(raws));
    table.ratio("one signature, median", costs, Bound::Ratio(1.15), &[]);
    let about = format!(
        "A guest's signature with a key in swtpm, {PAIRS} in turns with raw ones (wall-clock time)."
    );
    report.print(&about, table);
}

/// Many guests at once: together as fast as the TPM is alone, and none kept waiting.
async fn many(plant: &Plant, raw: &mut Raw, report: &mut Report) {
    let mut guests = Vec::new();
    for number in 0..GUESTS {
        guests.push(plant.guest(&format!("test:guest{number}")).await);
    }
    let before = raw.rate();
    let start = Instant::now();
    let tasks: Vec<_> = guests
        .into_iter()
        .map(|mut guest| {
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                for _ in 0..EACH {
                    let start = Instant::now();
                    sign(&mut guest).await;
                    longest = longest.max(start.elapsed());
                }
                longest
            })
        })
        .collect();
    let mut longest = Duration::ZERO;
    for task in tasks {
        longest = longest.max(task.await.expect("no guest fails"));
    }
    let took = start.elapsed();
    let raw_rate = f64::midpoint(before, raw.rate());
    let signatures = f64::from(u32::try_from(GUESTS * EACH).expect("a small number"));
    let rate = signatures / took.as_secs_f64();
    // What each waits if all take turns.
    let share = took.div_f64(f64::from(u32::try_from(EACH).expect("a small number")));

    let mut table = Table::new(&["", "guests", "counterpart", "ratio", "promised"]);
    table.row(&[
        format!("signatures a second, {GUESTS} guests"),
        format!("{rate:.1}"),
        format!("{raw_rate:.1} by TPM2_Sign alone"),
        format!("{:.3}", rate / raw_rate),
        "at least 0.9".to_owned(),
    ]);
    table.row(&[
        "the longest wait for one signature".to_owned(),
        micros(longest),
        format!("{} as the fair share", micros(share)),
        format!("{:.3}", longest.as_secs_f64() / share.as_secs_f64()),
        "at most 2".to_owned(),
    ]);
    let about = format!("{GUESTS} guests at once, {EACH} signatures each, one TPM.");
    report.print(&about, table);
    report.check(
        "the TPM's rate over that of the guests",
        raw_rate / rate,
        1.0 / 0.9,
    );
    report.check(
        "the longest wait over the fair share",
        longest.as_secs_f64() / share.as_secs_f64(),
        2.0,
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn uri(tcti: &Tcti) -> KeyUri {
    KeyUri::Tpm(TpmKey::new(TpmKeyName::Handle(HANDLE), Some(tcti.clone())))
}

/// Makes the key, and closes the connection: swtpm serves one at a time.
fn generate(tcti: &Tcti) -> PublicKey {
    TpmProvider::new(tcti.clone())
        .generate(&uri(tcti), &KeyTemplate::signing(Algorithm::Esp256))
        .expect("swtpm makes a key")
        .public
}

/// A host with a device whose key is in a TPM.
struct Plant {
    pki: TestPki,
    runtime: Runtime,
    device: Device,
}

impl Plant {
    fn new(tcti: &Tcti) -> Self {
        let public = generate(tcti);
        let spki = der::Any::from_der(&public.to_spki_der()).expect("DER");
        let devices = TestPki::builder()
            .profile(Profile::GuestData)
            .bend(countersign_testing::Role::Leaf, |leaf| {
                leaf.subject_public_key_info = spki;
            })
            .build();
        let key = TpmProvider::new(tcti.clone())
            .open(&uri(tcti))
            .expect("the key is there");
        let identity = DeviceIdentity::parse("test-device").expect("an identity");
        // The records are made as a host makes them, and kept by nobody.
        let sink = |record: &SigningRecord| {
            std::hint::black_box(
                record.line(countersign_runtime::trust_store::UnixTime::from_secs(0)),
            );
            Ok(())
        };
        let device = Device::builder(identity, BootId::new([7; 16]), sink)
            .key(KEY, LentKey::new(key, devices.chain().to_vec()))
            .expect("the certificate is the key's")
            .build()
            .expect("threads");
        let pki = TestPki::new();
        let runtime = Runtime::builder(pki.anchors()).build().expect("a runtime");
        Self {
            pki,
            runtime,
            device,
        }
    }

    async fn guest(&self, name: &str) -> RunningGuest<GuestContext> {
        let component = wat::parse_str(SIGNER).expect("the guest is text");
        let mut manifest = self.pki.manifest(name);
        manifest.grants.keys = vec![KeyGrant {
            name: KEY.to_owned(),
            contexts: vec![CONTEXT.to_owned()],
            per_minute: None,
        }];
        let signed = self.pki.sign(&component, &manifest);
        let verified = self
            .runtime
            .verify(signed, &self.pki.now(), &self.pki.state())
            .expect("it is verified");
        let ceiling = Ceiling::new()
            .device(self.device.clone())
            .key(KEY, KeyCeiling::default().per_minute(1_000_000));
        let linker = Linker::<GuestContext>::new(self.runtime.engine());
        let ready = self
            .runtime
            .load(verified, &ceiling, &linker)
            .expect("it is loaded");
        let context = ready.context().expect("no folder is granted");
        let store = Store::new(self.runtime.engine(), context);
        ready.start(store).await.expect("it starts")
    }
}

/// The error of the interface; none is expected.
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(variant)]
enum SignError {
    #[component(name = "not-granted")]
    NotGranted,
    #[component(name = "unknown-key")]
    UnknownKey,
    #[component(name = "context-invalid")]
    ContextInvalid,
    #[component(name = "message-too-large")]
    MessageTooLarge,
    #[component(name = "quota-exceeded")]
    #[expect(dead_code, reason = "shown if it fails")]
    QuotaExceeded(u64),
    #[component(name = "busy")]
    Busy,
    #[component(name = "hardware-failure")]
    HardwareFailure,
}

async fn sign(guest: &mut RunningGuest<GuestContext>) {
    let params = (KEY.to_owned(), CONTEXT.to_owned(), MESSAGE.to_vec());
    let (signed,) = guest
        .call_export::<_, (Result<Vec<u8>, SignError>,)>(None, "sign", params)
        .await
        .expect("it runs");
    signed.expect("it signs");
}

/// The TPM without us: one connection, one session, one key.
struct Raw {
    context: Context,
    session: AuthSession,
    key: KeyHandle,
    public: PublicKey,
}

impl Raw {
    fn connect(tcti: &Tcti, public: PublicKey) -> Self {
        let tcti = TctiNameConf::from_str(tcti.as_str()).expect("a TCTI");
        let mut context = Context::new(tcti).expect("swtpm answers");
        let mut handle = |number: u32| -> KeyHandle {
            let number = PersistentTpmHandle::new(number).expect("a persistent handle");
            context
                .tr_from_tpm_public(TpmHandle::Persistent(number))
                .expect("the key is there")
                .into()
        };
        let (root, key) = (handle(ROOT), handle(HANDLE));
        // As ours: salted, and with encrypted parameters.
        let session = context
            .start_auth_session(
                Some(root),
                None,
                None,
                SessionType::Hmac,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )
            .expect("a session")
            .expect("a session");
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(true)
            .with_encrypt(true)
            .build();
        context
            .tr_sess_set_attributes(session, attributes, mask)
            .expect("attributes");
        Self {
            context,
            session,
            key,
            public,
        }
    }

    fn sign(&mut self) -> [u8; 64] {
        let digest = Digest::try_from(Sha256::digest(MESSAGE).as_slice()).expect("a digest");
        let scheme = SignatureScheme::EcDsa {
            hash_scheme: HashScheme::new(HashingAlgorithm::Sha256),
        };
        let ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: tss_esapi::constants::tss::TPM2_ST_HASHCHECK,
            hierarchy: tss_esapi::constants::tss::TPM2_RH_NULL,
            digest: TPM2B_DIGEST::default(),
        })
        .expect("a ticket");
        let (session, key) = (self.session, self.key);
        let signature = self
            .context
            .execute_with_session(Some(session), |context| {
                context.sign(key, digest, scheme, ticket)
            })
            .expect("it signs");
        let TpmSignature::EcDsa(signature) = signature else {
            panic!("another signature than ECDSA");
        };
        let mut bytes = [0; 64];
        for (place, part) in [(32, signature.signature_r()), (64, signature.signature_s())] {
            let part = part.value();
            bytes[place - part.len()..place].copy_from_slice(part);
        }
        bytes
    }

    fn sign_and_verify(&mut self) {
        let signature = self.sign();
        Signature::checked(&self.public, MESSAGE, &signature).expect("a right signature");
    }

    /// Signatures a second, without verification.
    fn rate(&mut self) -> f64 {
        let start = Instant::now();
        for _ in 0..RAW {
            self.sign();
        }
        f64::from(u32::try_from(RAW).expect("a small number")) / start.elapsed().as_secs_f64()
    }
}

//! What the store does with a TPM that does what it should.

use countersign_backend_tpm::TpmProvider;
use countersign_keys::{
    Algorithm, Challenge, Evidence, KeyProvider as _, KeyTemplate, KeyUri, PublicKey,
};
use countersign_testing::conformance::Conformance;
use countersign_testing::swtpm::Swtpm;
use sha2::{Digest as _, Sha256};

pub(crate) const SIGNING: KeyTemplate = KeyTemplate::signing(Algorithm::Esp256);

pub(crate) fn uri(name: &str) -> KeyUri {
    format!("tpm:{name}").parse().expect("a key URI")
}

/// Reads what TPM2_Certify signed, by a parser of its own: TPMS_ATTEST (TPM 2.0 part 2, §10.12.12).
fn judge(evidence: &Evidence, key: &PublicKey, challenge: &Challenge) -> Result<(), String> {
    let Evidence::Tpm(evidence) = evidence else {
        return Err("another kind".to_owned());
    };
    evidence
        .attestation_key
        .verify(&evidence.attest, &evidence.signature)
        .map_err(|error| error.to_string())?;
    let mut rest = evidence.attest.as_slice();
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at_checked(length).ok_or("cut off")?;
        rest = left;
        Ok::<&[u8], String>(taken)
    };
    if take(6)? != [0xff, b'T', b'C', b'G', 0x80, 0x17] {
        return Err("no certification of a TPM".to_owned());
    }
    let mut sized = || {
        let length = take(2)?;
        take(usize::from(u16::from_be_bytes([length[0], length[1]])))
    };
    let _signer = sized()?;
    if sized()? != challenge.as_bytes() {
        return Err("another challenge".to_owned());
    }
    drop(sized);
    take(17 + 8)?;
    let length = take(2)?;
    let name = take(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
    let mut expected = vec![0, 0x0b];
    expected.extend_from_slice(&Sha256::digest(&evidence.public_area));
    if name != expected {
        return Err("another key".to_owned());
    }
    // fixedTPM, fixedParent, sensitiveDataOrigin (part 2, §8.3.2).
    let attributes = evidence.public_area.get(4..8).ok_or("cut off")?;
    if u32::from_be_bytes(attributes.try_into().expect("four bytes")) & 0x32 != 0x32 {
        return Err("a key that may leave".to_owned());
    }
    let point = &key.to_raw_bytes();
    let (x, y) = point[1..].split_at(32);
    let holds = |number: &[u8]| {
        evidence
            .public_area
            .windows(32)
            .any(|window| window == number)
    };
    if holds(x) && holds(y) {
        Ok(())
    } else {
        Err("another public key".to_owned())
    }
}

#[test]
fn a_tpm_passes_the_suite_of_all_stores() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store
        .generate(&uri("ak"), &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    Conformance::new(&store, |n| uri(&format!("key-{n}")))
        .reopened_by(|| Box::new(TpmProvider::new(tpm.tcti())))
        .evidence_judged_by(judge)
        .run();
}

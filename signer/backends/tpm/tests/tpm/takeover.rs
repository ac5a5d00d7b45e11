//! Keys and names that somebody else put into the TPM, while its owner hierarchy had no password.

use crate::provider::{SIGNING, uri};
use countersign_backend_tpm::TpmProvider;
use countersign_keys::{
    Algorithm, Challenge, Error, ErrorKind, KeyProvider as _, KeyTemplate, Origin,
};
use countersign_testing::swtpm::Swtpm;
use std::fs;

/// What keys made here have.
const INSIDE: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign";

/// Where a key with a name may be.
const PLACE: u32 = 0x8102_0005;

const CHALLENGE: Challenge = Challenge::new([7; 32]);

/// Keeps what lies in `pub` and `priv` at a handle.
fn keep(tpm: &Swtpm, handle: u32) {
    let handle = format!("{handle:#010x}");
    tpm.tool(
        "tpm2_load",
        &[
            "-Q",
            "-C",
            "0x81000001",
            "-u",
            "pub",
            "-r",
            "priv",
            "-c",
            "ctx",
        ],
    );
    tpm.tool(
        "tpm2_evictcontrol",
        &["-Q", "-C", "o", "-c", "ctx", &handle],
    );
    tpm.tool("tpm2_flushcontext", &["-t"]);
}

fn create(tpm: &Swtpm, handle: u32, attributes: &str) {
    tpm.tool(
        "tpm2_create",
        &[
            "-Q",
            "-C",
            "0x81000001",
            "-G",
            "ecc:ecdsa-sha256:null",
            "-u",
            "pub",
            "-r",
            "priv",
            "-a",
            attributes,
        ],
    );
    keep(tpm, handle);
}

fn import(tpm: &Swtpm, handle: u32, attributes: &str) {
    tpm.tool(
        "openssl",
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            "key.pem",
        ],
    );
    tpm.tool(
        "tpm2_import",
        &[
            "-Q",
            "-C",
            "0x81000001",
            "-G",
            "ecc:ecdsa-sha256",
            "-i",
            "key.pem",
            "-u",
            "pub",
            "-r",
            "priv",
            "-a",
            attributes,
        ],
    );
    keep(tpm, handle);
}

/// Gives the key at a handle a name, as a record of this store would.
fn name(tpm: &Swtpm, handle: u32, name: &str) {
    let (key, index) = (
        format!("{handle:#010x}"),
        format!("{:#010x}", 0x0180_0000 | (handle & 0x003f_ffff)),
    );
    tpm.tool("tpm2_readpublic", &["-Q", "-c", &key, "-n", "name"]);
    let mut record = b"CSK1".to_vec();
    record.extend_from_slice(&fs::read(tpm.folder().join("name")).expect("the key's TPM name"));
    record.extend_from_slice(&[0; 3]);
    record.push(u8::try_from(name.len()).expect("a short name"));
    record.extend_from_slice(name.as_bytes());
    fs::write(tpm.folder().join("record"), &record).expect("a file");
    tpm.tool(
        "tpm2_nvdefine",
        &[
            "-Q",
            "-C",
            "o",
            "-s",
            &record.len().to_string(),
            "-a",
            "ownerwrite|authread|no_da",
            &index,
        ],
    );
    tpm.tool("tpm2_nvwrite", &["-Q", "-C", "o", "-i", "record", &index]);
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("others may have this key");
    assert_eq!(error.kind(), ErrorKind::Permissions, "{error}");
    let message = error.to_string();
    assert!(
        message.contains("others may have it too")
            && message.ends_with("make a new key with `countersign key generate`"),
        "{message}"
    );
}

#[test]
fn tf08_a_key_that_others_may_have_too_is_shown_and_never_used() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let attestation = KeyTemplate::attestation(Algorithm::Esp256);
    let genuine = store.generate(&uri("z"), &attestation).expect("a key");
    type Put = fn(&Swtpm, u32, &str);
    let cases: [(Put, &str, Origin); 3] = [
        (import, "userwithauth|sign|noda", Origin::Imported),
        (
            create,
            "sensitivedataorigin|userwithauth|sign|noda",
            Origin::Unknown,
        ),
        // Its parent cannot be taken out of the TPM, but this key can.
        (
            create,
            "sensitivedataorigin|userwithauth|sign|noda|encryptedduplication",
            Origin::Unknown,
        ),
    ];
    for (put, attributes, origin) in cases {
        put(&tpm, PLACE, attributes);
        name(&tpm, PLACE, "door");
        let door = uri("door");
        let info = store.show(&door).expect("it shows");
        assert_eq!(info.origin, origin, "{attributes}");
        assert!(store.list().expect("a list").contains(&info));
        is_refused(store.open(&door));
        is_refused(store.open(&uri(&format!("{PLACE:#010x}"))));
        is_refused(store.attest(&door, &CHALLENGE));
        // The name is taken, and is free again once somebody took the stranger out.
        let taken = store.generate(&door, &SIGNING).expect_err("taken");
        assert_eq!(taken.kind(), ErrorKind::Exists, "{taken}");
        store.delete(&door).expect("it can be taken out");
        store.generate(&door, &SIGNING).expect("a key");
        let key = store.open(&door).expect("it opens");
        key.sign(b"m").expect("it signs");
        store.delete(&door).expect("ours");
    }
    // An attestation key that can leave vouches for nothing, and is passed over, though its name comes first.
    let attributes = "sensitivedataorigin|userwithauth|restricted|sign|noda";
    create(&tpm, PLACE, attributes);
    name(&tpm, PLACE, "a");
    is_refused(store.state(&uri("a"), &[7], &CHALLENGE));
    store.generate(&uri("door"), &SIGNING).expect("a key");
    let evidence = store.attest(&uri("door"), &CHALLENGE).expect("evidence");
    let countersign_keys::Evidence::Tpm(evidence) = evidence else {
        panic!("{evidence:?}")
    };
    assert_eq!(evidence.attestation_key, genuine.public);
    let endorsement = store.endorsement_key().expect("one").public_area;
    // Refused before the TPM sees the credential, so any will do.
    let credential = store
        .make_credential(&endorsement, &evidence.public_area, &[1; 32])
        .expect("a credential");
    is_refused(store.activate_credential(&uri("a"), &credential));
}

#[test]
fn tf08_a_name_that_two_keys_have_is_nobodys() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let (door, ours) = (uri("door"), uri("0x81020000"));
    let made = store.generate(&door, &SIGNING).expect("a key");
    create(&tpm, PLACE, INSIDE);
    name(&tpm, PLACE, "door");
    let ambiguous = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
        let message = error.to_string();
        for word in ["door", "0x81020000", "0x81020005", "; compare"] {
            assert!(message.contains(word), "{message}");
        }
    };
    ambiguous(store.open(&door).expect_err("two"));
    ambiguous(store.show(&door).expect_err("two"));
    ambiguous(store.delete(&door).expect_err("two"));
    // The list tells them apart.
    let listed = store.list().expect("a list");
    let listed: Vec<String> = listed.iter().map(|info| info.uri.to_string()).collect();
    assert_eq!(listed.len(), 2);
    assert!(listed[0].starts_with("tpm:0x81020000?"), "{listed:?}");
    assert!(listed[1].starts_with("tpm:0x81020005?"), "{listed:?}");
    let key = store.open(&ours).expect("by its handle");
    assert_eq!(*key.public_key(), made.public);
    // Where no name is looked for, none is believed.
    create(&tpm, 0x8101_0007, INSIDE);
    name(&tpm, 0x8101_0007, "gate");
    let outside = store.show(&uri("0x81010007")).expect("it shows");
    assert!(outside.uri.to_string().starts_with("tpm:0x81010007?"));
    // Without the stranger, the name is ours again.
    store.delete(&uri("0x81020005")).expect("by its handle");
    assert_eq!(store.show(&door).expect("one").public, made.public);
}

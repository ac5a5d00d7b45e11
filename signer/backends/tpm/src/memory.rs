//! Where a private key is: in the TPM's memory, and in nobody else's.
//!
//! A key whose number is known is put into a TPM. Another process signs with it, and its whole memory is searched for
//! that number, in every form in which software keeps it. That the search finds what is there is shown on the TPM itself,
//! and on a process that holds the same key in software.
//!
//! The store opens no key that came from outside, and nobody knows the number of another. So this test stands inside the
//! store and passes over that one check; all else is done as for every key.

use crate::{TpmProvider, keys};
use countersign_keys::{Algorithm, ErrorKind, KeyProvider as _, KeyTemplate, KeyUri, Origin};
use countersign_testing::memory::{Searched, hits, role, wait};
use countersign_testing::swtpm::Swtpm;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::DecodePrivateKey as _;
use std::fs;
use zeroize::Zeroize as _;

/// The test that signs: as `tpm` and a TCTI, or `software` and a file.
const SIGNER: &str = "memory::the_process_that_is_searched";

/// Where the key is kept.
const PLACE: &str = "0x81010020";

fn uri(name: &str) -> KeyUri {
    format!("tpm:{name}").parse().expect("a key URI")
}

#[test]
fn a_process_that_signs_with_a_tpm_key_never_has_it_in_memory() {
    let tpm = Swtpm::start();
    // Makes the storage root key.
    TpmProvider::new(tpm.tcti())
        .generate(&uri("first"), &KeyTemplate::signing(Algorithm::Esp256))
        .expect("a key");
    let file = tpm.folder().join("key.der");
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
        "openssl",
        &[
            "pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", "key.der",
        ],
    );
    tpm.tool(
        "tpm2_import",
        &[
            "-Q",
            "-C",
            "0x81000001",
            "-G",
            "ecc",
            "-i",
            "key.pem",
            "-u",
            "pub",
            "-r",
            "priv",
            "-a",
            "userwithauth|sign|noda",
        ],
    );
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
    tpm.tool("tpm2_evictcontrol", &["-Q", "-C", "o", "-c", "ctx", PLACE]);
    tpm.tool("tpm2_flushcontext", &["-t"]);
    let store = TpmProvider::new(tpm.tcti());
    let info = store.show(&uri(PLACE)).expect("it is there");
    assert_eq!(info.origin, Origin::Imported);
    let refused = store.open(&uri(PLACE)).expect_err("it came from outside");
    assert_eq!(refused.kind(), ErrorKind::Permissions);
    let key = SigningKey::from_pkcs8_der(&fs::read(&file).expect("the file")).expect("a key");
    // The number that is searched for is that of the key in the TPM.
    assert_eq!(
        key.verifying_key().to_sec1_bytes()[1..],
        info.public.to_raw_bytes()[1..]
    );
    let scalar: [u8; 32] = key.to_bytes().into();

    let signer = Searched::start(SIGNER, &format!("tpm {}", tpm.tcti()), &[]);
    assert_eq!(signer.hits(&scalar), Vec::<String>::new());
    let software = Searched::start(SIGNER, &format!("software {}", file.display()), &[]);
    assert!(
        !software.hits(&scalar).is_empty(),
        "the search misses a key in software"
    );
    assert!(
        !hits(tpm.process_id(), &scalar).is_empty(),
        "the search misses the TPM's key"
    );
}

/// Does nothing unless it is started by the test above.
#[test]
fn the_process_that_is_searched() {
    let Some(role) = role() else {
        return;
    };
    match role.split_once(' ').expect("two words") {
        ("tpm", tcti) => {
            let store = TpmProvider::new(tcti.parse().expect("a way to a TPM"));
            let key = store
                .open_if(&uri(PLACE), |_, _, found| Ok(keys::reference(found)))
                .expect("it opens");
            for n in 0..20 {
                key.sign(&[n]).expect("it signs");
            }
            wait();
        }
        ("software", file) => {
            let mut bytes = fs::read(file).expect("the file");
            let key = SigningKey::from_pkcs8_der(&bytes).expect("a key");
            bytes.zeroize();
            for n in 0..20 {
                let _: p256::ecdsa::Signature = key.sign(&[n]);
            }
            wait();
            drop(key);
        }
        other => panic!("{other:?}"),
    }
}

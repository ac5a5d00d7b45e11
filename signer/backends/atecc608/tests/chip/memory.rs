//! Where a private key is: in the chip, and in no process that signs with it.
//!
//! The model tells a slot's number to tests, over no bus. It lives in this process. Another one signs over the bus, as a
//! program does with `/dev/i2c-1`, and its memory is searched.

use std::ffi::OsStr;
use std::path::Path;

use countersign_atecc608_emulator::{Clock, Emulator, Factory, shim, socket};
use countersign_backend_atecc608::Atecc608Provider;
use countersign_keys::{Algorithm, KeyProvider as _, KeyTemplate};
use countersign_testing::memory::{Searched, role, wait};
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;

use crate::bench::uri;

/// The test that signs, as `chip`, or with the number that is its role in hexadecimal.
const SIGNER: &str = "memory::the_process_that_is_searched";

#[test]
fn a_process_that_signs_with_a_chips_key_never_has_it_in_memory() {
    let chip = Emulator::with_clock(Factory::provisioned(0).unpredictable(), Clock::real());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bus = folder.path().join("bus");
    socket::serve(&chip, &bus).expect("a folder takes a socket");
    let library = shim::build(folder.path()).expect("a C compiler");

    let environment: [(&str, &OsStr); 2] = [
        ("LD_PRELOAD", library.as_os_str()),
        (shim::SOCKET_VARIABLE, bus.as_os_str()),
    ];
    let signer = Searched::start(SIGNER, "chip", &environment);
    // The key was made by that process's command, in the chip.
    let scalar = chip.private_key(0).expect("a key in the slot");
    assert_eq!(signer.hits(&scalar), Vec::<String>::new());

    let software = Searched::start(SIGNER, &hex::encode(scalar), &[]);
    // Its environment holds the digits; the number itself must be found as well.
    assert!(
        software
            .hits(&scalar)
            .iter()
            .any(|hit| !hit.contains("hexadecimal")),
        "the search misses a key in software"
    );
}

/// Does nothing unless it is started by the test above.
#[test]
fn the_process_that_is_searched() {
    let Some(role) = role() else {
        return;
    };
    if role == "chip" {
        let store = Atecc608Provider::open_bus(Path::new("/dev/i2c-1"), 0x60).expect("the chip");
        store
            .generate(&uri(0), &KeyTemplate::signing(Algorithm::Esp256))
            .expect("a key");
        let key = store.open(&uri(0)).expect("it opens");
        for n in 0..20 {
            key.sign(&[n]).expect("it signs");
        }
        wait();
    } else {
        let bytes = hex::decode(role).expect("a number");
        let key = SigningKey::from_slice(&bytes).expect("a key");
        for n in 0..20 {
            let _: p256::ecdsa::Signature = key.sign(&[n]);
        }
        wait();
        drop(key);
    }
}

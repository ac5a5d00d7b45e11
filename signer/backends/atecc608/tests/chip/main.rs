//! The driver and its store of keys, on the emulated chip in virtual time.

mod bench;
mod certificates;
mod conformance;
mod faults;
mod memory;
mod plan;
mod provider;
mod vendor;

use bench::Bench;
use countersign_atecc608_emulator::Factory;
use countersign_backend_atecc608::{Error, Slot};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

/// Whether a raw signature is the key's, by the library alone.
fn verifies(public: &[u8; 64], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    let point = [&[4], public.as_slice()].concat();
    let Ok(key) = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point) else {
        return false;
    };
    p256::ecdsa::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
}

fn slot(number: u8) -> Slot {
    Slot::new(number).expect("a slot")
}

#[test]
fn a_key_is_made_and_signs() {
    let bench = Bench::new(Factory::provisioned(1));
    let mut chip = bench.device();
    assert_eq!(chip.revision().expect("a revision").name(), "ATECC608A");
    assert_eq!(chip.serial().expect("a serial").0[..2], [0x01, 0x23]);
    assert!(chip.public_key(slot(0)).is_err(), "no key yet");
    let public = chip.generate(slot(0)).expect("a key");
    assert_eq!(chip.public_key(slot(0)), Ok(public));
    for digest in [[0; 32], [7; 32], [0xff; 32]] {
        let signature = chip.sign(slot(0), &digest).expect("a signature");
        assert!(verifies(&public, &digest, &signature));
        assert!(!verifies(&public, &[8; 32], &signature));
    }
}

#[test]
fn the_chip_rests_between_calls_and_is_woken_from_any_state() {
    let bench = Bench::new(Factory::provisioned(1));
    let mut chip = bench.device();
    chip.random().expect("random numbers");
    // Another driver starts while this one's chip idles, and while it sleeps by its watchdog.
    bench.device().random().expect("random numbers");
    bench.emulator.clock().wait(10_000_000);
    chip.random().expect("random numbers");
    // A chip that was woken by somebody else and left awake.
    bench
        .emulator
        .write(0x00, &[0x00])
        .expect_err("nobody acknowledges");
    bench.emulator.clock().wait(3_000);
    chip.random().expect("random numbers");
}

#[test]
fn slots_are_written_and_read_back_before_and_after_the_lock() {
    let bench = Bench::new(Factory::provisioned(1));
    let mut chip = bench.device();
    let mut there = [0; 72];
    let data: Vec<u8> = (0..72).collect();
    chip.write_slot(slot(10), &data).expect("slot 10 is open");
    chip.read_slot(slot(10), &mut there)
        .expect("slot 10 is open");
    assert_eq!(there.as_slice(), data);
    let long = [0xa5; 416];
    chip.write_slot(slot(8), &long).expect("slot 8 is open");
    assert_eq!(bench.emulator.slot(8), long);
    assert_eq!(chip.write_slot(slot(10), &[0; 73]), Err(Error::Place));
    assert!(chip.write_slot(slot(6), &[0; 32]).is_err(), "closed");
    assert!(chip.read_slot(slot(0), &mut [0; 32]).is_err(), "private");
}

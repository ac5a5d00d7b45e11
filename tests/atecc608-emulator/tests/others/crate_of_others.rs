//! The crate at-cryptoauth, another driver in Rust, in this process.

use at_cryptoauth::memory::{Size, Slot, Zone};
use at_cryptoauth::{AtCaClient, Digest};
use countersign_atecc608_emulator::{Clock, EmulatedBus, Emulator, Factory};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

use crate::verifies;

type Client = AtCaClient<NoopRawMutex, EmulatedBus>;

fn on_a_bus(factory: Factory) -> (Emulator, Client) {
    let emulator = Emulator::with_clock(factory, Clock::real());
    let client = Client::new(emulator.bus());
    (emulator, client)
}

fn of(digest: [u8; 32]) -> Digest {
    Digest::try_from(digest.as_slice()).expect("32 bytes")
}

#[test]
fn another_driver_configures_locks_and_signs() {
    let (emulator, chip) = on_a_bus(Factory::blank(8));
    let info = chip.info_blocking().expect("a revision");
    assert_eq!(info.as_ref(), [0x00, 0x00, 0x60, 0x02]);
    let serial = chip.memory().serial_number_blocking().expect("a serial");
    assert_eq!(hex::encode(serial.as_ref()), "0123c68e5b000008ee");
    let locked = |zone| chip.memory().is_locked_blocking(zone).expect("a lock");
    assert!(!locked(Zone::Config) && !locked(Zone::Data));
    let mut pattern = [0; 32];
    chip.random()
        .try_fill_bytes_blocking(&mut pattern)
        .expect("32 bytes");
    assert_eq!(pattern[..4], [0xff, 0xff, 0x00, 0x00]);

    // Slot 0: external signatures, a key can be made; words 5 of block 0 and 0 of block 3.
    for (block, offset, word) in [(0, 5, "83208220"), (3, 0, "33003300")] {
        chip.memory()
            .write_config_blocking(Size::Word, block, offset, &hex::decode(word).expect("hex"))
            .expect("it is written");
    }
    let slot = Slot::PrivateKey00;
    assert_eq!(chip.memory().permission_blocking(slot).ok(), Some(0x2083));
    assert_eq!(chip.memory().key_type_blocking(slot).ok(), Some(0x0033));
    assert!(chip.create_private_key_blocking(slot).is_err(), "too early");
    chip.memory().lock_blocking(Zone::Config).expect("it locks");
    assert!(chip.memory().lock_blocking(Zone::Config).is_err(), "twice");
    let public = chip.create_private_key_blocking(slot).expect("a key");
    chip.memory().lock_blocking(Zone::Data).expect("it locks");
    assert!(locked(Zone::Config) && locked(Zone::Data));

    let digest = [0x5a; 32];
    let signature = chip
        .signer(slot)
        .sign_digest_blocking(&of(digest))
        .expect("a signature");
    assert!(verifies(public.as_ref(), &digest, &signature.to_bytes()));
    assert!(!verifies(public.as_ref(), &[1; 32], &signature.to_bytes()));
    let judge = |digest: [u8; 32]| chip.verify_external_blocking(&of(digest), &signature, &public);
    assert!(judge(digest).is_ok() && judge([1; 32]).is_err());
    let again = chip.generate_pubkey_blocking(slot).expect("its public key");
    assert_eq!(again.as_ref(), public.as_ref());

    assert!(!chip.memory().is_slot_locked_blocking(slot).expect("a lock"));
    chip.memory().lock_slot_blocking(slot).expect("it locks");
    assert!(chip.memory().is_slot_locked_blocking(slot).expect("a lock"));
    assert!(chip.create_private_key_blocking(slot).is_err(), "locked");
    assert_eq!(emulator.configuration()[86..90], [0, 0, 0xfe, 0xff]);
}

#[test]
fn another_driver_reads_the_public_key_that_it_wrote() {
    let (_emulator, chip) = on_a_bus(Factory::provisioned(9));
    let public = chip
        .create_private_key_blocking(Slot::PrivateKey02)
        .expect("a key");
    let mut memory = chip.memory();
    memory
        .write_pubkey_blocking(Slot::Certificate0b, public.as_ref())
        .expect("it is written");
    let read = memory
        .pubkey_blocking(Slot::Certificate0b)
        .expect("it is read");
    assert_eq!(read.as_ref(), public.as_ref());
}

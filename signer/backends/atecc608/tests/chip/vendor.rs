//! Our driver and the chip maker's library on one chip, taking turns: each reads what the other wrote.

use countersign_atecc608_emulator::vendor::{Answer, Vendor};
use countersign_atecc608_emulator::{
    Clock, EmulatedBus, EmulatedDelay, Emulator, Factory, SIGNING_TEST_CONFIG,
};
use countersign_backend_atecc608::{Atecc608, Configuration, Consent, Counter};
use countersign_keys::{Atecc608Evidence, Challenge, PublicKey};
use serde_json::{Value, json};

use crate::{slot, verifies};

/// A chip in real time, with both.
pub(crate) struct Both {
    pub(crate) chip: Atecc608<EmulatedBus, EmulatedDelay>,
    pub(crate) emulator: Emulator,
    vendor: Vendor,
}

impl Both {
    pub(crate) fn new(factory: Factory) -> Self {
        let emulator = Emulator::with_clock(factory, Clock::real());
        Self {
            chip: Atecc608::new(emulator.bus(), emulator.delay(), 0x60),
            vendor: Vendor::of(&emulator).expect("a bus"),
            emulator,
        }
    }

    /// What the maker's library answers to these calls.
    pub(crate) fn maker<const N: usize>(&self, calls: &Value) -> [Answer; N] {
        self.vendor
            .calls(0x60, calls)
            .expect("the maker's library runs")
            .try_into()
            .expect("an answer to each call")
    }

    /// The configuration of a chip for tests, over what this one has.
    pub(crate) fn wanted(&mut self) -> Configuration {
        let mut zone = *self
            .chip
            .configuration()
            .expect("a configuration")
            .as_bytes();
        for (first, words) in [(20, SIGNING_TEST_CONFIG.0), (96, SIGNING_TEST_CONFIG.1)] {
            for (number, word) in words.iter().enumerate() {
                let at = first + number * 2;
                zone[at..at + 2].copy_from_slice(&word.to_le_bytes());
            }
        }
        Configuration::new(zone)
    }
}

#[test]
fn what_ours_configures_locks_makes_and_writes_the_makers_library_reads() {
    let mut both = Both::new(Factory::blank(21));
    let wanted = both.wanted();
    let consent = Consent::to_lock_for_ever(wanted.serial());
    both.chip.write_configuration(&wanted).expect("written");
    let zone = hex::encode(wanted.as_bytes());
    let before: [Answer; 2] = both.maker(&json!([["same-config", zone], ["config-locked"]]));
    assert_eq!((before[0].number(), before[1].number()), (1, 0));
    both.chip
        .lock_configuration(&consent, &wanted)
        .expect("locked");
    let public = both.chip.generate(slot(0)).expect("a key");
    both.chip.write_slot(slot(8), &[0x5a; 64]).expect("written");
    both.chip.lock_data(&consent).expect("locked");
    both.chip.lock_slot(&consent, slot(0)).expect("locked");
    both.chip.count_up(Counter::First).expect("counted");
    let digest = [7; 32];
    let signature = both.chip.sign(slot(0), &digest).expect("a signature");
    let (text, signature) = (hex::encode(digest), hex::encode(signature));
    let after: [Answer; 8] = both.maker(&json!([
        ["serial"],
        ["config-locked"],
        ["data-locked"],
        ["slot-locked", 0],
        ["public-key", 0],
        ["read-slot", 8, 0, 64],
        ["counter", 0],
        ["verify", text, signature, hex::encode(public)],
    ]));
    assert_eq!(after[0].bytes(), wanted.serial().0);
    let locks: Vec<i64> = after[1..4].iter().map(Answer::number).collect();
    assert_eq!(locks, [1, 1, 1]);
    assert_eq!(after[4].bytes(), public);
    assert_eq!(after[5].bytes(), [0x5a; 64]);
    assert_eq!(after[6].number(), 1);
    assert_eq!(after[7].number(), 1, "the chip verifies it");
}

#[test]
fn what_the_makers_library_makes_and_writes_ours_reads() {
    let mut both = Both::new(Factory::provisioned(22));
    let digest = [9; 32];
    let made: [Answer; 6] = both.maker(&json!([
        ["genkey", 2],
        ["sign", 2, hex::encode(digest)],
        ["write-slot", 9, 0, "a5".repeat(72)],
        ["lock-slot", 2],
        ["count-up", 1],
        ["read-config"],
    ]));
    let public = both.chip.public_key(slot(2)).expect("a key");
    assert_eq!(made[0].bytes(), public);
    let signature = made[1].bytes().try_into().expect("64 bytes");
    assert!(verifies(&public, &digest, &signature));
    let mut there = [0; 72];
    both.chip.read_slot(slot(9), &mut there).expect("slot 9");
    assert_eq!(there, [0xa5; 72]);
    let configuration = both.chip.configuration().expect("a configuration");
    assert!(configuration.slot_locked(slot(2)) && !configuration.slot_locked(slot(0)));
    assert_eq!(both.chip.counter(Counter::Second), Ok(1));
    assert_eq!(made[5].bytes(), configuration.as_bytes());
}

/// The maker's library runs the sequence; our reading of what the chip signs must be the chip's.
#[test]
fn evidence_that_the_makers_library_asks_for_fits_our_reading_of_it() {
    let mut both = Both::new(Factory::provisioned(23));
    let challenge = Challenge::new([3; 32]);
    let number = hex::encode(Atecc608Evidence::number_of(&challenge));
    let answers: [Answer; 3] = both.maker(&json!([
        ["genkey", 0],
        ["genkey", 1],
        ["attested", 0, number]
    ]));
    let key = |bytes: Vec<u8>| {
        PublicKey::from_p256_point(&[&[4], bytes.as_slice()].concat()).expect("a point")
    };
    let configuration = both.chip.configuration().expect("a configuration");
    let told = |name: &str| {
        let digits = answers[2].value[name].as_str().expect("digits");
        hex::decode(digits).expect("hexadecimal digits")
    };
    assert_eq!(answers[2].status, 0);
    let mut evidence = Atecc608Evidence {
        serial: configuration.serial().0,
        slot: 0,
        public: key(told("public")),
        slot_config: configuration.slot(slot(0)).0,
        key_config: configuration.key(slot(0)).0,
        slot_unlocked: true,
        random: told("random").try_into().expect("32 bytes"),
        attestation_slot: 1,
        attestation_key: key(answers[1].bytes()),
        signature: told("signature").try_into().expect("64 bytes"),
    };
    evidence.check_signature(&challenge).expect("it fits");
    evidence.slot_unlocked = false;
    evidence
        .check_signature(&challenge)
        .expect_err("not what it signed");
}

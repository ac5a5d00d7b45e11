//! The chip maker's own library.

use countersign_atecc608_emulator::vendor::{Answer, Vendor};
use countersign_atecc608_emulator::{Clock, Emulator, Factory, Fault, SIGNING_TEST_CONFIG};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::verifies;

const ADDRESS: u8 = 0x60;

fn on_a_bus(factory: Factory) -> (Emulator, Vendor) {
    let emulator = Emulator::with_clock(factory, Clock::real());
    let vendor = Vendor::of(&emulator).expect("a bus");
    (emulator, vendor)
}

fn calls<const N: usize>(vendor: &Vendor, calls: &Value) -> [Answer; N] {
    vendor
        .calls(ADDRESS, calls)
        .expect("the maker's library runs")
        .try_into()
        .expect("an answer to each call")
}

fn succeeded(answers: &[Answer]) {
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 0, "call {number}: {answer:?}");
    }
}

/// The zone of a blank chip with the slots of [`SIGNING_TEST_CONFIG`].
fn configuration_for_tests(emulator: &Emulator) -> [u8; 128] {
    let mut zone = emulator.configuration();
    for (first, words) in [(20, SIGNING_TEST_CONFIG.0), (96, SIGNING_TEST_CONFIG.1)] {
        for (number, word) in words.iter().enumerate() {
            let at = first + number * 2;
            zone[at..at + 2].copy_from_slice(&word.to_le_bytes());
        }
    }
    zone
}

/// From the maker to the field: a blank chip is asked, configured, locked, given a key, and locked again.
#[test]
fn a_blank_chip_is_configured_locked_and_given_a_key() {
    let (emulator, vendor) = on_a_bus(Factory::blank(3));
    let wanted = hex::encode(configuration_for_tests(&emulator));
    let before: [Answer; 8] = calls(
        &vendor,
        &json!([
            ["info"],
            ["serial"],
            ["random"],
            ["config-locked"],
            ["data-locked"],
            ["genkey", 0],
            ["read-slot", 8, 0, 32],
            ["lock-data"],
        ]),
    );
    assert_eq!(before[0].bytes(), [0x00, 0x00, 0x60, 0x02]);
    assert_eq!(hex::encode(before[1].bytes()), "0123c68e5b000003ee");
    // TF21: what a chip gives for random numbers before its configuration is locked.
    assert_eq!(hex::encode(before[2].bytes()), "ffff0000".repeat(8));
    assert_eq!((before[3].number(), before[4].number()), (0, 0));
    for refused in &before[5..] {
        assert_ne!(refused.status, 0, "{refused:?}");
    }
    let locked: [Answer; 12] = calls(
        &vendor,
        &json!([
            ["write-config", wanted],
            ["same-config", wanted],
            ["lock-config-sum", 0x1234],
            ["config-locked"],
            ["lock-config"],
            ["config-locked"],
            ["genkey", 0],
            ["genkey", 1],
            ["sign", 0, "07".repeat(32)],
            ["lock-data"],
            ["data-locked"],
            ["write-config", wanted],
        ]),
    );
    succeeded(&locked[..2]);
    assert_eq!(locked[1].number(), 1);
    assert_ne!(locked[2].status, 0, "another zone's checksum");
    assert_eq!((locked[3].number(), locked[5].number()), (0, 1));
    succeeded(&locked[6..8]);
    assert_ne!(locked[8].status, 0, "no signature before the second lock");
    assert_eq!(locked[10].number(), 1);
    assert_ne!(locked[11].status, 0, "the zone is locked");
    assert_eq!(emulator.configuration()[86..88], [0, 0]);
}

#[test]
fn keys_sign_and_what_they_sign_verifies_elsewhere() {
    let (_emulator, vendor) = on_a_bus(Factory::provisioned(4));
    let digest: [u8; 32] = Sha256::digest(b"open the valve").into();
    let text = hex::encode(digest);
    let made: [Answer; 5] = calls(
        &vendor,
        &json!([
            ["genkey", 0],
            ["public-key", 0],
            ["sign", 0, text],
            ["sign", 0, text],
            ["sha", hex::encode([0x5a; 200])],
        ]),
    );
    let public = made[0].bytes();
    assert_eq!(made[1].bytes(), public);
    for signature in [&made[2], &made[3]] {
        assert!(verifies(&public, &digest, &signature.bytes()));
        assert!(!verifies(&public, &[1; 32], &signature.bytes()));
    }
    assert_ne!(made[2].bytes(), made[3].bytes(), "each has its own number");
    assert_eq!(made[4].bytes(), Sha256::digest([0x5a; 200]).as_slice());
    // The chip's own verdict, as its maker's library asks for it.
    let signature = hex::encode(made[2].bytes());
    let judged: [Answer; 2] = calls(
        &vendor,
        &json!([
            ["verify", text, signature, hex::encode(&public)],
            ["verify", "01".repeat(32), signature, hex::encode(&public)],
        ]),
    );
    assert_eq!((judged[0].number(), judged[1].number()), (1, 0));
    // A slot that attests signs nothing from outside.
    let refused: [Answer; 2] = calls(&vendor, &json!([["genkey", 1], ["sign", 1, text]]));
    assert_eq!(refused[0].status, 0);
    assert_ne!(refused[1].status, 0);
}

#[test]
fn data_counters_and_locks_of_slots() {
    let (emulator, vendor) = on_a_bus(Factory::provisioned(5));
    let data: Vec<u8> = (0..=255).cycle().take(416).collect();
    let answers: [Answer; 13] = calls(
        &vendor,
        &json!([
            ["write-slot", 8, 0, hex::encode(&data)],
            ["read-slot", 8, 0, 416],
            ["counter", 0],
            ["count-up", 0],
            ["counter", 0],
            ["counter", 1],
            ["genkey", 2],
            ["slot-locked", 2],
            ["lock-slot", 2],
            ["slot-locked", 2],
            ["slot-locked", 3],
            ["genkey", 2],
            ["sign", 2, "07".repeat(32)],
        ]),
    );
    assert_eq!(answers[1].bytes(), data);
    assert_eq!(emulator.slot(8), data);
    let counted: Vec<i64> = answers[2..6].iter().map(Answer::number).collect();
    assert_eq!(counted, [0, 1, 1, 0]);
    succeeded(&answers[6..9]);
    assert_eq!((answers[7].number(), answers[9].number()), (0, 1));
    assert_eq!(answers[10].number(), 0);
    assert_ne!(answers[11].status, 0, "a locked slot gets no new key");
    assert_eq!(answers[12].status, 0, "and still signs");
    emulator.inject(Fault::CounterExhausted.once());
    let ended: [Answer; 2] = calls(&vendor, &json!([["counter", 0], ["count-up", 0]]));
    assert_eq!(ended[0].number(), 2_097_151);
    assert_ne!(ended[1].status, 0, "a counter that is used up");
}

#[test]
fn a_chip_at_the_address_of_preconfigured_ones_answers_there_and_nowhere_else() {
    let (_emulator, vendor) = on_a_bus(Factory::provisioned(6).at(0x35));
    let there = vendor.calls(0x35, &json!([["serial"]])).expect("a chip");
    assert_eq!(hex::encode(there[0].bytes()), "0123c68e5b000006ee");
    let nobody = vendor.calls(ADDRESS, &json!([["serial"]])).expect("a bus");
    assert_ne!(nobody[0].status, 0);
}

/// Disturbed, the maker's library says so too: the faults are faults of a bus, not of our driver's taste. (It does not
/// mind another answer to waking than the chip's.)
#[test]
fn faults_are_faults_for_others_too() {
    for fault in [
        Fault::NoWake.always(),
        Fault::StuckBus.always(),
        Fault::AnswerBit.always().bit(9),
        Fault::RequestBit.always().bit(20),
        Fault::Busy.always(),
    ] {
        let (emulator, vendor) = on_a_bus(Factory::provisioned(7));
        emulator.inject(fault);
        let answer: [Answer; 1] = calls(&vendor, &json!([["random"]]));
        assert_ne!(answer[0].status, 0, "{fault:?}");
        emulator.heal();
        emulator.power_cycle();
        let answer: [Answer; 1] = calls(&vendor, &json!([["random"]]));
        assert_eq!(answer[0].status, 0, "{fault:?}");
    }
}

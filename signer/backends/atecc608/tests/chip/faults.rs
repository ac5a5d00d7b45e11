//! What the bus, the chip and strangers do wrong. Rows of docs/threats.md.

use countersign_atecc608_emulator::{Factory, Fault, Planned};
use countersign_backend_atecc608::{Counter, Error};
use countersign_keys::{
    Algorithm, Challenge, ErrorKind, Evidence, KeyProvider as _, KeyTemplate, MonotonicCounter as _,
};

use crate::bench::{Bench, Provider, uri};
use crate::slot;

const SIGN: u8 = 0x41;
const NONCE: u8 = 0x16;
const RANDOM: u8 = 0x1b;
const GEN_KEY: u8 = 0x40;

#[test]
fn tf01_no_chip_is_said_and_nothing_else_signs() {
    let bench = Bench::new(Factory::provisioned(1));
    bench.emulator.inject(Fault::NoWake.always());
    let provider = bench.provider();
    for error in [
        provider.describe().map(drop).expect_err("no chip"),
        provider.open(&uri(0)).map(drop).expect_err("no chip"),
        provider.list().map(drop).expect_err("no chip"),
        provider
            .generate(&uri(0), &KeyTemplate::signing(Algorithm::Esp256))
            .map(drop)
            .expect_err("no chip"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

#[test]
fn tf08_another_key_in_the_slot_signs_nothing() {
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let key = provider.open(&uri(0)).expect("a key");
    key.sign(b"x").expect("a signature");
    bench.emulator.inject(Fault::KeyReplaced.once().on(SIGN));
    let error = key.sign(b"x").expect_err("another key");
    assert_eq!(error.kind(), ErrorKind::BadSignature, "{error}");
    // Whoever opens it now sees the other key, which no certificate names.
    let other = provider.open(&uri(0)).expect("a key");
    assert_ne!(other.public_key(), key.public_key());
}

#[test]
fn tf10_bits_flipped_on_the_bus_never_make_a_signature() {
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let key = provider.open(&uri(0)).expect("a key");
    // Once: mended. Always: said.
    for fault in [Fault::RequestBit, Fault::AnswerBit] {
        for opcode in [RANDOM, NONCE, SIGN] {
            for bit in 0..8 * 35 {
                bench.emulator.inject(fault.once().on(opcode).bit(bit));
                let _ = key.sign(b"x").map(|signature| {
                    key.public_key()
                        .verify(b"x", signature.as_bytes())
                        .expect("it verifies");
                });
                bench.emulator.heal();
            }
            bench.emulator.inject(fault.always().on(opcode).bit(40));
            let error = bench.in_time(1, || key.sign(b"x")).expect_err("disturbed");
            assert_eq!(
                error.kind(),
                ErrorKind::Device,
                "{fault:?} {opcode:#x}: {error}"
            );
            bench.emulator.heal();
        }
    }
    for fault in [Fault::DigestBit, Fault::SignatureBit, Fault::ScalarBit] {
        for bit in [0, 100, 255] {
            bench.emulator.inject(fault.once().bit(bit));
            let error = key.sign(b"x").expect_err("a wrong signature");
            assert!(
                matches!(error.kind(), ErrorKind::BadSignature | ErrorKind::Device),
                "{fault:?}: {error}"
            );
        }
    }
    key.sign(b"x").expect("a signature");
}

#[test]
fn tf17_a_chip_that_does_not_wake_or_hangs_the_bus_ends_in_time() {
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let key = provider.open(&uri(0)).expect("a key");
    for (fault, expected) in [
        (Fault::NoWake, ErrorKind::NotFound),
        (Fault::WrongWake, ErrorKind::NotFound),
        (Fault::SelfTest, ErrorKind::Device),
        (Fault::StuckBus, ErrorKind::Device),
        (Fault::Busy, ErrorKind::Timeout),
    ] {
        bench.emulator.inject(fault.always());
        let error = bench.in_time(1, || key.sign(b"x")).expect_err("no chip");
        assert_eq!(error.kind(), expected, "{fault:?}: {error}");
        bench.emulator.heal();
        bench.emulator.power_cycle();
        // Twice is not always: the third try of a bounded number succeeds.
        if fault != Fault::Busy {
            bench.emulator.inject(fault.always().times(2));
            key.sign(b"x")
                .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            bench.emulator.heal();
        }
    }
}

#[test]
fn tf18_a_wrong_byte_of_any_answer_is_read_once_more_and_then_said() {
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let key = provider.open(&uri(0)).expect("a key");
    let mut chip = bench.device();
    for (opcode, bytes) in [(RANDOM, 35), (NONCE, 4), (SIGN, 67)] {
        for byte in 0..bytes {
            bench.emulator.take_executed();
            // The first reading takes two transfers: count, and the rest.
            let transfers = if byte == 0 { 1 } else { 2 };
            let fault = Fault::AnswerBit.always().on(opcode).bit(byte * 8 + 3);
            bench.emulator.inject(fault.times(transfers));
            key.sign(b"x")
                .unwrap_or_else(|error| panic!("{opcode:#x}, byte {byte}: {error}"));
            assert_eq!(
                bench.emulator.take_executed(),
                [RANDOM, NONCE, SIGN],
                "nothing was given twice"
            );
            bench.emulator.heal();
            bench.emulator.inject(fault);
            let error = chip.sign(slot(0), &[1; 32]).expect_err("wrong each time");
            assert!(
                matches!(error, Error::Checksum { .. } | Error::Length { .. }),
                "{opcode:#x}, byte {byte}: {error:?}"
            );
            bench.emulator.heal();
        }
    }
}

#[test]
fn tf19_a_watchdog_between_nonce_and_sign_begins_the_sequence_again() {
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let key = provider.open(&uri(0)).expect("a key");
    for opcode in [RANDOM, NONCE, SIGN] {
        bench.emulator.take_executed();
        bench.emulator.inject(Fault::Watchdog.once().on(opcode));
        key.sign(b"x").expect("a signature");
        let executed = bench.emulator.take_executed();
        assert!(
            executed.ends_with(&[RANDOM, NONCE, SIGN]),
            "{opcode:#x}: {executed:x?}"
        );
        bench.emulator.inject(Fault::Watchdog.always().on(opcode));
        let error = bench
            .in_time(1, || key.sign(b"x"))
            .expect_err("it always bites");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        bench.emulator.heal();
    }
    // Evidence is a sequence too.
    bench.emulator.inject(Fault::Watchdog.once().on(SIGN));
    provider
        .attest(&uri(0), &Challenge::new([1; 32]))
        .expect("evidence");
}

#[test]
fn tf21_the_pattern_of_an_unlocked_chip_and_constants_are_refused() {
    let mut chip = Bench::new(Factory::blank(1)).device();
    assert_eq!(chip.random(), Err(Error::Random));
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let key = provider.open(&uri(0)).expect("a key");
    key.sign(b"x").expect("a signature");
    bench.emulator.inject(Fault::ConstantRandom.always());
    // The first constant is not known to be one; the second is.
    let _ = key.sign(b"y");
    bench.emulator.take_executed();
    let error = key.sign(b"z").expect_err("the same number again");
    assert_eq!(error.kind(), ErrorKind::Random, "{error}");
    assert!(
        !bench.emulator.take_executed().contains(&SIGN),
        "nothing was signed"
    );
    let fresh = bench.provider();
    let key = fresh
        .open(&uri(0))
        .map(|key| key.sign(b"a").is_ok() && key.sign(b"b").is_ok());
    assert!(
        !key.is_ok_and(|both| both),
        "two signatures with one random part"
    );
}

#[test]
fn tf22_a_second_master_that_answers_for_the_chip_makes_no_signature() {
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let key = provider.open(&uri(0)).expect("a key");
    for opcode in [NONCE, SIGN] {
        bench.emulator.inject(Fault::SecondMaster.once().on(opcode));
        let error = key.sign(b"x").expect_err("a stranger's answer");
        assert!(
            matches!(error.kind(), ErrorKind::BadSignature | ErrorKind::Device),
            "{opcode:#x}: {error}"
        );
    }
    bench
        .emulator
        .inject(Fault::SecondMaster.always().on(GEN_KEY));
    assert!(provider.show(&uri(0)).is_err(), "not a point of the curve");
}

#[test]
fn tf23_a_counter_counts_once_each_time_and_ends() {
    let bench = Bench::new(Factory::provisioned(1));
    let mut chip = bench.device();
    assert_eq!(chip.counter(Counter::First), Ok(0));
    assert_eq!(chip.count_up(Counter::First), Ok(1));
    assert_eq!(chip.counter(Counter::Second), Ok(0));
    // An answer that was lost is not a reason to count twice.
    bench
        .emulator
        .inject(Fault::PowerCutAfter.once().on(0x24).after(1));
    let lost = chip.count_up(Counter::First);
    assert_eq!(lost, Err(Error::Lost { command: "Counter" }));
    assert_eq!(chip.counter(Counter::First), Ok(2));
    // As every counter in hardware is used.
    let same = bench.provider().counter(Counter::First);
    assert_eq!(same.increment().map_err(|error| error.kind()), Ok(3));
    assert_eq!(same.read().map_err(|error| error.kind()), Ok(3));
    assert_eq!(same.end(), u64::from(Counter::END));
    bench.emulator.inject(Fault::CounterExhausted.once());
    assert_eq!(chip.counter(Counter::First), Ok(Counter::END));
    assert_eq!(chip.count_up(Counter::First), Err(Error::CounterExhausted));
    let ended = same.increment().expect_err("at its end");
    assert!(ended.to_string().contains("replace the chip"), "{ended}");
}

#[test]
fn tf23_a_counter_says_long_before_its_end_that_it_comes() {
    // Nine tenths of the end, to the next whole number.
    assert_eq!(Counter::ALARM, (Counter::END * 9).div_ceil(10));
    assert!(!Counter::is_near_end(Counter::ALARM - 1) && Counter::is_near_end(Counter::ALARM));
    let bench = Bench::new(Factory::provisioned(1));
    let provider = bench.provider();
    let said = provider.describe().expect("a description");
    assert!(!said.contains("counter"), "{said}");
    bench.emulator.inject(Fault::CounterExhausted.once());
    let said = provider.describe().expect("a description");
    assert!(said.contains("counter 0 at 2097151 of 2097151"), "{said}");
}

#[test]
fn tf24_power_lost_while_a_key_is_made_leaves_a_whole_key_or_none() {
    for fault in [
        Fault::PowerCutBefore,
        Fault::PowerCutHalf,
        Fault::PowerCutAfter,
    ] {
        let bench = Bench::new(Factory::provisioned(1));
        let provider = bench.provider();
        // The first GenKey asks for the public key of the empty slot.
        bench.emulator.inject(fault.once().on(GEN_KEY).after(1));
        let made = provider.generate(&uri(0), &KeyTemplate::signing(Algorithm::Esp256));
        // After the next start:
        let provider = bench.provider();
        match made {
            Ok(info) => {
                assert_eq!(fault, Fault::PowerCutAfter);
                assert_eq!(provider.show(&uri(0)).expect("the key").public, info.public);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Device, "{error}");
                let none = provider.open(&uri(0)).map(drop).expect_err("no key");
                assert_eq!(none.kind(), ErrorKind::NotFound, "{none}");
                provider
                    .generate(&uri(0), &KeyTemplate::signing(Algorithm::Esp256))
                    .expect("there is none, so one may be made");
            }
        }
        provider
            .open(&uri(0))
            .expect("a key")
            .sign(b"x")
            .expect("a signature");
    }
}

#[test]
fn tf24_power_lost_while_a_slot_is_written_is_noticed_or_mended() {
    for fault in [
        Fault::PowerCutBefore,
        Fault::PowerCutHalf,
        Fault::PowerCutAfter,
    ] {
        let bench = Bench::new(Factory::provisioned(1));
        let mut chip = bench.device();
        bench.emulator.inject(fault.once().on(0x12).after(2));
        let data = [0x5a; 72];
        // The same bytes may be written again, so the driver does.
        chip.write_slot(slot(10), &data).expect("written");
        assert_eq!(bench.emulator.slot(10), data, "{fault:?}");
        bench.emulator.inject(fault.always().on(0x12));
        if chip.write_slot(slot(10), &[0xa5; 72]).is_ok() {
            panic!("{fault:?}: power never lasted, and it was said to be written");
        }
    }
}

/// Every fault against every call: a right answer or an error, by the deadline, and the chip works afterwards.
#[test]
fn tf17_tf18_tf24_every_fault_in_every_call_ends_right_or_in_an_error() {
    let names = Fault::ALL
        .iter()
        .filter(|(_, fault)| *fault != Fault::CounterExhausted);
    let mut cases = 0;
    for (name, fault) in names {
        for plan in [
            |fault: Fault| fault.once(),
            |fault: Fault| fault.once().after(2),
            |fault: Fault| fault.always().bit(25),
        ] {
            for call in [generate, open_and_sign, attest] {
                let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
                let planned: Planned = plan(*fault);
                bench.emulator.inject(planned);
                bench.in_time(12, || call(name, &provider));
                bench.emulator.heal();
                bench.emulator.power_cycle();
                provider
                    .open(&uri(0))
                    .and_then(|key| key.sign(b"afterwards"))
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 17 * 3 * 3);
}

fn generate(name: &str, provider: &Provider) {
    if let Ok(info) = provider.generate(&uri(2), &KeyTemplate::signing(Algorithm::Esp256)) {
        // What counts is that it was a key when it was made: the fault may go on.
        assert_eq!(info.public.algorithm(), Algorithm::Esp256, "{name}");
    }
}

fn open_and_sign(name: &str, provider: &Provider) {
    let Ok(key) = provider.open(&uri(0)) else {
        return;
    };
    let Ok(signature) = key.sign(b"message") else {
        return;
    };
    key.public_key()
        .verify(b"message", signature.as_bytes())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn attest(name: &str, provider: &Provider) {
    let challenge = Challenge::new([3; 32]);
    let Ok(Evidence::Atecc608(evidence)) = provider.attest(&uri(0), &challenge) else {
        return;
    };
    evidence
        .check_signature(&challenge)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// How many signatures the next test makes; `COUNTERSIGN_FAULTS` gives another number.
const FAULTY_SIGNATURES: u32 = 10_000;

/// One bit is turned in each: on the bus, in the digest, in the scalar, or in the result.
#[test]
fn tf27_of_thousands_of_signatures_with_a_bit_turned_no_bad_one_leaves() {
    let count = std::env::var("COUNTERSIGN_FAULTS")
        .ok()
        .map_or(FAULTY_SIGNATURES, |count| count.parse().expect("a number"));
    let tally = crate::bench::flipped_signatures(count, 27);
    println!(
        "{count} signatures with a bit turned: {} good, {} refused, {} bad",
        tally.good, tally.refused, tally.bad
    );
    assert_eq!(tally.bad, 0);
    assert_eq!(tally.good + tally.refused, count);
    // Both happen: what is mended, and what is not.
    assert!(
        tally.good > count / 10 && tally.refused > count / 10,
        "{tally:?}"
    );
}

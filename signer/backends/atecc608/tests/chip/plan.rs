//! Configuring and locking by a file.

use countersign_atecc608_emulator::{Factory, Fault};
use countersign_backend_atecc608::{Atecc608, ChipFile, Error, Plan, PlanError, Unfit};
use countersign_keys::{Algorithm, KeyProvider as _, KeyTemplate};

use crate::bench::{Bench, uri};
use crate::slot;

const FILE: &str = r#"
    type = "ATECC608"
    bus = "/dev/i2c-1"
    keys = [0, 2]
    attestation-key = 1
    [certificate]
    slot = 10
    [ca-certificate]
    slot = 12
    public-key-slot = 11
    [lock]
    configuration = true
    data = true
    slots = [0, 10]
"#;

fn file(from: &str, to: &str) -> ChipFile {
    let text = FILE.replacen(from, to, 1);
    ChipFile::parse(&text).expect("a file")
}

#[test]
fn a_blank_chip_becomes_what_its_file_says_in_two_plans() {
    let bench = Bench::new(Factory::blank(1));
    let mut chip = bench.device();
    let file = file("", "");
    let plan = Plan::make(&mut chip, &file).expect("a plan");
    let before = bench.emulator.configuration();
    let shown = plan.to_string();
    for line in [
        "chip 0123c68e5b000001ee:",
        "slot 1: SlotConfig 2087 becomes 2082, KeyConfig 0033 becomes 0033",
        "slot 2: SlotConfig 208f becomes 2083",
        "slot 11: SlotConfig 0000 becomes 0000, KeyConfig 003c becomes 0030",
        "lock the configuration FOR EVER",
        "lock the data and one-time zones FOR EVER",
        "not now: slot 0",
        "not now: slot 10",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert!(plan.is_for_ever());
    assert_eq!(before, bench.emulator.configuration(), "nothing was done");

    let consent = plan.consent("0123C68E5B000001EE").expect("its serial");
    plan.carry_out(&mut chip, &consent).expect("done");
    let now = chip.configuration().expect("a configuration");
    assert!(now.config_locked() && now.data_locked() && !now.slot_locked(slot(0)));

    // Keys, a certificate, and then the slots.
    let provider = bench.provider();
    let signing = KeyTemplate::signing(Algorithm::Esp256);
    let attestation = KeyTemplate::attestation(Algorithm::Esp256);
    provider.generate(&uri(0), &signing).expect("a key");
    provider.generate(&uri(2), &signing).expect("a key");
    provider.generate(&uri(1), &attestation).expect("a key");
    let plan = Plan::make(&mut chip, &file).expect("a plan");
    let shown = plan.to_string();
    assert!(shown.contains("- lock slot 0 FOR EVER") && shown.contains("not now: slot 10"));
    chip.write_slot(slot(10), &[1; 72]).expect("written");
    let plan = Plan::make(&mut chip, &file).expect("a plan");
    plan.carry_out(&mut chip, &consent).expect("done");
    let now = chip.configuration().expect("a configuration");
    assert!(now.slot_locked(slot(0)) && now.slot_locked(slot(10)) && !now.slot_locked(slot(2)));
    assert!(provider.show(&uri(0)).expect("slot 0").locked);
    chip.write_slot(slot(10), &[2; 72]).expect_err("locked");

    let plan = Plan::make(&mut chip, &file).expect("a plan");
    assert!(plan.is_empty() && !plan.is_for_ever());
    assert!(plan.to_string().contains("nothing is to be done"));
}

#[test]
fn nothing_is_locked_without_the_serial_number_of_this_chip_as_it_was_seen() {
    let bench = Bench::new(Factory::blank(1));
    let mut chip = bench.device();
    let plan = Plan::make(&mut chip, &file("", "")).expect("a plan");
    for typed in ["", "yes", "0123c68e5b000002ee", "0123c68e5b000001e"] {
        assert!(matches!(
            plan.consent(typed),
            Err(PlanError::Consent { .. })
        ));
    }
    let consent = plan.consent(" 0123c68e5b000001ee\n").expect("its serial");
    // Another chip in its place.
    let other = Bench::new(Factory::blank(2));
    let outcome = plan.carry_out(&mut other.device(), &consent);
    assert_eq!(outcome, Err(PlanError::Changed));
    // The consent of another.
    let theirs = Plan::make(&mut other.device(), &file("", "")).expect("a plan");
    let theirs = theirs.consent("0123c68e5b000002ee").expect("its serial");
    let outcome = plan.carry_out(&mut chip, &theirs);
    assert_eq!(outcome, Err(PlanError::Chip(Error::OtherChip)));
    // That much was done, and can be undone.
    let now = chip.configuration().expect("a configuration");
    assert!(!now.config_locked() && !now.data_locked());
    // Somebody wrote to it meanwhile.
    let outcome = plan.carry_out(&mut chip, &consent);
    assert_eq!(outcome, Err(PlanError::Changed));
    assert_eq!(bench.emulator.configuration()[86..88], [0x55, 0x55]);
}

#[test]
fn power_lost_in_the_middle_is_no_matter_for_the_next_plan() {
    let file = file("", "");
    for fault in [
        Fault::PowerCutBefore,
        Fault::PowerCutHalf,
        Fault::PowerCutAfter,
    ] {
        for opcode in [0x12, 0x17] {
            let bench = Bench::new(Factory::blank(1));
            let mut chip = bench.device();
            bench.emulator.inject(fault.once().on(opcode));
            let plan = Plan::make(&mut chip, &file).expect("a plan");
            let consent = plan.consent("0123c68e5b000001ee").expect("its serial");
            let _ = plan.carry_out(&mut chip, &consent);
            let again = Plan::make(&mut chip, &file).expect("a plan");
            again.carry_out(&mut chip, &consent).expect("done");
            let now = chip.configuration().expect("a configuration");
            assert!(now.config_locked() && now.data_locked(), "{fault:?}");
            assert_eq!(now.slot(slot(2)).0, 0x2083, "{fault:?}");
        }
    }
}

#[test]
fn tf20_a_chip_that_is_locked_otherwise_gets_no_plan() {
    let refused = |factory: Factory, file: &ChipFile| {
        let bench = Bench::new(factory);
        Plan::make(&mut bench.device(), file).expect_err("no plan")
    };
    let import = Factory::provisioned(1).slot(2, 0x6083, 0x0033);
    assert_eq!(
        refused(import, &file("", "")),
        PlanError::LockedOtherwise {
            slot: slot(2),
            unfit: Unfit::Importable
        }
    );
    let free = Factory::provisioned(1).slot(1, 0x2083, 0x0033);
    assert_eq!(
        refused(free, &file("", "")),
        PlanError::LockedOtherwise {
            slot: slot(1),
            unfit: Unfit::ExternalSignatures
        }
    );
    let elsewhere = file("keys", "address = 0x35\nkeys");
    assert_eq!(
        refused(Factory::provisioned(1), &elsewhere),
        PlanError::OtherAddress { address: 0x60 }
    );
    let later = file("ATECC608", "ATECC608B");
    assert_eq!(
        refused(Factory::blank(1), &later),
        PlanError::OtherModel { found: "ATECC608A" }
    );
    let order = file("configuration = true", "configuration = false");
    assert_eq!(refused(Factory::blank(1), &order), PlanError::Order);
}

#[test]
fn a_new_address_counts_at_once() {
    let bench = Bench::new(Factory::blank(1));
    let mut chip = bench.device();
    let plan = Plan::make(&mut chip, &file("keys", "address = 0x35\nkeys")).expect("a plan");
    assert!(plan.to_string().contains("address 0x60 becomes 0x35"));
    let consent = plan.consent("0123c68e5b000001ee").expect("its serial");
    plan.carry_out(&mut chip, &consent).expect("done");
    let mut there = Atecc608::new(bench.emulator.bus(), bench.emulator.delay(), 0x35);
    assert!(
        there
            .configuration()
            .expect("a configuration")
            .data_locked()
    );
    bench
        .device()
        .serial()
        .expect_err("nobody is there any more");
}

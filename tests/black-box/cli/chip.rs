//! `countersign` with keys in an emulated ATECC608 on a bus of Linux: made, used, locked for ever, and what is said when the
//! chip fails, is another, or is not configured.

use std::process::Command;

use countersign_atecc608_emulator::{Clock, Emulator, Factory, Fault, shim, socket};

use super::bench::{Bench, Ran, program};
use super::sign;

/// The serial number of every chip here.
const SERIAL: &str = "0123c68e5b000007ee";

/// A folder, and a chip that the program finds on /dev/i2c-1 at 0x60.
pub(super) struct Desk {
    pub(super) bench: Bench,
    chip: Emulator,
    wires: tempfile::TempDir,
}

impl Desk {
    pub(super) fn new(factory: Factory) -> Self {
        let chip = Emulator::with_clock(factory, Clock::real());
        let wires = tempfile::tempdir().expect("a temporary folder");
        socket::serve(&chip, &wires.path().join("bus")).expect("a folder takes a socket");
        shim::build(wires.path()).expect("a C compiler");
        Self {
            bench: sign::ready(),
            chip,
            wires,
        }
    }

    /// The program with these arguments, of which SLOT:n stands for the key in that slot.
    pub(super) fn run(&self, line: &str) -> Ran {
        let mut command = Command::new(program("countersign"));
        command
            .env("LD_PRELOAD", self.wires.path().join("libi2c_shim.so"))
            .env(shim::SOCKET_VARIABLE, self.wires.path().join("bus"));
        for word in line.split_whitespace() {
            command.arg(match word.split_once(':') {
                Some(("SLOT", slot)) => format!("atecc608:/dev/i2c-1?address=0x60&slot={slot}"),
                _ => word.to_owned(),
            });
        }
        self.bench.run(command, b"")
    }
}

#[test]
fn a_key_in_a_slot_is_made_used_listed_and_locked_only_by_the_chips_own_serial_number() {
    let desk = Desk::new(Factory::provisioned(7));
    let made = desk.run("key generate SLOT:0 --json").succeeded().json();
    assert_eq!(
        (&made["origin"], &made["locked"]),
        (&"device".into(), &false.into())
    );
    desk.run("key csr SLOT:0 --device-id chip-1 --output chip.csr")
        .succeeded();
    desk.bench.openssl("req -in chip.csr -verify -noout");
    let list = desk
        .run("key list atecc608:/dev/i2c-1?address=0x60 --json")
        .succeeded()
        .json();
    assert!(
        list["description"].as_str().expect("text").contains(SERIAL),
        "{list}"
    );
    assert_eq!(list["keys"].as_array().map(Vec::len), Some(1));

    // What cannot be undone is shown, and wants the chip's own serial number.
    let locked =
        |desk: &Desk| desk.run("key show SLOT:0 --json").succeeded().json()["locked"].clone();
    desk.run("device lock SLOT:0")
        .failed(2, &["lost for ever", SERIAL, "--serial"]);
    desk.run("device lock SLOT:0 --serial 0123c68e5b000008ee")
        .failed(2, &["lost for ever", "nothing was locked"]);
    assert_eq!(locked(&desk), false);
    desk.run(&format!("device lock SLOT:0 --serial {SERIAL}"))
        .succeeded();
    assert_eq!(locked(&desk), true);
    // It signs as before, and is not removed.
    desk.run("key csr SLOT:0 --device-id chip-1 --output again.csr")
        .succeeded();
    desk.run("key delete SLOT:0 --yes")
        .failed(2, &["cannot remove", "revoke"]);
}

#[test]
fn tf08_the_wrong_slot_and_the_certificate_of_another_key_are_said() {
    let desk = Desk::new(Factory::provisioned(7));
    desk.run("key generate SLOT:0").succeeded();
    for (line, words) in [
        (
            "sign app.wasm --key SLOT:2 --chain chain.pem",
            &["slot 2", "holds no key"][..],
        ),
        (
            "sign app.wasm --key SLOT:8 --chain chain.pem",
            &["slot 8", "name another slot"],
        ),
        ("sign app.wasm --key SLOT:1 --chain chain.pem", &["slot 1"]),
        (
            "sign app.wasm --key SLOT:0 --chain chain.pem",
            &["does not belong to atecc608:"],
        ),
        ("key generate SLOT:0", &["holds a key already"]),
        ("key generate SLOT:2 --pcr 7", &["state of the boot"]),
        ("key show SLOT:16", &["slot=0..15"]),
    ] {
        desk.run(line).failed(2, words);
    }
    assert!(!desk.bench.exists("app.signed.wasm"));
}

#[test]
fn tf01_tf17_a_chip_that_is_absent_blank_or_failing_signs_nothing() {
    let desk = Desk::new(Factory::provisioned(7));
    desk.run("key generate SLOT:0").succeeded();
    desk.run("key show atecc608:/dev/i2c-1?address=0x35&slot=0")
        .failed(2, &["0x35", "check wiring"]);
    let csr = "key csr SLOT:0 --device-id chip-1 --output bad.csr";
    for (fault, line, status, words) in [
        (Fault::NoWake, csr, 2, "check wiring"),
        (Fault::SignatureBit, csr, 119, "wrong signature"),
        (Fault::ConstantRandom, "key generate SLOT:2", 119, "random"),
    ] {
        desk.chip.inject(fault.always());
        let ran = desk.run(line);
        assert!(
            ran.status == status && ran.stderr.contains(words),
            "{fault:?}: {ran:#?}"
        );
        desk.chip.heal();
    }
    assert!(!desk.bench.exists("bad.csr"));

    let blank = Desk::new(Factory::blank(7));
    blank
        .run("key generate SLOT:0")
        .failed(2, &["configure and lock the chip first"]);
}

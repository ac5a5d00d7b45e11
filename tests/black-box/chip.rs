//! `countersign device configure` and what follows, on an ATECC608 that is emulated behind /dev/i2c-1.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use countersign_atecc608_emulator::{Clock, Emulator, Factory, shim, socket};

use crate::cli::bench::{Bench, Ran, program};

const SERIAL: &str = "0123c68e5b000007ee";

const FILE: &str = r#"
type = "ATECC608"
bus = "/dev/i2c-1"
keys = [0, 2]
attestation-key = 1
[lock]
configuration = true
data = true
slots = [0]
"#;

/// A blank chip, and a folder with its file.
struct Desk {
    bench: Bench,
    chip: Emulator,
    environment: [(&'static str, OsString); 2],
    _folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let bench = Bench::new();
        bench.write("chip.toml", FILE);
        let chip = Emulator::with_clock(Factory::blank(7).unpredictable(), Clock::real());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bus = folder.path().join("bus");
        socket::serve(&chip, &bus).expect("a folder takes a socket");
        let library = shim::build(folder.path()).expect("a C compiler");
        Self {
            bench,
            chip,
            environment: [
                ("LD_PRELOAD", library.into_os_string()),
                (shim::SOCKET_VARIABLE, bus.into_os_string()),
            ],
            _folder: folder,
        }
    }

    fn run(&self, arguments: &str) -> Ran {
        let mut command = Command::new(program("countersign"));
        command.args(arguments.split_whitespace());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.bench.run(command, b"")
    }

    fn typing(&self, arguments: &str, line: &str) -> Ran {
        let environment: Vec<(&str, &OsStr)> = self
            .environment
            .iter()
            .map(|(name, value)| (*name, value.as_os_str()))
            .collect();
        let prompt = "to do this: ";
        self.bench
            .at_a_terminal_with(&environment, arguments, prompt, &[line])
    }

    /// Locks of configuration and data, and of slot 0.
    fn locks(&self) -> (bool, bool, bool) {
        let zone = self.chip.configuration();
        (zone[87] != 0x55, zone[86] != 0x55, zone[88] & 1 == 0)
    }
}

#[test]
fn a_blank_chip_is_configured_used_and_locked_from_the_desk() {
    let desk = Desk::new();
    let key = "atecc608:/dev/i2c-1?slot=0";
    // It is used for nothing as it is.
    desk.run(&format!("key generate {key}"))
        .failed(2, &["the configuration is not locked"]);
    let plan = desk.run("device configure chip.toml --plan").succeeded();
    assert!(plan.stderr.contains("lock the configuration FOR EVER"));
    desk.run("device configure chip.toml")
        .failed(2, &["no terminal", "--serial"]);
    desk.run("device configure chip.toml --serial 0123c68e5b000008ee")
        .failed(2, &["not this chip's"]);
    let other = desk.typing("device configure chip.toml", "yes");
    assert_ne!(other.status, 0, "{other:?}");
    assert_eq!(desk.locks(), (false, false, false));

    let typed = desk.typing("device configure chip.toml", SERIAL);
    assert_eq!(typed.status, 0, "{typed:?}");
    assert_eq!(desk.locks(), (true, true, false));
    desk.run(&format!("key generate {key}")).succeeded();
    desk.run(&format!(
        "device configure chip.toml --json --serial {SERIAL}"
    ))
    .succeeded();
    assert_eq!(desk.locks(), (true, true, true));
    let nothing = desk.run("device configure chip.toml").succeeded();
    assert!(nothing.stderr.contains("nothing is to be done"));
    let shown = desk.run(&format!("key show {key} --json")).succeeded();
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert!(shown.to_string().contains("\"locked\":true"), "{shown}");
}

#[test]
fn a_file_that_describes_no_chip_or_another_is_refused_before_anything_is_done() {
    let desk = Desk::new();
    for (file, words) in [
        (
            FILE.replace("ATECC608", "ATSHA204"),
            ["chip.toml", "ATECC608B"],
        ),
        (FILE.replace("[0, 2]", "[0, 1]"), ["slot 1", "named twice"]),
        (
            FILE.replace("\"ATECC608\"", "\"ATECC608B\""),
            ["ATECC608A", "not the type"],
        ),
    ] {
        desk.bench.write("chip.toml", file);
        desk.run(&format!("device configure chip.toml --serial {SERIAL}"))
            .failed(2, &words);
    }
    assert_eq!(desk.locks(), (false, false, false));
}

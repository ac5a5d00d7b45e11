//! A device made as an operator makes one: a key in one of the stores, a request for it, and a certificate for guest data
//! from a PKI of its own. All by the built programs.

use std::any::Any;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_atecc608_emulator::{Clock, Emulator, Factory, shim, socket};
use countersign_testing::swtpm::Swtpm;

use super::host::HOST;
use crate::programs::{Ran, program, run};
use crate::python::python;

/// What the device's certificate calls it.
pub(super) const DEVICE: &str = "gateway-7";

/// Where a key is.
pub(super) struct Store {
    key: String,
    /// For `countersign key generate`.
    options: &'static [&'static str],
    /// For every program that uses the key.
    environment: Vec<(&'static str, OsString)>,
    /// Ends with the store.
    _hardware: Option<Box<dyn Any>>,
}

impl Store {
    /// A file.
    pub(super) fn file() -> Self {
        Self {
            key: "file:telemetry.key.pem".to_owned(),
            options: &["--unencrypted"],
            environment: Vec::new(),
            _hardware: None,
        }
    }

    /// A TPM of its own.
    pub(super) fn tpm() -> Self {
        let tpm = Swtpm::start();
        Self {
            key: format!("tpm:telemetry?tcti={}", tpm.tcti()),
            options: &[],
            environment: Vec::new(),
            _hardware: Some(Box::new(tpm)),
        }
    }

    /// An ATECC608 of its own, as /dev/i2c-1.
    pub(super) fn atecc608() -> Self {
        let chip = Emulator::with_clock(Factory::provisioned(0).unpredictable(), Clock::real());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bus = folder.path().join("bus");
        socket::serve(&chip, &bus).expect("a folder takes a socket");
        let library = shim::build(folder.path()).expect("a C compiler");
        Self {
            key: "atecc608:/dev/i2c-1?address=0x60&slot=0".to_owned(),
            options: &[],
            environment: vec![
                ("LD_PRELOAD", library.into_os_string()),
                (shim::SOCKET_VARIABLE, bus.into_os_string()),
            ],
            _hardware: Some(Box::new((chip, folder))),
        }
    }
}

/// A device with a certified key for its guests.
pub(super) struct Device {
    store: Store,
    folder: tempfile::TempDir,
}

impl Device {
    /// Makes the key and has it certified.
    pub(super) fn with_key_in(store: Store) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let device = Self { store, folder };
        let key = device.store.key.as_str();
        let generate = [&["key", "generate", key], device.store.options].concat();
        device.program("countersign", &generate);
        let request = ["key", "csr", key, "--device-id", DEVICE];
        device.program(
            "countersign",
            &[&request[..], &["--output", "telemetry.csr"]].concat(),
        );

        device.program("countersign-ca", &["dev", "--dir", "pki"]);
        let issue = [
            "issue",
            "--dir",
            "pki/ca",
            "--profile",
            "guest-data",
            "--days",
            "7",
        ];
        let files = ["--csr", "telemetry.csr", "--out", "telemetry.chain.pem"];
        device.program("countersign-ca", &[&issue[..], &files].concat());
        device
    }

    /// Lends the key to a guest of guest-examples/ and runs it with these options.
    pub(super) fn run(&self, guest: &str, options: &[&str]) -> Ran {
        let lend = [
            "--audit".to_owned(),
            "audit.jsonl".to_owned(),
            "--device-key".to_owned(),
            format!("telemetry={}", self.store.key),
            "--device-chain".to_owned(),
            "telemetry=telemetry.chain.pem".to_owned(),
        ];
        let signed = HOST.sign(guest);
        let mut command = signed.command();
        command.args(lend).args(options);
        run(self.at_home(&mut command))
    }

    /// What the example of the trust store says of these lines.
    pub(super) fn judge(&self, lines: &str) -> Ran {
        std::fs::write(self.path("signed.hex"), lines).expect("a temporary folder takes files");
        let mut judge = Command::new(program("examples/verify_guest_data"));
        judge.args(["--root", "pki/root.pem", "--crl", "pki/root.crl.pem"]);
        judge.args(["--crl", "pki/intermediate.crl.pem", "signed.hex"]);
        run(self.at_home(&mut judge))
    }

    /// What the verifier in Python says of one line, with these options: its verdict, as JSON.
    pub(super) fn judge_in_python(&self, line: &str, options: &[&str]) -> serde_json::Value {
        let file = self.path("signed.line");
        std::fs::write(&file, line).expect("a temporary folder takes files");
        let output = python(
            "verify_guest_data.py",
            &self.path("pki/root.pem"),
            options,
            &file,
        );
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program that must succeed.
    fn program(&self, name: &str, arguments: &[&str]) {
        let mut command = Command::new(program(name));
        let ran = run(self.at_home(command.args(arguments)));
        assert_eq!(ran.status, 0, "{name} {arguments:?}: {ran:?}");
    }

    /// In the device's folder, with what its store needs.
    fn at_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let environment = self.store.environment.iter();
        command
            .current_dir::<&Path>(self.folder.path())
            .envs(environment.map(|(name, value)| (name, value)))
    }
}

//! A device made as an operator makes one: a key in one of the stores, a request for it, and a certificate for guest data
//! from a PKI of its own. All by the built programs.

use std::any::Any;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_atecc608_emulator::{Clock, Emulator, Factory, shim, socket};
use countersign_testing::swtpm::Swtpm;
use countersign_testing::tokens::{Module, Tokens};

use crate::programs::{Ran, program, run};

/// What the device's certificate calls it.
pub(crate) const DEVICE: &str = "gateway-7";

/// Where a key is.
pub(crate) struct Store {
    key: String,
    /// For `countersign key generate`.
    options: &'static [&'static str],
    /// For every program that uses the key.
    environment: Vec<(&'static str, OsString)>,
    /// Ends with the store.
    hardware: Option<Box<dyn Any>>,
}

impl Store {
    /// A file.
    pub(crate) fn file() -> Self {
        Self {
            key: "file:telemetry.key.pem".to_owned(),
            options: &["--unencrypted"],
            environment: Vec::new(),
            hardware: None,
        }
    }

    /// A TPM of its own.
    pub(crate) fn tpm() -> Self {
        let tpm = Swtpm::start();
        Self {
            key: format!("tpm:telemetry?tcti={}", tpm.tcti()),
            options: &[],
            environment: Vec::new(),
            hardware: Some(Box::new(tpm)),
        }
    }

    /// A token of its own.
    pub(crate) fn token() -> Self {
        let tokens = Tokens::with(Module::SoftHsm, "gateway");
        let (variable, file) = tokens.environment();
        Self {
            key: tokens.uri("gateway", "telemetry"),
            options: &[],
            environment: vec![(variable, file.into_os_string())],
            hardware: Some(Box::new(tokens)),
        }
    }

    /// An ATECC608 of its own, as /dev/i2c-1.
    pub(crate) fn atecc608() -> Self {
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
            hardware: Some(Box::new((chip, folder))),
        }
    }
}

/// A device with a certified key for its guests.
pub(crate) struct Device {
    store: Store,
    folder: tempfile::TempDir,
}

impl Device {
    /// Makes the key and has it certified for guest data.
    pub(crate) fn with_key_in(store: Store) -> Self {
        Self::with_key_for("guest-data", store)
    }

    /// Makes the key and has it certified for this purpose.
    pub(crate) fn with_key_for(profile: &str, store: Store) -> Self {
        Self::with_key_by(store, &["--profile", profile])
    }

    /// Makes the key and has it certified with these options.
    pub(crate) fn with_key_by(store: Store, purpose: &[&str]) -> Self {
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
        device.certify(purpose, "telemetry.chain.pem");
        device
    }

    /// Has the key certified for this once more, into a file.
    pub(crate) fn certify(&self, purpose: &[&str], chain: &str) {
        let issue = ["issue", "--dir", "pki/ca", "--days", "7"];
        let files = ["--csr", "telemetry.csr", "--out", chain];
        self.program("countersign-ca", &[&issue[..], purpose, &files].concat());
    }

    /// The key, for whoever is not in the device's folder.
    pub(crate) fn key(&self) -> String {
        match self.store.key.strip_prefix("file:") {
            Some(name) => format!("file:{}", self.path(name).display()),
            None => self.store.key.clone(),
        }
    }

    /// What every program needs that uses the key.
    pub(crate) fn environment(&self) -> &[(&'static str, OsString)] {
        &self.store.environment
    }

    /// Where a token in software writes.
    pub(crate) fn written(&self) -> Option<PathBuf> {
        let hardware = self.store.hardware.as_ref()?;
        let tokens = hardware.downcast_ref::<Tokens>()?;
        tokens.environment().1.parent().map(Path::to_owned)
    }

    /// The hardware that holds the key.
    pub(crate) fn hardware<T: 'static>(&mut self) -> &mut T {
        let hardware = self.store.hardware.as_mut();
        let hardware = hardware.and_then(|hardware| hardware.downcast_mut());
        hardware.expect("the store that was asked for")
    }

    /// What the example of the trust store says of these lines.
    pub(crate) fn judge(&self, lines: &str) -> Ran {
        std::fs::write(self.path("signed.hex"), lines).expect("a temporary folder takes files");
        let mut judge = Command::new(program("examples/verify_guest_data"));
        judge.args(["--root", "pki/root.pem", "--crl", "pki/root.crl.pem"]);
        judge.args(["--crl", "pki/intermediate.crl.pem", "signed.hex"]);
        run(self.at_home(&mut judge))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program that must succeed.
    pub(crate) fn program(&self, name: &str, arguments: &[&str]) {
        let mut command = Command::new(program(name));
        let ran = run(self.at_home(command.args(arguments)));
        assert_eq!(ran.status, 0, "{name} {arguments:?}: {ran:?}");
    }

    /// In the device's folder, with what its store needs.
    pub(crate) fn at_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let environment = self.store.environment.iter();
        command
            .current_dir::<&Path>(self.folder.path())
            .envs(environment.map(|(name, value)| (name, value)))
    }
}

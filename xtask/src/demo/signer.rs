//! Who signs in the demo: a key file, a TPM, or an ATECC608. The chips are swtpm and the emulator of this repository.
//!
//! A chip makes its keys itself; what leaves it are public keys in certificate requests, and signatures.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::SCOPE;
use super::stage::Stage;
use crate::process::built;
use crate::setup::Need;

/// The kinds of signers, as `--key` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A key file.
    File,
    /// A TPM 2.0: swtpm.
    Tpm,
    /// An ATECC608 on an I²C bus: the emulator.
    Atecc608,
}

/// How long a chip may take to start.
const START: Duration = Duration::from_secs(20);

/// The device's name in its certificates.
pub(super) const DEVICE: &str = "demo-gateway-1";

impl Kind {
    /// The kind that a word of the command line names.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "file" => Some(Self::File),
            "tpm" => Some(Self::Tpm),
            "atecc608" => Some(Self::Atecc608),
            _ => None,
        }
    }

    pub(super) fn needs(self) -> &'static [Need] {
        match self {
            Self::File => &[],
            Self::Tpm => &[Need::Tpm],
            Self::Atecc608 => &[Need::CCompiler],
        }
    }
}

/// A key with its chain, as they stand on command lines.
pub(super) struct Key {
    pub(super) uri: String,
    pub(super) chain: String,
}

impl Key {
    /// The key that `countersign-ca dev` leaves in a file.
    pub(super) fn of_development_pki() -> Self {
        Self {
            uri: "pki/device.key.pem".to_owned(),
            chain: "pki/device.chain.pem".to_owned(),
        }
    }
}

/// A chip that runs, and ends when this is dropped.
pub(super) struct Chip {
    process: Child,
    /// The URI of the key that signs components.
    components: String,
    /// The URI of the key that is lent to guests.
    guests: String,
}

impl Drop for Chip {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Chip {
    /// Starts the chip of this kind; none for files. What the stage's programs need to reach it becomes part of their
    /// environment.
    pub(super) fn start(kind: Kind, stage: &mut Stage) -> Result<Option<Self>> {
        match kind {
            Kind::File => Ok(None),
            Kind::Tpm => tpm(stage).map(Some),
            Kind::Atecc608 => atecc608(stage).map(Some),
        }
    }

    /// Makes the key that signs components, inside the chip, and has it certified.
    pub(super) fn components(&self, stage: &Stage) -> Result<Key> {
        let scope = SCOPE.iter().flat_map(|scope| ["--scope", *scope]);
        let more: Vec<&str> = scope.collect();
        certified(stage, &self.components, "build", "component-signer", &more)
    }

    /// Makes the key that the device lends to its guests.
    pub(super) fn guests(&self, stage: &Stage) -> Result<Key> {
        certified(stage, &self.guests, "telemetry", "guest-data", &[])
    }
}

/// Makes a key and gets a certificate for it: the request leaves the chip, the chain comes back.
fn certified(stage: &Stage, uri: &str, name: &str, profile: &str, more: &[&str]) -> Result<Key> {
    let request = format!("{name}.csr.pem");
    let chain = format!("{name}.chain.pem");
    let mut generate = stage.command("countersign");
    generate.args(["key", "generate", uri]);
    stage.show(&mut generate)?.must_succeed()?;
    let mut csr = stage.command("countersign");
    csr.args(["key", "csr", uri, "--device-id", DEVICE]);
    csr.args(["--output", &request]);
    stage.show(&mut csr)?.must_succeed()?;
    let mut issue = stage.command("countersign-ca");
    issue.args(["issue", "--dir", "pki/ca", "--profile", profile]);
    issue.args(["--csr", &request, "--days", "14", "--out", &chain]);
    stage.show(issue.args(more))?.must_succeed()?;
    Ok(Key {
        uri: uri.to_owned(),
        chain,
    })
}

fn tpm(stage: &Stage) -> Result<Chip> {
    let folder = stage.path("tpm");
    std::fs::create_dir_all(&folder)?;
    let port = free_pair()?;
    let mut swtpm = Command::new("swtpm");
    swtpm.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
    swtpm
        .arg("--tpmstate")
        .arg(format!("dir={}", folder.display()));
    swtpm.arg("--server").arg(format!(
        "type=tcp,bindaddr=127.0.0.1,port={port},disconnect"
    ));
    swtpm
        .arg("--ctrl")
        .arg(format!("type=tcp,bindaddr=127.0.0.1,port={}", port + 1));
    let way = format!("tcti=swtpm:host=127.0.0.1,port={port}");
    let mut chip = Chip {
        process: quiet(&mut swtpm)?,
        components: format!("tpm:build?{way}"),
        guests: format!("tpm:telemetry?{way}"),
    };
    wait(&mut chip.process, "swtpm", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    })?;
    println!("swtpm, a TPM 2.0 in software, listens on port {port}");
    Ok(chip)
}

fn atecc608(stage: &mut Stage) -> Result<Chip> {
    let socket = stage.path("atecc608.socket");
    let shim = stage.path("libi2c_shim.so");
    let mut emulator = Command::new(built("atecc608-emulator"));
    emulator.arg("--provisioned").arg("--socket").arg(&socket);
    emulator.arg("--shim").arg(&shim);
    let mut chip = Chip {
        process: quiet(&mut emulator)?,
        components: "atecc608:/dev/i2c-1?slot=0".to_owned(),
        guests: "atecc608:/dev/i2c-1?slot=2".to_owned(),
    };
    wait(&mut chip.process, "the emulator", || socket.exists())?;
    stage.set_environment("LD_PRELOAD", &shim);
    stage.set_environment("ATECC608_EMULATOR_SOCKET", &socket);
    println!("the emulated ATECC608 stands in for what would be on /dev/i2c-1");
    Ok(chip)
}

fn quiet(command: &mut Command) -> Result<Child> {
    let program = Path::new(command.get_program()).to_path_buf();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

fn wait(process: &mut Child, what: &str, ready: impl Fn() -> bool) -> Result<()> {
    let until = Instant::now() + START;
    while !ready() {
        if let Some(status) = process.try_wait()? {
            bail!("{what} ended with {status}");
        }
        ensure!(Instant::now() < until, "{what} does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Two free ports, one after the other; the lower one.
fn free_pair() -> Result<u16> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (31_000..32_000)
        .step_by(2)
        .find(|port| free(*port) && free(port + 1))
        .context("no two free ports between 31000 and 32000")
}

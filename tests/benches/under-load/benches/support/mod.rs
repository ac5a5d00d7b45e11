//! The built gateway with a PKI of its own, and what Linux says of a process.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use countersign_testing::{TestPki, write_program};
use tempfile::TempDir;

/// A folder with a PKI and a gateway that trusts its root, which has a state already.
pub(crate) struct Gateway {
    folder: TempDir,
    pki: TestPki,
}

impl Gateway {
    pub(crate) fn new(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = TestPki::builder().scope(&["test:*"]).build();
        let _ = pki.write(folder.path());
        let mut host = std::fs::read(program).expect("the gateway is built");
        countersign_roots_file::fill(&mut host, &[pki.anchor_source()])
            .expect("the gateway takes roots");
        let path = folder.path().join("gateway");
        write_program(&path, &host);
        let gateway = Self { folder, pki };
        let made = gateway.command("init").args(["--state", "state"]).status();
        assert!(made.expect("it starts").success());
        gateway
    }

    /// Signs a component as `test:NAME` into the file `NAME.wasm`; one that answers requests asks for them.
    pub(crate) fn sign(&self, name: &str, component: &[u8], answers: bool) {
        let mut manifest = self.pki.manifest(&format!("test:{name}"));
        manifest.grants.http_incoming = answers;
        let signed = self.pki.sign(component, &manifest);
        std::fs::write(self.folder.path().join(format!("{name}.wasm")), signed)
            .expect("our own folder");
    }

    /// The gateway with one of its verbs.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(self.folder.path().join("gateway"));
        command.current_dir(self.folder.path()).arg(verb);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The command that runs it with these services.
    pub(crate) fn run(&self, services: &str) -> Command {
        let text = format!("[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n{services}");
        std::fs::write(self.folder.path().join("gateway.toml"), text).expect("our own folder");
        let mut command = self.command("run");
        command.args(["--config", "gateway.toml"]);
        command
    }
}

/// A program that is ended with its bench.
pub(crate) struct Ended(pub(crate) Child);

impl Ended {
    pub(crate) fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(quiet.stderr(Stdio::null()).spawn().expect("it starts"))
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes: usize = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|kibibytes| kibibytes.trim().parse().ok())
            .expect("a number");
        kibibytes * 1_024
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

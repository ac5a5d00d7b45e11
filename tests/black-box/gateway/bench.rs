//! A gateway with a PKI and a folder of its own: how tests start it, ask it and stop it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testing::{TestPki, TestPkiBuilder};
use countersign_trust_store::AnchorSource;
use serde_json::Value;
use tempfile::TempDir;

use super::clock;
use crate::components::guest;
use crate::programs::{Ran, fill, program, run};

/// How long a gateway may take to do what it is asked, on a machine under load.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a PKI, a gateway that trusts its root, and what that remembers.
pub(crate) struct Bench {
    pub(crate) pki: TestPki,
    pub(super) folder: TempDir,
    /// For the gateway.
    pub(super) environment: Vec<(&'static str, OsString)>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(TestPki::builder().scope(&["test:*"]))
    }

    pub(crate) fn with(builder: TestPkiBuilder) -> Self {
        let bench = Self::without_state(builder);
        let made = run(bench
            .command("init")
            .arg("--state")
            .arg(bench.path("state")));
        assert_eq!(made.status, 0, "{made:?}");
        bench
    }

    pub(crate) fn without_state(builder: TestPkiBuilder) -> Self {
        let pki = builder.build();
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let root = AnchorSource::new(pki.root().to_vec());
        fill(
            &program("countersign-gateway"),
            &folder.path().join("countersign-gateway"),
            &[root],
        );
        let _ = pki.write(folder.path());
        Self {
            pki,
            folder,
            environment: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(self.path("countersign-gateway"));
        command.arg(verb);
        let environment = self.environment.iter();
        command.envs(environment.map(|(name, value)| (name, value)));
        command
    }

    /// Signs a guest as version `version` of `test:NAME`, into the file NAME.wasm.
    pub(crate) fn sign(&self, name: &str, guest_name: &str, version: u64) {
        let mut manifest = self.pki.manifest(&format!("test:{name}"));
        manifest.security_version = version;
        manifest.version = semver::Version::new(version, 0, 0);
        manifest.grants.stdio.stdout = true;
        manifest.grants.args = true;
        let file = self.pki.sign(&guest(guest_name), &manifest);
        fs::write(self.path(&format!("{name}.wasm")), file).expect("our own folder");
    }

    /// Writes the configuration: these services, each of its component of the same name.
    pub(crate) fn configure(&self, services: &[(&str, &str)]) {
        let mut text = "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n".to_owned();
        for (name, more) in services {
            text.push_str(&format!(
                "\n[[service]]\nname = \"{name}\"\ncomponent = \"{name}.wasm\"\nsigned-as = \"test:{name}\"\n{more}\n"
            ));
        }
        self.configure_with(&text);
    }

    pub(crate) fn configure_with(&self, text: &str) {
        fs::write(self.path("gateway.toml"), text).expect("our own folder");
    }

    pub(crate) fn ran(&self, verb: &str, arguments: &[&str]) -> Ran {
        run(self
            .command(verb)
            .arg("--config")
            .arg(self.path("gateway.toml"))
            .args(arguments))
    }

    pub(crate) fn status(&self) -> Value {
        let ran = self.ran("status", &["--json"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        serde_json::from_str(&ran.stdout).expect("JSON")
    }

    /// What the gateway says of a service.
    pub(crate) fn service(&self, name: &str) -> Value {
        let status = self.status();
        let services = status["services"].as_array().expect("a list");
        let found = services.iter().find(|service| service["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {status}")).clone()
    }

    /// Waits until what the gateway says of a service is as expected.
    #[track_caller]
    pub(crate) fn until(&self, name: &str, expected: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let service = self.service(name);
            if expected(&service) {
                return service;
            }
            assert!(Instant::now() < until, "{service}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn reload(&self) -> (Ran, Value) {
        let ran = self.ran("reload", &["--json"]);
        let json = serde_json::from_str(&ran.stdout).unwrap_or_default();
        (ran, json)
    }

    /// The records, but for that of their own beginning.
    pub(crate) fn records(&self) -> Vec<Value> {
        let ran = self.audit("show", &[]);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("every line is JSON"))
            .filter(|record| record["event"] != "records-began")
            .collect()
    }

    /// `audit verify` or `audit show`.
    pub(crate) fn audit(&self, verb: &str, arguments: &[&str]) -> Ran {
        run(self
            .command("audit")
            .arg(verb)
            .arg("--config")
            .arg(self.path("gateway.toml"))
            .args(arguments))
    }

    /// Starts the gateway, and waits until it can be asked.
    pub(crate) fn start(&self) -> Gateway {
        self.start_by(self.command("run"))
    }

    /// The same with these variables in its environment.
    pub(super) fn start_with(&self, variables: &[(&str, &str)]) -> Gateway {
        let mut command = self.command("run");
        command.envs(variables.iter().copied());
        self.start_by(command)
    }

    /// Starts the gateway by a command of one's own, and waits until it can be asked.
    pub(super) fn start_by(&self, mut command: Command) -> Gateway {
        let log = fs::File::create(self.path("log")).expect("our own folder");
        let process = command
            .arg("--config")
            .arg(self.path("gateway.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let mut gateway = Gateway(process);
        let until = Instant::now() + PATIENCE;
        while self.ran("status", &["--json"]).status != 0 {
            let ended = gateway.0.try_wait().expect("our own process");
            assert!(ended.is_none() && Instant::now() < until, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        gateway
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).expect("a log")
    }
}

/// A running gateway, killed when this is dropped.
pub(crate) struct Gateway(pub(super) Child);

impl Gateway {
    /// Tells it to stop, as a service manager does: its exit status.
    pub(crate) fn stop(mut self) -> i32 {
        let stopped = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(stopped.expect("kill").success());
        let status = self.0.wait().expect("our own process");
        status.code().expect("it ended by itself")
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        resident(self.0.id())
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        descriptors(self.0.id())
    }
}

/// A process's resident memory, in bytes.
pub(super) fn resident(id: u32) -> u64 {
    of_memory(id, "VmRSS:")
}

/// What of it is the process's own, in bytes: not pages of files, of which those of its program come with use and are given back.
pub(super) fn own_memory(id: u32) -> u64 {
    of_memory(id, "RssAnon:") + of_memory(id, "RssShmem:")
}

/// In bytes, what a line of its status says (proc(5)).
fn of_memory(id: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: u64 = number.expect("a size").trim().parse().expect("a number");
    kibibytes * 1_024
}

/// How many descriptors a process has open.
pub(super) fn descriptors(id: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{id}/fd"));
    open.expect("it runs").count()
}

/// Waits until somebody traces a process.
pub(super) fn until_traced(id: u32) {
    let until = Instant::now() + PATIENCE;
    loop {
        // A thread that has ended meanwhile makes nothing any more.
        let threads = fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
        let is_traced = |thread: std::io::Result<fs::DirEntry>| {
            let status = fs::read_to_string(thread.expect("a thread").path().join("status"));
            !status.is_ok_and(|status| status.contains("TracerPid:\t0\n"))
        };
        if threads.into_iter().all(is_traced) {
            return;
        }
        assert!(Instant::now() < until, "nobody traces {id}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        clock::forget(self.0.id());
    }
}

/// In this state, and not because nothing became of it yet.
pub(super) fn is(state: &str) -> impl Fn(&Value) -> bool {
    move |service| service["state"] == state && !is_on_its_way(service)
}

/// Whether it is waited for, which is told as a refusal.
pub(super) fn is_on_its_way(service: &Value) -> bool {
    let why = service["why"].as_str().unwrap_or_default();
    why.contains("is being compiled") || why.contains("not tried yet")
}

pub(super) fn healthy(service: &Value) -> bool {
    service["state"] == "running" && service["healthy"] == true
}

/// Long enough for what traps to have done so, also where a machine has much else to do: what runs so long counts as healthy.
pub(super) const SOON: &str =
    "restart = { first = \"50ms\", most = \"200ms\", healthy-after = \"500ms\" }";
pub(super) const ONCE: &str = "restart = { when = \"never\" }";

/// Sends these bytes and no more, and gives the answer.
pub(super) fn ask(socket: &Path, question: &[u8]) -> String {
    try_ask(socket, question).expect("it listens")
}

/// The same, of one that may be gone.
pub(super) fn try_ask(socket: &Path, question: &[u8]) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let waits = stream.set_read_timeout(Some(PATIENCE));
    waits.expect("a socket");
    // It may have answered before all of it was sent.
    let _ = stream.write_all(question);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    let _ = BufReader::new(stream).read_line(&mut answer);
    Some(answer)
}

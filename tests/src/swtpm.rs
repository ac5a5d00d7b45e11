//! A TPM of one's own for each test: swtpm, the software TPM, on two ports of the loopback interface.
//!
//! ```no_run
//! use countersign_testing::swtpm::Swtpm;
//!
//! let tpm = Swtpm::start();
//! println!("{}", tpm.tcti()); // swtpm:host=127.0.0.1,port=…
//! ```

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use countersign_keys::Tcti;
use tempfile::TempDir;

use crate::ports::free_ports;

/// How long a start may take.
const START: Duration = Duration::from_secs(120);

/// A running software TPM, which ends when this is dropped. What it keeps ends with it.
pub struct Swtpm {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Swtpm {
    /// A new TPM, with nothing in it.
    ///
    /// # Panics
    /// If swtpm cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"))
    }

    fn in_folder(folder: TempDir) -> Self {
        // Another process may take a port between the search and the start: then the next one.
        for _ in 0..20 {
            let port = free_pair();
            let mut process = spawn(&folder, port);
            if answers(&mut process, port) {
                return Self {
                    process,
                    folder,
                    port,
                };
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!(
            "swtpm does not start: {}",
            fs::read_to_string(folder.path().join("log")).unwrap_or_default()
        );
    }

    /// The port of its commands; that of its control channel is one higher.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The way to it.
    #[must_use]
    pub fn tcti(&self) -> Tcti {
        tcti_of(self.port)
    }

    /// Ends it as a power failure would. What it keeps is there when it is [started again](Self::restart).
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Ends it as a power failure would, and starts it again with what it keeps, on the same ports.
    ///
    /// # Panics
    /// If it does not start again.
    pub fn restart(&mut self) {
        self.stop();
        let until = Instant::now() + START;
        loop {
            self.process = spawn(&self.folder, self.port);
            if answers(&mut self.process, self.port) {
                return;
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
            assert!(Instant::now() < until, "swtpm does not start again");
        }
    }

    /// Runs a program of tpm2-tools on it.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn try_tool(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TPM2TOOLS_TCTI", self.tcti().as_str())
            .output()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"))
    }

    /// The same for a program that must succeed: what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_tool(program, arguments);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Where [`Self::tool`] reads and writes its files.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The way to a software TPM on this port.
///
/// # Panics
/// Never: it is the spelling that is taken.
#[must_use]
pub fn tcti_of(port: u16) -> Tcti {
    format!("swtpm:host=127.0.0.1,port={port}")
        .parse()
        .expect("a way to a TPM")
}

/// Two free ports, one after the other, that no other test gets too: the lower one.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn free_pair() -> u16 {
    free_ports(2)
}

/// Lets go of what the test has open, and becomes the program. The TPM library's connections are inherited by whatever is started
/// meanwhile, and a swtpm whose control channel another one holds open answers nobody until that one ends.
const ALONE: &str = r#"for fd in /proc/$$/fd/*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
done
exec "$0" "$@""#;

fn spawn(folder: &TempDir, port: u16) -> Child {
    let log = fs::File::create(folder.path().join("log")).expect("a log file");
    Command::new("bash")
        .args(["-c", ALONE, "swtpm", "socket", "--tpm2", "--tpmstate"])
        .arg(format!("dir={}", folder.path().display()))
        .arg("--server")
        .arg(format!(
            "type=tcp,bindaddr=127.0.0.1,port={port},disconnect"
        ))
        .arg("--ctrl")
        .arg(format!("type=tcp,bindaddr=127.0.0.1,port={}", port + 1))
        .args(["--flags", "not-need-init,startup-clear"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("swtpm starts; on Debian: apt-get install swtpm swtpm-tools tpm2-tools")
}

/// Whether somebody listens on the port and the next one before the process ends.
fn answers(process: &mut Child, port: u16) -> bool {
    let until = Instant::now() + START;
    while Instant::now() < until {
        if process.try_wait().is_ok_and(|status| status.is_some()) {
            return false;
        }
        // The control channel is there first, and a connection to the other one would be taken for a client's.
        if is_listened_on(port) && is_listened_on(port + 1) {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Whether somebody listens on this port of the loopback interface (proc_net_tcp, state 0A).
fn is_listened_on(port: u16) -> bool {
    let sockets = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let listens = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
    sockets.contains(&listens)
}

//! The gateway killed, and its disk failing, at each change that is to last: the old version or the new one runs afterwards.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Bench, Gateway, PATIENCE, SOON, healthy, is};

/// What makes a change last.
const LASTING: &str = "fsync,fdatasync,rename,renameat,renameat2";

impl Bench {
    /// Starts the gateway with `fault` at the `number`th lasting change of each of its threads, and waits until it is gone or
    /// its component is healthy. None if it is gone.
    fn start_with_fault(&self, fault: &str, number: u32) -> Option<Gateway> {
        let log = fs::File::create(self.path("log")).expect("our own folder");
        let process = Command::new("strace")
            // The gateway is our child, and strace its grandchild.
            .args(["-D", "-f", "-qq", "-o"])
            .arg(self.path("calls"))
            .args(["-e", &format!("trace={LASTING}")])
            .args(["-e", &format!("inject={LASTING}:{fault}:when={number}")])
            .arg(self.path("countersign-gateway"))
            .args(["run", "--config"])
            .arg(self.path("gateway.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("strace");
        let mut gateway = Gateway(process);
        let until = Instant::now() + PATIENCE;
        loop {
            if gateway.0.try_wait().expect("our own process").is_some() {
                return None;
            }
            let status = self.ran("status", &["--json"]);
            let status: serde_json::Value =
                serde_json::from_str(&status.stdout).unwrap_or_default();
            let pump = &status["services"][0];
            // With a fault that lasts it may be refused, or run and not be remembered.
            if healthy(pump) || is("refused")(pump) {
                return Some(gateway);
            }
            assert!(Instant::now() < until, "{status}: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Puts the state's folder back as it was.
    fn put_back(&self, image: &Path) {
        let _ = fs::remove_dir_all(self.path("state"));
        let copied = Command::new("cp")
            .arg("-a")
            .arg(image)
            .arg(self.path("state"))
            .status();
        assert!(copied.expect("cp").success());
    }
}

#[test]
fn th01_th02_th03_th04_th08_killed_or_failed_at_each_lasting_change_it_starts_again() {
    let bench = Bench::new();
    bench.configure(&[("pump", SOON)]);
    bench.sign("pump", "endless-loop", 1);
    let gateway = bench.start();
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
    let image = bench.path("image");
    fs::rename(bench.path("state"), &image).expect("our own folder");
    bench.sign("pump", "endless-loop", 2);
    for (fault, numbers) in [("signal=KILL", 4), ("error=EIO", 2), ("error=ENOSPC", 2)] {
        let (mut struck, mut calls) = (0, String::new());
        for number in 1..=numbers {
            bench.put_back(&image);
            let first = bench.start_with_fault(fault, number);
            struck += u32::from(first.is_none());
            calls.push_str(&fs::read_to_string(bench.path("calls")).unwrap_or_default());
            drop(first);
            // And once more while it recovers.
            let second = bench.start_with_fault(fault, 1);
            drop(second);
            let gateway = bench.start();
            let pump = bench.until("pump", healthy);
            assert_eq!(pump["version"], "2.0.0", "{fault} {number}: {pump}");
            for folder in ["state", "state/kept"] {
                for left in fs::read_dir(bench.path(folder)).expect("ours").flatten() {
                    let name = left.file_name();
                    let unfinished = name.to_string_lossy().contains("unfinished");
                    assert!(!unfinished, "{name:?} was left lying");
                }
            }
            assert_eq!(gateway.stop(), 0);
        }
        assert!(
            fault != "signal=KILL" || struck > 0,
            "it was never killed: {calls}"
        );
    }
}

//! Guests that verify and misbehave, and what the record says about each end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use countersign_signer::Manifest;
use countersign_testing::TestPki;
use countersign_trust_store::Code;

use super::bench::{Bench, hello, records};
use super::exiting;
use crate::components::guest;

fn bench() -> &'static Bench {
    static BENCH: LazyLock<Bench> = LazyLock::new(|| {
        let builder = TestPki::builder().scope(&["examples:*", "test:*"]);
        Bench::kept("guests", builder.build())
    });
    &BENCH
}

/// The guest, signed as its component.toml says.
fn signed(name: &str) -> PathBuf {
    signed_with(name, |_| {})
}

/// The same with something else in what is said about it.
fn signed_with(name: &str, change: impl FnOnce(&mut Manifest)) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guest-examples")
        .join(name)
        .join("component.toml");
    let mut manifest = Manifest::load(&manifest).expect("the example's manifest");
    change(&mut manifest);
    let path = bench().fresh("wasm");
    std::fs::write(&path, bench().pki.sign(&guest(name), &manifest)).expect("our own folder");
    path
}

/// The guest is accepted, started, and stopped with this code: two records.
#[track_caller]
fn is_stopped(name: &str, code: Code, arguments: &[&str], within: Duration) {
    let file = signed(name);
    let started = Instant::now();
    let (ran, records) = bench().run(&file, arguments);
    let took = started.elapsed();
    assert_eq!(ran.status, i32::from(code.exit_status()), "{ran:?}");
    assert!(
        ran.stderr.contains(&format!("was stopped: {code}\n")),
        "{ran:?}"
    );
    assert!(ran.stderr.contains(code.next_step()), "{ran:?}");
    let [accepted, stopped] = records.as_slice() else {
        panic!("{} records: {records:?}", records.len())
    };
    assert_eq!(accepted["event"], "accepted", "{accepted}");
    assert_eq!(stopped["event"], "stopped", "{stopped}");
    assert_eq!(stopped["code"], code.as_str(), "{stopped}");
    assert_eq!(accepted["component"], stopped["component"]);
    assert!(stopped["guest_status"].is_null(), "{stopped}");
    assert!(took < within, "{took:?}: {ran:?}");
}

const SOON: Duration = Duration::from_secs(60);

#[test]
fn te01_an_endless_loop_ends_at_its_deadline() {
    is_stopped("endless-loop", Code::LimitTime, &[], SOON);
    is_stopped(
        "endless-loop",
        Code::LimitTime,
        &["--timeout", "100ms"],
        SOON,
    );
}

#[test]
fn te02_unbounded_recursion() {
    is_stopped("unbounded-recursion", Code::LimitStack, &[], SOON);
}

#[test]
fn te03_unbounded_memory() {
    is_stopped("unbounded-memory", Code::LimitMemory, &[], SOON);
    is_stopped(
        "unbounded-memory",
        Code::LimitMemory,
        &["--memory", "2MiB"],
        SOON,
    );
}

#[test]
fn a_trap() {
    is_stopped("trap", Code::Trapped, &[], SOON);
}

#[test]
fn a_guest_that_exits_with_a_status_of_the_hosts() {
    for status in [0, 1, 2, 109, 110, 115, 119, 120, 255] {
        let path = bench().fresh("wasm");
        std::fs::write(&path, bench().sign(&exiting::component(status))).expect("our own folder");
        let (ran, records) = bench().run(&path, &[]);
        assert_eq!(ran.status, i32::from(status), "{ran:?}");
        // Only where it could be taken for a refusal is anything said.
        let note = format!("note: the exit status {status} is the guest's own");
        let could_be_the_hosts = (110..=119).contains(&status);
        assert_eq!(ran.stderr.contains(&note), could_be_the_hosts, "{ran:?}");
        assert!(!ran.stderr.contains("was refused") && !ran.stderr.contains("was stopped"));
        let [accepted, exited] = records.as_slice() else {
            panic!("{} records: {records:?}", records.len())
        };
        assert_eq!(accepted["event"], "accepted", "{accepted}");
        assert_eq!(exited["event"], "exited", "{exited}");
        assert_eq!(exited["guest_status"], status, "{exited}");
    }
}

#[test]
fn an_import_that_nobody_grants() {
    let record = bench().run_refuses(&signed("ungranted-import"), &[], Code::ImportDenied);
    assert!(
        record["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("acme:vault/secrets")),
        "{record}"
    );
    let record = bench().run_refuses(
        &signed("ungranted-network"),
        &["--socket", "tcp:127.0.0.1:80"],
        Code::ImportDenied,
    );
    assert!(
        record["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("wasi:sockets")),
        "{record}"
    );
}

#[test]
fn what_only_one_side_wants_is_said_and_not_given() {
    let (ran, _) = bench().run(
        &signed("hello"),
        &["--env", "SECRET=1", "--dir", "/::/host"],
    );
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("note: env SECRET: ") && ran.stderr.contains("note: directory /host: "),
        "{ran:?}"
    );

    // Without the folders that it asks for.
    let (ran, _) = bench().run(&signed("transform"), &[]);
    assert!(
        ran.stderr
            .contains("note: directory /in: the component asks for it"),
        "{ran:?}"
    );
}

#[test]
fn json_is_one_line_for_each_event() {
    let file = signed("hello");
    let log = bench().fresh("jsonl");
    let output = Command::new(&bench().host)
        .arg(&file)
        .arg("--json")
        .arg("--audit")
        .arg(&log)
        .output()
        .expect("starts");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let events: Vec<_> = stderr
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["event"].clone())
        .collect();
    // The notes: the component asks for stderr, where these lines are, and so does not get it.
    assert_eq!(events, ["note", "note", "accepted", "exited"], "{stderr}");
    assert_eq!(records(&log).len(), 2);

    // With the log on stderr as well, nothing is said twice.
    let output = Command::new(&bench().host)
        .arg(&file)
        .args(["--json", "--audit", "-"])
        .output()
        .expect("starts");
    assert_eq!(
        String::from_utf8(output.stderr)
            .expect("UTF-8")
            .lines()
            .count(),
        4
    );
}

/// Whether a process is told of SIGINT and SIGTERM, and not ended by them (proc(5)).
fn hears_signals(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let both = (1 << 1) | (1 << 14);
    caught.is_some_and(|caught| caught & both == both)
}

#[test]
fn interrupted_by_the_operator() {
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let log = bench().fresh("jsonl");
        let mut host = Command::new(&bench().host)
            .arg(signed_with("endless-loop", |manifest| {
                manifest.limits.run_milliseconds = Some(60_000);
            }))
            .arg("--audit")
            .arg(&log)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        // Once it is accepted, it is about to run; and then the host hears signals.
        while !log.is_file() || records(&log).is_empty() || !hears_signals(host.id()) {
            assert!(
                host.try_wait().expect("our child").is_none(),
                "ended by itself"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let kill = format!("kill -{signal} {}", host.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .expect("sh")
                .success()
        );
        assert_eq!(host.wait().expect("our child").code(), Some(status));
        let records = records(&log);
        assert_eq!(records.len(), 2, "{records:?}");
        assert_eq!(records[1]["event"], "stopped");
        assert!(
            records[1]["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(signal)),
            "{records:?}"
        );
    }
}

#[test]
fn te28_a_path_with_control_characters_does_not_reach_the_terminal() {
    let path = bench().path("a\u{1b}[2Jb.wasm");
    std::fs::write(&path, hello()).expect("our own folder");
    bench().run_refuses(&path, &[], Code::SignatureMissing);
    let (ran, _) = bench().run(&path, &[]);
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
}

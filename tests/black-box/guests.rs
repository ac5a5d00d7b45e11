//! Every guest of guest-examples/, built from source, signed with the desk tool and run by the built host.
//!
//! The host is a copy of the built `countersign-run` with a root of its own filled in. A guest that has no test
//! here does not compile: each must have a function of its name.

mod device;
mod evidence;
pub(crate) mod host;
mod signed_readings;
mod signing;

use countersign_trust_store::Code;

use crate::programs::Ran;
use evidence::attest;
use host::HOST;
use signed_readings::{telemetry_c, telemetry_javascript, telemetry_python};
use signing::telemetry;

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// Names a function of this module for every guest.
macro_rules! each_has_a_test {
    ($($name:ident)*) => {
        const _: &[fn()] = &[$($name),*];
    };
}
foreach_guest!(each_has_a_test);

#[test]
fn hello() {
    let guest = HOST.sign("hello");
    let ran = guest.run(&["--", "line", "press"]);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (0, "Hello, line and press!\n"),
        "{ran:?}"
    );

    // What the statement does not ask for stays out, whatever the operator allows.
    let ran = guest.run(&["--env", "SECRET=1", "--", "line"]);
    assert_eq!(ran.stdout, "Hello, line!\n", "{ran:?}");
}

/// They answer requests, which this host brings nobody; the tests of the gateway ask them.
fn serves(name: &str) {
    let ran = HOST.sign(name).run(&[]);
    ran.is_refused(116, "import-denied");
    assert!(ran.stderr.contains("http-incoming"), "{ran:?}");
}

#[test]
fn hello_http() {
    serves("hello-http");
}

#[test]
fn http_client() {
    serves("http-client");
}

#[test]
fn http_faults() {
    serves("http-faults");
}

/// Its valves are those of `runtime/examples/server`, which asks it.
#[test]
fn valves_http() {
    let ran = HOST.sign("valves-http").run(&[]);
    ran.is_refused(116, "import-denied");
    assert!(ran.stderr.contains("acme:plant/valves"), "{ran:?}");
}

/// Its own statement asks for sockets to nowhere; the tests of the gateway let it reach somebody.
#[test]
fn knock() {
    let ran = HOST.sign("knock").run(&[
        "--",
        "tcp-connect",
        "127.0.0.1:1",
        "udp-send",
        "127.0.0.1:1",
    ]);
    let denied = "tcp-connect 127.0.0.1:1: access-denied\nudp-send 127.0.0.1:1: access-denied\n";
    assert_eq!((ran.status, ran.stdout.as_str()), (0, denied), "{ran:?}");
}

/// The ways in which it fills a folder are those of the tests of the gateway.
#[test]
fn hoard() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lent = format!("{}::/data:rw=64KiB", folder.path().display());
    let ran = HOST.sign("hoard").run(&[
        "--dir", &lent, "--", "stream", "files", "streams", "streams",
    ]);
    let full = "stream: 65536, insufficient-space\nfiles: 16, insufficient-space\n\
                streams: 1024, insufficient-memory\nstreams: 1024, insufficient-memory\n";
    assert_eq!((ran.status, ran.stdout.as_str()), (0, full), "{ran:?}");
    // More than a stream permits is not kept until the disk has it, whether the folder is counted or not.
    for bound in ["", "=1MiB"] {
        let lent = format!("{}::/data:rw{bound}", folder.path().display());
        let ran = HOST.sign("hoard").run(&["--dir", &lent, "--", "torrent"]);
        assert_eq!(
            ran.status,
            i32::from(Code::Trapped.exit_status()),
            "{ran:?}"
        );
        assert!(ran.stderr.contains("permitted"), "{ran:?}");
    }
}

/// What it stays in is the bench of deadlines; without a key that is lent it does not start.
#[test]
fn dwell() {
    let ran = HOST.sign("dwell").run(&["--", "signature", "127.0.0.1:1"]);
    let refused = i32::from(Code::ImportDenied.exit_status());
    assert_eq!(ran.status, refused, "{ran:?}");
    assert!(ran.stderr.contains("countersign:device/signing"), "{ran:?}");
}

#[test]
fn transform() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    for name in ["in", "out"] {
        std::fs::create_dir(path(name)).expect("an empty folder takes folders");
    }
    std::fs::write(path("in/a.txt"), "Pressure 3 bar\n").expect("writable");
    // More than one read of the guest's.
    let long = "abc ".repeat(50_000);
    std::fs::write(path("in/b.txt"), &long).expect("writable");
    let source = format!("{}::/in", path("in").display());
    let target = format!("{}::/out", path("out").display());
    let writable = format!("{target}:rw");

    let guest = HOST.sign("transform");
    let ran = guest.run(&["--dir", &source, "--dir", &writable]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.stdout, "a.txt: 15 bytes\nb.txt: 200000 bytes\n");
    let read = |name: &str| std::fs::read_to_string(path(name)).expect("the guest wrote it");
    assert_eq!(read("out/a.txt"), "PRESSURE 3 BAR\n");
    assert_eq!(read("out/b.txt"), long.to_ascii_uppercase());
    assert_eq!(read("in/a.txt"), "Pressure 3 bar\n");

    // The operator allows reading only: nothing is written, whether the host refuses before or the guest fails.
    std::fs::remove_file(path("out/a.txt")).expect("it is there");
    let ran = guest.run(&["--dir", &source, "--dir", &target]);
    assert_ne!(ran.status, 0, "{ran:?}");
    assert!(!path("out/a.txt").exists(), "{ran:?}");
}

#[test]
fn endless_loop() {
    // The statement's own limit is a second.
    let ran = HOST.sign("endless-loop").run(&[]);
    ran.is_refused(117, "limit-time");
    assert!(ran.seconds < 20.0, "{ran:?}");

    let ran = HOST.sign("endless-loop").run(&["--timeout", "200ms"]);
    ran.is_refused(117, "limit-time");
}

#[test]
fn unbounded_memory() {
    HOST.sign("unbounded-memory")
        .run(&[])
        .is_refused(117, "limit-memory");
    // The operator may allow less than the statement asks for.
    HOST.sign("unbounded-memory")
        .run(&["--memory", "4MiB"])
        .is_refused(117, "limit-memory");
}

#[test]
fn unbounded_recursion() {
    let ran = HOST.sign("unbounded-recursion").run(&[]);
    ran.is_refused(117, "limit-stack");
    assert!(ran.seconds < 20.0, "{ran:?}");
}

/// It needs a host that holds a connection; `countersign-run` has none.
#[test]
fn relay() {
    let ran = HOST.sign("relay").run(&[]);
    assert_eq!((ran.status, ran.stdout.as_str()), (116, ""), "{ran:?}");
    assert!(
        ran.stderr.contains("countersign:messaging/producer"),
        "{ran:?}"
    );
}

#[test]
fn ungranted_import() {
    let ran = HOST.sign("ungranted-import").run(&[]);
    ran.is_refused(116, "import-denied");
    assert!(
        ran.stderr.contains("acme:vault/secrets"),
        "the refusal does not name the import: {ran:?}"
    );
}

#[test]
fn ungranted_network() {
    let ran = HOST.sign("ungranted-network").run(&[]);
    ran.is_refused(116, "import-denied");
    assert!(
        ran.stderr.contains("wasi:sockets"),
        "the refusal does not name the import: {ran:?}"
    );
}

#[test]
fn trap() {
    let ran = HOST.sign("trap").run(&[]);
    assert_eq!(ran.status, 118, "{ran:?}");
    assert!(ran.stderr.contains("trapped"), "{ran:?}");
    // It ran up to the trap.
    assert_eq!(ran.stdout, "about to trap\n");
}

impl Ran {
    /// Ended by the host with this status and code, before the guest could say anything.
    #[track_caller]
    fn is_refused(&self, status: i32, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.stderr.contains(code), "no {code} in {self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
    }
}

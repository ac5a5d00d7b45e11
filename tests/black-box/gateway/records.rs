//! The records as a log: proved offline, however the gateway ended, and by others' tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Bench, SOON, healthy};

impl Bench {
    /// The exit status of `audit verify`, and what it says for programs.
    fn proved(&self, arguments: &[&str]) -> (i32, Value) {
        let ran = self.audit("verify", &[&["--json"][..], arguments].concat());
        let said = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        (ran.status, said)
    }
}

#[test]
fn tg24_th08_records_are_proved_and_the_first_that_was_altered_is_named() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    bench.configure(&[("pump", SOON)]);
    let gateway = bench.start();
    bench.until("pump", healthy);
    // While it runs, its journal included.
    let (status, said) = bench.proved(&[]);
    assert_eq!((status, &said["sound"]), (0, &true.into()), "{said}");
    // Killed: nothing that was recorded is missing, and it goes on.
    let before = bench.records();
    drop(gateway);
    assert_eq!(bench.records(), before);
    let gateway = bench.start();
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
    let after = bench.records();
    assert_eq!(after[..before.len()], before[..]);
    assert!(after.len() > before.len());

    // Stopped, it is whole for any reader: without its journal, and by a program that shares nothing with ours.
    let log = bench.path("state/audit");
    let checkpoint = fs::read_to_string(log.join("checkpoint")).expect("it was published");
    fs::write(bench.path("earlier"), &checkpoint).expect("our own folder");
    let key = fs::read_to_string(bench.path("state/audit.vkey")).expect("a key");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/verify_audit_log.py");
    let other = Command::new("python3")
        .arg(script)
        .arg(key.trim())
        .arg(&log)
        .output()
        .expect("python");
    let other = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(other.starts_with("verified"), "{other}");

    // One letter of a record.
    let entries = log
        .join("tile/entries/000.p")
        .join(format!("{}", after.len() + 1));
    let good = fs::read(&entries).expect("published");
    let mut bent = good.clone();
    let at = 2 + usize::from(u16::from_be_bytes([good[0], good[1]])) + 2 + 5;
    bent[at] ^= 1;
    fs::write(&entries, &bent).expect("our own folder");
    let (status, said) = bench.proved(&[]);
    assert_eq!(
        (status, &said["code"], &said["entry"]),
        (111, &"altered".into(), &1.into()),
        "{said}"
    );
    // The gateway itself does not write on after it.
    let ran = bench.ran("run", &[]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("entry 1 was altered"), "{ran:?}");
    fs::write(&entries, &good).expect("our own folder");

    // It continues what it was, and says where it does not.
    let gateway = bench.start();
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
    let earlier = bench.path("earlier");
    let earlier = earlier.to_str().expect("text");
    let (status, said) = bench.proved(&["--since", earlier]);
    assert_eq!(status, 0, "{said}");
    fs::write(log.join("checkpoint"), &checkpoint).expect("our own folder");
    fs::remove_file(log.join(".journal")).expect("our own folder");
    let newest = bench.path("newest");
    let (status, said) = bench.proved(&[]);
    assert_eq!(status, 0, "an older state is sound by itself: {said}");
    fs::write(&newest, "no checkpoint").expect("our own folder");
    let ran = bench.audit("verify", &["--since", newest.to_str().expect("text")]);
    assert_eq!(ran.status, 2, "{ran:?}");
}

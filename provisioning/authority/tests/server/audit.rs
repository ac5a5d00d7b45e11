//! `audit verify`: what it proves, and how it names what was done to a log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use countersign_audit_log::{LogDirectory, LogKey, Origin};
use countersign_backend_file::{FileKey, SystemRandom};
use countersign_keys::{Algorithm, SigningKey};
use serde_json::Value;

use crate::bench::{Bench, Ran, program};

/// Entries: a full tile and a part of the next.
const ENTRIES: usize = 300;

/// Bytes of an entry of the log that is made here, and where one begins in its bundle.
const ENTRY: usize = 9;
const STEP: usize = ENTRY + 2;

/// A log of many entries, its public key, and a checkpoint of its first half.
struct Log {
    folder: tempfile::TempDir,
    key: String,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = FileKey::generate(Algorithm::Ed25519, &mut SystemRandom).expect("a key");
        let origin = Origin::new("press.example/audit").expect("a name");
        let key = LogKey::new(origin, SigningKey::new(key)).expect("a key");
        let vkey = key.verifier().to_vkey();
        let mut log = LogDirectory::create(&folder.path().join("log"), key).expect("made");
        let entries: Vec<String> = (0..ENTRIES).map(|n| format!("entry {n:03}")).collect();
        let half = log.append(&entries[..150]).expect("kept");
        fs::write(folder.path().join("half"), half.as_str()).expect("written");
        log.append(&entries[150..]).expect("kept");
        drop(log);
        Self { folder, key: vkey }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("log").join(name)
    }

    /// The exit status and what is said for programs.
    fn verify(&self, more: &[&str]) -> (i32, Value) {
        verdict(&self.folder.path().join("log"), &self.key, more)
    }

    /// Changes a file; what it was comes back.
    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let before = fs::read(self.path(name)).expect("a file");
        let mut bytes = before.clone();
        change(&mut bytes);
        assert_ne!(bytes, before);
        fs::write(self.path(name), bytes).expect("written");
        before
    }
}

fn verdict(folder: &Path, key: &str, more: &[&str]) -> (i32, Value) {
    let Output { status, stdout, .. } = program()
        .args(["audit", "verify", "--json", "--key", key])
        .arg(folder)
        .args(more)
        .output()
        .expect("the program runs");
    let said = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    (status.code().expect("it ends by itself"), said)
}

#[test]
fn tg24_whatever_is_changed_in_a_log_is_named() {
    let log = Log::new();
    let half = log.folder.path().join("half");
    let half = half.to_str().expect("text");
    let (status, said) = log.verify(&["--since", half]);
    assert_eq!(
        (status, &said["entries"], &said["continues"]),
        (0, &ENTRIES.into(), &150.into()),
        "{said}"
    );
    let named = |expected: (&str, Option<u64>)| {
        let (status, said) = log.verify(&[]);
        assert_eq!(
            (status, &said["code"], &said["entry"]),
            (111, &expected.0.into(), &expected.1.into()),
            "{said}"
        );
    };

    // One byte of one entry, in a full file and in a narrow one.
    let full = "tile/entries/000";
    let narrow = "tile/entries/001.p/44";
    for (name, entry, at) in [(full, 77, 77 * STEP + 5), (narrow, 258, 2 * STEP + 5)] {
        let before = log.change(name, |bytes| bytes[at] ^= 1);
        named(("altered", Some(entry)));
        fs::write(log.path(name), before).expect("put back");
    }

    // One byte of a tile of hashes.
    let before = log.change("tile/0/000", |bytes| bytes[32 * 9] ^= 1);
    let (status, said) = log.verify(&[]);
    assert_eq!((status, &said["code"]), (111, &"tile-altered".into()));
    assert!(
        said["message"]
            .as_str()
            .is_some_and(|text| text.contains("tile/0/000")),
        "{said}"
    );
    fs::write(log.path("tile/0/000"), before).expect("put back");

    // Cut off after an entry, and within one.
    for (cut, entry) in [(10 * STEP, 266), (20 * STEP + 4, 276)] {
        let before = log.change(narrow, |bytes| bytes.truncate(cut));
        named(("missing", Some(entry)));
        fs::write(log.path(narrow), before).expect("put back");
    }

    // Two in each other's place: the first that is not where it was is named.
    let before = log.change(full, |bytes| {
        let (a, b) = (30 * STEP, 40 * STEP);
        let first = bytes[a..a + STEP].to_vec();
        bytes.copy_within(b..b + STEP, a);
        bytes[b..b + STEP].copy_from_slice(&first);
    });
    named(("reordered", Some(30)));
    fs::write(log.path(full), before).expect("put back");

    // A checkpoint that the key did not sign, and an older log than the checkpoint that was kept.
    let newest = log.change("checkpoint", |bytes| {
        let digit = bytes.iter().position(|byte| *byte == b'3').expect("300");
        bytes[digit] = b'2';
    });
    named(("checkpoint", None));
    fs::copy(half, log.path("checkpoint")).expect("put back");
    let kept = log.folder.path().join("newest");
    fs::write(&kept, newest).expect("written");
    let (status, said) = log.verify(&["--since", kept.to_str().expect("text")]);
    assert_eq!(
        (status, &said["code"], &said["entry"]),
        (115, &"rollback".into(), &150.into()),
        "{said}"
    );

    let wrong = verdict(&log.path("."), "press.example/audit+00000000+AAAA", &[]);
    assert_eq!(wrong.0, 2, "a key that is none is a mistake of the caller");
}

#[test]
fn tg24_the_authoritys_log_is_what_its_registry_has() {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    let token = bench.token(&["--device", "press-1"]);
    let server = bench.serve();
    bench.request("press-1");
    let bearer = format!("Authorization: Bearer {token}");
    let body = bench.provision_body("press-1");
    let (status, _) = bench.json(
        "/api/v1/devices/provision",
        &[
            "--header",
            &bearer,
            "--header",
            "Content-Type: application/json",
            "--data",
            &body,
        ],
    );
    assert_eq!(status, 201);
    assert!(server.stop(), "SIGTERM ends it well");

    let (folder, key) = (bench.path("home/audit"), bench.path("home/audit.vkey"));
    let address = format!("sqlite:{}", bench.path("home/registry.db").display());
    let verify = |registry: &str| {
        verdict(
            &folder,
            key.to_str().expect("text"),
            &["--registry", registry],
        )
    };
    let (status, said) = verify(&address);
    // The server's own certificate, its list, and the device's.
    assert_eq!(status, 0, "{said}");
    assert_eq!(said["in_registry"], said["entries"]);
    assert!(said["entries"].as_u64().is_some_and(|count| count >= 3));

    // Another authority's registry has other leaves.
    let other = Bench::new();
    let other = format!("sqlite:{}", other.path("home/registry.db").display());
    let (status, said) = verify(&other);
    assert_eq!(
        (status, &said["code"], &said["entry"]),
        (111, &"other-than-registry".into(), &0.into()),
        "{said}"
    );
    let text = Ran(program()
        .args(["audit", "verify", "home/audit", "--key", "home/audit.vkey"])
        .current_dir(bench.folder())
        .output()
        .expect("the program runs"))
    .succeeded();
    assert!(text.starts_with("localhost/audit: "), "{text}");
}

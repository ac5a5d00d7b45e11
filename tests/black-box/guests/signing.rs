//! The device's key, lent to the telemetry guest by the built host, and what it signed checked elsewhere.

use std::path::PathBuf;
use std::process::Command;

use countersign_format::Digest;
use countersign_keys::Algorithm;
use countersign_testing::{Files, Profile, Role, TestPki};

use super::host::HOST;
use crate::programs::{Ran, program, run};

/// A device's certified key in a file, as an operator lends it.
pub(super) struct Lent {
    files: Files,
    folder: tempfile::TempDir,
}

impl Lent {
    pub(super) fn new(devices: &TestPki) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = devices.write(folder.path());
        Self { files, folder }
    }

    /// The options that lend it under the name that the telemetry guests ask for.
    pub(super) fn options(&self) -> [String; 6] {
        [
            "--audit".to_owned(),
            self.log().display().to_string(),
            "--device-key".to_owned(),
            format!("telemetry=file:{}", self.files.key.display()),
            "--device-chain".to_owned(),
            format!("telemetry={}", self.files.chain.display()),
        ]
    }

    /// The records.
    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn last_record(&self) -> serde_json::Value {
        let records = std::fs::read_to_string(self.log()).expect("the log is there");
        serde_json::from_str(records.lines().last().unwrap_or_default()).expect("JSON")
    }

    /// Runs a guest with these options and others.
    pub(super) fn run(&self, guest: &str, others: &[&str]) -> Ran {
        let options = self.options();
        let mut all: Vec<&str> = options.iter().map(String::as_str).collect();
        all.extend(others);
        HOST.sign(guest).run(&all)
    }

    /// What the example of the trust store says of these lines, under the root and the lists of these devices.
    pub(super) fn judge(&self, lines: &str) -> Ran {
        let file = self.folder.path().join("signed.hex");
        std::fs::write(&file, lines).expect("a temporary folder takes files");
        let mut judge = Command::new(program("examples/verify_guest_data"));
        judge.arg("--root").arg(&self.files.roots_pem);
        judge.arg("--crl").arg(&self.files.crls).arg(file);
        run(&mut judge)
    }
}

fn devices(algorithm: Algorithm) -> TestPki {
    TestPki::builder()
        .profile(Profile::GuestData)
        .algorithm(algorithm)
        .build()
}

#[test]
pub(super) fn telemetry() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let lent = Lent::new(&devices(algorithm));
        let ran = lent.run("telemetry", &["--", "--log", "21.5 C", "22.0 C"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        let judged = lent.judge(&ran.stdout);
        assert_eq!(judged.status, 0, "{judged:?}");
        let lines: Vec<&str> = judged.stdout.lines().collect();
        for expected in [
            "device:     test-device",
            "component:  examples:telemetry",
            "context:    reading/v1",
            "message:    21.5 C",
            "message:    22.0 C",
            "sequence:   1",
            "sequence:   3",
            "context:    log/v1",
        ] {
            assert!(lines.contains(&expected), "no {expected:?} in {lines:?}");
        }
        let log = format!("digest:     {}", Digest::of(b"21.5 C\n22.0 C\n"));
        assert_eq!(lines.last(), Some(&log.as_str()));
    }
}

#[test]
fn ta10_a_changed_reading_is_refused() {
    let lent = Lent::new(&devices(Algorithm::Esp256));
    let ran = lent.run("telemetry", &["--", "21.5 C"]);
    let hex = |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02x}")).collect() };
    let changed = ran.stdout.replace(&hex("21.5 C"), &hex("99.9 C"));
    assert_ne!(changed, ran.stdout);
    let judged = lent.judge(&changed);
    assert!(judged.stderr.contains("signature-invalid"), "{judged:?}");
    assert_eq!(
        (judged.status, judged.stdout.as_str()),
        (111, ""),
        "{judged:?}"
    );
    // Under another root, it is nobody's.
    let judged = Lent::new(&devices(Algorithm::Ed25519)).judge(&ran.stdout);
    assert!(judged.stderr.contains("untrusted-root"), "{judged:?}");
}

#[test]
fn td14_what_a_revoked_device_signed_is_refused() {
    let revoked = TestPki::builder()
        .profile(Profile::GuestData)
        .revoke(Role::Leaf);
    let lent = Lent::new(&revoked.build());
    let ran = lent.run("telemetry", &[]);
    assert_eq!(ran.status, 0, "the device does not know it yet: {ran:?}");
    let judged = lent.judge(&ran.stdout);
    assert_eq!(judged.status, 115, "{judged:?}");
    assert!(judged.stderr.contains("revoked"), "{judged:?}");
}

#[test]
fn te26_what_a_guest_gets_signed_or_not_is_recorded() {
    let lent = Lent::new(&devices(Algorithm::Esp256));
    let ran = lent.run("telemetry", &["--", "21.5 C"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    // The operator allows another context only.
    let narrowed = ["--device-context", "telemetry=alarm/v1"];
    let ran = lent.run("telemetry", &narrowed);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("not-granted"), "{ran:?}");
    let events: Vec<(String, String)> = std::fs::read_to_string(lent.log())
        .expect("the log is there")
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|record| {
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            (text("event"), text("context"))
        })
        .collect();
    let event = |event: &str, context: &str| (event.to_owned(), context.to_owned());
    assert_eq!(
        events,
        [
            event("accepted", ""),
            event("signed", "reading/v1"),
            event("exited", ""),
            event("accepted", ""),
            event("signing-denied", "reading/v1"),
            event("exited", ""),
        ]
    );
}

#[test]
fn te27_the_operators_rate_holds() {
    let lent = Lent::new(&devices(Algorithm::Esp256));
    let limited = ["--device-rate", "telemetry=1", "--", "one", "two"];
    let ran = lent.run("telemetry", &limited);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("quota-exceeded"), "{ran:?}");
}

#[test]
fn tf08_a_key_is_lent_with_its_own_certificates_or_not_at_all() {
    let lent = Lent::new(&devices(Algorithm::Esp256));
    let [audit, log, key, telemetry, chain, certificates] = lent.options();
    let refused = |options: &[&str], words: &[&str]| {
        let options = [&[audit.as_str(), log.as_str()], options].concat();
        let ran = HOST.sign("telemetry").run(&options);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{ran:?}");
        // It verified, and so there is a record of it.
        let last = lent.last_record();
        assert_eq!(last["event"], "refused", "{last}");
        assert_eq!(last["component"]["name"], "examples:telemetry", "{last}");
        for word in words {
            assert!(ran.stderr.contains(word), "no {word:?} in {ran:?}");
        }
    };
    refused(&[&key, &telemetry], &["--device-chain telemetry=FILE"]);
    refused(
        &[&chain, &certificates],
        &["--device-key telemetry=KEY-URI"],
    );
    refused(
        &[&key, &telemetry, &key, &telemetry, &chain, &certificates],
        &["twice"],
    );
    refused(
        &[
            &key,
            "telemetry=file:/nowhere/key.pem",
            &chain,
            &certificates,
        ],
        &["/nowhere/key.pem"],
    );
    // The certificates of another key, and of another purpose.
    let other = Lent::new(&devices(Algorithm::Ed25519));
    let [.., others] = other.options();
    let options = [&audit, &log, &key, &telemetry, &chain, &others].map(String::as_str);
    let ran = HOST.sign("telemetry").run(&options);
    assert_eq!((ran.status, ran.stdout.as_str()), (119, ""), "{ran:?}");
    assert!(ran.stderr.contains("not the key in its certificate"));
    let last = lent.last_record();
    assert_eq!(last["code"], "key-hardware", "{last}");
    assert_eq!(last["component"]["name"], "examples:telemetry", "{last}");
    let signer = Lent::new(&TestPki::new());
    refused(
        &signer.options().each_ref().map(String::as_str)[2..],
        &["telemetry", "its certificate"],
    );
    // Without a key, the component has no device.
    let ran = HOST.sign("telemetry").run(&[]);
    assert_eq!(ran.status, 116, "{ran:?}");
}

#[test]
fn te29_no_key_is_lent_without_a_log() {
    let lent = Lent::new(&devices(Algorithm::Esp256));
    let options = lent.options();
    let ran = HOST
        .sign("telemetry")
        .run(&options.each_ref().map(String::as_str)[2..]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("--audit"), "{ran:?}");
}

#[test]
fn te28_a_guest_does_not_write_where_records_go() {
    let lent = Lent::new(&devices(Algorithm::Esp256));
    let options = lent.options();
    let log = options[1].as_str();
    let lend = &options.each_ref().map(String::as_str)[2..];
    // So narrowed, the guest says on stderr what it was told.
    let stderr = |where_to: &[&str]| {
        let narrowed = ["--device-context", "telemetry=alarm/v1"];
        let all = [lend, &narrowed[..], where_to].concat();
        let ran = HOST.sign("telemetry").run(&all);
        assert_eq!(ran.status, 1, "{ran:?}");
        ran.stderr
    };
    assert!(stderr(&["--audit", log]).contains("not-granted"));
    for shared in [
        &["--audit", "-"][..],
        &["--audit", log, "--json"],
        &["--audit", "-", "--json"],
        &["--audit", "/dev/stderr"],
    ] {
        let said = stderr(shared);
        assert!(!said.contains("not-granted"), "{shared:?}: {said}");
        assert!(said.contains("is thrown away"), "{shared:?}: {said}");
    }
}

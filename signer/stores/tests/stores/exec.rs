//! Keys behind a program: a shell script around OpenSSL, and programs that misbehave.

use countersign_keys::{
    Algorithm, Challenge, ErrorKind, KeyProvider, KeyTemplate, KeyUri, LockConsent,
};
use countersign_stores::Stores;
use countersign_stores::exec::ExecProvider;
use countersign_testing::write_program;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn openssl(arguments: &[&str]) {
    let status = Command::new("openssl").args(arguments).status().unwrap();
    assert!(status.success(), "{arguments:?}");
}

fn script(folder: &TempDir, name: &str, body: &str) -> PathBuf {
    let path = folder.path().join(name);
    write_program(&path, format!("#!/bin/sh\n{body}\n").as_bytes());
    path
}

/// A signer in the words of the documentation, for an Ed25519 key that OpenSSL keeps.
fn ed25519_signer(folder: &TempDir) -> PathBuf {
    let key = folder.path().join("ed25519.pem");
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", text(&key)]);
    let body = format!(
        r#"set -e
case "$1 $2" in
  "public-key ") openssl pkey -in {key} -pubout ;;
  "sign Ed25519") cat > {message}; openssl pkeyutl -sign -rawin -inkey {key} -in {message} ;;
  *) echo "what is $*?" >&2; exit 3 ;;
esac"#,
        key = text(&key),
        message = text(&folder.path().join("message"))
    );
    script(folder, "signer", &body)
}

fn open(command: &str) -> Result<countersign_keys::SigningKey, countersign_keys::Error> {
    let uri: KeyUri = format!("exec:{command}").parse().unwrap();
    Stores::new(|_| panic!("a secret was asked for")).open(&uri)
}

#[test]
fn a_program_signs() {
    let folder = tempfile::tempdir().unwrap();
    let key = open(text(&ed25519_signer(&folder))).unwrap();
    assert_eq!(key.algorithm(), Algorithm::Ed25519);
    for message in [b"short".to_vec(), vec![7; 300_000]] {
        let signature = key.sign(&message).unwrap();
        key.public_key()
            .verify(&message, signature.as_bytes())
            .unwrap();
    }
}

#[test]
fn there_is_no_shell_between() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    // With a shell this would write the file; without, the program gets strange arguments and refuses.
    let command = format!(
        "{} ; touch {}",
        text(&ed25519_signer(&folder)),
        text(&witness)
    );
    assert_eq!(open(&command).unwrap_err().kind(), ErrorKind::Device);
    assert_eq!(
        open(&format!("$(touch {})", text(&witness)))
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    assert!(!witness.exists());
}

#[test]
fn tb20_wrong_signatures_are_caught() {
    let folder = tempfile::tempdir().unwrap();
    let good = ed25519_signer(&folder);
    for (name, sign) in [
        (
            "other-message",
            format!("printf other | {} sign Ed25519", text(&good)),
        ),
        ("zeros", "head -c 64 /dev/zero".to_owned()),
        ("short", "head -c 63 /dev/zero".to_owned()),
        ("nothing", "true".to_owned()),
        ("newline", format!("{} sign Ed25519; echo", text(&good))),
        ("flood", "cat /dev/zero".to_owned()),
    ] {
        let body = format!(
            "if [ \"$1\" = public-key ]; then {} public-key; else {sign}; fi",
            text(&good)
        );
        let key = open(text(&script(&folder, name, &body))).unwrap();
        let error = key.sign(b"message").unwrap_err();
        let kinds = [
            ErrorKind::BadSignature,
            ErrorKind::Malformed,
            ErrorKind::Device,
        ];
        assert!(kinds.contains(&error.kind()), "{name}: {error}");
    }
}

#[test]
fn a_refusal_gives_the_programs_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refusing = script(
        &folder,
        "refusing",
        "echo starting >&2; echo 'the token is locked' >&2; exit 7",
    );
    let error = open(text(&refusing)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.to_string().contains("the token is locked"), "{error}");

    assert_eq!(
        open("/no/such/program").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let not_executable = folder.path().join("data");
    fs::write(&not_executable, "x").unwrap();
    assert_eq!(
        open(text(&not_executable)).unwrap_err().kind(),
        ErrorKind::Permissions
    );
    for body in [
        "true",
        "echo hello",
        "openssl genpkey -algorithm ed25519",
        "openssl genpkey -algorithm x25519 | openssl pkey -pubout",
    ] {
        let error = open(text(&script(&folder, "strange", body))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{body}: {error}");
    }
}

#[test]
fn a_program_that_hangs_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    let hanging = script(
        &folder,
        "hanging",
        &format!("exec sleep 120; touch {}", text(&witness)),
    );
    let start = Instant::now();
    let error = soon(&hanging).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // One that leaves a child behind which holds the pipe open.
    let leaving = script(&folder, "leaving", "sleep 120 & exit 0");
    assert!(soon(&leaving).is_err());
    // Before either would have ended by itself.
    assert!(start.elapsed() < Duration::from_secs(60));
}

fn soon(program: &Path) -> Result<countersign_keys::SigningKey, countersign_keys::Error> {
    ExecProvider::new(text(program))
        .with_timeout(Duration::from_millis(300))
        .open(&KeyUri::Exec(text(program).to_owned()))
}

#[test]
fn a_program_is_asked_to_sign_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let command = text(&ed25519_signer(&folder)).to_owned();
    let key = KeyUri::Exec(command.clone());
    let store = ExecProvider::new(&command);
    let shown = store.show(&key).unwrap();
    assert_eq!(&shown.public, store.open(&key).unwrap().public_key());
    let refusals = [
        store
            .generate(&key, &KeyTemplate::signing(Algorithm::Ed25519))
            .unwrap_err(),
        store.list().unwrap_err(),
        store.delete(&key).unwrap_err(),
        store.attest(&key, &Challenge::new([1; 32])).unwrap_err(),
        store
            .lock(&key, &LockConsent::for_device_with_serial("00"))
            .unwrap_err(),
    ];
    for error in refusals {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let other = KeyUri::Exec("/another".to_owned());
    assert_eq!(store.open(&other).unwrap_err().kind(), ErrorKind::NotFound);
}

//! Keys behind a program: a shell script around OpenSSL, and programs that misbehave.

use crate::common::{Pki, openssl, text};
use countersign_keys::{Algorithm, ErrorKind, KeyUri};
use countersign_signer::{exec, open_key};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn script(pki: &Pki, name: &str, body: &str) -> PathBuf {
    let path = pki.write(name, format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    path
}

/// A signer in the words of the documentation, for an Ed25519 key that OpenSSL keeps.
fn ed25519_signer(pki: &Pki) -> PathBuf {
    let key = pki.path("ed25519.pem");
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", text(&key)]);
    let body = format!(
        r#"set -e
case "$1 $2" in
  "public-key ") openssl pkey -in {key} -pubout ;;
  "sign Ed25519") cat > {message}; openssl pkeyutl -sign -rawin -inkey {key} -in {message} ;;
  *) echo "what is $*?" >&2; exit 3 ;;
esac"#,
        key = text(&key),
        message = text(&pki.path("message"))
    );
    script(pki, "signer", &body)
}

fn open(command: &str) -> Result<countersign_keys::SigningKey, countersign_keys::Error> {
    let uri: KeyUri = format!("exec:{command}").parse().unwrap();
    open_key(&uri, || panic!("the passphrase was asked for"))
}

#[test]
fn a_program_signs() {
    let pki = Pki::new();
    let key = open(text(&ed25519_signer(&pki))).unwrap();
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
    let pki = Pki::new();
    let witness = pki.path("witness");
    // With a shell this would write the file; without, the program gets strange arguments and refuses.
    let command = format!("{} ; touch {}", text(&ed25519_signer(&pki)), text(&witness));
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
    let pki = Pki::new();
    let good = ed25519_signer(&pki);
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
        let key = open(text(&script(&pki, name, &body))).unwrap();
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
    let pki = Pki::new();
    let refusing = script(
        &pki,
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
    let not_executable = pki.write("data", "x");
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
        let error = open(text(&script(&pki, "strange", body))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{body}: {error}");
    }
}

#[test]
fn a_program_that_hangs_is_stopped() {
    let pki = Pki::new();
    let witness = pki.path("witness");
    let hanging = script(
        &pki,
        "hanging",
        &format!("exec sleep 30; touch {}", text(&witness)),
    );
    let start = Instant::now();
    let error = exec::open_with_timeout(text(&hanging), Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // One that leaves a child behind which holds the pipe open.
    let leaving = script(&pki, "leaving", "sleep 30 & exit 0");
    assert!(exec::open_with_timeout(text(&leaving), Duration::from_millis(300)).is_err());
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_store_that_this_build_lacks_is_named() {
    let uri: KeyUri = "tpm:0x81010001".parse().unwrap();
    let error = open_key(&uri, || panic!("asked")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("tpm:"), "{error}");
}

//! `countersign key`: files that only their owner can read, passphrases that never show, requests that OpenSSL takes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::bench::Bench;

#[test]
fn a_new_key_is_private_and_openssl_reads_it() {
    for algorithm in ["p256", "ed25519"] {
        let bench = Bench::new();
        let ran = bench
            .line(&format!(
                "key generate new.key --algorithm {algorithm} --unencrypted"
            ))
            .succeeded();
        assert!(ran.stderr.contains("not encrypted"), "{ran:#?}");
        let mode = fs::metadata(bench.path("new.key"))
            .expect("made")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        // OpenSSL derives the same public key from the file as we do.
        let theirs = bench.openssl("pkey -in new.key -pubout");
        let ours = bench.line("key show new.key --pem").succeeded();
        assert_eq!(String::from_utf8(theirs).expect("PEM is text"), ours.stdout);
    }
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_alone() {
    let bench = Bench::new();
    bench.write("right", "correct horse\n");
    bench.write("wrong", "incorrect horse\n");
    bench.write("empty", "\n");
    bench.write("two", "correct horse\nbattery\n");
    bench.write("short", "horse");
    bench
        .line("key generate short.key --passphrase-file short")
        .failed(2, &["8 characters"]);
    bench
        .line("key generate empty.key --passphrase-file empty")
        .failed(2, &["empty"]);
    bench
        .line("key generate new.key --passphrase-file right")
        .succeeded();
    assert!(
        bench
            .read("new.key")
            .starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    );

    let shown = bench
        .line("key show new.key --passphrase-file right --json")
        .succeeded();
    assert_eq!(
        shown.json()["spki_sha256"].as_str().map(str::len),
        Some(64),
        "{shown:#?}"
    );
    bench.openssl("pkey -in new.key -passin file:right -noout");

    bench
        .line("key show new.key --passphrase-file wrong")
        .failed(2, &["passphrase"]);
    bench
        .line("key show new.key --passphrase-file empty")
        .failed(2, &["empty"]);
    bench
        .line("key show new.key --passphrase-file two")
        .failed(2, &["several lines"]);
    bench
        .line("key show new.key --passphrase-file missing")
        .failed(2, &["missing"]);
    // Without a terminal nobody can be asked, and the message says what to give instead.
    bench
        .line("key show new.key")
        .failed(2, &["--passphrase-file"]);
}

#[test]
fn a_passphrase_is_not_taken_from_the_command_line() {
    let bench = Bench::new();
    bench
        .line("key generate new.key --passphrase secret")
        .failed(2, &["--passphrase"]);
    bench
        .line("key generate new.key")
        .failed(2, &["--passphrase-file", "--unencrypted"]);
    assert!(bench.names().is_empty());
}

#[test]
fn an_existing_key_is_not_overwritten_unless_forced() {
    let bench = Bench::new();
    bench.line("key generate new.key --unencrypted").succeeded();
    let first = bench.read("new.key");
    bench
        .line("key generate new.key --unencrypted")
        .failed(2, &["new.key", "exists"]);
    assert_eq!(bench.read("new.key"), first);
    bench
        .line("key generate new.key --unencrypted --force")
        .succeeded();
    assert_ne!(bench.read("new.key"), first);
    assert_eq!(bench.names(), ["new.key"]);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let bench = Bench::new();
    bench.line("key generate new.key --unencrypted").succeeded();
    bench.set_mode("new.key", 0o644);
    bench.line("key show new.key").failed(2, &["chmod 600"]);
}

#[test]
fn what_is_no_key_is_said_to_be_none() {
    let bench = Bench::new();
    fs::create_dir(bench.path("folder")).expect("ours");
    bench.write("text", "hello\n");
    bench.set_mode("text", 0o600);
    bench
        .line("key show missing.key")
        .failed(2, &["missing.key"]);
    bench.line("key show folder").failed(2, &["folder"]);
    bench.line("key show text").failed(2, &["text"]);
    bench.line("key show quantum:1").failed(2, &["quantum"]);
    bench
        .line("key generate folder --unencrypted")
        .failed(2, &["directory"]);
    bench
        .line("key generate nowhere/new.key --unencrypted")
        .failed(2, &["nowhere"]);
    bench
        .line("key generate tpm:0x81010001 --unencrypted")
        .failed(2, &["tpm:0x81010001"]);
}

#[test]
fn openssl_accepts_a_request_and_its_proof_of_possession() {
    for algorithm in ["p256", "ed25519"] {
        let bench = Bench::new();
        bench
            .line(&format!(
                "key generate new.key --algorithm {algorithm} --unencrypted"
            ))
            .succeeded();
        bench
            .countersign([
                "key",
                "csr",
                "new.key",
                "--common-name",
                "Build 7",
                "--org",
                "Acme Works",
                "--country",
                "DE",
                "--device-id",
                "build-07",
                "--device-type",
                "gateway",
                "--output",
                "new.csr",
            ])
            .succeeded();
        let text =
            String::from_utf8(bench.openssl("req -in new.csr -verify -text -noout")).expect("text");
        assert!(
            text.contains("Acme Works") && text.contains("build-07"),
            "{text}"
        );
        let theirs = bench.openssl("req -in new.csr -pubkey -noout");
        assert_eq!(
            theirs,
            bench
                .line("key show new.key --pem")
                .succeeded()
                .stdout
                .into_bytes()
        );
    }
}

#[test]
fn a_request_with_a_bad_subject_or_identity_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    bench.line("key generate new.key --unencrypted").succeeded();
    bench
        .line("key csr new.key --output new.csr")
        .failed(2, &["--common-name", "--device-id"]);
    bench
        .line("key csr new.key --common-name a --country Germany --output new.csr")
        .failed(2, &["country"]);
    bench
        .countersign([
            "key",
            "csr",
            "new.key",
            "--device-id",
            "has blank",
            "--output",
            "new.csr",
        ])
        .failed(2, &["has blank"]);
    bench.write("taken.csr", "mine");
    bench
        .line("key csr new.key --device-id a --output taken.csr")
        .failed(2, &["taken.csr", "exists"]);
    assert_eq!(bench.read("taken.csr"), b"mine");
    assert_eq!(bench.names(), ["new.key", "taken.csr"]);
}

#[test]
fn at_a_terminal_the_passphrase_is_asked_for_and_not_shown() {
    let bench = Bench::new();
    let two = ["correct horse", "correct horse"];
    let ran = bench
        .at_a_terminal("key generate new.key", ": ", &two)
        .succeeded();
    assert!(
        ran.stdout.contains("Passphrase for new.key") && !ran.stdout.contains("horse"),
        "{ran:#?}"
    );
    assert!(
        bench
            .read("new.key")
            .starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    );
    bench
        .at_a_terminal("key show new.key", "key: ", &["correct horse"])
        .succeeded();
    let ran = bench.at_a_terminal("key show new.key", "key: ", &["wrong horse"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    let ran = bench.at_a_terminal(
        "key generate other.key",
        ": ",
        &["correct horse", "another horse"],
    );
    assert!(ran.status == 2 && ran.stdout.contains("differ"), "{ran:#?}");
    assert_eq!(bench.names(), ["new.key"]);
}

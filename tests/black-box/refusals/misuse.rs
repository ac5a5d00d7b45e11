//! What an operator of the host gets wrong: missing files, folders, wrong PEM, options. Status 2, a sentence that names
//! what to change, and nothing is run. The desk tool's are beside its other tests.

use std::path::Path;
use std::process::Command;

use countersign_testing::TestPki;

use super::bench::{Bench, hello, records};
use crate::programs::{Ran, run};

fn bench() -> &'static Bench {
    static BENCH: std::sync::LazyLock<Bench> =
        std::sync::LazyLock::new(|| Bench::kept("misuse", TestPki::new()));
    &BENCH
}

/// A file with these bytes.
fn file(bytes: impl AsRef<[u8]>, suffix: &str) -> String {
    let path = bench().fresh(suffix);
    std::fs::write(&path, bytes).expect("our own folder");
    text(&path)
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

fn good() -> String {
    file(bench().sign(&hello()), "wasm")
}

fn host(arguments: &[&str]) -> Ran {
    run(Command::new(&bench().host).args(arguments))
}

/// Status 2, nothing on standard output, and these words on standard error.
#[track_caller]
fn is_misuse(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.status, 2, "{ran:?}");
    assert_eq!(ran.stdout, "", "{ran:?}");
    for words in words {
        assert!(ran.stderr.contains(words), "no `{words}` in {ran:?}");
    }
}

#[test]
fn the_host_names_a_file_that_it_cannot_read() {
    let missing = text(&bench().path("missing.wasm"));
    is_misuse(&host(&[&missing]), &[&missing, "No such file"]);
    let folder = text(&bench().path(""));
    is_misuse(&host(&[&folder]), &["is a directory"]);
    is_misuse(&host(&["/dev/null"]), &["/dev/null", "not a regular file"]);

    let fifo = text(&bench().fresh("fifo"));
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo")
            .success()
    );
    is_misuse(&host(&[&fifo]), &["not a regular file"]);
}

#[test]
fn the_host_refuses_options_that_make_no_sense() {
    let good = good();
    for (option, value, words) in [
        ("--dir", "pictures", "HOST::GUEST"),
        ("--dir", "/tmp::work", "must start with /"),
        ("--env", "LANG", "NAME=VALUE"),
        ("--timeout", "10", "500ms"),
        ("--timeout", "0s", "1ms"),
        ("--memory", "64MB", "MiB"),
        ("--memory", "0", "some memory"),
    ] {
        is_misuse(&host(&[&good, option, value]), &[option, words]);
    }
    is_misuse(&host(&[]), &["<FILE>"]);
    is_misuse(&host(&[&good, "stray"]), &["stray"]);
    is_misuse(&host(&[&good, "--insecure"]), &["--insecure"]);
}

#[test]
fn the_host_refuses_a_folder_that_is_not_there() {
    let missing = text(&bench().path("no-folder"));
    let ran = host(&[&good(), "--dir", &format!("{missing}::/work")]);
    is_misuse(&ran, &["--dir", &missing]);
    let ran = host(&[&good(), "--dir", "/tmp::/work", "--dir", "/::/work:rw"]);
    is_misuse(&ran, &["/work", "twice"]);
}

#[test]
fn the_host_refuses_crl_files_that_are_none() {
    let good = good();
    let missing = text(&bench().path("missing.crl"));
    is_misuse(
        &host(&[&good, "--crl", &missing]),
        &[&missing, "No such file"],
    );
    let empty = file("", "crl");
    is_misuse(&host(&[&good, "--crl", &empty]), &[&empty, "empty"]);
    let certificate = text(&bench().files.roots_pem);
    is_misuse(
        &host(&[&good, "--crl", &certificate]),
        &[&certificate, "CERTIFICATE"],
    );
    let key = text(&bench().files.key);
    is_misuse(&host(&[&good, "--crl", &key]), &[&key, "private key"]);
    let der = file([0x30, 0x03, 0x02, 0x01, 0x01], "crl");
    is_misuse(&host(&[&good, "--crl", &der]), &[&der]);
}

#[test]
fn the_host_runs_nothing_without_its_audit_log() {
    let ran = host(&[&good(), "--audit", "/nonexistent/audit.jsonl"]);
    is_misuse(&ran, &["/nonexistent/audit.jsonl", "nothing is run"]);
    let folder = text(&bench().path(""));
    is_misuse(&host(&[&good(), "--audit", &folder]), &["nothing is run"]);
    // A full disk shows when the first record is written.
    is_misuse(
        &host(&[&good(), "--audit", "/dev/full"]),
        &["nothing is run"],
    );
}

#[test]
fn an_audit_log_is_appended_to() {
    let log = bench().fresh("jsonl");
    for _ in 0..2 {
        assert_eq!(host(&[&good(), "--audit", &text(&log)]).status, 0);
    }
    assert_eq!(records(&log).len(), 4);
}

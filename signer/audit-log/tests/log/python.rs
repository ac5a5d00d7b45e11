//! A verifier in Python that shares no code with ours judges what we write.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use countersign_audit_log::{InclusionProof, LogDirectory};
use countersign_keys::Algorithm;

use crate::support::{Log, entries, entry, key_of, verifier};

/// The verdict of the Python program on these arguments.
pub(crate) fn judge(vkey: &str, arguments: &[&Path]) -> Output {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/verify_audit_log.py");
    let output = Command::new("python3")
        .arg(program)
        .arg(vkey)
        .args(arguments)
        .output()
        .expect("python3 runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        !message.contains("ModuleNotFoundError"),
        "python3 lacks a package of tests/python/requirements.txt; `cargo xtask test` installs them: {message}"
    );
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn tg24_python_verifies_what_we_write_and_names_what_was_changed() {
    let vkey = verifier().to_vkey();
    for size in [0, 1, 256, 700, 66_000] {
        let log = Log::of(size);
        let output = judge(&vkey, &[&log.path]);
        assert!(output.status.success(), "{size}: {output:?}");
        assert_eq!(said(&output), format!("verified {size} entries\n"));
    }
    let log = Log::of(700);
    let path = log.path.join("tile/entries/001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[2] ^= 1;
    fs::write(path, bytes).unwrap();
    let output = judge(&vkey, &[&log.path]);
    assert!(!output.status.success());
    assert!(said(&output).contains("entry 256"), "{}", said(&output));

    let other = key_of(Algorithm::Ed25519, 9).verifier().to_vkey();
    assert!(!judge(&other, &[&Log::of(3).path]).status.success());
}

#[test]
fn tg24_python_verifies_checkpoints_of_p256_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let key = key_of(Algorithm::Esp256, 3);
    let vkey = key.verifier().to_vkey();
    let mut log = LogDirectory::create(&path, key).unwrap();
    log.append(&entries(0, 300)).unwrap();
    assert!(judge(&vkey, &[&path]).status.success());
    let note = fs::read_to_string(path.join("checkpoint")).unwrap();
    fs::write(path.join("checkpoint"), note.replace("\n300\n", "\n299\n")).unwrap();
    assert!(!judge(&vkey, &[&path]).status.success());
}

#[test]
fn tg24_python_verifies_our_proofs() {
    let log = Log::of(700);
    let vkey = verifier().to_vkey();
    let folder = tempfile::tempdir().unwrap();
    let (proof, file) = (
        folder.path().join("a.tlog-proof"),
        folder.path().join("entry"),
    );
    for index in [0, 255, 256, 698, 699] {
        let made = InclusionProof::make(&log.folder(), &log.checkpoint(), index).unwrap();
        fs::write(&proof, made.to_text()).unwrap();
        fs::write(&file, entry(index)).unwrap();
        let output = judge(&vkey, &[&proof, &file]);
        assert_eq!(
            said(&output),
            format!("entry {index} of 700\n"),
            "{output:?}"
        );
        fs::write(&file, entry(index + 1)).unwrap();
        assert!(!judge(&vkey, &[&proof, &file]).status.success());
    }
}

//! Verifiers in Python that share no code with ours judge what ours sign: components, and data for guests.

mod guest_data;

use std::path::Path;
use std::process::{Command, Output};

use countersign_format::Algorithm;
use countersign_testing::{EMPTY_COMPONENT, Role, TestPki};

/// The verdict of the Python program on these bytes, under this PKI's root.
fn judge(pki: &TestPki, bytes: &[u8]) -> Output {
    judge_as(pki, bytes, "verify_signed_file.py", &[])
}

/// The verdict of one of the Python programs, with options besides the root.
fn judge_as(pki: &TestPki, bytes: &[u8], name: &str, options: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let root = pki.write(folder.path()).roots_pem;
    let file = folder.path().join("signed");
    std::fs::write(&file, bytes).expect("the file is written");
    python(name, &root, options, &file)
}

/// Runs a program of tests/python.
pub(crate) fn python(name: &str, root: &Path, options: &[&str], file: &Path) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut program = Command::new("python3");
    program.env("PYTHONDONTWRITEBYTECODE", "1");
    program.arg(folder.join(name)).arg("--root").arg(root);
    let output = program.args(options).arg(file).output();
    let output = output.expect("python3 runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        !message.contains("ModuleNotFoundError"),
        "python3 lacks a package of tests/python/requirements.txt; `cargo xtask test` installs them: {message}"
    );
    output
}

fn is_verified(output: &Output) -> bool {
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        verdict["verified"].as_bool(),
        Some(output.status.success()),
        "{verdict}"
    );
    output.status.success()
}

#[test]
fn python_verifies_what_ours_signs() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        for extra in 0..=1 {
            let pki = TestPki::builder()
                .algorithm(algorithm)
                .extra_intermediates(extra)
                .build();
            let signed = pki.sign(EMPTY_COMPONENT, &pki.manifest("test:guest"));
            let output = judge(&pki, &signed);
            assert!(
                is_verified(&output),
                "{algorithm:?}, {extra}: {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
    }
}

#[test]
fn python_refuses_what_ours_refuses() {
    let pki = TestPki::new();
    let manifest = pki.manifest("test:guest");
    let signed = pki.sign(EMPTY_COMPONENT, &manifest);
    let mut flipped = signed.clone();
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let trailing = [signed.as_slice(), &[0]].concat();
    assert!(is_verified(&judge(&pki, &signed)));
    for bytes in [EMPTY_COMPONENT.to_vec(), flipped, trailing] {
        assert!(!is_verified(&judge(&pki, &bytes)));
    }
    assert!(
        !is_verified(&judge(&TestPki::new(), &signed)),
        "another root"
    );
    for builder in [
        TestPki::builder().valid(Role::Leaf, -100, -1),
        TestPki::builder().scope(&["other:*"]),
        TestPki::builder().extended_key_usage(Role::Leaf, &[]),
    ] {
        let bent = builder.build();
        let file = bent.forge(EMPTY_COMPONENT, bent.statement(EMPTY_COMPONENT, &manifest));
        assert!(!is_verified(&judge(&bent, &file)));
    }
}

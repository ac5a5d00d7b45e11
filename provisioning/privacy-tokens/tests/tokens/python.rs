//! pyca/cryptography makes and opens the same bytes.

use std::path::Path;
use std::process::Command;

use countersign_privacy_tokens::{
    HardwareHash, KeyEncryptionKey, KeyIndex, MasterKey, TableId, Token, Verdict, WrappedTable,
};
use getrandom::SysRng;

use crate::support::Service;

/// What the Python program prints, if it ends well.
fn python(arguments: &[&str]) -> Option<String> {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/privacy_tokens.py");
    let output = Command::new("python3")
        .arg(program)
        .args(arguments)
        .output()
        .expect("python3 runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        !message.contains("ModuleNotFoundError"),
        "python3 lacks a package of tests/python/requirements.txt; `cargo xtask test` installs them: {message}"
    );
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn python_computes_the_published_vectors() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/privacy-tokens.md");
    let said = python(&["vectors", document.to_str().unwrap()]);
    assert_eq!(said.as_deref(), Some("9 vectors agree"));
}

#[test]
fn python_opens_our_tokens_and_tables() {
    let master = MasterKey::generate(&mut SysRng).unwrap();
    let hash = HardwareHash::new([0x3C; 32]);
    let mut tokens = Vec::new();
    for index in [0, 1, 500, 999] {
        let index = KeyIndex::new(index).unwrap();
        let key = master.derive(index).unwrap();
        let token = Token::seal(TableId::new(2499), index, &key, &hash, &mut SysRng).unwrap();
        tokens.push(hex::encode(token.to_bytes()));
    }
    let hex_master = hex::encode(master.expose());
    let mut arguments = vec!["open", hex_master.as_str()];
    arguments.extend(tokens.iter().map(String::as_str));
    let lines = python(&arguments).unwrap();
    assert_eq!(lines.lines().count(), 4);
    assert!(lines.lines().all(|line| line == hex::encode(hash.expose())));

    let kek = KeyEncryptionKey::new(&[0x11; 32]).unwrap();
    let wrapped = WrappedTable::wrap(TableId::new(7), &master, &kek, &mut SysRng).unwrap();
    let wrapped = hex::encode(wrapped.as_bytes());
    let unwrapped = python(&["unwrap", &"11".repeat(32), "7", &wrapped]);
    assert_eq!(unwrapped, Some(hex_master));
    assert_eq!(python(&["unwrap", &"11".repeat(32), "8", &wrapped]), None);
}

#[test]
fn a_token_made_in_python_passes() {
    let service = Service::new();
    for (index, (table, master)) in [0, 42, 999].into_iter().zip(service.device.expose()) {
        let (table, index) = (table.to_string(), format!("{index}"));
        let (master, hash) = (
            hex::encode(master.expose()),
            hex::encode(service.hash.expose()),
        );
        let token = python(&["seal", &master, &table, &index, &hash]).unwrap();
        let token = Token::from_bytes(&hex::decode(token).unwrap()).unwrap();
        assert_eq!(service.verdict(&token), Verdict::Pass);
    }
}

//! The walk through docs/factory.md: its commands, as they stand there but for the port, in one folder and one shell.

use countersign_testing::free_port;

use crate::walk::{Walk, commands};

const PAGE: &str = include_str!("../../docs/factory.md");

#[test]
fn the_page_about_the_factory_does_what_it_says() {
    let port = free_port().to_string();
    let lines: Vec<String> = commands(PAGE)
        .iter()
        .map(|line| line.replace("8443", &port))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert!(lines.len() > 80, "{lines:#?}");
    let devices = std::env::var("COUNTERSIGN_FACTORY_DEVICES").unwrap_or_else(|_| "10".to_owned());
    let walk = Walk::new();
    let ran = walk.run(&lines, &[("DEVICES", &devices)]);
    // Refused are the two revoked signers, one of them again by the list of the authority that was put back.
    let refused = |signer: &str| {
        let words = format!("{signer}.wasm was refused: revoked");
        ran.stderr.matches(&words).count()
    };
    assert_eq!(ran.stderr.matches("was refused: ").count(), 3, "{ran:?}");
    assert_eq!(
        (refused("by-press-4"), refused("by-mill-1")),
        (1, 2),
        "{ran:?}"
    );
    for words in ["replaced by acme-devices-2", "the registry's leaves"] {
        assert!(ran.stdout.contains(words), "{words}: {ran:?}");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&walk.bench.read("report.json")).expect("JSON");
    assert_eq!(report["succeeded"].to_string(), devices);
    let log = String::from_utf8(walk.bench.read("authority.log")).expect("text");
    assert_eq!(log.matches("\"stopped\"").count(), 2, "{log}");
}

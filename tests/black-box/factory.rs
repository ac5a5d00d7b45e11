//! The walk through docs/factory.md: its commands, as they stand there but for the port, in one folder and one shell.

use std::process::Command;

use crate::cli::bench::{Bench, program};
use crate::programs::fill_host;

const PAGE: &str = include_str!("../../docs/factory.md");

/// The lines of every block of shell commands.
fn commands() -> Vec<&'static str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in PAGE.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => lines.push(line),
            _ => {}
        }
    }
    lines
}

#[test]
fn the_page_about_the_factory_does_what_it_says() {
    let port = free_port().to_string();
    let lines: Vec<String> = commands()
        .iter()
        .map(|line| line.replace("8443", &port))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert!(lines.len() > 80, "{lines:#?}");
    let devices = std::env::var("COUNTERSIGN_FACTORY_DEVICES").unwrap_or_else(|_| "10".to_owned());
    let bench = Bench::new();
    bench.write("hello.wasm", crate::components::guest("hello"));

    // The host is filled by the code behind `cargo xtask roots`, because a test is not to build anything: the walk stops
    // there and goes on in the same folder.
    let fills = |line: &&str| line.starts_with("cargo xtask roots host ");
    let place = lines
        .iter()
        .position(fills)
        .expect("a line that fills the host");
    let (before, after) = lines.split_at(place);
    let programs = program("countersign-ca");
    let path = format!(
        "{}:{}",
        programs.parent().expect("a folder").display(),
        std::env::var("PATH").expect("a path")
    );
    let run = |lines: &[&str]| {
        // Whatever happens, no server is left behind.
        let script = format!(
            "trap 'kill ${{server:-}} 2> /dev/null || :' EXIT\n{}",
            lines.join("\n")
        );
        let mut command = Command::new("sh");
        command
            .args(["-e", "-u", "-x", "-c", &script])
            .env("PATH", &path)
            .env("DEVICES", &devices);
        if bench.exists("softhsm2.conf") {
            command.env("SOFTHSM2_CONF", bench.path("softhsm2.conf"));
        }
        bench.run(command, b"").succeeded()
    };
    run(before);
    let roots = countersign_roots_file::parse(&bench.path("roots.toml")).expect("a root file");
    fill_host(&bench.path("host"), &roots);
    let ran = run(&after[1..]);
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
        serde_json::from_slice(&bench.read("report.json")).expect("JSON");
    assert_eq!(report["succeeded"].to_string(), devices);
    let log = String::from_utf8(bench.read("authority.log")).expect("text");
    assert_eq!(log.matches("\"stopped\"").count(), 2, "{log}");
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

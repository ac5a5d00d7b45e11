//! The walk through docs/factory.md: its commands, as they stand there, in one folder and one shell.

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
    let lines = commands();
    assert!(lines.len() > 25, "{lines:#?}");
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
        let mut command = Command::new("sh");
        command
            .args(["-e", "-u", "-x", "-c", &lines.join("\n")])
            .env("PATH", &path);
        if bench.exists("softhsm2.conf") {
            command.env("SOFTHSM2_CONF", bench.path("softhsm2.conf"));
        }
        bench.run(command, b"").succeeded()
    };
    run(before);
    let roots = countersign_roots_file::parse(&bench.path("roots.toml")).expect("a root file");
    fill_host(&bench.path("host"), &roots);
    let ran = run(&after[1..]);
    // The one refusal is for the revoked signer, and the page's last command came through.
    assert_eq!(
        ran.stderr.matches("was refused: ").count(),
        1,
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("by-press-4.wasm was refused: revoked"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("replaced by acme-devices-2"),
        "{}",
        ran.stdout
    );
}

//! Mutation testing: one operator, value or match arm at a time is made wrong, and a test of the same package must
//! fail for it. A mutant that no test notices is a check that nobody would miss.
//!
//! What is left out, and why, is said in `.cargo/mutants.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process::{root, run, target};
use crate::tools;

/// The version that is installed where there is none.
const VERSION: &str = "27.1.0";

/// The packages that decide, in the order in which a file meets them. Of the runtime, `.cargo/mutants.toml` names
/// the files.
const PACKAGES: [&str; 3] = [
    "countersign-format",
    "countersign-trust-store",
    "countersign-runtime",
];

/// What became of the mutants of one package.
struct Figures {
    package: &'static str,
    mutants: u64,
    caught: u64,
    missed: u64,
    timeouts: u64,
    unviable: u64,
}

/// Runs all packages, or those that are named.
pub(crate) fn play(names: &[&str]) -> Result<()> {
    if let Some(other) = names.iter().find(|name| !PACKAGES.contains(name)) {
        bail!(
            "mutants are made of {}, not of {other}",
            PACKAGES.join(", ")
        );
    }
    let packages = PACKAGES
        .into_iter()
        .filter(|package| names.is_empty() || names.contains(package));
    let program = tools::program("cargo-mutants", VERSION, &[])?;
    let figures = packages
        .map(|package| one(&program, package))
        .collect::<Result<Vec<_>>>()?;
    println!(
        "\n{:<25} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "package", "mutants", "caught", "missed", "timeouts", "unviable"
    );
    for one in &figures {
        println!(
            "{:<25} {:>8} {:>8} {:>8} {:>9} {:>9}",
            one.package, one.mutants, one.caught, one.missed, one.timeouts, one.unviable
        );
    }
    let missed: u64 = figures.iter().map(|one| one.missed).sum();
    ensure!(missed == 0, "mutants that no test noticed: {missed}");
    Ok(())
}

fn one(program: &Path, package: &'static str) -> Result<Figures> {
    let output = results(package);
    std::fs::create_dir_all(&output)?;
    let mut command = Command::new(program);
    command.current_dir(root()).arg("mutants");
    // Each mutant is built once and run for seconds: what is not optimised is built sooner. Properties are tried on
    // fewer inputs than in `cargo xtask test`.
    command
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .env("PROPTEST_CASES", "32");
    command.args(["--no-shuffle", "--package", package]);
    command.args(["--test-package", package, "--output"]);
    let ended = run(command.arg(&output));
    let figures = figures(package)?;
    // A mutant that was missed, or that ran on for ever, makes cargo-mutants end with an error too.
    if figures.missed + figures.timeouts == 0 {
        ended?;
    }
    Ok(figures)
}

/// Reads the figures that cargo-mutants left.
fn figures(package: &'static str) -> Result<Figures> {
    let path = results(package).join("mutants.out/outcomes.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let outcomes: Value = serde_json::from_str(&text)?;
    let number = |name: &str| {
        outcomes
            .get(name)
            .and_then(Value::as_u64)
            .with_context(|| format!("{} has no number {name}", path.display()))
    };
    Ok(Figures {
        package,
        mutants: number("total_mutants")?,
        caught: number("caught")?,
        missed: number("missed")?,
        timeouts: number("timeout")?,
        unviable: number("unviable")?,
    })
}

fn results(package: &str) -> PathBuf {
    target().join("soak/mutants").join(package)
}

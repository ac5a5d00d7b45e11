//! `cargo xtask test`: everything that must hold, in the order that builds each thing once.
//!
//! A step that fails does not keep the later ones from running, unless they need what it would have built.
//! The last line counts the tests, and a step that failed without one counts as a failed test.

mod counting;
mod deny;
mod failures;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::demo::{self, minutes};
use crate::process::{built, cargo, root, run, say, target};
use crate::programs::{self, Selection};
use crate::setup::{self, Need};
use crate::soak::fuzz;
use crate::{check, guests, kryoptic};
use counting::Counts;
use failures::Failures;

/// How long each fuzz target runs here; `cargo xtask soak fuzz` runs them for longer.
const FUZZ_SECONDS: u64 = 8;

/// A machine without an operating system.
const BARE_TARGET: &str = "thumbv7em-none-eabi";

/// Runs everything.
pub(crate) fn all() -> Result<()> {
    setup::ensure(&[
        Need::Browser,
        Need::CCompiler,
        Need::Curl,
        Need::DockerRegistry,
        Need::Faketime,
        Need::GuestToolchain,
        Need::GuestToolchainC,
        Need::Mosquitto,
        Need::Node,
        Need::OpenSsl,
        Need::OpenSslLibrary,
        Need::Pkcs11Tokens,
        Need::PostgreSql,
        Need::Python,
        Need::Strace,
        Need::StrongSwanPki,
        Need::Systemd,
        Need::Tpm,
    ])?;
    let mut suite = Suite::default();
    // What takes seconds comes first.
    suite.step("formatting", formatting);
    suite.step("rules", || check::all(check::Index::Compared));

    let is_built = suite.step("build", || programs::build(Selection::Everything))
        && suite.step("guests", guests::build)
        && suite.step("python packages of the tests", setup::python_packages)
        && suite.step("a second module for tokens", kryoptic::build);
    if is_built {
        // Tests before the demo: the demo gives the built host another root.
        suite.tests();
        suite.step("the audit log in other hands", audit_log_elsewhere);
        suite.step("examples", examples);
        for (name, kind) in [
            ("demo", demo::Kind::File),
            ("demo with a TPM", demo::Kind::Tpm),
            ("demo with an ATECC608", demo::Kind::Atecc608),
        ] {
            suite.step(name, || demo::play(kind, Selection::Everything));
        }
    }
    suite.step("driver without a system", driver_without_system);
    suite.step("clippy", clippy);
    suite.step("documentation", documentation);
    suite.step("dependencies", deny::check);
    suite.step("fuzzing, briefly", || fuzz::all(FUZZ_SECONDS, None));
    suite.finish()
}

/// What ran so far.
#[derive(Default)]
struct Suite {
    steps: Vec<(&'static str, Duration, Result<()>)>,
    counts: Counts,
    failures: Failures,
}

impl Suite {
    /// Runs a step and says how it went; returns whether it passed.
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
        println!();
        say(&format!("step: {name}"));
        let started = Instant::now();
        let outcome = work();
        let took = started.elapsed();
        match &outcome {
            Ok(()) => say(&format!("{name}: passed in {}", minutes(took))),
            Err(error) => say(&format!(
                "{name}: FAILED after {}: {error:#}",
                minutes(took)
            )),
        }
        let passed = outcome.is_ok();
        self.steps.push((name, took, outcome));
        passed
    }

    /// Unit tests, black-box tests and documentation tests.
    fn tests(&mut self) {
        let (mut counts, mut failures) = (Counts::default(), Failures::default());
        self.step("tests", || {
            (counts, failures) = counting::run()?;
            ensure!(counts.failed == 0, "{} tests failed", counts.failed);
            Ok(())
        });
        (self.counts, self.failures) = (counts, failures);
    }

    /// Lists the steps and what failed, and ends with the line that counts the tests.
    fn finish(mut self) -> Result<()> {
        println!("\n");
        let total: Duration = self.steps.iter().map(|(_, took, _)| *took).sum();
        let mut failed_steps = Vec::new();
        for (name, took, outcome) in &self.steps {
            let verdict = if outcome.is_ok() { "passed" } else { "FAILED" };
            println!("{verdict}  {:>12}  {name}", minutes(*took));
            if let Err(error) = outcome {
                failed_steps.push(format!("{name}: {error:#}"));
            }
        }
        println!("in {}", minutes(total));
        self.failures.print();
        for failure in &failed_steps {
            println!("\nFAILED  {failure}");
        }
        // Failed tests have failed their step. Where other steps failed and no test did, those count.
        self.counts.failed = self.counts.failed.max(failed_steps.len());
        println!("\n{}", self.counts.line());
        ensure!(
            failed_steps.is_empty(),
            "steps that failed: {}",
            failed_steps.len()
        );
        Ok(())
    }
}

fn formatting() -> Result<()> {
    for folder in [""].iter().chain(check::BESIDE) {
        run(cargo()
            .current_dir(root().join(folder))
            .args(["fmt", "--all", "--check"]))?;
    }
    Ok(())
}

/// The secure element's driver without the standard library. Its own code cannot use that, wherever it is compiled; where
/// rustup has a target that has none at all, neither can what it depends on.
fn driver_without_system() -> Result<()> {
    let mut check = cargo();
    check.args(["check", "--locked", "--no-default-features"]);
    check.args(["--package", "countersign-backend-atecc608"]);
    if setup::rustup_has_target(BARE_TARGET) {
        check.args(["--target", BARE_TARGET]);
    } else {
        println!("compiled for this machine, as rustup has no target {BARE_TARGET}");
    }
    run(&mut check)
}

fn clippy() -> Result<()> {
    let mut command = cargo();
    command.args(["clippy", "--locked", "--workspace", "--all-targets"]);
    command.args(programs::TPM);
    run(command.args(["--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut command = cargo();
    command.env("RUSTDOCFLAGS", "--deny warnings");
    command.args(["doc", "--locked", "--workspace", "--no-deps"]);
    run(command.arg("--document-private-items").args(programs::TPM))
}

/// Other implementations of the audit log's specifications read what ours writes; in a folder of their own, because they
/// are built with other features of packages that ours share.
fn audit_log_elsewhere() -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--locked", "--manifest-path"]);
    command.arg(root().join("tests/tlog-tiles/Cargo.toml"));
    command.arg("--target-dir").arg(target().join("tlog-tiles"));
    run(&mut command)
}

/// Runs the embedder's examples, which check what they show and fail if it is not so.
fn examples() -> Result<()> {
    let folder = root().join("runtime/examples");
    let mut ran = 0;
    for entry in
        std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        let Some(name) = example_name(&path) else {
            continue;
        };
        println!("-- {name}");
        run(&mut Command::new(built("examples").join(&name)))?;
        ran += 1;
    }
    if ran == 0 {
        bail!("{} holds no example", folder.display());
    }
    Ok(())
}

/// The name of the example that a path is the source of: NAME.rs, or a folder with a main.rs.
fn example_name(path: &Path) -> Option<String> {
    let is_source = path.extension().is_some_and(|extension| extension == "rs");
    if !is_source && !path.join("main.rs").is_file() {
        return None;
    }
    Some(path.file_stem()?.to_string_lossy().into_owned())
}

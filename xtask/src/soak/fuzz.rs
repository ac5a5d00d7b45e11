//! `cargo xtask soak fuzz`: the fuzz targets of tests/fuzz, one on each processor, each from its seeds and from what
//! earlier runs found.
//!
//! Without a sanitizer: the verifying path is safe Rust, whose faults are panics and wrong answers, and so no compiler
//! but the usual one is needed.

use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::process::{capture, cargo, root, run, say, shown, succeeds, target};
use crate::setup::{self, Need};

/// The version that is installed where there is none.
const VERSION: &str = "0.13.2";

/// How long each target runs unless told.
const SECONDS: u64 = 60;

/// Every target, with the largest input that is tried, in bytes.
const TARGETS: &[(&str, u32)] = &[
    ("framing", 8_192),
    ("envelope_and_statement", 8_192),
    ("certificate_and_chain", 2_048),
    ("crl", 2_048),
    ("bundle", 4_096),
    ("whole_verification", 4_096),
    ("component_toml", 4_096),
    ("key_uris", 4_300),
];

/// Reads `[SECONDS] [TARGET]`.
pub(crate) fn play(arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => all(SECONDS, None),
        [seconds, only @ ..] if only.len() < 2 => {
            let seconds = seconds
                .parse()
                .with_context(|| format!("{seconds} is no number of seconds"))?;
            all(seconds, only.first().copied())
        }
        _ => bail!("soak fuzz takes a number of seconds and the name of a target"),
    }
}

/// Builds the targets and runs each, or one, for so many seconds.
pub(crate) fn all(seconds: u64, only: Option<&str>) -> Result<()> {
    let chosen: Vec<_> = TARGETS
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        bail!("there is no such target; there are {}", names.join(", "));
    }
    setup::ensure(&[Need::CppCompiler])?;
    build()?;
    let mut ran = Vec::new();
    // A target is one thread: as many at once as there are processors.
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    for together in chosen.chunks(at_once) {
        let names: Vec<_> = together.iter().map(|(name, _)| *name).collect();
        say(&format!("fuzzing {} for {seconds} s", names.join(" and ")));
        let runs: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = together
                .iter()
                .map(|(name, largest)| scope.spawn(move || fuzz(name, *largest, seconds)))
                .collect();
            runs.into_iter().map(|run| run.join()).collect()
        });
        for run in runs {
            ran.push(run.map_err(|_| anyhow!("the run of a target panicked"))??);
        }
    }
    report(&ran)
}

/// The folder of everything that is built and found.
fn folder() -> PathBuf {
    target().join("fuzz")
}

/// Builds all targets at once. Arithmetic is left without instrumentation; tests/fuzz/rustc.sh says why.
fn build() -> Result<()> {
    let mut build = cargo();
    build
        .env("PATH", path_with_cargo_fuzz()?)
        .env("RUSTC_WRAPPER", root().join("tests/fuzz/rustc.sh"))
        .args(["fuzz", "build", "--fuzz-dir", "tests/fuzz"])
        .args(["--release", "--sanitizer", "none", "--strip-dead-code"])
        .arg("--target-dir")
        .arg(folder());
    run(&mut build)
}

/// PATH with cargo-fuzz in it: the one on the machine, or one built into the build folder.
fn path_with_cargo_fuzz() -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if succeeds("cargo-fuzz", &["--version"]) {
        return Ok(path);
    }
    let tools = target().join("tools");
    if !tools.join("bin/cargo-fuzz").exists() {
        say("building cargo-fuzz, once");
        let mut install = cargo();
        install
            .args(["install", "cargo-fuzz", "--version", VERSION, "--locked"])
            .args(["--debug", "--root"])
            .arg(&tools)
            .arg("--target-dir")
            .arg(tools.join("build"));
        run(&mut install)?;
        // What it was built from is of no more use.
        fs::remove_dir_all(tools.join("build"))?;
    }
    let folders = [tools.join("bin")];
    Ok(std::env::join_paths(
        folders.into_iter().chain(std::env::split_paths(&path)),
    )?)
}

/// What a run of one target showed.
struct Run {
    name: &'static str,
    took: Duration,
    log: PathBuf,
    /// Empty if the target ended well, else how to see the same again.
    reproduce: String,
    executions: u64,
    edges: u64,
    features: u64,
}

fn fuzz(name: &'static str, largest: u32, seconds: u64) -> Result<Run> {
    let corpus = folder().join("corpus").join(name);
    let crashes = folder().join("crashes").join(name);
    for folder in [&corpus, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let log = folder().join(format!("{name}.log"));
    let program = program(name)?;
    let started = Instant::now();
    let status = Command::new(&program)
        .current_dir(root())
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={largest}"))
        .args(["-rss_limit_mb=512", "-timeout=10", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg(&corpus)
        .arg(root().join("tests/fuzz/seeds").join(name))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let took = started.elapsed();
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let reproduce = if status.success() {
        String::new()
    } else {
        reproducing(&program, &crashes, started.elapsed())
    };
    Ok(Run {
        name,
        took,
        reproduce,
        executions: last_number(&text, "stat::number_of_executed_units:"),
        edges: last_number(&text, " cov:"),
        features: last_number(&text, " ft:"),
        log,
    })
}

/// The command that shows a failure again: the program with the input that was kept during this run.
fn reproducing(program: &Path, crashes: &Path, run: Duration) -> String {
    let newest = fs::read_dir(crashes)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let age = entry.metadata().ok()?.modified().ok()?.elapsed().ok()?;
            (age <= run).then(|| (age, entry.path()))
        })
        .min();
    match newest {
        Some((_, input)) => format!("{} {}", program.display(), input.display()),
        None => format!("{} (no input was kept)", program.display()),
    }
}

/// Where cargo-fuzz leaves the program of a target.
fn program(name: &str) -> Result<PathBuf> {
    let version = capture(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .with_context(|| format!("{} names no host", shown(Command::new("rustc").arg("-vV"))))?;
    Ok(folder().join(host).join("release").join(name))
}

/// The number that follows the last `word` of libFuzzer's output; 0 if there is none.
fn last_number(text: &str, word: &str) -> u64 {
    let number = || {
        text.rsplit_once(word)?
            .1
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    number().unwrap_or_default()
}

fn report(ran: &[Run]) -> Result<()> {
    println!(
        "\n{:<24}{:>9}{:>14}{:>9}{:>11}  found",
        "target", "seconds", "executions", "edges", "features"
    );
    for run in ran {
        println!(
            "{:<24}{:>9}{:>14}{:>9}{:>11}  {}",
            run.name,
            run.took.as_secs(),
            run.executions,
            run.edges,
            run.features,
            if run.reproduce.is_empty() {
                "nothing"
            } else {
                "A FAULT"
            },
        );
    }
    let failed: Vec<_> = ran.iter().filter(|run| !run.reproduce.is_empty()).collect();
    for run in &failed {
        println!(
            "\n{}: see {}, and again with\n    {}",
            run.name,
            run.log.display(),
            run.reproduce
        );
    }
    ensure!(
        failed.is_empty(),
        "targets that found a fault: {}",
        failed.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_read_from_the_last_lines() {
        let log = "#2\tINITED cov: 10 ft: 11 corp: 1/1b\n#9\tDONE   cov: 436 ft: 1315 corp: 377/11207b\n\
                   stat::number_of_executed_units: 349779\n";
        assert_eq!(last_number(log, " cov:"), 436);
        assert_eq!(last_number(log, " ft:"), 1_315);
        assert_eq!(last_number(log, "stat::number_of_executed_units:"), 349_779);
        assert_eq!(last_number("", " cov:"), 0);
    }

    #[test]
    fn every_target_has_its_program_and_its_seeds() {
        let folder = root().join("tests/fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("it is there");
        let programs = manifest.matches("[[bin]]").count();
        assert_eq!(programs, TARGETS.len());
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            assert!(folder.join("seeds").join(name).is_dir(), "{name}");
        }
    }
}

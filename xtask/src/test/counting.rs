//! Runs `cargo test` over the workspace and counts from what the test programs say.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail, ensure};

use super::failures::Failures;
use crate::process::{cargo, shown};

/// How many tests there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl Counts {
    /// The closing line.
    pub(super) fn line(self) -> String {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        match skipped {
            0 => format!("{passed} passed, {failed} failed"),
            _ => format!("{passed} passed, {failed} failed, {skipped} skipped"),
        }
    }

    /// Adds what a test program's closing line says; other lines say nothing.
    fn add(&mut self, line: &str) {
        let Some(results) = line.strip_prefix("test result: ") else {
            return;
        };
        for result in results.split([';', '.']) {
            let mut words = result.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else {
                continue;
            };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Runs every test of the workspace, documentation tests included. Tests that fail are counted and kept, and are no error of
/// this function's; a test program that ends in another way is.
pub(super) fn run() -> Result<(Counts, Failures)> {
    let mut command = cargo();
    command.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    command.args(crate::programs::TPM);
    command.env("PATH", crate::setup::path_with_python()?);
    // The longest tests wait for other processes, most of their time.
    let processors = available_parallelism().context("the number of processors is not known")?;
    command.env("RUST_TEST_THREADS", (2 * processors.get()).to_string());
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child: Child = started.with_context(|| format!("cannot start {}", shown(&command)))?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let (mut counts, mut failures) = (Counts::default(), Failures::default());
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        counts.add(line.trim());
        failures.add(&line);
    }
    let status = child.wait()?;
    ensure!(counts.passed + counts.failed > 0, "no test ran");
    if !status.success() && counts.failed == 0 {
        bail!("cargo test ended with {status}, although no test failed");
    }
    Ok((counts, failures))
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn closing_lines_are_added_up() {
        let mut counts = Counts::default();
        counts.add("running 3 tests");
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.15s");
        counts.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 3.00s");
        assert_eq!(
            counts,
            Counts {
                passed: 13,
                failed: 2,
                skipped: 1
            }
        );
        assert_eq!(counts.line(), "13 passed, 2 failed, 1 skipped");
    }
}

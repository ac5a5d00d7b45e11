//! Whether the tests notice a mutant.
//!
//! A test that does not call the changed function cannot. Of those that do, the ones that call the fewest others run
//! first: where the verdict of a test falls in that function, the test calls nothing further.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::capture;

use super::switch::{CALLED, VARIABLE};
use super::tree::Test;

/// How many tests of one program run in one process, first and then.
const PORTIONS: [usize; 4] = [8, 24, 72, usize::MAX];

/// The processor time that one process may take, in seconds: what takes more runs for ever.
const SECONDS: &str = "120";

/// The time after which a process that does nothing is given up.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// The address space that a process may take, in KiB: some mutants ask for memory until there is none.
const ADDRESS_SPACE: &str = "16777216";

/// The signal that ends a process whose processor time is used up.
const SIGXCPU: i32 = 24;

/// Flips every bit of a signed file, and takes longer than all others of its package together; what it alone would find
/// counts as missed.
const LEFT_OUT: &str = "every_bit_and_every_truncation";

/// What became of a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A test failed.
    Caught,
    /// None did.
    Missed,
    /// The tests did not end.
    ForEver,
    /// The compiler refused it.
    NotCompiled,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Caught => "caught",
            Self::Missed => "MISSED",
            Self::ForEver => "ran for ever",
            Self::NotCompiled => "does not compile",
        })
    }
}

/// The tests, each with what it calls.
pub(super) struct Suite {
    programs: Vec<(Test, Vec<Case>)>,
}

struct Case {
    name: String,
    /// The functions, as [`super::switch`] notes them.
    calls: BTreeSet<usize>,
}

impl Suite {
    /// Runs every test by itself without a mutant, in which it must pass, and notes what it calls in a file.
    pub(super) fn record(tests: Vec<Test>, called: &Path) -> Result<Self> {
        let mut programs = Vec::new();
        for test in tests {
            let mut cases = Vec::new();
            for name in test.names()? {
                std::fs::write(called, "")?;
                let verdict = test.run(&[&name], (CALLED, called.as_os_str()))?;
                ensure!(
                    verdict == Verdict::Missed,
                    "the test {name} fails without a mutant"
                );
                let noted = std::fs::read_to_string(called)?;
                let calls = noted.lines().map(str::parse).collect::<Result<_, _>>()?;
                cases.push(Case { name, calls });
            }
            cases.sort_by_key(|case| case.calls.len());
            programs.push((test, cases));
        }
        Ok(Self { programs })
    }

    pub(super) fn len(&self) -> usize {
        self.programs.iter().map(|(_, cases)| cases.len()).sum()
    }

    /// Runs the tests that call a function with a mutant of it switched on, until one fails.
    pub(super) fn judge(&self, number: usize, function: usize) -> Result<Verdict> {
        for (test, cases) in &self.programs {
            let calling = cases.iter().filter(|case| case.calls.contains(&function));
            let names: Vec<_> = calling.map(|case| case.name.as_str()).collect();
            let mut rest = names.as_slice();
            for portion in PORTIONS {
                let (names, others) = rest.split_at(portion.min(rest.len()));
                rest = others;
                if names.is_empty() {
                    break;
                }
                let verdict = test.run(names, (VARIABLE, number.to_string()))?;
                if verdict != Verdict::Missed {
                    return Ok(verdict);
                }
            }
        }
        Ok(Verdict::Missed)
    }
}

/// Runs all tests of programs that were built with one mutant, until one fails.
pub(super) fn alone(tests: &[Test]) -> Result<Verdict> {
    for test in tests {
        let verdict = test.run(&[], (VARIABLE, ""))?;
        if verdict != Verdict::Missed {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Missed)
}

impl Test {
    /// The names of the tests of a program.
    fn names(&self) -> Result<Vec<String>> {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder);
        let list = capture(command.args(["--list", "--format", "terse"]))?;
        Ok(list
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .filter(|name| !name.contains(LEFT_OUT))
            .map(str::to_owned)
            .collect())
    }

    /// Runs the tests of these names, or all, with a variable set, until one fails.
    fn run(
        &self,
        names: &[&str],
        variable: (&str, impl AsRef<std::ffi::OsStr>),
    ) -> Result<Verdict> {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "ulimit -v \"$0\" && ulimit -S -t \"$1\" && shift && exec \"$@\"",
        ]);
        command.args([ADDRESS_SPACE, SECONDS]).arg(&self.program);
        if names.is_empty() {
            command.args(["--skip", LEFT_OUT]);
        } else {
            command.arg("--exact").args(names);
        }
        command.current_dir(&self.folder);
        command.env("CARGO_MANIFEST_DIR", &self.folder);
        // Properties are tried on fewer inputs than in `cargo xtask test`.
        command.env("PROPTEST_CASES", "32");
        command.env(variable.0, variable.1);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let failure = failures(&mut child)?;
        let verdict = match failure.recv_timeout(PATIENCE) {
            Ok(()) => Verdict::Caught,
            Err(RecvTimeoutError::Timeout) => Verdict::ForEver,
            // All is written; how it ends is still to be seen.
            Err(RecvTimeoutError::Disconnected) => return Ok(ended(child.wait()?)),
        };
        child.kill()?;
        child.wait()?;
        Ok(verdict)
    }
}

/// What it says how a process ended.
fn ended(status: ExitStatus) -> Verdict {
    if status.success() {
        Verdict::Missed
    } else if status.signal() == Some(SIGXCPU) {
        Verdict::ForEver
    } else {
        Verdict::Caught
    }
}

/// Tells of the first test that fails, as soon as it does.
fn failures(child: &mut Child) -> Result<Receiver<()>> {
    let output = child.stdout.take().context("there is no output")?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.starts_with("test ") && line.ends_with("FAILED") && sender.send(()).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

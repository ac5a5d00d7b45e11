//! The built programs, and what they leave behind: shared by the tests that start them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use countersign_testing::write_program;
use countersign_trust_store::AnchorSource;

use crate::components::profile;

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) seconds: f64,
}

/// Runs a program to its end, without input.
pub(crate) fn run(command: &mut Command) -> Ran {
    let started = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Ran {
        status: output
            .status
            .code()
            .expect("ended by itself, not by a signal"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// A built program: beside the folder of the running test, target/PROFILE/deps.
pub(crate) fn program(name: &str) -> PathBuf {
    let program = profile().join(name);
    assert!(
        program.is_file(),
        "{} is not built; run `cargo build --workspace` first",
        program.display()
    );
    program
}

/// Puts a copy of the built host with these roots at `path`.
pub(crate) fn fill_host(path: &Path, roots: &[AnchorSource]) {
    fill(&program("countersign-run"), path, roots);
}

/// Puts a copy of a built program that runs components at `path`, with these roots.
pub(crate) fn fill(built: &Path, path: &Path, roots: &[AnchorSource]) {
    let mut bytes = std::fs::read(built).expect("the built host can be read");
    countersign_roots_file::fill(&mut bytes, roots).expect("the built host takes roots");
    write_program(path, &bytes);
}

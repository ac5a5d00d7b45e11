//! Builds of the workspace's programs, all into one folder with one profile.
//!
//! Cargo chooses the features of shared dependencies by what one command builds. So that nothing big is built
//! twice, a command of ours always names the same selection, and asks for single packages only where it needs
//! no more than those. TPMs are a feature of the programs, because it links a library of the system.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Result;

use crate::process::{built, cargo, run};

/// What is built of the workspace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The programs.
    Programs,
    /// The programs with everything that a chip can do, and what verifies outside.
    WithChips,
    /// The programs with everything that a chip can do, and all tests and examples.
    Everything,
}

/// Builds the programs with TPMs.
pub(crate) const TPM: [&str; 2] = [
    "--features",
    "countersign/tpm,countersign-authority/tpm,countersign-ca/tpm,countersign-gateway/tpm,countersign-run/tpm",
];

/// What this process has built.
static BUILT: OnceLock<Selection> = OnceLock::new();

/// Builds the selection, unless this process has done so.
pub(crate) fn build(selection: Selection) -> Result<()> {
    if BUILT.get() == Some(&selection) {
        return Ok(());
    }
    let mut build = begin();
    match selection {
        Selection::Programs => build.arg("--bins"),
        Selection::WithChips => build
            .args(["--bins", "--example", "verify_guest_data"])
            .args(TPM),
        // Benches are looked at by clippy, and built by whoever runs them.
        Selection::Everything => build
            .args(["--bins", "--lib", "--tests", "--examples"])
            .args(TPM),
    };
    run(&mut build)?;
    BUILT.get_or_init(|| selection);
    Ok(())
}

/// The cargo command that builds one program, with the dependencies as they are built for the selection.
pub(crate) fn command(program: &str, selection: Selection) -> Command {
    let mut build = begin();
    build.args(["--bin", program]);
    // Where a selection has tests or examples, what those depend on counts too: so one of them is named.
    match selection {
        Selection::Programs => &mut build,
        Selection::WithChips => build.args(["--example", "verify_guest_data"]).args(TPM),
        Selection::Everything => build.args(["--test", "registry"]).args(TPM),
    };
    build
}

fn begin() -> Command {
    let mut build = cargo();
    build.args(["build", "--locked", "--workspace"]);
    build
}

/// The program that encodes components and fills roots, built if it is not yet.
pub(crate) fn tools() -> Result<PathBuf> {
    if BUILT.get().is_none() {
        run(cargo().args(["build", "--locked", "--package", "xtask-tools"]))?;
    }
    Ok(built("xtask-tools"))
}

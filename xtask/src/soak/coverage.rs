//! Coverage: which lines and regions of the verifying packages their own tests run.
//!
//! Code that no test runs is shown by it; code that is run may still be unchecked, which mutants show.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::{root, run, target};
use crate::{llvm, tools};

/// The version of cargo-llvm-cov that is installed where there is none.
const VERSION: &str = "0.9.1";

/// The packages that are measured, by the tests of these packages alone.
const PACKAGES: [&str; 3] = [
    "countersign-format",
    "countersign-trust-store",
    "countersign-runtime",
];

/// Runs the tests and prints a table by file; the same figures as JSON stay in the build folder.
pub(crate) fn play(words: &[&str]) -> Result<()> {
    ensure!(words.is_empty(), "nothing follows `soak coverage`");
    let llvm = llvm()?;
    let program = tools::program("cargo-llvm-cov", VERSION, &[])?;
    let command = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(root()).arg("llvm-cov").args(words);
        command.envs(llvm.clone());
        command
    };
    let mut tests = command(&["--no-report", "--locked", "--lib", "--tests"]);
    for package in PACKAGES {
        tests.args(["--package", package]);
    }
    run(&mut tests)?;
    // Tests, and packages that the tests only use, are not what is measured.
    let others = r"/(tests?|tests\.rs|samples\.rs)(/|$)|/(keys|backends|provisioning|signer/src)/";
    let report = ["report", "--ignore-filename-regex", others];
    run(&mut command(&report))?;
    let folder = target().join("soak/coverage");
    std::fs::create_dir_all(&folder)?;
    run(command(&report)
        .args(["--json", "--summary-only", "--output-path"])
        .arg(folder.join("summary.json")))
}

/// LLVM's tools in the variables in which cargo-llvm-cov looks for them, unless they are named there already.
fn llvm() -> Result<Vec<(&'static str, PathBuf)>> {
    if llvm::TOOLS
        .iter()
        .all(|(name, _)| std::env::var_os(name).is_some())
    {
        return Ok(Vec::new());
    }
    let folder = llvm::folder()?;
    Ok(llvm::TOOLS
        .map(|(name, tool)| (name, folder.join(tool)))
        .into())
}

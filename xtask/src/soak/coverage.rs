//! Coverage: which lines and regions of the verifying packages their own tests run.
//!
//! Code that no test runs is shown by it; code that is run may still be unchecked, which mutants show.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::{capture, root, run, target};
use crate::setup::{self, Need};
use crate::tools;

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

/// The variables in which cargo-llvm-cov looks for LLVM's tools, and the tools.
const LLVM_TOOLS: [(&str, &str); 2] =
    [("LLVM_COV", "llvm-cov"), ("LLVM_PROFDATA", "llvm-profdata")];

/// LLVM's tools, where cargo-llvm-cov does not find them by itself: they are named in the environment already, belong
/// to the toolchain as rustup's component `llvm-tools`, or are Debian's.
fn llvm() -> Result<Vec<(&'static str, PathBuf)>> {
    let named = LLVM_TOOLS
        .iter()
        .all(|(name, _)| std::env::var_os(name).is_some());
    let libraries = capture(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let component = Path::new(libraries.trim()).with_file_name("bin/llvm-profdata");
    if named || component.exists() {
        return Ok(Vec::new());
    }
    setup::ensure(&[Need::LlvmTools])?;
    let debian = Path::new(setup::LLVM);
    Ok(LLVM_TOOLS
        .map(|(name, tool)| (name, debian.join(tool)))
        .into())
}

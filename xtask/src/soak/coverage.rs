//! Coverage: which lines and regions of the verifying packages their own tests run.
//!
//! Code that no test runs is shown by it; code that is run may still be unchecked, which mutants show.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::{capture, root, run, target};
use crate::tools;

/// The version of cargo-llvm-cov that is installed where there is none.
const VERSION: &str = "0.9.1";

/// The packages that are measured, by the tests of these packages alone.
const PACKAGES: [&str; 2] = ["countersign-format", "countersign-trust-store"];

/// Runs the tests and prints a table by file; the same figures as JSON stay in the build folder.
pub(crate) fn play(words: &[&str]) -> Result<()> {
    ensure!(words.is_empty(), "nothing follows `soak coverage`");
    require_llvm()?;
    let program = tools::program("cargo-llvm-cov", VERSION, &[])?;
    let command = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(root()).arg("llvm-cov").args(words);
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

/// LLVM's own tools belong to the toolchain, or are named in the environment, as cargo-llvm-cov reads it.
fn require_llvm() -> Result<()> {
    let named = ["LLVM_COV", "LLVM_PROFDATA"]
        .iter()
        .all(|name| std::env::var_os(name).is_some());
    let libraries = capture(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let component = Path::new(libraries.trim()).with_file_name("bin/llvm-profdata");
    ensure!(
        named || component.exists(),
        "LLVM's tools are missing; please run\n\n    rustup component add llvm-tools\n\nor name llvm-cov and \
         llvm-profdata, not older than the compiler's LLVM, in LLVM_COV and LLVM_PROFDATA"
    );
    Ok(())
}

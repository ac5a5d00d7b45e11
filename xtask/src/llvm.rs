//! The tools of the LLVM that the compiler is made of: others do not read what its programs write about themselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::capture;
use crate::setup::{self, Need};

/// The variables that name the tools, as cargo-llvm-cov has them, and the tools.
pub(crate) const TOOLS: [(&str, &str); 2] = [("LLVM_COV", "llvm-cov"), (PROFDATA, "llvm-profdata")];

const PROFDATA: &str = "LLVM_PROFDATA";

/// The folder of the tools: beside the compiler, if rustup's component `llvm-tools` is there, and else Debian's, which are installed
/// first if need be.
///
/// # Errors
/// If they are nowhere and cannot be installed.
pub(crate) fn folder() -> Result<PathBuf> {
    let libraries = capture(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let component = Path::new(libraries.trim()).with_file_name("bin");
    if component.join("llvm-profdata").exists() {
        return Ok(component);
    }
    setup::ensure(&[Need::LlvmTools])?;
    Ok(setup::LLVM.into())
}

/// The program that adds up what instrumented programs wrote.
///
/// # Errors
/// As [`folder`].
pub(crate) fn profdata() -> Result<PathBuf> {
    match std::env::var_os(PROFDATA) {
        Some(named) => Ok(named.into()),
        None => Ok(folder()?.join("llvm-profdata")),
    }
}

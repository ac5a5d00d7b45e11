//! Cargo's helpers that this repository uses and a fresh machine does not have: built once, into the build folder.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::{cargo, run, say, succeeds, target};

/// The program of this name: the one on the machine, or one of this version built without optimisation and with
/// these options of `cargo install`.
pub(crate) fn program(name: &str, version: &str, options: &[&str]) -> Result<PathBuf> {
    if succeeds(name, &["--version"]) {
        return Ok(name.into());
    }
    let folder = target().join("tools");
    let program = folder.join("bin").join(name);
    if !program.exists() {
        say(&format!("building {name}, once (some minutes)"));
        let mut install = cargo();
        install.args(["install", name, "--version", version, "--locked", "--debug"]);
        install.args(options).arg("--root").arg(&folder);
        install.arg("--target-dir").arg(folder.join("build"));
        run(&mut install)?;
        // What it was built from is large and of no more use.
        std::fs::remove_dir_all(folder.join("build"))?;
    }
    Ok(program)
}

/// A program of this package and version as it is released, built once: the counterpart of a figure.
pub(crate) fn released(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    let folder = target().join("tools");
    let program = folder.join("bin").join(name);
    if !program.exists() {
        say(&format!("building {package}, once (many minutes)"));
        let mut install = cargo();
        install.args(["install", package, "--version", version, "--locked"]);
        install.arg("--root").arg(&folder);
        install.arg("--target-dir").arg(folder.join("build"));
        run(&mut install)?;
        std::fs::remove_dir_all(folder.join("build"))?;
    }
    Ok(program)
}

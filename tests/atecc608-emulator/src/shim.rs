//! The shim that lets programs take a socket for `/dev/i2c-N`, where the kernel has no such bus.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The variable that names the socket to the shim.
pub const SOCKET_VARIABLE: &str = "ATECC608_EMULATOR_SOCKET";

/// Compiles the shim into `folder` and returns its path, for `LD_PRELOAD`.
///
/// # Errors
/// If there is no C compiler, or it fails.
pub fn build(folder: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/i2c_shim.c");
    let library = folder.join("libi2c_shim.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()
        .context("cannot run cc; install a C compiler")?;
    ensure!(status.success(), "cc did not compile {}", source.display());
    Ok(library)
}

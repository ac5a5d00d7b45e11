//! `cargo xtask roots BINARY FILE`: gives a finished host program its roots.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::run;
use crate::programs;

/// Fills the roots that `source` lists into `binary`, with the checks that a build makes.
pub(crate) fn fill(binary: &Path, source: &Path) -> Result<()> {
    for file in [binary, source] {
        if !file.is_file() {
            bail!("{} is not a file", file.display());
        }
    }
    run(Command::new(programs::tools()?)
        .arg("roots")
        .arg(binary)
        .arg(source))?;
    println!(
        "{} now trusts the roots of {}",
        binary.display(),
        source.display()
    );
    Ok(())
}

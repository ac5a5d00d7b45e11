//! Kryoptic, the second PKCS#11 module that the tests of tokens load: built once for each of its lock files, from
//! tests/kryoptic into target/tools.

use anyhow::{Context, Result};

use crate::process::{cargo, root, run, say, target};

/// Builds the module, unless it is there.
pub(crate) fn build() -> Result<()> {
    let source = root().join("tests/kryoptic");
    let folder = target().join("tools/kryoptic");
    let module = folder.join("libkryoptic_pkcs11.so");
    let built_from = folder.join("Cargo.lock");
    let lock = source.join("Cargo.lock");
    let wanted = std::fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    if module.is_file() && std::fs::read(&built_from).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    say("building Kryoptic, once (some minutes)");
    let build = folder.join("build");
    run(cargo()
        .current_dir(&source)
        .args(["build", "--locked", "--package", "kryoptic", "--target-dir"])
        .arg(&build))?;
    std::fs::copy(build.join("debug/libkryoptic_pkcs11.so"), &module)
        .context("Kryoptic's module is not where it should be built")?;
    std::fs::write(&built_from, wanted)?;
    // What it was built from is large and of no more use.
    std::fs::remove_dir_all(&build)?;
    Ok(())
}

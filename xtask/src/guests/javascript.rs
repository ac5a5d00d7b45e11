//! Guests in JavaScript: componentize-qjs from npm puts the QuickJS engine around them. About 1.6 MB each.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{source, wasm};
use crate::process::{root, run, say, target};

/// What says which packages, in which versions with which digests.
const PACKAGES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// Builds one.
pub(super) fn build(name: &str) -> Result<()> {
    say(&format!("building {name} with componentize-qjs"));
    let program = packages(name)?.join("node_modules/.bin/componentize-qjs");
    // In its folder, because the source's path gets into the component.
    let mut componentize = Command::new(program);
    componentize.current_dir(source(name));
    // --sync: no asynchronous components, which our engine does not take. Nor does it take tail calls, which is what
    // --opt-size would bring.
    componentize.args(["--sync", "--world", "telemetry"]);
    componentize
        .arg("--wit")
        .arg(root().join("guest-examples/wit"));
    componentize.args(["--js", "telemetry.js", "--output"]);
    run(componentize.arg(wasm(name)))
}

/// Installs the packages into the build folder, once for each content of the lock file.
fn packages(name: &str) -> Result<PathBuf> {
    let folder = target().join("guest-build").join(name);
    std::fs::create_dir_all(&folder)?;
    let installed = folder.join("installed.json");
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let wanted = read(source(name).join("package-lock.json"))?;
    if read(installed.clone()).is_ok_and(|have| have == wanted) {
        return Ok(folder);
    }
    for file in PACKAGES {
        std::fs::copy(source(name).join(file), folder.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&folder);
    // The packages need no scripts of their own to be installed, and so run none.
    run(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    std::fs::write(&installed, wanted)?;
    Ok(folder)
}

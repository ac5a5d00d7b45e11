//! Guests in Python: componentize-py from PyPI puts CPython around them. About 18 MB each.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{source, wasm};
use crate::process::{root, run, say, target};
use crate::setup;

/// Builds one.
pub(super) fn build(name: &str) -> Result<()> {
    say(&format!("building {name} with componentize-py"));
    let environment = setup::python_environment(name);
    setup::install_python_packages(&environment, &source(name).join("requirements.txt"))?;
    // From a copy: the Python that runs inside leaves what it compiled beside the sources, and nothing stops it.
    let copy = target().join("guest-build").join(name);
    copy_modules(&source(name), &copy)?;
    let mut componentize = Command::new(environment.join("bin/componentize-py"));
    // In its folder, because the modules' paths get into the component.
    componentize.current_dir(copy);
    componentize.args(["--quiet", "--world", "telemetry", "--wit-path"]);
    componentize.arg(root().join("guest-examples/wit"));
    componentize.args([
        "componentize",
        "telemetry",
        "--python-path",
        ".",
        "--output",
    ]);
    run(componentize.arg(wasm(name)))
}

fn copy_modules(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path
            .file_name()
            .filter(|_| path.extension().is_some_and(|is| is == "py"))
        else {
            continue;
        };
        std::fs::copy(&path, to.join(name))
            .with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

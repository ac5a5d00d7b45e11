//! Guests in C: bindings by wit-bindgen, clang with Debian's wasi-libc, and the adapter of WASI preview 1 under that.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{source, wasm};
use crate::process::{cargo, root, run, say, target};
use crate::programs;

/// The clang for which Debian has the run-time library of wasm32.
pub(crate) const CLANG: &str = "clang-22";

/// Where Debian has wasi-libc. It is no folder in which this clang looks.
pub(crate) const HEADERS: &str = "/usr/include/wasm32-wasi";
pub(crate) const LIBRARIES: &str = "/usr/lib/wasm32-wasi";

/// A world of guest-examples/wit.
const WORLD: &str = "telemetry";

/// Builds one.
pub(super) fn build(name: &str) -> Result<()> {
    say(&format!("building {name} with {CLANG}"));
    let folder = target().join("guest-build").join(name);
    let bindings = folder.join("bindings");
    run(Command::new(bindings_program()?)
        .arg(root().join("guest-examples/wit"))
        .arg(WORLD)
        .arg(&bindings))?;
    let module = folder.join("module.wasm");
    run(&mut clang(name, &bindings, &module)?)?;
    run(Command::new(programs::tools()?)
        .arg("component")
        .arg(&module)
        .arg(wasm(name)))
}

fn clang(name: &str, bindings: &Path, module: &Path) -> Result<Command> {
    let mut command = Command::new(CLANG);
    // In its folder, with the names of its sources alone: that is all that can get into the module.
    command.current_dir(source(name));
    command.args([
        "--target=wasm32-wasip1",
        "-mexec-model=reactor",
        "-std=c17",
        "-Os",
    ]);
    command.args(["-Wall", "-Wextra", "-Werror"]);
    command.args(["-isystem", HEADERS, "-B", LIBRARIES, "-L", LIBRARIES]);
    command.arg("-I").arg(bindings);
    command.args(sources(&source(name))?);
    command.arg(bindings.join(format!("{WORLD}.c")));
    command.arg(bindings.join(format!("{WORLD}_component_type.o")));
    command.args(["-Wl,--strip-all", "-o"]).arg(module);
    Ok(command)
}

/// The names of the C files of a folder, sorted.
fn sources(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".c") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The program of xtask/bindings, which is a workspace of its own.
fn bindings_program() -> Result<std::path::PathBuf> {
    let folder = target().join("guest-build/bindings");
    run(cargo()
        .current_dir(root().join("xtask/bindings"))
        .args(["build", "--quiet", "--locked"])
        .env("CARGO_TARGET_DIR", &folder))?;
    Ok(folder.join("debug/xtask-bindings"))
}

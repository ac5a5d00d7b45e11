//! Guests in Rust, a workspace of their own.
//!
//! rustup's target wasm32-wasip2 is used where it is installed. Otherwise Debian's own compiler builds for
//! wasm32-unknown-unknown, its standard library with it. The guests speak WASI 0.2 through bindings and
//! never through a libc, so the same sources serve both ways.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::wasm;
use crate::process::{capture, cargo, root, run, say, target};
use crate::programs;
use crate::setup;

/// The target that rustup offers for guests.
pub(crate) const RUSTUP_TARGET: &str = "wasm32-wasip2";

/// Builds these, all at once.
pub(super) fn build(names: &[&str]) -> Result<()> {
    let toolchain = Toolchain::choose();
    say(&format!(
        "building {} guests with {}",
        names.len(),
        toolchain.describe()
    ));
    run(&mut toolchain.cargo_build(names)?)?;
    let tools = programs::tools()?;
    for name in names {
        let module = toolchain.output(name);
        run(Command::new(&tools)
            .arg("component")
            .arg(module)
            .arg(wasm(name)))?;
    }
    Ok(())
}

/// The two ways to compile a guest.
enum Toolchain {
    Rustup,
    Debian,
}

impl Toolchain {
    fn choose() -> Self {
        if setup::rustup_has_guest_target() {
            Self::Rustup
        } else {
            Self::Debian
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::Rustup => "rustup's target wasm32-wasip2",
            Self::Debian => "Debian's Rust (its standard library is built once, under a minute)",
        }
    }

    fn target(&self) -> &'static str {
        match self {
            Self::Rustup => RUSTUP_TARGET,
            Self::Debian => "wasm32-unknown-unknown",
        }
    }

    fn folder() -> PathBuf {
        target().join("guest-build")
    }

    /// What the compiler leaves for a guest: a component, or a core module still to be encoded.
    fn output(&self, name: &str) -> PathBuf {
        let file = format!("{}.wasm", name.replace('-', "_"));
        Self::folder()
            .join(self.target())
            .join("release")
            .join(file)
    }

    fn cargo_build(&self, names: &[&str]) -> Result<Command> {
        let mut command = cargo();
        command.current_dir(root().join("guest-examples"));
        command.args(["build", "--locked", "--release", "--target", self.target()]);
        command.args(names.iter().flat_map(|name| ["--package", *name]));
        command.env("CARGO_TARGET_DIR", Self::folder());
        command.env(
            "CARGO_ENCODED_RUSTFLAGS",
            self.remapped_paths()?.join("\u{1f}"),
        );
        if matches!(self, Self::Debian) {
            // -Zbuild-std is open to stable cargo only with RUSTC_BOOTSTRAP.
            command.arg("-Zbuild-std=std,panic_abort");
            command
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1");
        }
        Ok(command)
    }

    /// Flags that keep the folders of this machine out of the guests' panic messages.
    fn remapped_paths(&self) -> Result<Vec<String>> {
        let rustc = match self {
            Self::Rustup => "rustc",
            Self::Debian => "/usr/bin/rustc",
        };
        let sysroot = capture(Command::new(rustc).args(["--print", "sysroot"]))?;
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        // The last one that matches counts, and a sysroot of /usr may hold the others.
        Ok(vec![
            remap(Path::new(sysroot.trim()), "/rust"),
            remap(&cargo_home()?, "/cargo"),
            remap(root(), "/countersign"),
        ])
    }
}

fn cargo_home() -> Result<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor a home folder is known")
}

//! Sources: where `unsafe` may be, and the one file that may call Wasmtime's compiler.
//!
//! The compiler and clippy enforce both as far as the packages' own attributes say so; this looks that the
//! attributes are there, and nobody lifted them elsewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::rust::{Token, tokens};
use crate::process::root;

/// Packages whose every target must begin with `#![forbid(unsafe_code)]`.
const FORBID: &[&str] = &[
    "signer/format",
    "signer/keys",
    "signer/backends/file",
    "signer",
    "signer/enrolment",
    "trust-store",
    "trust-store/roots/file",
    "provisioning",
    "provisioning/ca",
    "provisioning/privacy-tokens",
    "cli",
    "runtime/run",
    "tests/benches",
    "tests/benches/cold-start",
    "tests/benches/under-load",
    "tests/differential",
    "xtask",
    "xtask/tools",
];

/// Where `unsafe` may be written: the link section of the roots, the loader of authenticated precompiled code and the
/// memory in which such code may lie, the advice about a program's pages, and what C calls, whose names and pointers have no other way.
const UNSAFE_ALLOWED: &[&str] = &[
    "trust-store/roots/src",
    "runtime/src/load.rs",
    "runtime/src/code/pages.rs",
    "runtime/src/resident.rs",
    "runtime/c-api/src",
];

/// The only files that may lift the ban of clippy.toml on Wasmtime's compiling calls: the loader, and the benches that
/// measure it beside Wasmtime alone.
const COMPILER_ALLOWED: &[&str] = &[
    "runtime/src/load.rs",
    "tests/benches/cold-start/benches/cold_start.rs",
    "tests/benches/under-load/benches/support/bare.rs",
];

/// The calls that clippy.toml must name at least.
const BANNED: &[&str] = &[
    "wasmtime::component::Component::new",
    "wasmtime::component::Component::from_binary",
    "wasmtime::component::Component::from_file",
    "wasmtime::component::Component::deserialize",
    "wasmtime::component::Component::deserialize_file",
    "wasmtime::component::Component::deserialize_raw",
    "wasmtime::CodeBuilder::compile_component",
    "wasmtime::Module::new",
    "wasmtime::Module::deserialize",
];

/// Folders that hold no source of the workspace.
const SKIPPED: &[&str] = &["target", ".git", "guest-examples"];

/// `unsafe` only where it is allowed, and forbidden at the top of every package that needs none.
pub(crate) fn unsafe_code(broken: &mut Vec<String>) -> Result<()> {
    for package in FORBID {
        for top in ["src/lib.rs", "src/main.rs"] {
            let path = root().join(package).join(top);
            if path.exists() && !read(&path)?.contains("#![forbid(unsafe_code)]") {
                broken.push(format!("{package}/{top} lacks #![forbid(unsafe_code)]"));
            }
        }
    }
    for (path, text) in sources()? {
        let allowed = UNSAFE_ALLOWED.iter().any(|place| path.starts_with(place));
        if !allowed && words(&text).contains(&"unsafe") {
            broken.push(format!("{} holds unsafe code", path.display()));
        }
    }
    Ok(())
}

/// Nobody but the loader lifts the ban on Wasmtime's compiling and deserialising calls.
pub(crate) fn compiler_calls(broken: &mut Vec<String>) -> Result<()> {
    // In two halves, or this file would find itself.
    let lint = concat!("disallowed", "_methods");
    for (path, text) in sources()? {
        let allowed = COMPILER_ALLOWED
            .iter()
            .any(|place| path == Path::new(place));
        if !allowed && words(&text).contains(&lint) {
            broken.push(format!("{} lifts clippy's {lint}", path.display()));
        }
    }
    let banned = read(&root().join("clippy.toml"))?;
    for call in BANNED {
        if !banned.contains(&format!("\"{call}\"")) {
            broken.push(format!("clippy.toml no longer bans {call}"));
        }
    }
    Ok(())
}

/// Every Rust source of the workspace, by its path from the root.
fn sources() -> Result<Vec<(PathBuf, String)>> {
    files("rs")
}

/// Every file of the workspace whose name ends so, by its path from the root.
pub(super) fn files(ending: &str) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?
        {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                let text = read(&path)?;
                let path = path.strip_prefix(root()).unwrap_or(&path).to_path_buf();
                found.push((path, text));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The identifiers and keywords of a source, without what stands in comments and in string literals.
fn words(text: &str) -> Vec<&str> {
    tokens(text)
        .into_iter()
        .filter_map(|token| match token {
            Token::Word(word) => Some(word),
            _ => None,
        })
        .collect()
}

//! Which build this is: native code is loaded by the very build that it was compiled for, and by no other.
//!
//! The versions of every library stand in the lock file, Wasmtime's and its compiler's among them. Two builds of the same lock file,
//! version, compiler and sources of this package name themselves alike, so that code which was compiled at a desk finds its device.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let lock = folder
        .ancestors()
        .map(|folder| folder.join("Cargo.lock"))
        .find(|lock| lock.is_file());
    println!("cargo:rerun-if-changed=src");
    let sources = digest(&all(&folder.join("src")));
    let (wasmtime, libraries) = match &lock {
        Some(lock) => {
            println!("cargo:rerun-if-changed={}", lock.display());
            of_lock(lock)
        }
        // As a library from a registry, beside somebody else's lock file.
        None => (String::from("48.0.8"), String::from("unknown")),
    };
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("--version")
        .output()
        .map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
        .unwrap_or_default();
    let own = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let id = format!(
        "countersign {own}; wasmtime {wasmtime}; libraries {libraries}; sources {sources}; {rustc}"
    );
    // What Wasmtime writes into compiled code is at most 255 bytes.
    let id: String = id.chars().filter(char::is_ascii).take(255).collect();
    println!("cargo:rustc-env=COUNTERSIGN_RUNTIME_BUILD={id}");
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=COUNTERSIGN_RUNTIME_TARGET={target}");
}

/// The sources in a folder and in those inside it, one after the other, by their names. What an editor leaves beside them is none.
fn all(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder of this package");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a file of this package").path())
        .collect();
    paths.sort();
    let is_source = |path: &Path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.ends_with(b".rs") && !name.starts_with(b".")
    };
    let text = |path: &PathBuf| match path.is_dir() {
        true => all(path),
        false if is_source(path) => fs::read_to_string(path).expect("a file of this package"),
        false => String::new(),
    };
    paths.iter().map(text).collect()
}

/// Wasmtime's version, and a digest of all of it.
fn of_lock(lock: &Path) -> (String, String) {
    let text = fs::read_to_string(lock).unwrap_or_default();
    let version = text
        .split("[[package]]")
        .find(|package| package.contains("\nname = \"wasmtime\"\n"))
        .and_then(|package| package.split("\nversion = \"").nth(1))
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("unknown");
    (version.to_owned(), digest(&text))
}

fn digest(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

//! The components of guest-examples/, as `cargo xtask guests` built them.

use std::path::{Path, PathBuf};

/// A component as its compiler wrote it.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path = target().join("guests").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `cargo xtask guests` first",
            path.display()
        )
    })
}

/// target/PROFILE: above the folder of the running test, target/PROFILE/deps.
pub(crate) fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows where it is");
    test.parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps/NAME")
        .to_path_buf()
}

/// The build folder, above target/PROFILE.
pub(crate) fn target() -> PathBuf {
    profile().parent().expect("target/PROFILE").to_path_buf()
}

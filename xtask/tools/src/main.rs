//! What `cargo xtask` cannot do with the standard library alone, in a program of its own so that
//! `cargo xtask` itself starts fast. Called by `cargo xtask`, not by hand.
#![forbid(unsafe_code)]

mod component;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use countersign_trust_store::UnixTime;

const USAGE: &str = "usage: xtask-tools component CORE-MODULE OUTPUT
       xtask-tools roots BINARY FILE";

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [verb, first, second] = arguments.as_slice() else {
        bail!("{USAGE}");
    };
    match verb.to_str() {
        Some("component") => component::encode(first, second),
        Some("roots") => fill_roots(first, second),
        _ => bail!("{USAGE}"),
    }
}

/// Fills the roots of `source` into the finished program `binary`, with the checks a build makes.
fn fill_roots(binary: &Path, source: &Path) -> Result<()> {
    let roots = countersign_roots_file::parse(source)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    countersign_roots_file::check(source, &roots, UnixTime::from_secs(now.as_secs()))?;
    let mut bytes =
        std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    countersign_roots_file::fill(&mut bytes, &roots)
        .with_context(|| format!("cannot fill roots into {}", binary.display()))?;
    replace(binary, &bytes)
}

/// Writes `bytes` beside `path` and renames them over it, so that a program is never half-written; its
/// permissions stay.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        std::fs::write(&beside, bytes)?;
        if let Ok(existing) = std::fs::metadata(path) {
            std::fs::set_permissions(&beside, existing.permissions())?;
        }
        std::fs::File::open(&beside)?.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write()
        .inspect_err(|_| drop(std::fs::remove_file(&beside)))
        .with_context(|| format!("cannot write {}", path.display()))
}

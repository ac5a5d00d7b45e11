//! Reads what the operator names: once, bounded, regular files only.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use countersign_format::limits;

/// The largest signed file, in bytes: the largest component, and a section with the largest signature.
pub const MAX_FILE_BYTES: u64 = limits::MAX_COMPONENT_BYTES + limits::MAX_SIGNATURE_BYTES + 64;

/// What was read.
#[derive(Debug)]
pub enum Read {
    /// The whole file.
    Whole(Vec<u8>),
    /// More than the limit; nothing was kept.
    TooLarge {
        /// The size the system tells, at least the limit and one.
        size: u64,
    },
}

/// Reads the file at `path` once, up to `limit` bytes.
///
/// # Errors
/// If it cannot be read, or is no regular file.
pub fn read(path: &Path, limit: u64) -> anyhow::Result<Read> {
    let file = open_regular(path)?;
    let metadata = file
        .metadata()
        .with_context(|| format!("{} cannot be read", path.display()))?;
    if metadata.len() > limit {
        return Ok(Read::TooLarge {
            size: metadata.len(),
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    let read = file
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let size = u64::try_from(read).unwrap_or(u64::MAX);
    if size > limit {
        return Ok(Read::TooLarge { size });
    }
    Ok(Read::Whole(bytes))
}

/// Opens the regular file at `path`.
pub(crate) fn open_regular(path: &Path) -> anyhow::Result<File> {
    // Asked by name before it is opened, since opening a FIFO would wait for its writer, and asked again of the open
    // file, since the name may have been given to another in between.
    regular(
        path,
        &std::fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?,
    )?;
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let metadata = file
        .metadata()
        .with_context(|| format!("{} cannot be read", path.display()))?;
    regular(path, &metadata)?;
    Ok(file)
}

fn regular(path: &Path, metadata: &std::fs::Metadata) -> anyhow::Result<()> {
    if metadata.is_dir() {
        bail!("{} is a directory; name a file", path.display());
    }
    if !metadata.is_file() {
        bail!(
            "{} is not a regular file (a pipe or a device cannot be read once and checked); write it to a file first",
            path.display()
        );
    }
    Ok(())
}

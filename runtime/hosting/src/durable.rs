//! Files that survive a power cut: the old one or the whole new one.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Replaces the file at `path`, readable by its owner alone. It is on the disk under its name when this returns.
///
/// # Errors
/// If it cannot be written; what was there before is there still.
pub fn replace(path: &Path, contents: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("{} could not be written", path.display());
    let folder = path.parent().with_context(failed)?;
    let mut file = tempfile::Builder::new()
        .prefix(".unfinished-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .with_context(failed)?;
    file.write_all(contents).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path)
        .map_err(|error| error.error)
        .with_context(failed)?;
    sync(folder).with_context(failed)
}

/// Gives a file another name in the same folder, in place of what has it. It is on the disk under that name when this returns.
///
/// # Errors
/// If it cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    let failed = || {
        format!(
            "{} could not take the place of {}",
            from.display(),
            to.display()
        )
    };
    let folder = to.parent().with_context(failed)?;
    fs::rename(from, to).with_context(failed)?;
    sync(folder).with_context(failed)
}

/// A new name lives in its folder (fsync(2)).
fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

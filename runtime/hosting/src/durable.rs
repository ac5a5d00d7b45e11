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
    // A new name lives in its folder (fsync(2)).
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(failed)
}

//! Folders and files that survive a crash, with errors for the operator.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use countersign_durable::{Access, folder_of};

pub(crate) use countersign_durable::{Existing, is_unfinished};

/// Writes `contents` to `path`. What is there afterwards is the old file or the whole new one. Certificates and lists are public;
/// keys are not written by this module.
pub(crate) fn write(path: &Path, contents: &[u8], existing: Existing) -> anyhow::Result<()> {
    Ok(countersign_durable::write(
        path,
        contents,
        Access::Umask,
        existing,
    )?)
}

/// Removes what crashes left in `folder` itself.
pub(crate) fn remove_unfinished(folder: &Path) -> anyhow::Result<()> {
    countersign_durable::remove_unfinished(folder)
        .with_context(|| format!("{} could not be cleaned up", folder.display()))
}

/// Creates a folder, private to its owner, and makes its name durable. An existing one is left as it is.
pub(crate) fn create_private_folder(path: &Path) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Ok(()) => sync_folder(folder_of(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("the folder {} could not be made", path.display()))
        }
    }
}

/// Moves a finished folder to its name, which must be free.
pub(crate) fn rename_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    sync_folder(from)?;
    if to.exists() {
        anyhow::bail!("{} exists already and was not touched", to.display());
    }
    Ok(countersign_durable::rename(from, to)?)
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    countersign_durable::sync_folder(folder)
        .with_context(|| format!("the folder {} could not be synchronised", folder.display()))
}

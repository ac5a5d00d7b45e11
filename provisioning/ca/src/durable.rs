//! Files that survive a crash: whole or absent, and on the disk before the next step begins.
//!
//! Every file is written beside its place, synchronised, put in place by one system call, and then the folder is
//! synchronised too, because a new name lives in the folder (fsync(2)).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;

/// How the names of files begin that are not in their place yet. A crash leaves such files; they count for nothing.
const UNFINISHED: &str = ".countersign-";

/// Whether an existing file may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
}

/// Writes `contents` to `path`. What is there afterwards is the old file or the whole new one.
pub(crate) fn write(path: &Path, contents: &[u8], existing: Existing) -> anyhow::Result<()> {
    let folder = folder_of(path);
    let failed = || format!("{} could not be written", path.display());
    if path.is_dir() {
        anyhow::bail!("{} is a folder: name a file", path.display());
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    make_readable(&mut builder);
    let mut file = builder.tempfile_in(folder).with_context(failed)?;
    file.write_all(contents).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    let placed = match existing {
        Existing::Replace => file.persist(path),
        Existing::Refuse => file.persist_noclobber(path),
    };
    placed
        .map_err(|error| error.error)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => anyhow::Error::new(error).context(format!(
                "{} exists already and was not touched",
                path.display()
            )),
            _ => anyhow::Error::new(error).context(failed()),
        })?;
    sync_folder(folder)
}

/// Whether a file of this name was on its way when its program ended.
pub(crate) fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
}

/// Removes what crashes left in `folder` itself.
pub(crate) fn remove_unfinished(folder: &Path) -> anyhow::Result<()> {
    let failed = || format!("{} could not be cleaned up", folder.display());
    for entry in fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        if is_unfinished(&entry.file_name()) && entry.file_type().with_context(failed)?.is_file() {
            fs::remove_file(entry.path()).with_context(failed)?;
        }
    }
    Ok(())
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
    fs::rename(from, to).with_context(|| format!("{} could not be put in place", to.display()))?;
    sync_folder(folder_of(to))
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("the folder {} could not be synchronised", folder.display()))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Certificates and lists are public; keys are not written by this module.
#[cfg(unix)]
fn make_readable(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt as _;
    builder.permissions(fs::Permissions::from_mode(0o644));
}

#[cfg(not(unix))]
fn make_readable(_builder: &mut tempfile::Builder<'_, '_>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_kept_unless_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        write(&path, b"one", Existing::Refuse).expect("new");
        let error = write(&path, b"two", Existing::Refuse).expect_err("exists");
        assert!(format!("{error:#}").contains("exists already"), "{error:#}");
        assert_eq!(fs::read(&path).expect("readable"), b"one");
        write(&path, b"two", Existing::Replace).expect("replaced");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(
            fs::read_dir(folder.path()).expect("lists").count(),
            1,
            "no temporary file stays"
        );
    }

    #[test]
    fn a_missing_folder_is_an_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(write(&folder.path().join("no/file"), b"x", Existing::Replace).is_err());
        assert!(write(folder.path(), b"x", Existing::Replace).is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 0);
    }
}

//! Files that survive a power cut: what is under a name is the old file or the whole new one, and it is on the disk before the
//! next step begins.
//!
//! Decided here: that a file is written beside its place, synchronised, put in its place by one system call, and that its folder
//! is synchronised then, because a new name lives in the folder (fsync(2)); and which of these steps went wrong. Left to others:
//! what is written, and what follows from a fault.

#![forbid(unsafe_code)]

mod error;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub use error::DurableError;

/// How the names of files begin that are not in their place yet. A crash leaves such files; they count for nothing.
const UNFINISHED: &str = ".unfinished-";

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone, whatever the umask.
    Owner,
    /// Whoever the umask lets, as with any new file.
    Umask,
}

/// What is done where something has the name already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and that it is there is an error.
    #[default]
    Refuse,
    /// It is replaced. A symbolic link is itself replaced, not what it points to.
    Replace,
}

/// Replaces the file at `path`, readable by its owner alone. It is on the disk under its name when this returns.
///
/// # Errors
/// [`DurableError::Unsettled`] if the new file has the name and may lose it in a power cut; with any other, what was there before
/// is there still.
pub fn replace(path: &Path, contents: &[u8]) -> Result<(), DurableError> {
    write(path, contents, Access::Owner, Existing::Replace)
}

/// Writes a file at once.
///
/// # Errors
/// As [`replace`], and [`DurableError::Exists`].
pub fn write(
    path: &Path,
    contents: &[u8],
    access: Access,
    existing: Existing,
) -> Result<(), DurableError> {
    let mut file = Unfinished::create(path, access, existing)?;
    file.file()
        .write_all(contents)
        .map_err(DurableError::write(path))?;
    file.place()
}

/// Gives a file or a folder another name, in place of what has it. It is on the disk under that name when this returns.
///
/// # Errors
/// As [`replace`].
pub fn rename(from: &Path, to: &Path) -> Result<(), DurableError> {
    fs::rename(from, to).map_err(DurableError::write(to))?;
    settle(to)
}

/// Has the names in `folder` on the disk.
///
/// # Errors
/// If the folder cannot be synchronised.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder in which a file has its name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether a file of this name was on its way when its program ended.
#[must_use]
pub fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
}

/// Removes what a crash left in `folder` itself.
///
/// # Errors
/// If the folder cannot be read, or one of the files cannot be removed.
pub fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_unfinished(&entry.file_name()) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A file on its way to its place; gone without a trace if it is dropped.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    existing: Existing,
    file: tempfile::NamedTempFile,
}

impl Unfinished {
    /// Begins a file for `path`, and refuses early what could not be finished: a folder, an existing file, a place that takes none.
    ///
    /// # Errors
    /// Any [`DurableError`] but `Unsettled`; nothing has changed.
    pub fn create(path: &Path, access: Access, existing: Existing) -> Result<Self, DurableError> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {
                return Err(DurableError::IsFolder {
                    path: path.to_owned(),
                });
            }
            Ok(_) if existing == Existing::Refuse => return Err(DurableError::exists(path)),
            _ => {}
        }
        let mode = match access {
            Access::Owner => 0o600,
            Access::Umask => 0o666,
        };
        // Made exclusively, under a random name, and with its mode from the first moment. The system's own error says why not.
        let make = |name: &Path| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true).mode(mode);
            options.open(name)
        };
        let file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .make_in(folder_of(path), make)
            .map_err(DurableError::write(path))?;
        if access == Access::Owner {
            // The umask may have taken away what its owner needs.
            let exactly = file.as_file().set_permissions(Permissions::from_mode(mode));
            exactly.map_err(DurableError::write(path))?;
        }
        Ok(Self {
            path: path.to_owned(),
            existing,
            file,
        })
    }

    /// What is written to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Where it goes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place, where it survives a power cut.
    ///
    /// # Errors
    /// As [`write()`].
    pub fn place(self) -> Result<(), DurableError> {
        let Self {
            path,
            existing,
            file,
        } = self;
        file.as_file()
            .sync_all()
            .map_err(DurableError::write(&path))?;
        let placed = match existing {
            Existing::Refuse => file.persist_noclobber(&path),
            Existing::Replace => file.persist(&path),
        };
        placed.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => DurableError::exists(&path),
            _ => DurableError::write(&path)(error.error),
        })?;
        settle(&path)
    }
}

fn settle(path: &Path) -> Result<(), DurableError> {
    sync_folder(folder_of(path)).map_err(|source| DurableError::Unsettled {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn an_existing_file_is_kept_unless_told_and_nothing_else_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        write(&path, b"one", Access::Umask, Existing::Refuse).expect("new");
        let refused = write(&path, b"two", Access::Umask, Existing::Refuse);
        assert!(
            matches!(refused, Err(DurableError::Exists { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&path).expect("readable"), b"one");
        // Taken between the first look and the end.
        fs::remove_file(&path).expect("ours");
        let late = Unfinished::create(&path, Access::Umask, Existing::Refuse).expect("free");
        fs::write(&path, b"other").expect("ours");
        let refused = late.place();
        assert!(
            matches!(refused, Err(DurableError::Exists { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&path).expect("readable"), b"other");
        replace(&path, b"two").expect("replaced");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(mode(&path), 0o600);
        drop(Unfinished::create(&path, Access::Owner, Existing::Replace).expect("begun"));
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
    }

    #[test]
    fn what_cannot_be_finished_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = replace(&folder.path().join("no/file"), b"x");
        assert!(
            matches!(refused, Err(DurableError::Write { .. })),
            "{refused:?}"
        );
        let refused = replace(folder.path(), b"x");
        assert!(
            matches!(refused, Err(DurableError::IsFolder { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 0);
    }

    #[test]
    fn th01_what_a_crash_left_is_told_from_all_else_and_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let begun = Unfinished::create(&path, Access::Owner, Existing::Replace).expect("begun");
        let left = begun.file.path().to_owned();
        assert!(is_unfinished(left.file_name().expect("a name")));
        std::mem::forget(begun);
        replace(&path, b"whole").expect("written");
        fs::create_dir(folder.path().join(".unfinished-folder")).expect("ours");
        remove_unfinished(folder.path()).expect("removed");
        assert!(
            !left.exists() && path.exists() && folder.path().join(".unfinished-folder").exists()
        );
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("link"), folder.path().join("other"));
        fs::write(&other, b"untouched").expect("ours");
        std::os::unix::fs::symlink(&other, &path).expect("a link");
        replace(&path, b"new").expect("replaced");
        assert_eq!(fs::read(&other).expect("readable"), b"untouched");
        assert_eq!(fs::read(&path).expect("readable"), b"new");
    }
}

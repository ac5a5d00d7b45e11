//! Private bytes on disk: mode 0600 on the way in and on the way out, whole or not at all.

use countersign_durable::{Access, DurableError, Existing, folder_of, sync_folder};
use countersign_keys::{Error, ErrorKind};
use std::fs::{self, File};
use std::io::{ErrorKind as IoKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest key file that is read, in bytes. Ours have below 600; the rest is room for the text that other tools
/// write above a PEM block.
const MAX_FILE_BYTES: usize = 16 * 1024;

/// Reads a private file. All checks are on the opened file, so that it cannot be swapped between check and use.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let shown = path.display();
    let failed = |source: std::io::Error| failed(path, "read", source);
    let not_a_file = || {
        Error::new(
            ErrorKind::Io,
            format!("{shown} is not a regular file, so not a key file"),
        )
    };

    // Before opening, because opening a named pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(not_a_file());
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(not_a_file());
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::Permissions,
            format!(
                "the key file {shown} has mode {mode:04o}, so others may read or change it; run: chmod 600 {shown}"
            ),
        ));
    }

    // The whole buffer at once: a growing vector would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0u8; MAX_FILE_BYTES.saturating_add(1)]);
    let mut length = 0usize;
    loop {
        let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) else {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!("{shown} is larger than {MAX_FILE_BYTES} bytes, so not a key file"),
            ));
        };
        match (&file).read(rest) {
            Ok(0) => break,
            Ok(read) => length = length.saturating_add(read),
            Err(error) if error.kind() == IoKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Writes a private file through a temporary one in the same folder.
pub(crate) fn write(path: &Path, contents: &[u8], overwrite: Existing) -> Result<(), Error> {
    let written = countersign_durable::write(path, contents, Access::Owner, overwrite);
    written.map_err(|error| match error {
        DurableError::Exists { .. } => exists(path),
        DurableError::IsFolder { .. } => Error::new(
            ErrorKind::Exists,
            format!("{} is a folder; name a file in it", path.display()),
        ),
        error => failed(path, "written", error.into_io()),
    })
}

/// Removes a private file, if it is one: a regular file of this very name that satisfies `is_ours`.
pub(crate) fn remove(path: &Path, is_ours: fn(&[u8]) -> bool) -> Result<(), Error> {
    let shown = path.display();
    let failed = |source: std::io::Error| failed(path, "removed", source);
    if fs::symlink_metadata(path).map_err(failed)?.is_symlink() {
        return Err(Error::new(
            ErrorKind::Io,
            format!("{shown} is a symbolic link, and the key would stay; name the key file itself"),
        ));
    }
    if !is_ours(&read(path)?) {
        return Err(Error::new(
            ErrorKind::Malformed,
            format!("{shown} holds no private key, and nothing was removed; name a key file"),
        ));
    }
    fs::remove_file(path).map_err(failed)?;
    sync_folder(folder_of(path)).map_err(failed)
}

/// Whether there is a regular file whose beginning satisfies `is_ours`; what cannot be read does not.
pub(crate) fn looks_like(path: &Path, is_ours: fn(&[u8]) -> bool) -> bool {
    let Ok(true) = fs::metadata(path).map(|found| found.is_file()) else {
        return false;
    };
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut bytes = Zeroizing::new(vec![0u8; MAX_FILE_BYTES]);
    let mut length = 0usize;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match (&file).read(rest) {
            Ok(0) | Err(_) => break,
            Ok(read) => length = length.saturating_add(read),
        }
    }
    is_ours(bytes.get(..length).unwrap_or_default())
}

/// A key of that name is there already.
pub(crate) fn exists(path: &Path) -> Error {
    Error::new(
        ErrorKind::Exists,
        format!(
            "{} exists, and a key that is overwritten is lost; choose another name",
            path.display()
        ),
    )
}

/// What the system says of a key file that cannot be `verb`: read, written, removed.
pub(crate) fn failed(path: &Path, verb: &str, source: std::io::Error) -> Error {
    let (kind, remedy) = match source.kind() {
        IoKind::NotFound => (
            ErrorKind::NotFound,
            "correct the path, or make the key first",
        ),
        IoKind::PermissionDenied => (
            ErrorKind::Permissions,
            "run this as the key's owner, or choose another place",
        ),
        _ => (ErrorKind::Io, "check the disk and the path"),
    };
    Error::with_source(
        kind,
        format!(
            "the key file {} cannot be {verb}: {source}; {remedy}",
            path.display()
        ),
        source,
    )
}

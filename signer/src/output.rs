//! Outputs that are there whole or not at all: a temporary file in the same folder, synced, then renamed.

use crate::SignError;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What to do when there is something at the output's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave it as it is, and report [`SignError::Exists`].
    #[default]
    Refuse,
    /// Replace it. A symbolic link is itself replaced, not what it points to.
    Replace,
}

/// A file on its way to `path`; gone without a trace if it is dropped.
pub(crate) struct Output<'a> {
    path: &'a Path,
    overwrite: Overwrite,
    file: tempfile::NamedTempFile,
}

impl<'a> Output<'a> {
    /// Refuses early what could not be finished: a folder, an existing file, an unwritable place.
    pub(crate) fn create(path: &'a Path, overwrite: Overwrite) -> Result<Self, SignError> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {
                let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
                return Err(SignError::write(path)(source));
            }
            Ok(_) if overwrite == Overwrite::Refuse => {
                return Err(SignError::Exists {
                    path: path.to_owned(),
                });
            }
            _ => {}
        }
        let file = tempfile::Builder::new()
            .prefix(".countersign-")
            // As any new file: the umask takes away what it wants.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder_of(path))
            .map_err(SignError::write(path))?;
        Ok(Self {
            path,
            overwrite,
            file,
        })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    pub(crate) fn path(&self) -> &Path {
        self.path
    }

    /// Puts the file in its place. After this it survives a power cut.
    pub(crate) fn persist(self) -> Result<(), SignError> {
        let Self {
            path,
            overwrite,
            file,
        } = self;
        file.as_file().sync_all().map_err(SignError::write(path))?;
        let persisted = match overwrite {
            Overwrite::Refuse => file.persist_noclobber(path),
            Overwrite::Replace => file.persist(path),
        };
        persisted.map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => SignError::Exists {
                path: path.to_owned(),
            },
            _ => SignError::write(path)(error.error),
        })?;
        File::open(folder_of(path))
            .and_then(|folder| folder.sync_all())
            .map_err(SignError::write(path))
    }
}

/// Writes a small file at once.
pub(crate) fn write(path: &Path, contents: &[u8], overwrite: Overwrite) -> Result<(), SignError> {
    let mut output = Output::create(path, overwrite)?;
    output
        .file()
        .write_all(contents)
        .map_err(SignError::write(path))?;
    output.persist()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

//! Which step of writing went wrong, since what follows from it is not the same.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file is not in its place, or not certain to stay there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DurableError {
    /// Something has the name, and it was to be kept.
    #[error("{} exists already and was not touched", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// A folder has the name.
    #[error("{} is a folder: name a file", path.display())]
    IsFolder {
        /// The name.
        path: PathBuf,
    },
    /// The new file has its name, but that it does may not be on the disk: a power cut can bring back what was there before.
    #[error("{} was written, but its folder could not be synchronised: look for a fault of the disk, since a power cut may undo it", path.display())]
    Unsettled {
        /// The file that is in place.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It could not be written or given its name; what was there before is there still.
    #[error("{} could not be written", path.display())]
    Write {
        /// The file that was to be there.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DurableError {
    pub(crate) fn exists(path: &Path) -> Self {
        Self::Exists {
            path: path.to_owned(),
        }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }

    /// The name that was to be given.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Exists { path }
            | Self::IsFolder { path }
            | Self::Unsettled { path, .. }
            | Self::Write { path, .. } => path,
        }
    }

    /// Whether the new file has its name all the same.
    #[must_use]
    pub const fn is_in_place(&self) -> bool {
        matches!(self, Self::Unsettled { .. })
    }

    /// As the system would say it, for those who keep no more of an error.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Exists { .. } => io::ErrorKind::AlreadyExists.into(),
            Self::IsFolder { .. } => io::ErrorKind::IsADirectory.into(),
            Self::Unsettled { source, .. } | Self::Write { source, .. } => source,
        }
    }
}

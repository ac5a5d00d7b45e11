//! Reading a log that lies in a folder.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::bundle::MAX_BUNDLE_BYTES;
use crate::resource::{Found, Resource, Source};
use crate::{MAX_NOTE_BYTES, TreeHead};

/// Name of the newest checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// A log in a folder, to be read: the one that is written to, or a copy. It takes no lock, and believes nothing.
#[derive(Clone, Debug)]
pub struct LogFolder {
    path: PathBuf,
}

impl LogFolder {
    /// The log in this folder.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The newest checkpoint, as bytes; [`crate::LogVerifier::open`] reads them.
    ///
    /// # Errors
    /// What the system says, also that there is none.
    pub fn checkpoint(&self) -> io::Result<Vec<u8>> {
        bounded(&self.path.join(CHECKPOINT), MAX_NOTE_BYTES)?.ok_or_else(|| {
            let message = format!(
                "there is no checkpoint in {}, so that it is no log",
                self.path.display()
            );
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }

    /// The entry at `index` of the log with this head, if its files have it. Verify it by a proof.
    ///
    /// # Errors
    /// What the system says.
    pub fn entry(&self, index: u64, head: TreeHead) -> io::Result<Option<Vec<u8>>> {
        let bundle = index / crate::resource::TILE_WIDTH;
        let width = crate::resource::width_at(head.size, 0, bundle);
        if index >= head.size {
            return Ok(None);
        }
        let resource = Resource::Entries {
            index: bundle,
            width,
        };
        let found = self.read(&resource)?;
        let position = usize::try_from(index % crate::resource::TILE_WIDTH).unwrap_or(usize::MAX);
        Ok(found.and_then(|found| {
            let (entries, _) = crate::bundle::entries(&found.bytes);
            entries.get(position).map(|entry| entry.to_vec())
        }))
    }

    /// The widest of the narrow ones.
    fn widest(&self, resource: &Resource) -> io::Result<Option<Found>> {
        let folder = self.path.join(format!("{}.p", resource.full_path()));
        let names = match std::fs::read_dir(&folder) {
            Ok(names) => names,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut widest = None;
        for name in names {
            let name = name?.file_name();
            let width = name.to_str().and_then(crate::checkpoint::decimal);
            let width = width.and_then(|width| u16::try_from(width).ok());
            widest = widest.max(width.filter(|width| *width < 256));
        }
        match widest {
            Some(width) => self.exactly(resource.with_width(width)),
            None => Ok(None),
        }
    }

    fn exactly(&self, resource: Resource) -> io::Result<Option<Found>> {
        let most = match resource {
            Resource::Tile { .. } => 256 * 32,
            Resource::Entries { .. } => MAX_BUNDLE_BYTES,
        };
        let bytes = bounded(&self.path.join(resource.to_string()), most)?;
        Ok(bytes.map(|bytes| Found {
            width: resource.width(),
            bytes,
        }))
    }
}

/// The file itself, or the full one that has taken its place, or the widest that a checkpoint left.
impl Source for LogFolder {
    fn read(&self, resource: &Resource) -> io::Result<Option<Found>> {
        if let Some(found) = self.exactly(*resource)? {
            return Ok(Some(found));
        }
        let full = match resource.is_full() {
            true => None,
            false => self.exactly(resource.with_width(256))?,
        };
        match full {
            Some(found) => Ok(Some(found)),
            None => self.widest(resource),
        }
    }
}

/// A file's bytes, and one more than the most if it has more, so that it is found to be too long; `None` if there is no
/// such file.
pub(crate) fn bounded(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

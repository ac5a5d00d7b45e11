//! A log as its journal has it: for whoever reads one that publishes its files seldom, or was not closed.
//!
//! Decides nothing about what the files say: like them, what the journal says is verified by whoever verifies the log. But a
//! record of the journal that was acknowledged and is not what was signed is told at once.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::journal::Journal;
use super::open::{growth, replay};
use super::{Error, system};
use crate::folder::{CHECKPOINT, LogFolder};
use crate::resource::{Found, Resource, Source, TILE_WIDTH, width_at};
use crate::{Appender, Checkpoint, LogVerifier, bundle};

/// A log in a folder with what its journal adds, to be read. It takes no lock, and is as the log was when it was made.
#[derive(Debug)]
pub struct LogView {
    folder: LogFolder,
    checkpoint: Checkpoint,
    /// By the full form of each.
    added: BTreeMap<Resource, Found>,
}

impl LogView {
    /// The log in this folder, with its newest checkpoint that this key signed.
    ///
    /// # Errors
    /// [`Error`] if there is no log, or what the key signed is not there.
    pub fn new(path: &Path, verifier: &LogVerifier) -> Result<Self, Error> {
        let folder = LogFolder::new(path);
        let invalid = |source| Error::Checkpoint {
            path: path.to_owned(),
            source,
        };
        // First: what it starts from is in the files before it is.
        let journal = Journal::read(path)?;
        let published = match folder.checkpoint() {
            Ok(bytes) => Some(verifier.open(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(system(&path.join(CHECKPOINT), "read", error)),
        };
        let Some(journal) = journal else {
            let not_a_log = || Error::NotALog {
                path: path.to_owned(),
            };
            return Ok(Self {
                folder,
                checkpoint: published.ok_or_else(not_a_log)?.map_err(invalid)?,
                added: BTreeMap::new(),
            });
        };
        // One that the key did not sign is not passed over for what the journal has.
        let published = published.transpose().map_err(invalid)?;
        let base = verifier.open(&journal.base).map_err(invalid)?;
        let at_base = Appender::resume(&folder, base.head()).map_err(|source| Error::Unsound {
            path: path.to_owned(),
            source,
        })?;
        let replayed = replay(
            verifier,
            at_base.clone(),
            &base,
            &journal.batches,
            &journal.rest,
        )
        .map_err(|first| Error::Journal {
            path: path.to_owned(),
            first,
        })?;
        match published {
            // It was published since, or the journal is not of this log.
            Some(published) if published.size() >= replayed.checkpoint.size() => Ok(Self {
                folder,
                checkpoint: published,
                added: BTreeMap::new(),
            }),
            _ => {
                let growth = growth(at_base, &journal.batches, replayed.signed.len())?;
                let added = growth.files.into_iter().map(|(resource, bytes)| {
                    let width = resource.width();
                    (resource.with_width(256), Found { width, bytes })
                });
                Ok(Self {
                    folder,
                    checkpoint: replayed.checkpoint,
                    added: added.collect(),
                })
            }
        }
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Hands over the entries from `first` on that the log still has, each with its index, until `take` wants no more. They
    /// are what the files say: [`crate::verify()`] says whether that is what was logged.
    ///
    /// # Errors
    /// What the system says; that an entry is not there is its error of a missing file.
    pub fn each_from(
        &self,
        first: u64,
        mut take: impl FnMut(u64, &[u8]) -> bool,
    ) -> io::Result<()> {
        let size = self.checkpoint.size();
        let first = first.max(self.checkpoint.first());
        for index in first / TILE_WIDTH..size.div_ceil(TILE_WIDTH) {
            let width = width_at(size, 0, index);
            let found = self.read(&Resource::Entries { index, width })?;
            let found = found.ok_or(io::ErrorKind::NotFound)?;
            let (entries, _) = bundle::entries(&found.bytes);
            let entries = entries.get(..usize::from(width));
            let entries = entries.ok_or(io::ErrorKind::UnexpectedEof)?;
            for (at, entry) in (index.saturating_mul(TILE_WIDTH)..).zip(entries) {
                if at >= first && !take(at, entry) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Source for LogView {
    fn read(&self, resource: &Resource) -> io::Result<Option<Found>> {
        match self.added.get(&resource.with_width(256)) {
            Some(found) => Ok(Some(found.clone())),
            None => self.folder.read(resource),
        }
    }
}

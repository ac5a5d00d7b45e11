//! Opening a log for writing: what is signed must be there, and what its last writer left unfinished is taken up.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::error::system;
use super::files::Files;
use super::journal::{Batch, JOURNAL, Journal};
use super::{Error, LogDirectory, lock};
use crate::Appender;
use crate::checkpoint::{Checkpoint, TreeHead};
use crate::finding::{Finding, VerifyError};
use crate::folder::{CHECKPOINT, LogFolder};
use crate::key::LogKey;
use crate::resource::{Resource, Source, TILE_WIDTH};
use crate::tree::Tiles;

/// What opening a log met that its last writer left unfinished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Entries that were on record and put into tiles again.
    pub replayed: u64,
    /// Bytes of a batch that the last writer did not finish, and so never acknowledged; they were dropped.
    pub dropped_bytes: u64,
    /// The file `checkpoint` was missing or not whole, and was written anew from the journal.
    pub checkpoint_replaced: bool,
}

impl LogDirectory {
    /// Opens a log for writing, and takes up what its last writer left.
    ///
    /// # Errors
    /// [`Error`] if there is no log, somebody else writes to it, the key is not the log's, or what is signed is not
    /// there any more. The older part of the log is not read: [`crate::verify()`] does that.
    pub fn open(path: &Path, key: LogKey) -> Result<(Self, Recovery), Error> {
        let folder = LogFolder::new(path);
        let not_a_log = || Error::NotALog {
            path: path.to_owned(),
        };
        if !path.join(CHECKPOINT).exists() && !path.join(JOURNAL).exists() {
            return Err(not_a_log());
        }
        let lock = lock(path)?;
        let invalid = |source| Error::Checkpoint {
            path: path.to_owned(),
            source,
        };
        let published = match folder.checkpoint() {
            Ok(bytes) => Some(key.verifier().open(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(system(&path.join(CHECKPOINT), "read", error)),
        };
        let read = Journal::read(path)?;

        // A copy of a log may come without a journal: then the checkpoint is all there is, and must be good.
        let (base, batches, mut dropped_bytes) = match read {
            Some(read) => {
                let base = key.verifier().open(&read.base).map_err(invalid)?;
                (base, read.batches, read.rest)
            }
            None => match published.clone() {
                Some(published) => (published.map_err(invalid)?, Vec::new(), 0),
                None => return Err(not_a_log()),
            },
        };
        let unsound = |source| Error::Unsound {
            path: path.to_owned(),
            source,
        };
        let at_base = Appender::resume(&folder, base.head()).map_err(unsound)?;
        let mut appender = at_base.clone();
        let mut checkpoint = base.clone();
        let mut signed = vec![base.head()];
        for (number, batch) in batches.iter().enumerate() {
            let is_last = number.saturating_add(1) == batches.len();
            if let Some(covering) = replay(&key, &mut appender, batch) {
                signed.push(covering.head());
                checkpoint = covering;
            } else if is_last && dropped_bytes == 0 {
                // Of the last one the disk may have got less than its length.
                dropped_bytes = batch.bytes;
            } else {
                return Err(Error::Journal {
                    path: path.to_owned(),
                    first: checkpoint.size(),
                });
            }
        }

        // The published checkpoint is never ahead of the journal, unless somebody took from the journal.
        if let Some(Ok(published)) = &published {
            let head = published.head();
            if head.size > checkpoint.size() {
                return Err(unsound(
                    Finding::Missing {
                        index: checkpoint.size(),
                        expected: None,
                    }
                    .into(),
                ));
            }
            let known = signed.iter().find(|known| known.size == head.size);
            let found = match known {
                Some(known) => *known,
                None => older(&folder, head, base.head()).map_err(unsound)?,
            };
            if found != head {
                return Err(unsound(
                    Finding::Diverges {
                        size: head.size,
                        expected: head.root,
                        found: found.root,
                    }
                    .into(),
                ));
            }
        }
        // A power cut may have left a checkpoint that is empty or cut off. The signed batches say what it must be, so it
        // is replaced, and that is told.
        let checkpoint_replaced = !matches!(published, Some(Ok(_)));

        // Everything is judged; only now is anything written.
        let mut files = Files::new(path);
        let mut superseded = BTreeSet::new();
        let mut again = at_base;
        for batch in batches.iter().take(signed.len().saturating_sub(1)) {
            let growth = again.append(&batch.entries)?;
            files.put_all(&growth)?;
            superseded.extend(growth.files.iter().map(|(resource, _)| *resource));
        }
        let replayed = checkpoint.size().saturating_sub(base.size());
        files.put(CHECKPOINT, checkpoint.as_str().as_bytes())?;
        files.sync()?;
        let journal = Journal::start(path, &mut files, &checkpoint)?;
        let mut log = Self {
            path: path.to_owned(),
            key,
            appender,
            checkpoint,
            journal,
            files,
            superseded,
            is_broken: false,
            _lock: lock,
        };
        log.superseded.extend(log.left_over());
        log.remove_superseded()?;
        let recovery = Recovery {
            replayed,
            dropped_bytes,
            checkpoint_replaced,
        };
        Ok((log, recovery))
    }

    /// Full places just before the right edge whose narrower forms a crash left.
    fn left_over(&self) -> Vec<Resource> {
        let width = 256;
        let mut found = Vec::new();
        let mut hashes = self.checkpoint.size();
        for level in 0u8.. {
            hashes /= TILE_WIDTH;
            if hashes == 0 {
                break;
            }
            let kinds = |index| {
                let tile = Resource::Tile {
                    level,
                    index,
                    width,
                };
                match level {
                    0 => vec![tile, Resource::Entries { index, width }],
                    _ => vec![tile],
                }
            };
            let is_left = |resource: &Resource| self.files.has_narrower(*resource);
            let left = (0..hashes).rev().map(kinds);
            let left = left.take_while(|kinds| kinds.iter().any(is_left));
            found.extend(left.flatten());
        }
        found
    }
}

/// Adds a batch of the journal, if it leads to what was signed with it: the checkpoint that covers it.
fn replay(key: &LogKey, appender: &mut Appender, batch: &Batch) -> Option<Checkpoint> {
    let checkpoint = key.verifier().open(&batch.note).ok()?;
    let mut next = appender.clone();
    next.append(&batch.entries).ok()?;
    if next.head() != checkpoint.head() {
        return None;
    }
    *appender = next;
    Some(checkpoint)
}

/// Root and size that the log had when a checkpoint of before the journal was signed.
fn older(folder: &impl Source, head: TreeHead, base: TreeHead) -> Result<TreeHead, VerifyError> {
    // Tiles of the base's size have every hash that a smaller tree needs but those of its own right edge, which the
    // wider tiles begin with.
    Tiles {
        source: folder,
        size: base.size,
    }
    .head_at(head.size)
}

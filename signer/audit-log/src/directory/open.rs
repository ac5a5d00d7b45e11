//! Opening a log for writing: what is signed must be there, and what its last writer left unfinished is taken up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::damage::End;
use super::error::system;
use super::files::Files;
use super::journal::{Batch, JOURNAL, Journal, length};
use super::{Error, LogDirectory, lock};
use crate::checkpoint::{Checkpoint, TreeHead};
use crate::finding::{Finding, VerifyError};
use crate::folder::{CHECKPOINT, LogFolder};
use crate::key::{LogKey, LogVerifier};
use crate::resource::{Resource, Source, TILE_WIDTH};
use crate::tree::Tiles;
use crate::{Appender, EntryRefused, Growth};

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
        Self::open_with(path, Arc::new(key), None)
    }

    /// Opens the log anew after a failed write, which tells whether the last batch is in it.
    ///
    /// # Errors
    /// As [`Self::open`]; then nothing has changed.
    pub fn reopen(&mut self) -> Result<(), Error> {
        let lock = Some(Arc::clone(&self.lock));
        let (fresh, _) = Self::open_with(&self.path, Arc::clone(&self.key), lock)?;
        *self = Self {
            within: self.within,
            ..fresh
        };
        Ok(())
    }

    fn open_with(
        path: &Path,
        key: Arc<LogKey>,
        held: Option<Arc<File>>,
    ) -> Result<(Self, Recovery), Error> {
        let folder = LogFolder::new(path);
        let not_a_log = || Error::NotALog {
            path: path.to_owned(),
        };
        if !path.join(CHECKPOINT).exists() && !path.join(JOURNAL).exists() {
            return Err(not_a_log());
        }
        let lock = match held {
            Some(held) => held,
            None => Arc::new(lock(path)?),
        };
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
        let has_journal = read.is_some();

        // A copy of a log may come without a journal: then the checkpoint is all there is, and must be good.
        let (base, batches, rest) = match read {
            Some(read) => {
                let base = key.verifier().open(&read.base).map_err(invalid)?;
                (base, read.batches, read.rest)
            }
            None => match published.clone() {
                Some(published) => (published.map_err(invalid)?, Vec::new(), (0, Vec::new())),
                None => return Err(not_a_log()),
            },
        };
        let unsound = |source| Error::Unsound {
            path: path.to_owned(),
            source,
        };
        let at_base = Appender::resume(&folder, base.head()).map_err(unsound)?;
        let replayed = replay(key.verifier(), at_base.clone(), &base, &batches, &rest);
        let replayed = replayed.map_err(|first| Error::Journal {
            path: path.to_owned(),
            first,
        })?;
        let Replayed {
            appender,
            checkpoint,
            signed,
            dropped_bytes,
        } = replayed;

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

        // Everything is judged; only now is anything written, and nothing where the last writer left nothing to do.
        let mut files = Files::new(path);
        let growth = growth(at_base, &batches, signed.len())?;
        let replayed = checkpoint.size().saturating_sub(base.size());
        let is_settled = has_journal
            && batches.is_empty()
            && dropped_bytes == 0
            && matches!(&published, Some(Ok(published)) if *published == checkpoint);
        let journal = if is_settled {
            Journal::go_on(path)?
        } else {
            // What a killed writer left may be nowhere but in memory yet, and the checkpoint must not be ahead of it.
            if has_journal {
                let at = path.join(JOURNAL);
                File::open(&at)
                    .and_then(|journal| journal.sync_all())
                    .map_err(|error| system(&at, "made durable", error))?;
            }
            files.put_all(&growth)?;
            files.put(CHECKPOINT, checkpoint.as_str().as_bytes())?;
            files.sync()?;
            Journal::start(path, &mut files, &checkpoint)?
        };
        let superseded = growth.files.iter().map(|(resource, _)| *resource).collect();
        let mut log = Self {
            path: path.to_owned(),
            key,
            appender,
            checkpoint,
            journal,
            files,
            within: None,
            unpublished: BTreeMap::new(),
            superseded,
            is_broken: false,
            lock,
        };
        log.superseded.extend(log.left_over());
        log.remove_superseded()?;
        log.remove_dropped()?;
        let recovery = Recovery {
            replayed,
            dropped_bytes,
            checkpoint_replaced,
        };
        Ok((log, recovery))
    }

    /// Full places just before the right edge whose narrower forms a crash left.
    fn left_over(&self) -> Vec<Resource> {
        let mut found = Vec::new();
        let mut hashes = self.checkpoint.size();
        for level in 0u8.. {
            hashes /= TILE_WIDTH;
            if hashes == 0 {
                break;
            }
            let kinds = |index| Resource::full_at(level, index);
            let is_left = |resource: &Resource| self.files.has_narrower(*resource);
            let left = (0..hashes).rev().map(kinds);
            let left = left.take_while(|kinds| kinds.iter().any(is_left));
            found.extend(left.flatten());
        }
        found
    }
}

/// What the batches of a journal make of the log at which it starts.
pub(super) struct Replayed {
    pub(super) appender: Appender,
    pub(super) checkpoint: Checkpoint,
    /// Every head that was signed, from the first on.
    pub(super) signed: Vec<TreeHead>,
    /// Bytes at the end that were never acknowledged.
    pub(super) dropped_bytes: u64,
}

/// Adds each batch that leads to what was signed with it. `rest` is what stands behind the last whole one, and how many bytes before
/// that.
///
/// # Errors
/// The first entry that cannot be relied on, where something that was acknowledged is not what was signed.
pub(super) fn replay(
    verifier: &LogVerifier,
    mut appender: Appender,
    base: &Checkpoint,
    batches: &[Batch],
    rest: &(usize, Vec<u8>),
) -> Result<Replayed, u64> {
    let mut checkpoint = base.clone();
    let mut signed = vec![base.head()];
    let (before, rest) = (rest.0, rest.1.as_slice());
    let mut dropped_bytes = length(rest);
    for (number, batch) in batches.iter().enumerate() {
        if let Some(covering) = add(verifier, &mut appender, batch) {
            signed.push(covering.head());
            checkpoint = covering;
            continue;
        }
        // The disk may lack any part of what nobody waited for, and of what the last writer was waiting for at its end: of
        // that one it may have got less than its length.
        let behind = batches.get(number..).unwrap_or_default();
        let until = behind.len().saturating_sub(usize::from(rest.is_empty()));
        if behind.iter().take(until).any(|batch| batch.awaited) {
            return Err(checkpoint.size());
        }
        let bytes = behind.iter().map(|batch| batch.bytes);
        dropped_bytes = bytes.fold(dropped_bytes, u64::saturating_add);
        break;
    }
    if End::new((before, rest), verifier, checkpoint.size()).has_damage() {
        return Err(checkpoint.size());
    }
    Ok(Replayed {
        appender,
        checkpoint,
        signed,
        dropped_bytes,
    })
}

/// Adds a batch of the journal, if it leads to what was signed with it: the checkpoint that covers it.
fn add(verifier: &LogVerifier, appender: &mut Appender, batch: &Batch) -> Option<Checkpoint> {
    let checkpoint = verifier.open(&batch.note).ok()?;
    let mut next = appender.clone();
    next.append(&batch.entries).ok()?;
    if next.head() != checkpoint.head() {
        return None;
    }
    *appender = next;
    Some(checkpoint)
}

/// The files that the batches change which lead to the first `signed` heads, the journal's own among these. Narrow ones of
/// the sizes between are nobody's any more.
pub(super) fn growth(
    mut at_base: Appender,
    batches: &[Batch],
    signed: usize,
) -> Result<Growth, EntryRefused> {
    let taken = batches.iter().take(signed.saturating_sub(1));
    let entries: Vec<&[u8]> = taken
        .flat_map(|batch| batch.entries.iter().map(Vec::as_slice))
        .collect();
    at_base.append(&entries)
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

//! A log on disk, for one writer.
//!
//! ```text
//! DIR/                      mode 0700
//!   checkpoint              the newest, signed; replaced by one rename
//!   tile/LEVEL/N[.p/WIDTH]  hashes
//!   tile/entries/N[.p/WIDTH]
//!   .lock                   held while a process writes here
//!   .journal                batches since everything above was last made durable
//!   .new                    a file on its way to its name
//! ```
//!
//! [`LogDirectory::append`] writes the batch and the checkpoint that covers it to the journal, and waits for the disk
//! once, for that file alone. Tiles, bundles and `checkpoint` are put in place after that, for readers, without waiting:
//! what a power cut takes of them, the journal has. When the journal has grown, all of them are made durable, the files
//! first, then the folders, and a new journal takes the old one's place.
//!
//! Whoever opens a log reads the journal's first checkpoint, compares the right edge of the tree with it, and takes each
//! batch after it only if it leads to the root that was signed with it. A batch that the journal has not wholly was
//! never acknowledged: it is dropped, and [`Recovery`] says so. If a checkpoint covers it, the log is not opened.

mod files;
mod journal;

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::checkpoint::{Checkpoint, CheckpointInvalid, TreeHead};
use crate::finding::{Finding, VerifyError};
use crate::folder::{CHECKPOINT, LogFolder};
use crate::key::LogKey;
use crate::resource::{Resource, Source, TILE_WIDTH};
use crate::tree::Tiles;
use crate::{Appender, EntryRefused, Growth};
use files::Files;
use journal::{Batch, Journal};

/// The most that a batch may have, in bytes, with two for the length of each entry: what is held in memory and written
/// at once.
pub const MAX_BATCH_BYTES: usize = 32 * 1024 * 1024;

const LOCK: &str = ".lock";

/// How often, and with what pauses, the lock is tried: a program that the last writer was just starting holds it for a
/// moment, until that program runs.
const LOCK_ATTEMPTS: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A log on disk, locked for this process, with the key that signs for it.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    key: LogKey,
    appender: Appender,
    checkpoint: Checkpoint,
    journal: Journal,
    files: Files,
    /// Places whose full file has come, so that the narrower ones can go once it is durable.
    superseded: BTreeSet<Resource>,
    /// After a failed write nobody knows what is on the disk until it is read again.
    is_broken: bool,
    _lock: File,
}

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

/// Why a log could not be made, opened or appended to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The batch is larger than what is held in memory.
    #[error("the batch has {bytes} bytes, and the most is {MAX_BATCH_BYTES}: append it in parts")]
    BatchTooLarge {
        /// Its entries and their lengths.
        bytes: usize,
    },
    /// An earlier write failed.
    #[error("an earlier write to the log in {} failed, so that nothing more is taken: open it anew", path.display())]
    Broken {
        /// The log's folder.
        path: PathBuf,
    },
    /// A checkpoint in the folder is not one of the log's key.
    #[error("the log in {}: {source}", path.display())]
    Checkpoint {
        /// The log's folder.
        path: PathBuf,
        /// What about it is wrong.
        source: CheckpointInvalid,
    },
    /// An entry cannot be taken.
    #[error(transparent)]
    Entry(#[from] EntryRefused),
    /// There is something in the folder already.
    #[error("{} is not empty: name a new folder for the log, or open the log that is there", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A batch in the journal, other than the last, is not what was signed with it.
    #[error(
        "the journal of the log in {} was altered at or after entry {first}: restore the log from a copy, and look for who wrote to it",
        path.display()
    )]
    Journal {
        /// The log's folder.
        path: PathBuf,
        /// The first entry that cannot be relied on.
        first: u64,
    },
    /// The checkpoint was not signed. Nothing was written.
    #[error("the log's checkpoint could not be signed, and nothing was appended: {0}")]
    Key(#[source] countersign_keys::Error),
    /// Another process writes to it.
    #[error("another process writes to the log in {}: stop that one first", path.display())]
    Locked {
        /// The log's folder.
        path: PathBuf,
    },
    /// There is no log in the folder.
    #[error("there is no log in {}: correct the path, or make one", path.display())]
    NotALog {
        /// The folder.
        path: PathBuf,
    },
    /// The system failed to read or write.
    #[error("{} could not be {verb}: {source}; check the disk, and open the log anew", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What was done to it.
        verb: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The right edge of the tree is not what was signed.
    #[error("the log in {}: {source}", path.display())]
    Unsound {
        /// The log's folder.
        path: PathBuf,
        /// What about it is wrong.
        source: VerifyError,
    },
}

impl LogDirectory {
    /// Makes a log without entries in a new or an empty folder.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is anything in it, [`Error::System`], [`Error::Key`].
    pub fn create(path: &Path, key: LogKey) -> Result<Self, Error> {
        let at = |verb| move |source| system(path, verb, source);
        let made = std::fs::DirBuilder::new().mode(0o700).create(path);
        match made {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(system(path, "made", error)),
        }
        // An interrupted start leaves a lock, and perhaps the journal's new file; they are no log.
        for entry in std::fs::read_dir(path).map_err(at("read"))? {
            let name = entry.map_err(at("read"))?.file_name();
            if name != LOCK && name != files::NEW {
                return Err(Error::Exists {
                    path: path.to_owned(),
                });
            }
        }
        let lock = lock(path)?;
        let appender = Appender::new();
        let checkpoint = key.sign(appender.head()).map_err(Error::Key)?;
        let mut files = Files::new(path);
        // Last, because it is what makes the folder a log.
        files.put_durably(CHECKPOINT, checkpoint.as_str().as_bytes())?;
        let journal = Journal::start(path, &mut files, &checkpoint)?;
        files.sync()?;
        files::sync_folder(&files::parent(path))?;
        Ok(Self {
            path: path.to_owned(),
            key,
            appender,
            checkpoint,
            journal,
            files,
            superseded: BTreeSet::new(),
            is_broken: false,
            _lock: lock,
        })
    }

    /// Opens a log for writing, and takes up what its last writer left.
    ///
    /// # Errors
    /// [`Error`] if there is no log, somebody else writes to it, the key is not the log's, or what is signed is not
    /// there any more. The older part of the log is not read: [`crate::verify`] does that.
    pub fn open(path: &Path, key: LogKey) -> Result<(Self, Recovery), Error> {
        let folder = LogFolder::new(path);
        let not_a_log = || Error::NotALog {
            path: path.to_owned(),
        };
        if !path.join(CHECKPOINT).exists() && !path.join(journal::JOURNAL).exists() {
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
        let mut appender = Appender::resume(&folder, base.head()).map_err(unsound)?;
        let mut files = Files::new(path);
        let mut superseded = BTreeSet::new();
        let mut checkpoint = base.clone();
        let count = batches.len();
        let mut signed_sizes = vec![base.head()];
        for (number, batch) in batches.into_iter().enumerate() {
            match replay(&key, &mut appender, &batch) {
                Some((growth, signed)) => {
                    signed_sizes.push(growth.head);
                    superseded.extend(growth.files.iter().map(|(resource, _)| *resource));
                    files.put_all(&growth)?;
                    checkpoint = signed;
                }
                // Of the last one the disk may have got less than its length.
                None if number.saturating_add(1) == count && dropped_bytes == 0 => {
                    dropped_bytes = batch.bytes;
                }
                None => {
                    return Err(Error::Journal {
                        path: path.to_owned(),
                        first: checkpoint.size(),
                    });
                }
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
            let known = signed_sizes.iter().find(|known| known.size == head.size);
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

    /// Appends a batch: when this returns, its entries and the checkpoint that covers them are on the disk. One wait for
    /// the disk and one signature for each batch, however many entries it has. An empty batch changes nothing.
    ///
    /// # Errors
    /// [`Error`]; nothing was acknowledged. After [`Error::System`] the log must be opened anew, which tells whether the
    /// batch is in it.
    pub fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<&Checkpoint, Error> {
        if self.is_broken {
            return Err(Error::Broken {
                path: self.path.clone(),
            });
        }
        if entries.is_empty() {
            return Ok(&self.checkpoint);
        }
        let bytes = entries.iter().fold(0usize, |sum, entry| {
            sum.saturating_add(entry.as_ref().len()).saturating_add(2)
        });
        if bytes > MAX_BATCH_BYTES {
            return Err(Error::BatchTooLarge { bytes });
        }
        // Everything that can be refused is, before anything is written.
        let mut appender = self.appender.clone();
        let growth = appender.append(entries)?;
        let checkpoint = self.key.sign(growth.head).map_err(Error::Key)?;

        self.is_broken = true;
        self.journal.append(entries, &checkpoint)?;
        self.files.put_all(&growth)?;
        self.files.put(CHECKPOINT, checkpoint.as_str().as_bytes())?;
        self.appender = appender;
        self.checkpoint = checkpoint;
        let full = growth.files.iter().map(|(resource, _)| *resource);
        self.superseded.extend(full.filter(Resource::is_full));
        if self.journal.is_long() {
            self.settle()?;
        }
        self.is_broken = false;
        Ok(&self.checkpoint)
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log as readers see it.
    #[must_use]
    pub fn folder(&self) -> LogFolder {
        LogFolder::new(&self.path)
    }

    /// Makes every file durable, so that the folder is whole without its journal: before it is copied, for example.
    ///
    /// # Errors
    /// [`Error::System`], after which the log must be opened anew.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.is_broken {
            return Err(Error::Broken {
                path: self.path.clone(),
            });
        }
        self.is_broken = true;
        self.settle()?;
        self.is_broken = false;
        Ok(())
    }

    /// Everything durable, then a new journal, then what nobody needs any more away: in this order a crash between any
    /// two steps loses nothing.
    fn settle(&mut self) -> Result<(), Error> {
        self.files.sync()?;
        self.journal = Journal::start(&self.path, &mut self.files, &self.checkpoint)?;
        self.remove_superseded()
    }

    /// Removes the narrower forms of what is full (C2SP tlog-tiles, "Partial Tiles").
    fn remove_superseded(&mut self) -> Result<(), Error> {
        for resource in std::mem::take(&mut self.superseded) {
            if resource.is_full() {
                self.files.remove_narrower(resource)?;
            }
        }
        Ok(())
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

/// Adds a batch of the journal, if it leads to what was signed with it.
fn replay(key: &LogKey, appender: &mut Appender, batch: &Batch) -> Option<(Growth, Checkpoint)> {
    let checkpoint = key.verifier().open(&batch.note).ok()?;
    let mut next = appender.clone();
    let growth = next.append(&batch.entries).ok()?;
    if growth.head != checkpoint.head() {
        return None;
    }
    *appender = next;
    Some((growth, checkpoint))
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

fn lock(path: &Path) -> Result<File, Error> {
    let at = path.join(LOCK);
    let failed = |source| system(&at, "locked", source);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&at)
        .map_err(failed)?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    Err(Error::Locked {
        path: path.to_owned(),
    })
}

fn system(path: &Path, verb: &'static str, source: io::Error) -> Error {
    Error::System {
        path: path.to_owned(),
        verb,
        source,
    }
}

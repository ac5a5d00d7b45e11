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

mod error;
mod files;
mod journal;
mod open;

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Appender;
use crate::checkpoint::Checkpoint;
use crate::folder::{CHECKPOINT, LogFolder};
use crate::key::LogKey;
use crate::resource::Resource;
pub use error::Error;
use error::system;
use files::Files;
use journal::Journal;
pub use open::Recovery;

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

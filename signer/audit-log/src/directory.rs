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
//! never acknowledged: it is dropped, and [`Recovery`] says so. If a checkpoint covers it, or something that was acknowledged stands behind
//! it, it is damage, and the log is not opened.
//!
//! [`LogDirectory::append_soon`] does not wait; what it wrote is as sure as the next batch that was waited for. A batch of its
//! kind that the disk has not wholly is dropped with what follows it, unless something was waited for behind it.
//!
//! [`LogDirectory::kept_within`] is for a machine that keeps its own log for years, on flash: readers' files are written when
//! the journal is long and not with each batch, and the oldest entries go.

mod damage;
mod error;
mod files;
mod journal;
mod kept;
mod open;
mod overlay;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::Appender;
use crate::checkpoint::Checkpoint;
use crate::folder::{CHECKPOINT, LogFolder};
use crate::key::LogKey;
use crate::resource::Resource;
pub use error::Error;
use error::system;
use files::Files;
use journal::{Journal, Wait};
pub use open::Recovery;
pub use overlay::LogView;

/// The most that a batch may have, in bytes, with two for the length of each entry: what is held in memory and written
/// at once.
pub const MAX_BATCH_BYTES: usize = 32 * 1024 * 1024;

const LOCK: &str = ".lock";

/// How often, and with what pauses, a lock is tried.
const LOCK_ATTEMPTS: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A log on disk, locked for this process, with the key that signs for it.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    key: Arc<LogKey>,
    appender: Appender,
    checkpoint: Checkpoint,
    journal: Journal,
    files: Files,
    /// Of a log that is kept: the most that its files may have, in bytes.
    within: Option<u64>,
    /// Full files that are in the journal alone.
    unpublished: BTreeMap<Resource, Vec<u8>>,
    /// Places whose full file has come, so that the narrower ones can go once it is durable.
    superseded: BTreeSet<Resource>,
    /// After a failed write nobody knows what is on the disk until it is read again.
    is_broken: bool,
    lock: Arc<File>,
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
            key: Arc::new(key),
            appender,
            checkpoint,
            journal,
            files,
            within: None,
            unpublished: BTreeMap::new(),
            superseded: BTreeSet::new(),
            is_broken: false,
            lock: Arc::new(lock),
        })
    }

    /// Appends a batch: when this returns, its entries and the checkpoint that covers them are on the disk. One wait for
    /// the disk and one signature for each batch, however many entries it has. An empty batch changes nothing.
    ///
    /// # Errors
    /// [`Error`]; nothing was acknowledged. After [`Error::System`] the log must be opened anew, which tells whether the
    /// batch is in it.
    pub fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<&Checkpoint, Error> {
        self.add(entries, Wait::ForDisk)
    }

    /// Appends a batch without waiting for the disk: it outlives this process, and is there after a power cut if
    /// [`Self::append`] or [`Self::vouched`] returned since. Its checkpoint must not leave the machine before.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_soon<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<(), Error> {
        self.add(entries, Wait::ForNothing).map(|_| ())
    }

    fn add<E: AsRef<[u8]>>(&mut self, entries: &[E], wait: Wait) -> Result<&Checkpoint, Error> {
        self.sound()?;
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
        let first = self.checkpoint.first();
        let checkpoint = self.key.sign_from(growth.head, first).map_err(Error::Key)?;

        self.write(entries, &checkpoint, wait)?;
        self.is_broken = true;
        if self.within.is_none() {
            self.files.put_all(&growth)?;
            self.files.put(CHECKPOINT, checkpoint.as_str().as_bytes())?;
        }
        self.appender = appender;
        self.checkpoint = checkpoint;
        for (resource, bytes) in growth.files {
            if resource.is_full() {
                self.superseded.insert(resource);
                if self.within.is_some() {
                    self.unpublished.insert(resource, bytes);
                }
            }
        }
        self.is_broken = false;
        if self.journal.is_long(self.within.is_some()) {
            self.settle_in_time()?;
        }
        Ok(&self.checkpoint)
    }

    fn write<E: AsRef<[u8]>>(
        &mut self,
        entries: &[E],
        checkpoint: &Checkpoint,
        wait: Wait,
    ) -> Result<(), Error> {
        let written = self.journal.append(entries, checkpoint, wait);
        self.is_broken = self.journal.is_torn();
        written
    }

    fn sound(&self) -> Result<(), Error> {
        match self.is_broken {
            true => Err(Error::Broken {
                path: self.path.clone(),
            }),
            false => Ok(()),
        }
    }

    /// The newest checkpoint, when everything that it covers is on the disk: one that may leave the machine.
    ///
    /// # Errors
    /// [`Error::System`], after which the log must be opened anew.
    pub fn vouched(&mut self) -> Result<&Checkpoint, Error> {
        self.sound()?;
        if self.journal.is_behind() {
            let checkpoint = self.checkpoint.clone();
            self.write::<&[u8]>(&[], &checkpoint, Wait::ForDisk)?;
        }
        Ok(&self.checkpoint)
    }

    /// The newest checkpoint. What it covers may not be on the disk yet, where [`Self::append_soon`] was used.
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
        self.sound()?;
        self.settle()
    }

    /// Settles, where the log is kept with no more effort than that: what there is no room for now stays in the journal.
    fn settle_in_time(&mut self) -> Result<(), Error> {
        match self.settle() {
            Err(error) if self.within.is_some() && error.is_of_room() && !self.is_broken => Ok(()),
            settled => settled,
        }
    }

    /// Everything durable, then a new journal, then what nobody needs any more away: in this order a crash between any
    /// two steps loses nothing.
    fn settle(&mut self) -> Result<(), Error> {
        // A checkpoint that is on the disk must not be ahead of the journal there.
        self.vouched()?;
        self.publish()?;
        self.is_broken = true;
        self.files.sync()?;
        let base = self.kept()?;
        self.journal = Journal::start(&self.path, &mut self.files, &base)?;
        self.checkpoint = base;
        self.remove_superseded()?;
        self.remove_dropped()?;
        self.is_broken = false;
        Ok(())
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
    match lock_in_time(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Locks a file for this process, within half a second: a program that its last holder was just starting holds the lock for a moment,
/// until that program runs.
///
/// # Errors
/// [`TryLockError::WouldBlock`] if another has it for longer; [`TryLockError::Error`] if the system cannot lock it.
pub fn lock_in_time(file: &File) -> Result<(), TryLockError> {
    for _ in 1..LOCK_ATTEMPTS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            ended => return ended,
        }
    }
    file.try_lock()
}

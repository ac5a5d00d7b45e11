//! The journal: batches since the rest of the log was last made durable, each with the checkpoint that covers it.
//!
//! ```text
//! record  = length of what follows (4 bytes) ‖ number of entries (4) ‖ entries as in a bundle
//!           ‖ length of the checkpoint (4) ‖ checkpoint
//! journal = record without entries, with the checkpoint at which it starts ‖ records
//! ```
//!
//! Numbers are big-endian. There is no checksum: the signed root of the checkpoint is one over everything before it. The
//! first bit of the number of entries says that nobody waited for the disk: such a record was not acknowledged as durable
//! until one without the bit was, and the disk may lack any part of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::Error;
use super::error::system;
use super::files::Files;
use crate::folder::is_absent;
use crate::{Checkpoint, MAX_NOTE_BYTES, bundle};

pub(super) const JOURNAL: &str = ".journal";

/// Bytes from which on a journal is ended: they are read again when the log is opened, which takes some tenths of a
/// second.
const LONG_BYTES: u64 = 16 * 1024 * 1024;

/// The same of a log that is kept: what is written for readers when it ends must fit into the room that is kept free.
const LONG_BYTES_KEPT: u64 = 1024 * 1024;

/// Batches from which on it is ended: each may have left narrow tiles and a narrow bundle, which are removed then.
const LONG_BATCHES: u64 = 1024;

/// The largest journal that is written or read: almost long, and one batch more, with its checkpoint.
const MAX_BYTES: u64 = 16 * 1024 * 1024 + 32 * 1024 * 1024 + 1024 * 1024;

/// In the number of entries: nobody waited for the disk.
const NOT_AWAITED: u32 = 1 << 31;

/// The journal that is written to.
#[derive(Debug)]
pub(super) struct Journal {
    path: std::path::PathBuf,
    file: File,
    bytes: u64,
    batches: u64,
    /// Whether there is a record that nobody waited for.
    is_behind: bool,
    /// Whether a write failed and could not be taken back.
    is_torn: bool,
}

/// Whether an append waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    ForDisk,
    ForNothing,
}

/// What a journal says. Nothing of it is verified.
#[derive(Debug)]
pub(super) struct Contents {
    /// The checkpoint at which it starts.
    pub(super) base: Vec<u8>,
    pub(super) batches: Vec<Batch>,
    /// What stands at the end that is no whole record, and how many bytes before it.
    pub(super) rest: (usize, Vec<u8>),
}

/// One record.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) note: Vec<u8>,
    /// Whether its writer waited until the disk had it.
    pub(super) awaited: bool,
    /// Bytes of the record.
    pub(super) bytes: u64,
}

impl Journal {
    /// Puts a journal without batches in the place of the present one. Durable when this returns.
    pub(super) fn start(path: &Path, files: &mut Files, base: &Checkpoint) -> Result<Self, Error> {
        let first = record::<&[u8]>(&[], base, Wait::ForDisk);
        files.put_durably(JOURNAL, &first)?;
        let path = path.join(JOURNAL);
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(|source| system(&path, "opened", source))?;
        Ok(Self {
            path,
            file,
            bytes: length(&first),
            batches: 0,
            is_behind: false,
            is_torn: false,
        })
    }

    /// Goes on with the present one, of which it is known that it has no batches and nothing behind its first record.
    pub(super) fn go_on(path: &Path) -> Result<Self, Error> {
        let path = path.join(JOURNAL);
        let failed = |source| system(&path, "opened", source);
        let file = File::options().append(true).open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Self {
            path,
            file,
            bytes,
            batches: 0,
            is_behind: false,
            is_torn: false,
        })
    }

    /// Adds a batch, and waits until the disk has it, if that is asked for.
    ///
    /// # Errors
    /// [`Error::System`]. Where it could not be written whole, what was written of it is taken away again; [`Self::is_torn`]
    /// says whether that failed too.
    pub(super) fn append<E: AsRef<[u8]>>(
        &mut self,
        entries: &[E],
        checkpoint: &Checkpoint,
        wait: Wait,
    ) -> Result<(), Error> {
        let record = record(entries, checkpoint, wait);
        let bytes = self.bytes.saturating_add(length(&record));
        let failed = |source| system(&self.path, "written", source);
        if bytes > MAX_BYTES {
            return Err(failed(io::ErrorKind::StorageFull.into()));
        }
        if let Err(error) = self.file.write_all(&record) {
            self.is_torn = self.file.set_len(self.bytes).is_err();
            return Err(failed(error));
        }
        if wait == Wait::ForDisk {
            self.file.sync_data().map_err(|error| {
                self.is_torn = true;
                system(&self.path, "made durable", error)
            })?;
        }
        self.is_behind = wait == Wait::ForNothing;
        self.bytes = bytes;
        self.batches = self.batches.saturating_add(1);
        Ok(())
    }

    /// Whether the disk may lack a record.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Whether nobody knows what it ends with until it is read again.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Whether it is time for another one.
    pub(super) fn is_long(&self, is_kept: bool) -> bool {
        let long = if is_kept { LONG_BYTES_KEPT } else { LONG_BYTES };
        self.bytes >= long || self.batches >= LONG_BATCHES
    }

    /// Reads the journal of a log; `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Contents>, Error> {
        let path = path.join(JOURNAL);
        let failed = |source| system(&path, "read", source);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let mut rest = bytes.as_slice();
        let base = match next_batch(&mut rest) {
            Some(first) => first.note,
            None => Vec::new(),
        };
        let mut batches = Vec::new();
        while let Some(batch) = next_batch(&mut rest) {
            batches.push(batch);
        }
        let rest = (bytes.len().saturating_sub(rest.len()), rest.to_vec());
        Ok(Some(Contents {
            base,
            batches,
            rest,
        }))
    }
}

fn record<E: AsRef<[u8]>>(entries: &[E], checkpoint: &Checkpoint, wait: Wait) -> Vec<u8> {
    let flag = match wait {
        Wait::ForDisk => 0,
        Wait::ForNothing => NOT_AWAITED,
    };
    let count = u32::from_be_bytes(number(entries.len())) | flag;
    let mut body = count.to_be_bytes().to_vec();
    for entry in entries {
        // The appender refused those that are too long.
        let _whole = bundle::push(&mut body, entry.as_ref());
    }
    body.extend_from_slice(&number(checkpoint.as_str().len()));
    body.extend_from_slice(checkpoint.as_str().as_bytes());
    [&number(body.len())[..], &body].concat()
}

/// The next record, if all of it is there and it has the form of one; `rest` stays where it is otherwise.
pub(super) fn next_batch(rest: &mut &[u8]) -> Option<Batch> {
    let mut bytes = *rest;
    let body = take(&mut bytes)?;
    let batch = parse(body)?;
    let used = length(rest).saturating_sub(length(bytes));
    *rest = bytes;
    Some(Batch {
        bytes: used,
        ..batch
    })
}

/// Whether somebody waited for a record, by what says how many entries it has.
pub(super) const fn is_awaited(entries: u32) -> bool {
    entries & NOT_AWAITED == 0
}

fn parse(mut body: &[u8]) -> Option<Batch> {
    let (count, rest) = body.split_first_chunk::<4>()?;
    let count = u32::from_be_bytes(*count);
    let awaited = is_awaited(count);
    let count = count & !NOT_AWAITED;
    body = rest;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (length, rest) = body.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry.to_vec());
        body = rest;
    }
    let note = take(&mut body)?;
    (body.is_empty() && note.len() <= MAX_NOTE_BYTES).then(|| Batch {
        entries,
        note: note.to_vec(),
        awaited,
        bytes: 0,
    })
}

/// Takes what stands after its length in four bytes.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (taken, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// A length in four bytes; batches are far shorter than what does not fit.
fn number(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

//! The audit log: one line of JSON for every acceptance, refusal, signature and end, appended to a file, written to stderr,
//! or kept as a log that shows when it was changed.
//!
//! What a line says is decided in `countersign_runtime`. Here it is decided that nothing runs unless its line was written.

mod kept;
mod key;
mod reserve;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use countersign_audit_log::Checkpoint;
use countersign_runtime::audit::Record;
use kept::{Kept, Wait, What};
pub use key::LogPlace;

const NOT_WRITTEN: &str = "the audit record could not be written, so nothing is run";

/// Where records go. The last one is kept for whoever reports it.
#[derive(Debug)]
pub struct AuditLog {
    target: Target,
    /// Whether the last line was cut off, as on a full disk.
    torn: Mutex<bool>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Target {
    File(File),
    Kept(Box<Mutex<Kept>>),
    Nowhere,
    Stderr,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Record>,
    failed: Option<io::Error>,
}

impl AuditLog {
    /// Opens the log that the operator named, `-` being stderr; without a name, records are kept and not written.
    ///
    /// # Errors
    /// If the file cannot be opened for appending.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let target = match path {
            None => Target::Nowhere,
            Some(path) if path == Path::new("-") => Target::Stderr,
            Some(path) => {
                let file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .with_context(|| {
                        format!(
                            "the audit file {} cannot be written, so nothing is run",
                            path.display()
                        )
                    })?;
                Target::File(file)
            }
        };
        Ok(Self {
            target,
            torn: Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Opens the log of a machine that runs for years: a Merkle log of bounded size, with room for the last records kept free.
    /// Where there is none left, no start and no signature is recorded, and so none happens.
    ///
    /// # Errors
    /// As [`Self::open`], and if what was signed there is not there any more.
    pub fn open_kept(place: &LogPlace) -> anyhow::Result<Self> {
        let kept = Kept::open(place).context("the records cannot be written, so nothing is run")?;
        Ok(Self {
            target: Target::Kept(Box::new(Mutex::new(kept))),
            torn: Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// The newest signed checkpoint of a log that is kept, with everything that it covers on the disk; none for one that is
    /// not. It may leave this machine: whatever becomes of it, the log continues that checkpoint.
    ///
    /// # Errors
    /// If the disk does not take what the checkpoint covers.
    pub fn head(&self) -> anyhow::Result<Option<Checkpoint>> {
        match &self.target {
            Target::Kept(kept) => Ok(Some(locked(kept).head()?)),
            _ => Ok(None),
        }
    }

    /// Has a log that is kept whole in its files, for whoever copies them.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub fn flush(&self) -> anyhow::Result<()> {
        match &self.target {
            Target::Kept(kept) => Ok(locked(kept).flush()?),
            _ => Ok(()),
        }
    }

    /// Where a log that is kept lies.
    #[must_use]
    pub fn place(&self) -> Option<LogPlace> {
        match &self.target {
            Target::Kept(kept) => Some(locked(kept).place().clone()),
            _ => None,
        }
    }

    /// Writes a record. Whether that worked is asked by [`check`](Self::check).
    pub fn write(&self, record: &Record) {
        if let Err(error) = self.put(record) {
            self.lock().failed.get_or_insert(error);
        }
    }

    /// Writes a record on which something waits.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn record(&self, record: &Record) -> anyhow::Result<()> {
        self.put(record).context(NOT_WRITTEN)
    }

    /// The same of what ran on this machine before: also into the room that is kept free.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_again(&self, record: &Record) -> anyhow::Result<()> {
        self.put_as(record, What::Happened).context(NOT_WRITTEN)
    }

    fn put(&self, record: &Record) -> io::Result<()> {
        let what = match record.is_accepted() {
            true => What::New,
            false => What::Happened,
        };
        self.put_as(record, what)
    }

    fn put_as(&self, record: &Record, what: What) -> io::Result<()> {
        let line = record.line(countersign_roots::system_time());
        let written = match &self.target {
            Target::File(file) => self
                .append(&line)
                .and_then(|()| file.sync_data().or_else(unsyncable)),
            Target::Kept(kept) => locked(kept).append(&line, what, Wait::ForDisk),
            Target::Nowhere | Target::Stderr => self.append(&line),
        };
        self.lock().last = Some(record.clone());
        written
    }

    /// Appends a line that is no verdict: one of a guest's signatures. It outlives this process; a power cut may take the
    /// last of them, because waiting for the disk would cost more time than the signature.
    ///
    /// # Errors
    /// If the line could not be written whole.
    pub fn append(&self, line: &str) -> io::Result<()> {
        match &self.target {
            // One call for one line: records of several runs into the same file do not mix.
            Target::File(file) => {
                let mut torn = self.torn.lock().unwrap_or_else(PoisonError::into_inner);
                append(file, &mut torn, line)
            }
            Target::Kept(kept) => locked(kept).append(line, What::New, Wait::ForNothing),
            Target::Nowhere => Ok(()),
            Target::Stderr => io::stderr().write_all(line.as_bytes()),
        }
    }

    /// Whether every record so far was written.
    ///
    /// # Errors
    /// The first failure since this was last asked.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.lock().failed.take() {
            Some(error) => Err(error).context(NOT_WRITTEN),
            None => Ok(()),
        }
    }

    /// Whether a log that is kept has no room for anything new: no start and no signature. Now and then it is tried to get the room
    /// back that is kept free.
    #[must_use]
    pub fn is_short_of_room(&self) -> bool {
        match &self.target {
            Target::Kept(kept) => locked(kept).is_short(),
            _ => false,
        }
    }

    /// The last record.
    #[must_use]
    pub fn last(&self) -> Option<Record> {
        self.lock().last.clone()
    }

    /// The file that records go to.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        match &self.target {
            Target::File(file) => Some(file),
            Target::Kept(_) | Target::Nowhere | Target::Stderr => None,
        }
    }

    /// Whether the records already reach stderr.
    #[must_use]
    pub fn is_stderr(&self) -> bool {
        matches!(self.target, Target::Stderr)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Appends a line. After one that was cut off it begins with a line end, so that it is not lost as the rest of that one.
fn append(mut file: impl Write, torn: &mut bool, line: &str) -> io::Result<()> {
    let written = if *torn {
        file.write_all(format!("\n{line}").as_bytes())
    } else {
        file.write_all(line.as_bytes())
    };
    *torn = written.is_err();
    written
}

/// A pipe or a character device takes lines but cannot be synced, and says so by `EINVAL`.
fn unsyncable(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::InvalidInput => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk {
        room: usize,
        holds: Vec<u8>,
    }

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= fits;
            self.holds.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_that_is_cut_off_does_not_swallow_the_next() {
        let (mut disk, mut torn) = (
            Disk {
                room: 8,
                holds: Vec::new(),
            },
            false,
        );
        append(&mut disk, &mut torn, "first\n").expect("there is room");
        append(&mut disk, &mut torn, "second\n").expect_err("there is none");
        disk.room = 100;
        append(&mut disk, &mut torn, "third\n").expect("there is room again");
        append(&mut disk, &mut torn, "fourth\n").expect("there is room");
        let holds = String::from_utf8(disk.holds).expect("ours");
        assert_eq!(holds, "first\nse\nthird\nfourth\n");
    }
}

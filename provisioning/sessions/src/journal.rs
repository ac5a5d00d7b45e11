//! Which devices of a batch are done: a line of JSON for each, on the disk before the next one begins.
//!
//! It saves a device that has left its fixture from being asked for again. It is no proof of anything: what was issued is in
//! the registry, and a batch whose journal is lost is taken up from there.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use countersign_format::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::session::line;

/// A device that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// SHA-256 of its row and of what was done ([`crate::Station::digest_of`]).
    pub row: String,
    /// Who it is.
    pub device: String,
    /// Its key, as the list names it.
    pub key: String,
    /// Its certificate's serial number.
    pub serial: String,
    /// SHA-256 of its certificate.
    pub certificate: String,
    /// What vouches for its key.
    pub attested_by: String,
    /// SHA-256 of what identifies its hardware.
    pub hardware: Option<String>,
    /// Whether its key's slot is locked for ever.
    pub locked: bool,
    /// Where in the device its chain is.
    pub place: Option<String>,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// The journal of one batch at one station. One process has it at a time.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    done: BTreeMap<String, Done>,
}

impl Journal {
    /// Opens the journal, or begins one. What was being written when the machine stopped is cut off.
    ///
    /// # Errors
    /// [`Error::JournalInUse`], [`Error::JournalInvalid`], [`Error::File`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::written(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::JournalInUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::written(path)(error)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::read(path))?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last.saturating_add(1));
        let kept = bytes.get(..whole).unwrap_or_default();
        let mut done = BTreeMap::new();
        for (number, text) in (1..).zip(kept.split(|byte| *byte == b'\n')) {
            if text.is_empty() {
                continue;
            }
            let one: Done = serde_json::from_slice(text).map_err(|_| Error::JournalInvalid {
                path: path.to_owned(),
                line: number,
            })?;
            done.insert(one.row.clone(), one);
        }
        let end = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(end)
            .and_then(|()| file.seek(SeekFrom::Start(end)))
            .map_err(Error::written(path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            done,
        })
    }

    /// The device of this row, if it is done ([`crate::Station::digest_of`]).
    #[must_use]
    pub fn done(&self, row: &Digest) -> Option<&Done> {
        self.done.get(&row.to_string())
    }

    /// A journal whose disk takes nothing more.
    #[cfg(test)]
    pub(crate) fn full(path: &Path) -> Self {
        let mut journal = Self::open(path).expect("opens");
        journal.file = File::open(path).expect("opens to read");
        journal
    }

    pub(crate) fn add(&mut self, done: Done) -> Result<(), Error> {
        let mut text = line(&done)?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::written(&self.path))?;
        self.done.insert(done.row.clone(), done);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(row: &[u8]) -> Done {
        Done {
            row: Digest::of(row).to_string(),
            device: "press-1".to_owned(),
            key: "tpm:device".to_owned(),
            serial: "00".to_owned(),
            certificate: "00".to_owned(),
            attested_by: "tpm".to_owned(),
            hardware: None,
            locked: false,
            place: None,
            micros: 7,
        }
    }

    #[test]
    fn tg12_what_was_half_written_is_cut_off_and_the_rest_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).expect("opens");
        journal.add(done(b"one")).expect("added");
        journal.add(done(b"two")).expect("added");
        drop(journal);
        let whole = std::fs::read(&path).expect("there");
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).expect("written");
            let mut journal = Journal::open(&path).expect("opens");
            let lines = whole[..length]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            assert_eq!(journal.done.len(), lines);
            journal.add(done(b"three")).expect("added");
            drop(journal);
            let journal = Journal::open(&path).expect("opens");
            assert_eq!(journal.done.len(), lines + 1);
            assert_eq!(journal.done(&Digest::of(b"three")), Some(&done(b"three")));
        }
    }

    #[test]
    fn tg02_one_process_has_it_and_another_file_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let journal = Journal::open(&path).expect("opens");
        let busy = Journal::open(&path).expect_err("in use");
        assert!(matches!(busy, Error::JournalInUse { .. }), "{busy}");
        drop(journal);
        std::fs::write(&path, "{}\n").expect("written");
        let other = Journal::open(&path).expect_err("no journal");
        assert!(
            matches!(other, Error::JournalInvalid { line: 1, .. }),
            "{other}"
        );
    }
}

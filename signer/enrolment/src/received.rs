//! What an authority sent, from the moment it came until the device's chain is written: a token that works once is spent by then,
//! and what it bought must not be lost to a full disk, a wrong clock or a root that is missing.
//!
//! Left to others: what to make of it. It is judged like any answer.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use countersign_durable::{Access, DurableError, Existing, Unfinished};
use der::pem::{self, LineEnding};
use pki_types::CertificateDer;
use pki_types::pem::PemObject as _;

use crate::EnrolError;

/// So much of such a file is read, and so much room is taken for it: two answers in PEM.
const MOST: u64 = 2 * crate::MAX_ANSWER_BYTES;

/// The file beside a chain in which what came for it is kept: the chain's name with `.received` after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    path: PathBuf,
}

impl Received {
    /// That of the chain at this path.
    #[must_use]
    pub fn beside(chain: &Path) -> Self {
        let mut path = OsString::from(chain);
        path.push(".received");
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The certificates in it, DER; none if there is no such file, or it is none of ours.
    pub(crate) fn read(&self) -> Vec<Vec<u8>> {
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(MOST).read_to_end(&mut text));
        let found = CertificateDer::pem_slice_iter(&text);
        match read {
            Ok(_) => found
                .filter_map(Result::ok)
                .map(|der| der.to_vec())
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Takes room for an answer, so that a disk that is full or read-only is known of before anything is asked.
    ///
    /// # Errors
    /// [`EnrolError::Write`].
    pub(crate) fn room(&self) -> Result<Room, EnrolError> {
        let take = || {
            let mut file = Unfinished::create(&self.path, Access::Owner, Existing::Replace)
                .map_err(DurableError::into_io)?;
            io::copy(&mut io::repeat(b'\n').take(MOST), file.file())?;
            file.file().sync_all()?;
            Ok(file)
        };
        let file = take().map_err(|source| self.failed(source))?;
        Ok(Room { file })
    }

    /// Keeps these certificates in the room that was taken.
    ///
    /// # Errors
    /// [`EnrolError::Write`].
    pub(crate) fn fill(&self, room: Room, certificates: &[&[Vec<u8>]]) -> Result<(), EnrolError> {
        let Room { mut file } = room;
        let mut write = || {
            let file = file.file();
            file.rewind()?;
            for der in certificates.iter().copied().flatten() {
                let block = pem::encode_string("CERTIFICATE", LineEnding::LF, der)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                file.write_all(block.as_bytes())?;
            }
            let end = file.stream_position()?;
            file.set_len(end)
        };
        write().map_err(|source| self.failed(source))?;
        let placed = file.place();
        placed.map_err(|error| self.failed(error.into_io()))
    }

    /// Removes it, once its chain is written or it turned out to be another's. One that stays is judged again the next time.
    pub(crate) fn clear(&self) {
        let _ = fs::remove_file(&self.path);
    }

    fn failed(&self, source: io::Error) -> EnrolError {
        EnrolError::Write {
            path: self.path.display().to_string(),
            source,
        }
    }
}

/// Room on the disk that nothing else can take.
#[derive(Debug)]
pub(crate) struct Room {
    file: Unfinished,
}

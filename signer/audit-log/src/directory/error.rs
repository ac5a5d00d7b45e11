//! Why a log on disk did not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use super::MAX_BATCH_BYTES;
use crate::{CheckpointInvalid, EntryRefused, VerifyError};

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

pub(super) fn system(path: &Path, verb: &'static str, source: io::Error) -> Error {
    Error::System {
        path: path.to_owned(),
        verb,
        source,
    }
}

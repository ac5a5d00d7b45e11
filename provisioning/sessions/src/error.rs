//! Why a device was not provisioned, or a batch not begun.

use std::io;
use std::path::{Path, PathBuf};

use countersign_format::DeviceIdentity;
use countersign_provisioning::Serial;

/// Why something was not done. A certificate that was signed is on record, whatever came after.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the hardware says does not convince.
    #[error("the device is not provisioned: {reason}")]
    Attestation {
        /// Why, in words, with the remedy.
        reason: String,
    },
    /// A file of this station cannot be read or written.
    #[error("{} could not be {what}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Read or written.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The device has a certificate already, for another key.
    #[error(
        "{device} has the certificate {serial} for another key: look whether this is the right device; to give it a new one, revoke that certificate first"
    )]
    HasAnother {
        /// The device.
        device: DeviceIdentity,
        /// Its certificate.
        serial: Serial,
    },
    /// No certificate was issued.
    #[error(transparent)]
    Issuing(#[from] countersign_issuing::Error),
    /// Another station works at the batch.
    #[error(
        "{} is in use by another process: let that one end, or give this station another name",
        path.display()
    )]
    JournalInUse {
        /// The journal.
        path: PathBuf,
    },
    /// A line of a journal is not one that was written.
    #[error(
        "line {line} of {} is not a journal's: put the file back as it was, or move it away to begin anew",
        path.display()
    )]
    JournalInvalid {
        /// The journal.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// The device or its store of keys.
    #[error(transparent)]
    Keys(#[from] countersign_keys::Error),
    /// The list is none.
    #[error("the list of devices cannot be used: {reason}")]
    List {
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// The slot did not lock.
    #[error("{key} was locked, and the device says that it is not: set the device aside")]
    NotLocked {
        /// The key.
        key: String,
    },
    /// The device shows another key than before, or than its certificate has.
    #[error(
        "{}: {when} the device answers with another key; set it aside, nothing of it is to be trusted",
        device
    )]
    OtherKey {
        /// The device.
        device: DeviceIdentity,
        /// At which occasion.
        when: &'static str,
    },
    /// What was read back is not what was written.
    #[error("what was read back from {place} is not what was written there: set the device aside")]
    ReadBack {
        /// Where.
        place: String,
    },
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] countersign_registry::Error),
    /// The registry or the list knows it otherwise.
    #[error("{reason}")]
    Refused {
        /// Why, with the remedy.
        reason: String,
    },
}

impl Error {
    pub(crate) fn attestation(reason: impl ToString) -> Self {
        Self::Attestation {
            reason: reason.to_string(),
        }
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused {
            reason: reason.into(),
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::file(path, "read")
    }

    pub(crate) fn written(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::file(path, "written")
    }

    fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, what, source }
    }

    /// Whether no other device would fare better: the registry or the authority does not work.
    #[must_use]
    pub fn stops_a_batch(&self) -> bool {
        use countersign_issuing::Error as E;
        matches!(
            self,
            Self::Registry(_)
                | Self::Issuing(
                    E::Authority { .. }
                        | E::Clock { .. }
                        | E::Key { .. }
                        | E::Stopped
                        | E::Unavailable { .. }
                )
        )
    }
}

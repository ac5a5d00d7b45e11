//! What a registry refuses, and what keeps it from answering at all.

use std::path::PathBuf;

use countersign_format::DeviceIdentity;
use countersign_provisioning::{Profile, Serial};

/// <https://www.sqlite.org/rescode.html#ioerr>
const SQLITE_IOERR: u32 = 10;

/// Why one certificate was not reserved. The others of the same batch are not touched by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The same request was answered before, and what was issued then is revoked.
    #[error(
        "this request was answered with {serial}, which is revoked: ask with a new idempotency key"
    )]
    AnswerRevoked {
        /// What was issued.
        serial: Serial,
    },
    /// The device has such a certificate already.
    #[error(
        "{device} has a {profile} certificate already, {serial}: renew that one, or revoke it first"
    )]
    AlreadyIssued {
        /// The device.
        device: DeviceIdentity,
        /// The kind of certificate.
        profile: Profile,
        /// The certificate that it has.
        serial: Serial,
    },
    /// Another request for the same device and profile is being answered now.
    #[error(
        "a {profile} certificate for {device} is being issued right now: ask again in a moment"
    )]
    InProgress {
        /// The device.
        device: DeviceIdentity,
        /// The kind of certificate.
        profile: Profile,
    },
    /// The key is another device's, or has another purpose in the same one.
    #[error("the key of {device} is known already, {}: make a new key in the device", whose(*.serves))]
    KeyKnown {
        /// The device that asked.
        device: DeviceIdentity,
        /// The purpose that the device's key has; none when it is another device's.
        serves: Option<Profile>,
    },
    /// The key may be in other hands: a certificate over it was revoked for that reason.
    #[error(
        "a certificate over the key of {device} was revoked because the key may be in other hands; it gets no other: \
         make a new key in the device"
    )]
    KeyRevoked {
        /// The device that asked.
        device: DeviceIdentity,
    },
    /// Nobody approved this device, or not for who asks, or it was retired.
    #[error("{device} is not approved: approve its serial first")]
    NotApproved {
        /// The device that asked.
        device: DeviceIdentity,
    },
    /// What is to be renewed is not the certificate that the device has.
    #[error("{serial} is not the current {profile} certificate of {device}: renew the current one")]
    NotCurrent {
        /// The device that asked.
        device: DeviceIdentity,
        /// The kind of certificate.
        profile: Profile,
        /// What was to be renewed.
        serial: Serial,
    },
    /// The order has no certificates left.
    #[error("order {order} has had certificates for all of its {quota} devices: raise its quota")]
    QuotaExhausted {
        /// The order.
        order: String,
        /// How many devices it has.
        quota: u64,
    },
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used for another request: use a new one")]
    RequestReused,
    /// The serial number is taken: the random number generator repeats itself.
    #[error(
        "serial number {serial} was given out before; nothing was signed: check the random number generator"
    )]
    SerialTaken {
        /// The number.
        serial: Serial,
    },
}

/// What a key that is known already is used for.
fn whose(serves: Option<Profile>) -> String {
    match serves {
        None => "as another device's".to_owned(),
        Some(profile) => format!("for {profile} certificates, and a key has one purpose"),
    }
}

/// Why a registry did not do what it was asked. Nothing was changed, or nobody knows: ask with the same idempotency key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The audit log has entries that the registry does not know of: it was put back from an old copy.
    #[error(
        "the audit log has {log} entries, and the registry knows of {registry}: it was put back from an old copy, and \
         neither issues nor signs lists; let it take up what the log has, then say that it may go on"
    )]
    Behind {
        /// Entries of the log.
        log: u64,
        /// Leaves of the registry that have a place.
        registry: u64,
    },
    /// What is in the database cannot be read back.
    #[error("the registry holds {what} that cannot be read: restore it from a copy")]
    Corrupt {
        /// What it is.
        what: &'static str,
    },
    /// A file or folder is open to others.
    #[error("{} may be {may} by others: chmod {mode} it", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// What others may do.
        may: &'static str,
        /// The mode to set.
        mode: &'static str,
    },
    /// A line of an import is not a record.
    #[error("line {line} is not a record of a registry: {reason}")]
    Import {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The address of the database is none.
    #[error(
        "{url:?} is not an address of a registry: write sqlite:PATH or postgres://USER@HOST/NAME"
    )]
    Location {
        /// What was given, without its password.
        url: String,
    },
    /// Another process has the database.
    #[error("{} is in use by another process: stop that one, or use PostgreSQL for several", path.display())]
    Locked {
        /// The file of the lock.
        path: PathBuf,
    },
    /// A reservation is gone: it was closed as abandoned, because its owner was taken for dead.
    #[error("{serial} is no longer reserved; its certificate must not be handed out: ask again")]
    NotReserved {
        /// The serial.
        serial: Serial,
    },
    /// What was true when the serial was reserved is no longer: the device was retired, what is renewed is no longer
    /// current, or the key was found to be in other hands. Its certificate must not be handed out.
    #[error("{serial} may no longer be handed out: {refusal}")]
    Refused {
        /// The serial.
        serial: Serial,
        /// Why.
        refusal: Box<Refusal>,
    },
    /// The schema was made by a later version of this program.
    #[error(
        "the registry has schema {found}, and this program knows up to {known}: use the later program"
    )]
    SchemaNewer {
        /// The database's.
        found: i64,
        /// This program's.
        known: i64,
    },
    /// The schema's version is there, and what it stands for is not.
    #[error("the registry's schema is incomplete ({what}): restore it from a copy")]
    SchemaBroken {
        /// What is missing.
        what: String,
    },
    /// The database does not answer: absent, busy, full, read-only, or its disk failed.
    #[error("the registry is not available: {source}; try again, and look at its disk")]
    Unavailable {
        /// The database's reason.
        source: sqlx::Error,
    },
}

impl Error {
    /// Whether the database's disk failed, rather than being full or busy: nobody knows what it has.
    #[must_use]
    pub fn is_disk_failure(&self) -> bool {
        let Self::Unavailable {
            source: sqlx::Error::Database(error),
        } = self
        else {
            return false;
        };
        let code = error.code();
        let code = code.as_deref().unwrap_or_default();
        // SQLite's SQLITE_IOERR is the lowest byte of its codes; PostgreSQL's io_error is a text.
        code == "58030"
            || code
                .parse::<u32>()
                .is_ok_and(|code| code & 0xff == SQLITE_IOERR)
    }

    /// A record that is not what was written.
    pub(crate) fn corrupt(what: &'static str) -> impl FnOnce() -> Self {
        move || Self::Corrupt { what }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::Unavailable { source }
    }
}

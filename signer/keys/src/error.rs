//! The one error that every key store reports: a kind that callers may match, a sentence for people, and the store's
//! own error as the source. No vendor code is part of the interface.

use std::fmt;

/// What went wrong with a key, in terms that do not depend on the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The name fits several keys or devices.
    Ambiguous,
    /// The store returned a signature that does not verify under the key's own public half.
    BadSignature,
    /// The device is there and stays occupied with other work.
    Busy,
    /// The device is there but failed, or answered what it must not.
    Device,
    /// Something of that name is there already and must not be replaced.
    Exists,
    /// The device has no room left for what shall be kept in it.
    Full,
    /// Reading, writing or starting a program failed.
    Io,
    /// The device takes no more attempts to give a secret for some time.
    LockedOut,
    /// The stored key cannot be read as one, or is of a kind that is not accepted.
    Malformed,
    /// There is no such key, file or device.
    NotFound,
    /// The device is not the one that it was, or was cleared: its keys are gone, and it must be provisioned again.
    OtherDevice,
    /// Another key is there than the one that was opened.
    OtherKey,
    /// A passphrase is needed and missing, or does not fit.
    Passphrase,
    /// The key may be read or replaced by others, or we may not use it.
    Permissions,
    /// The source of random numbers failed or is stuck.
    Random,
    /// The key is bound to a state of the boot that is no longer the present one.
    StateChanged,
    /// The store did not answer in time.
    Timeout,
    /// This build, or this store, cannot do what was asked.
    Unsupported,
}

impl ErrorKind {
    /// Whether the device or its store failed. Else, whoever asked can correct it: a name, a passphrase, a permission.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        match self {
            Self::BadSignature
            | Self::Busy
            | Self::Device
            | Self::Full
            | Self::LockedOut
            | Self::OtherDevice
            | Self::OtherKey
            | Self::Random
            | Self::StateChanged
            | Self::Timeout => true,
            Self::Ambiguous
            | Self::Exists
            | Self::Io
            | Self::Malformed
            | Self::NotFound
            | Self::Passphrase
            | Self::Permissions
            | Self::Unsupported => false,
        }
    }

    /// A stable word for logs, such as `bad-signature`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::BadSignature => "bad-signature",
            Self::Busy => "busy",
            Self::Device => "device",
            Self::Exists => "exists",
            Self::Full => "full",
            Self::Io => "io",
            Self::LockedOut => "locked-out",
            Self::Malformed => "malformed",
            Self::NotFound => "not-found",
            Self::OtherDevice => "other-device",
            Self::OtherKey => "other-key",
            Self::Passphrase => "passphrase",
            Self::Permissions => "permissions",
            Self::Random => "random",
            Self::StateChanged => "state-changed",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
        }
    }
}

/// Why a key could not be made, opened or used. `Display` is a whole sentence: what, why, and what to do next.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error without a cause below it. The message must not hold a secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// An error with the store's own error as its source.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn the_cause_stays_reachable_and_apart_from_the_message() {
        let cause = std::io::Error::other("bus stuck");
        let error = Error::with_source(ErrorKind::Device, "the chip did not answer", cause);
        assert_eq!(error.to_string(), "the chip did not answer");
        assert_eq!(error.kind().as_str(), "device");
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("bus stuck")
        );
        assert!(Error::new(ErrorKind::Io, "x").source().is_none());
    }
}

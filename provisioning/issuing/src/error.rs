//! Why nothing was issued.

use countersign_registry::Refusal;

/// Why a certificate was not issued. Nothing was handed out.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// As many requests wait as may.
    #[error("too many requests are waiting: ask again in a moment")]
    Busy,
    /// The clock cannot be right.
    #[error("the clock says {now}, and {reason}: set it, then ask again")]
    Clock {
        /// What it says, in seconds since 1970.
        now: u64,
        /// Why that cannot be.
        reason: &'static str,
    },
    /// The authority's key did not sign.
    #[error("the authority's key did not sign: {reason}")]
    Key {
        /// What its store says.
        reason: String,
    },
    /// The registry refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The request, or what it would come to, is not accepted.
    #[error("{reason}")]
    Request {
        /// What is wrong with it.
        reason: String,
        /// Whether the sender did not prove that the key is theirs.
        without_possession: bool,
    },
    /// It is being shut down.
    #[error("the authority is stopping: ask again, perhaps elsewhere")]
    Stopped,
    /// The registry does not answer. Whether this was issued is told by the same idempotency key.
    #[error("{reason}")]
    Unavailable {
        /// What it says.
        reason: String,
    },
}

impl From<countersign_registry::Error> for Error {
    fn from(error: countersign_registry::Error) -> Self {
        Self::Unavailable {
            reason: error.to_string(),
        }
    }
}

impl From<countersign_provisioning::Error> for Error {
    fn from(error: countersign_provisioning::Error) -> Self {
        use countersign_provisioning::Error as E;
        let reason = error.to_string();
        match error {
            E::Sign { .. } | E::Random { .. } => Self::Key { reason },
            E::ProofOfPossession => Self::Request {
                reason,
                without_possession: true,
            },
            _ => Self::Request {
                reason,
                without_possession: false,
            },
        }
    }
}

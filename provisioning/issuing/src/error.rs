//! Why nothing was issued.

use countersign_registry::Refusal;

/// Why a certificate was not issued. Nothing was handed out.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This authority's own certificate allows nothing at present.
    #[error("this authority issues nothing: {reason}")]
    Authority {
        /// Why, and what to do.
        reason: String,
    },
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
    /// The registry's disk failed. Nobody knows what it has, so that nothing more is done in this process.
    #[error(
        "the registry's disk failed, and nothing more is issued ({reason}): look at the disk, then start again"
    )]
    Disk {
        /// What the registry says.
        reason: String,
    },
    /// A fault of this program, or of the key's store, which panicked.
    #[error(
        "a fault of this program kept it from being issued; nothing was handed out: see what it wrote before, and ask again"
    )]
    Fault,
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
        let reason = error.to_string();
        if error.is_disk_failure() {
            return Self::Disk { reason };
        }
        Self::Unavailable { reason }
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

//! Why something was not signed. Whatever the reason, no output has been written.

use countersign_durable::DurableError;
use countersign_format::FormatError;
use std::path::PathBuf;

/// Why signing, or handling a signature, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The input carries a signature already.
    #[error(
        "the file is signed already; to put a new signature in place of the old one, ask for --replace"
    )]
    AlreadySigned,
    /// The index of a bundle would break a rule of the format.
    #[error("the bundle cannot be described: {0}")]
    Bundle(FormatError),
    /// A file is another by now.
    #[error("{} was changed while the bundle was made; make it again when nobody writes there", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// A certificate chain cannot be used.
    #[error("the certificate chain cannot be used: {why}")]
    Chain {
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The input is not a component, or too large.
    #[error(transparent)]
    Component(FormatError),
    /// A signature belongs to another component.
    #[error(
        "the signature belongs to another component: it covers sha256:{signed}, and this file has sha256:{actual}"
    )]
    ComponentDiffers {
        /// The digest that was signed.
        signed: countersign_format::Digest,
        /// The digest of the file given.
        actual: countersign_format::Digest,
    },
    /// There is something at the output's path.
    #[error("{} exists; choose another name, or ask for --force to replace it", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{} cannot be {action}: {source}", path.display())]
    Io {
        /// "read" or "written".
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The key could not be used.
    #[error(transparent)]
    Key(#[from] countersign_keys::Error),
    /// `component.toml` or `Cargo.toml` cannot be used.
    #[error(transparent)]
    Manifest(#[from] crate::ManifestError),
    /// The file of a two-step signature cannot be used.
    #[error("the prepared file cannot be used: {why}")]
    Prepared {
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The statement would break a rule of the format.
    #[error("the component cannot be described: {0}")]
    Statement(FormatError),
    /// What was written differs from what was signed: a fault of memory or disk.
    #[error(
        "what was written is not what was signed ({what}); nothing was kept; check this machine's disk and memory"
    )]
    SelfCheck {
        /// Which check failed.
        what: &'static str,
    },
    /// A signature is missing or wrong.
    #[error("{why}")]
    Signature {
        /// Which one, and what to do.
        why: String,
    },
    /// The signers are not one to four different keys.
    #[error("{why}")]
    Signers {
        /// What is wrong with them.
        why: String,
    },
}

impl From<DurableError> for SignError {
    fn from(error: DurableError) -> Self {
        match error {
            DurableError::Exists { path } => Self::Exists { path },
            error => {
                let path = error.path().to_owned();
                Self::write(path)(error.into_io())
            }
        }
    }
}

impl SignError {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action: "read",
            path,
            source,
        }
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action: "written",
            path,
            source,
        }
    }
}

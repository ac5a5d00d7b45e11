//! How a verb fails, and the status that the process then ends with.
//!
//! Three ways, never mixed: the caller did something that cannot work, or a server does not do it (2), a key store or this machine
//! failed (119), or the answer is no (the status of the refusal's code).

use countersign_format::FormatError;
use countersign_signer::SignError;
use countersign_trust_store::{Code, Rejection};

use crate::shared::output::{Paint, say, say_painted};

/// Usage or configuration, also files that are missing, unreadable or in the way.
const USAGE: u8 = 2;

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A key store or this machine, not the caller, failed.
    Fault(Code, anyhow::Error),
    /// What an authority sent was judged, and refused.
    NotOurs(Code, anyhow::Error),
    /// The file was judged, and refused.
    Refused(Box<Rejection>),
    /// The arguments, or the files that they name, cannot be used.
    Usage(anyhow::Error),
}

impl Failure {
    pub(crate) fn usage(error: anyhow::Error) -> Self {
        Self::Usage(error)
    }

    /// A key's error: a device that fails is one thing, a wrong passphrase or path another.
    pub(crate) fn key(error: countersign_keys::Error) -> Self {
        if error.kind().is_fault() {
            Self::Fault(Code::KeyHardware, error.into())
        } else {
            Self::Usage(error.into())
        }
    }

    pub(crate) fn refused(rejection: impl Into<Rejection>) -> Self {
        Self::Refused(Box::new(rejection.into()))
    }

    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Fault(code, _) | Self::NotOurs(code, _) => code.exit_status(),
            Self::Refused(rejection) => rejection.code().exit_status(),
            Self::Usage(_) => USAGE,
        }
    }

    /// Tells the person at the terminal: what, why, what next.
    pub(crate) fn report(&self) {
        match self {
            Self::Fault(code, error) => coded("error", &chain(error), *code),
            Self::NotOurs(code, error) => coded("refused", &chain(error), *code),
            Self::Refused(rejection) => coded("refused", &rejection.to_string(), rejection.code()),
            Self::Usage(error) => say_painted(Paint::Bad, "error", &format!(": {}", chain(error))),
        }
    }
}

/// What is reported of it, in one line and without what stands below it.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(_, error) | Self::NotOurs(_, error) | Self::Usage(error) => {
                f.write_str(&chain(error))
            }
            Self::Refused(rejection) => rejection.fmt(f),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Usage(error.into())
    }
}

impl From<countersign_keys::Error> for Failure {
    fn from(error: countersign_keys::Error) -> Self {
        Self::key(error)
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        Self::refused(error)
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Component(error) => Self::refused(error),
            SignError::ComponentDiffers { signed, actual } => {
                Self::refused(Rejection::DigestMismatch {
                    stated: signed,
                    actual,
                })
            }
            SignError::Key(error) => Self::key(error),
            SignError::SelfCheck { .. } => Self::Fault(Code::HostFailure, error.into()),
            _ => Self::Usage(error.into()),
        }
    }
}

fn coded(word: &str, what: &str, code: Code) {
    say_painted(Paint::Bad, word, &format!(": {what}"));
    say(&format!("  code: {code}"));
    say(&format!("  next: {}", code.next_step()));
}

/// The error and its causes in one line; a cause that its parent already quotes is not said twice.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Failure, chain};
    use anyhow::anyhow;
    use countersign_keys::{Error, ErrorKind};

    #[test]
    fn a_broken_device_is_not_the_callers_fault_and_a_wrong_passphrase_is() {
        let status = |kind| Failure::key(Error::new(kind, "x")).exit_status();
        assert_eq!(status(ErrorKind::Device), 119);
        assert_eq!(status(ErrorKind::BadSignature), 119);
        assert_eq!(status(ErrorKind::Passphrase), 2);
        assert_eq!(status(ErrorKind::NotFound), 2);
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("disk full")
            .context("cannot write a: disk full")
            .context("signing failed");
        assert_eq!(chain(&error), "signing failed: cannot write a: disk full");
    }
}

//! Why a certificate was not obtained.

use std::time::Duration;

use crate::{CertificateUnreadable, CertsOnlyInvalid, Mismatch, RootFault};

/// Why there is no new certificate. Whatever the reason, no chain has been written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The answer cannot be read.
    #[error("the authority's answer cannot be used: {0}")]
    Answer(#[from] CertsOnlyInvalid),
    /// The server speaks, but not EST.
    #[error("{server} answers, but not as an EST server does ({what}); check the address")]
    NotEst {
        /// Which server.
        server: String,
        /// What was wrong.
        what: String,
    },
    /// A certificate that is given cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateUnreadable),
    /// The authority has not decided yet.
    #[error(
        "the authority has not decided yet; run the same command again in {} seconds or later, with the same key",
        after.as_secs()
    )]
    Later {
        /// How long it asks to be left alone.
        after: Duration,
    },
    /// What came back is not this device's certificate.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// What came back may be this device's certificate, but not by what is known here. It is not lost.
    #[error(
        "{why}. What the authority sent is kept in {path}, and the same command takes it up from there"
    )]
    Kept {
        /// What is wrong with it.
        why: Mismatch,
        /// Where it is.
        path: String,
    },
    /// The authority says no.
    #[error(
        "the authority refused the request (HTTP status {status}){}; ask its operator whether this device may have a certificate",
        quoted(said)
    )]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// The beginning of what it says, in printable characters.
        said: String,
    },
    /// The authority, or what stands before it, is out of order or busy.
    #[error(
        "the authority is busy or out of order (HTTP status {status}){}; try again later",
        quoted(said)
    )]
    Busy {
        /// The status of HTTP.
        status: u16,
        /// How long it asks to be left alone, if it says so.
        after: Option<Duration>,
        /// The beginning of what it says, in printable characters.
        said: String,
    },
    /// The authority does not know who asks.
    #[error(
        "the authority does not accept who asks (HTTP status {status}){}; give a token that is not used up, or the certificate that the device has",
        quoted(said)
    )]
    Unauthorized {
        /// The status of HTTP.
        status: u16,
        /// The beginning of what it says, in printable characters.
        said: String,
    },
    /// No connection.
    #[error(
        "{server} cannot be reached: {why}; check the address and this machine's network, or carry a request of `countersign key csr` to the authority by hand"
    )]
    Unreachable {
        /// Which server.
        server: String,
        /// What happened.
        why: String,
    },
    /// The connection is not a safe one.
    #[error(
        "no safe connection to {server}: {why}; check this machine's clock, and give the root that the server's own certificate leads to"
    )]
    Untrusted {
        /// Which server.
        server: String,
        /// What rustls says.
        why: String,
    },
    /// A certificate that is given as a root may not be one.
    #[error("root {number} ({subject}) cannot be one: {fault}")]
    Root {
        /// Its place among those that are given, from 1.
        number: usize,
        /// Its subject, if it can be read.
        subject: String,
        /// What is wrong with it.
        fault: RootFault,
    },
    /// The roots, or the credential, cannot be used.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A chain could not be written.
    #[error("{path} cannot be written: {source}; make room, or choose another place")]
    Write {
        /// Where.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl EnrolError {
    /// Whether asking again, later, may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unreachable { .. })
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said:?}")
    }
}

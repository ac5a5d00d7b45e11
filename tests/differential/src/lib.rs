//! Other programs' verdicts beside ours.
//!
//! [`judges`]: our verifier, OpenSSL and rustls-webpki alone, each asked whether a chain is valid.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "whatever goes wrong here fails a test or ends a run"
)]

pub mod chains;
pub mod judges;
mod random;

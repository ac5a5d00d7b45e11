//! Other programs' verdicts beside ours.
//!
//! - [`chains`]: chains of certificates with lists, mutated and mostly signed again by the right keys, judged by our
//!   verifier, by OpenSSL and by rustls-webpki alone ([`judges`]). We accept nothing that another refuses, but for reasons
//!   that stand in `reasons.toml`.
//! - [`statements`]: statements and envelopes, mutated, read by our decoder and by ciborium. What ours reads, the other
//!   reads in the same way.
//!
//! All are made from a seed and a number, so that any of them can be made again.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "whatever goes wrong here fails a test or ends a run"
)]

pub mod chains;
pub mod judges;
mod random;
pub mod statements;

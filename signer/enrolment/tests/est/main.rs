//! A small EST server over rustls, whose authority is OpenSSL's command line: what it issues, others than us have made.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "a test may stop by panicking"
)]

mod answers;
mod authority;
mod enrol;
mod mismatch;
mod server;

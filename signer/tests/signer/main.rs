//! The signer against OpenSSL, the file system, and whoever makes mistakes at a desk. One program, so that it links once.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that meets something unexpected should panic"
)]

mod apart;
mod common;
mod manifest;
mod request;
mod sign;

//! The header and the two libraries in the hands of a C compiler.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where it stopped"
)]

mod header;
mod programs;

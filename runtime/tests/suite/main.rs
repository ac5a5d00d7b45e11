//! The runtime from outside, with components from text and a throw-away PKI. One program, because linking takes longer
//! than the tests.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where it stopped"
)]

mod attestation;
mod audit;
mod code;
mod features;
mod grants;
mod host;
mod imports;
mod limits;
mod page;
mod precompiled;
mod reuse;
mod signing;
mod strings;
mod support;
mod values;
mod wasi;

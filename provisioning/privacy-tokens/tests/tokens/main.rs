//! Tokens made, judged, bent, and compared with another implementation.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "a test may stop by panicking"
)]

mod assignment;
mod python;
mod secrecy;
mod support;
mod tamper;
mod validate;
mod vectors;

//! The verifier's verdicts on files that are right but for one thing. Names begin with the row of the case.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may stop by panicking"
)]

mod admission;
mod anchors;
mod bounds;
mod bundle;
mod codes;
mod declared;
mod evidence;
mod extensions;
mod guest_data;
mod harness;
mod lists;
mod order;
mod policies;
mod receipt;
mod revocation;
mod signers;
mod statement;
mod time;
mod told;
mod words;
mod work;

//! The runtime for programs in C and whatever speaks C: what `include/countersign.h` declares.
//!
//! The header is the page to read, and says what holds for all functions. Decided here is how Rust and C meet: no panic
//! crosses over, every pointer may be NULL, every object has one function that frees it, builders and objects may be used
//! from any thread, and what is refused comes back as an object with code, message and next step. What may run is decided in
//! `countersign-runtime`; there is no way around it here either.
//!
//! An object is a `Box` on its way out and in; in between, C lends it as a reference, which the language allows to be NULL
//! where an `Option` stands. What C alone can vouch for (that text ends with NUL, that there are as many bytes as it says) is
//! taken at its word in `passed`, the one file that looks behind a bare pointer.
#![expect(
    unsafe_code,
    reason = "functions for C have names that the linker sees, and are handed pointers"
)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod buffer;
mod ceiling;
mod component;
mod config;
mod error;
mod guest;
mod passed;
mod runtime;

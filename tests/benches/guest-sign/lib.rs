//! Holds nothing: see `benches/guest_sign.rs`.
#![forbid(unsafe_code)]

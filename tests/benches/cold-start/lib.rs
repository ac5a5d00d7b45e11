//! Holds nothing: see `benches/cold_start.rs`.
#![forbid(unsafe_code)]

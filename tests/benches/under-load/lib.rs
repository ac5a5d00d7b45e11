//! Holds benches only.
#![forbid(unsafe_code)]

//! Issuing.
#![forbid(unsafe_code)]

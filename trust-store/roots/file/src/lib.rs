//! Root files on disk, and the section of compiled-in roots that is made of them.
//!
//! A root file is a PEM bundle, each certificate of which is a root for components, or a `roots.toml`:
//!
//! ```toml
//! [[root]]
//! pem = "acme-root.pem"          # one certificate; paths are relative to this file
//! purpose = "components"         # or "precompiled-code"
//! scope = ["acme:*"]             # what its chains may sign at most, for a PKI that cannot issue the extension
//! audience = { devices = [], types = ["gateway"] }
//! crl-grace = "72h"              # how long a stale CRL still counts; default 0s
//! crls = ["acme-root.crl"]       # CRLs to start from, PEM or DER
//! ```
//!
//! This crate decides what a file says. Whether a certificate may serve as a trust anchor is decided by
//! [`Anchors::new`](countersign_trust_store::Anchors::new), which [`build()`] calls, so that a bad root fails the build.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "a test may stop by panicking"
    )
)]

mod build;
mod error;
mod fill;
mod parse;
#[path = "../../src/section.rs"]
mod section;

pub use build::{BuildInput, Built, build, check};
pub use error::RootsFileError;
pub use fill::{fill, read};
pub use parse::{parse, parse_with_files};
pub use section::SectionError;

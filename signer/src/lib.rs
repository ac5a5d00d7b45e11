//! Signs WebAssembly components and makes certificate requests: what a build script and the desk tool use.
//!
//! Decided here: that a signed file is written whole or not at all, in bounded memory however large the component,
//! that everything written is verified first, and how `component.toml` is read.
//!
//! Left to others: where keys live and how one is opened by its URI (`countersign-stores`), what the bytes mean (`countersign-format`), and whether anyone trusts
//! the signer (`countersign-trust-store`).
//!
//! - [`sign_file`]: sign with keys at hand; [`two_step`]: with keys that no tool of ours may touch.
//! - [`Manifest`]: what is said about the component. [`Chain`], [`CertifiedKey`]: who says it.
//! - [`create_bundle`]: many files for a gateway in one.
//! - [`request`]: PKCS#10. [`attach`], [`detach`], [`strip`]: the signature apart from its component.
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod bundle;
mod chain;
mod detached;
mod error;
pub mod manifest;
mod precompiled;
pub mod request;
mod sign;
mod staged;
pub mod two_step;

pub use bundle::{BundlePlan, BundleSource, create_bundle};
pub use chain::{CertifiedKey, Chain};
/// What to do when there is something at an output's path.
pub use countersign_durable::Existing as Overwrite;
pub use detached::{attach, detach, strip};
pub use error::SignError;
pub use manifest::{Manifest, ManifestError};
pub use precompiled::sign_precompiled;
pub use sign::{SignOptions, Signed, default_output, sign_file, sign_reader};

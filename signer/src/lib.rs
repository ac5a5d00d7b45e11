//! Signs WebAssembly components and makes certificate requests: what a build script and the desk tool use.
//!
//! Decided here: that a signed file is written whole or not at all, in bounded memory however large the component,
//! that everything written is verified first, and how `component.toml` is read.
//!
//! Left to others: where keys live (back ends), what the bytes mean (`countersign-format`), and whether anyone trusts
//! the signer (`countersign-trust-store`).
//!
//! - [`sign_file`]: sign with keys at hand; [`two_step`]: with keys that no tool of ours may touch.
//! - [`Manifest`]: what is said about the component. [`Chain`], [`CertifiedKey`]: who says it.
//! - [`open_key`]: from a key URI to a key. [`exec`]: a signing program of one's own.
//! - [`request`]: PKCS#10. [`attach`], [`detach`], [`strip`]: the signature apart from its component.
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod chain;
mod detached;
mod error;
pub mod exec;
pub mod manifest;
mod output;
pub mod request;
mod sign;
mod staged;
pub mod two_step;

pub use chain::{CertifiedKey, Chain};
pub use detached::{attach, detach, strip};
pub use error::SignError;
pub use manifest::{Manifest, ManifestError};
pub use output::Overwrite;
pub use sign::{SignOptions, Signed, default_output, sign_file, sign_reader};

use countersign_backend_file::FileKey;
use countersign_keys::{Error, ErrorKind, KeyUri, Secret, SigningKey};

/// Opens the key that a URI names, in the stores that this build has: files and programs of one's own.
/// `passphrase` is asked only if the key needs one.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a store that this build does not have (a missing store is an error, never a
/// fall-back to another); else what the store reports.
pub fn open_key(
    uri: &KeyUri,
    passphrase: impl FnOnce() -> Result<Secret, Error>,
) -> Result<SigningKey, Error> {
    match uri {
        KeyUri::File(path) => FileKey::open(path, passphrase),
        KeyUri::Exec(command) => exec::open(command),
        other => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "this build has no back end for {}: keys; it has file: and exec:, and any other key can sign in two \
                 steps (prepare, finish)",
                other.scheme()
            ),
        )),
    }
}

//! Keys: what signs, what verifies, and how a key is named.
//!
//! Decided here: which public keys are acceptable ([`PublicKey`]), when a signature is good
//! ([`PublicKey::verify`]), that nothing leaves a process unverified ([`SigningKey::sign`]), and the spelling of key
//! URIs ([`KeyUri`]).
//!
//! Left to others: where private keys live (one back end crate for each kind of store implements [`KeyProvider`] and
//! [`Signer`]), what evidence of a device is worth, and whether the holder of a key is trusted for anything (`countersign-trust-store`).
//!
//! ```
//! use countersign_keys::KeyUri;
//!
//! let uri: KeyUri = "tpm:0x81010001".parse()?;
//! assert_eq!(uri.to_string(), "tpm:0x81010001");
//! # Ok::<(), countersign_keys::KeyUriInvalid>(())
//! ```
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod counter;
mod error;
mod evidence;
mod provider;
mod public_key;
mod secret;
mod signing;
mod uri;

pub use counter::{CounterUri, CounterUriInvalid, MonotonicCounter};
pub use countersign_format::{Algorithm, Digest};
pub use error::{Error, ErrorKind};
pub use evidence::{Atecc608Evidence, Evidence, TpmEvidence, TpmQuoteEvidence};
pub use provider::{
    Capabilities, Challenge, Detected, Found, KeyInfo, KeyProvider, KeyTemplate, KeyUsage,
    LockConsent, Origin,
};
pub use public_key::{PublicKey, PublicKeyInvalid, SignatureInvalid};
pub use secret::Secret;
pub use signing::{Signature, Signer, SigningKey};
pub use uri::{
    Atecc608Key, KeyUri, KeyUriInvalid, Pkcs11Invalid, Pkcs11Key, Pkcs11Token, Tcti, TpmKey,
    TpmKeyName,
};

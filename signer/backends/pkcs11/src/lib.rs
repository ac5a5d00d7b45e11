//! Signing keys in a PKCS#11 token: a network HSM, a smart card, a USB token, OP-TEE's application, or a token in software.
//!
//! Decided here: how a `pkcs11:` URI (RFC 7512) selects module, token and key; that a key is used only if the token says
//! that it is sensitive and cannot be extracted; that a PIN which was refused is never given again; and that a module
//! that does not answer stops nobody for longer than the deadline.
//!
//! Left to others: where a PIN comes from if not from the URI's `pin-source`, and whether the key is trusted. What a
//! token says of its keys is its module's word, and no evidence.
//!
//! A module is code of somebody else that runs in this process. It is loaded from the absolute path that the URI names,
//! or from the places where the system's modules are registered, and from nowhere else.
//!
//! ```no_run
//! use countersign_backend_pkcs11::Pkcs11Provider;
//! use countersign_keys::{KeyProvider, KeyUri, Secret};
//!
//! let uri: KeyUri = "pkcs11:token=build;object=signing".parse()?;
//! let KeyUri::Pkcs11(key) = &uri else { unreachable!("the scheme is pkcs11") };
//! let store = Pkcs11Provider::new(&key.token(), |_| Ok(Some(Secret::new("1234".to_owned()))))?;
//! let signature = store.open(&uri)?.sign(b"message")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod connection;
mod detect;
mod failure;
mod module;
mod object;
mod pin;
mod point;
mod provider;
mod slot;
mod token;
mod worker;

pub use detect::{detect, detect_among};
pub use module::candidates as modules_of;
pub use pin::{PinFor, Tries};
pub use provider::Pkcs11Provider;

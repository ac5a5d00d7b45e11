//! TLS with a device's key, wherever it is stored: what [rustls] needs to prove who a client or a server is.
//!
//! Decided here: that a certificate belongs to the key ([`TlsIdentity::new`] refuses another's), that it is one for TLS
//! and for nothing else, and which signature schemes the key offers. TLS 1.2 and 1.3 both work.
//!
//! Left to others: where the key lives (any [`SigningKey`] of `countersign-keys`), whom to trust (rustls, with the roots
//! that its user gives it), and the algorithms of the connection itself, which come from a provider that its user chooses.
//!
//! Each handshake is one signature, and rustls waits for it. A key in a chip takes some hundredths of a second; programs
//! that serve many connections from one thread should make handshakes in threads of their own.
//!
//! ```
//! use std::sync::Arc;
//! use countersign_keys::SigningKey;
//! use countersign_tls::{TlsIdentity, TlsIdentityRefused};
//! use rustls::{ClientConfig, RootCertStore};
//!
//! # fn connect(
//! #     key: SigningKey, chain: &[Vec<u8>], roots: RootCertStore, provider: rustls::crypto::CryptoProvider,
//! # ) -> Result<ClientConfig, Box<dyn std::error::Error>> {
//! let identity = TlsIdentity::new(Arc::new(key), chain)?;
//! let config = ClientConfig::builder_with_provider(Arc::new(provider))
//!     .with_safe_default_protocol_versions()?
//!     .with_root_certificates(roots)
//!     .with_client_cert_resolver(Arc::new(identity));
//! # Ok(config) }
//! ```
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod certificate;
mod identity;
mod key;

pub use certificate::TlsIdentityRefused;
pub use countersign_keys::SigningKey;
pub use identity::TlsIdentity;
pub use key::TlsKey;

//! Which device has which key and which certificate, and what became of it: SQLite or PostgreSQL, one interface.
//!
//! Decided here: that a serial number, a key and a place (one device, one profile) are taken once; that a certificate
//! and its leaf of the audit log are written together or not at all; that numbers of lists never fall; what is said
//! when a database does not answer. The registry makes no certificates and judges none: it keeps bytes.
//!
//! Issuing has two steps, each a transaction over as many certificates as are waiting:
//!
//! 1. [`Registry::reserve`] writes serial, device, key and place, before anything is signed;
//! 2. [`Registry::commit`] writes certificates with their leaves, before anything is handed out.
//!
//! What was reserved and never committed is found by [`Registry::orphans`] and closed by [`Registry::abandon`]; its
//! serial is not used again.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use countersign_registry::{Device, Registry};
//!
//! # let folder = tempfile::tempdir()?;
//! let url = format!("sqlite:{}", folder.path().join("registry.db").display());
//! let registry = Registry::open(&url).await?;
//! let order = registry.order("2026-17", Some("acme"), 1_000).await?;
//! registry.register(&[Device::approved("0042".parse()?, &order)], 1_790_000_000).await?;
//! assert!(registry.device(&"0042".parse()?).await?.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod audit;
mod behind;
mod carry;
mod commit;
mod connections;
mod crl;
mod devices;
mod error;
mod export;
mod find;
mod growth;
mod import;
mod instance;
mod keys;
mod location;
mod model;
mod open;
mod reserve;
mod revoke;
mod schema;
mod sql;
mod tokens;
mod transaction;

pub use audit::Leaf;
pub use behind::{Found, Told};
pub use carry::Record;
pub use commit::Commit;
pub use crl::{CrlNumber, StoredCrl};
pub use error::{Error, Refusal};
pub use find::{Page, Statistics};
pub use import::Imported;
pub use instance::Lead;
pub use model::{
    Certificate, CertificateState, Device, DeviceState, Order, RequestKey, Reservation, Reserved,
};
pub use open::Registry;
pub use revoke::Listed;
pub use schema::SCHEMA_VERSION;
pub use tokens::TokenStoreError;

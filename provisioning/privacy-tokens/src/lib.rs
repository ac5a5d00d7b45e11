//! Tokens by which a device shows that it is registered, without showing who asks what was signed or which device it was.
//!
//! Decided here: how a table's 1,000 keys come from its master key ([`MasterKey::derive`]), which tables a device gets
//! ([`Assignment::draw`]), what a token is ([`Token`]), how master keys lie at rest ([`WrappedTable`]), when a token passes
//! ([`KeyRing::validate`]), and that nothing but a count for each table remains of having asked. The bytes of all of it,
//! with test vectors: `docs/privacy-tokens.md`.
//!
//! Left to others: where wrapped tables and assignments are kept ([`TableStore`]), where the key-encryption key comes from,
//! and who may ask.
//!
//! ```
//! # use getrandom::SysRng;
//! use countersign_privacy_tokens::{HardwareHash, KeyEncryptionKey, KeyRing, TableId, Token, WrappedTable};
//!
//! let kek = KeyEncryptionKey::new(&[7; 32])?; // from where the operator keeps it
//! let tables = (0..10)
//!     .map(|id| WrappedTable::generate(TableId::new(id), &kek, &mut SysRng))
//!     .collect::<Result<Vec<_>, _>>()?;
//! let ring = KeyRing::open(&kek, &tables, &mut SysRng)?;
//!
//! // At the factory: three tables for one device.
//! let assignment = ring.assign(&mut SysRng)?;
//! let device = ring.device_tables(&assignment)?;
//!
//! // In the device:
//! let token = device.seal(&HardwareHash::new([1; 32]), &mut SysRng)?;
//! assert_eq!(token.to_bytes().len(), Token::BYTES);
//! # Ok::<(), countersign_privacy_tokens::Error>(())
//! ```

#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test may stop by panicking"
    )
)]

mod assignment;
mod cipher;
mod device;
mod error;
mod hash;
mod key;
mod key_ring;
mod random;
mod store;
mod token;
mod wrap;

pub use assignment::{Assignment, TABLES_OF_A_DEVICE};
pub use device::DeviceTables;
pub use error::Error;
pub use hash::HardwareHash;
pub use key::{KEYS_OF_A_TABLE, KeyIndex, MasterKey, TableId, TableKey};
pub use key_ring::{KeyRing, Verdict};
pub use rand_core;
pub use store::{TableStore, TableUsage};
pub use token::Token;
pub use wrap::{KeyEncryptionKey, WrappedTable};

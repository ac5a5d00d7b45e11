//! Tokens: secrets of short life that let their holder do a few things to a few devices.
//!
//! Decided here: what a token looks like ([`secret`]) and how far it reaches ([`scope`]), and where its hash is kept. That one is used only once is
//! decided by the registry, in the transaction that issues.

mod folder;
pub mod scope;
pub mod secret;

pub use folder::TokenFolder;
pub use scope::{Action, Scope, ScopeInvalid};
pub use secret::{NewToken, TokenHash, generate, hash};

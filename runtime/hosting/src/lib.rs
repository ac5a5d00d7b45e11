//! What the programs that run components have in common: reading what an operator names, once and bounded; revocation
//! lists; sizes and times as people write them; the file of records; text that a terminal does not obey; the device's keys,
//! as an operator names them.
//!
//! Decides nothing about trust. Its errors are sentences for the operator.

#![forbid(unsafe_code)]

mod audit;
mod code;
pub mod counter;
pub mod lending;
mod lists;
mod printable;
pub mod quantity;
mod read;
mod recognise;

pub use audit::{AuditLog, LogPlace};
pub use code::{CodeNotUsed, CodeSearch};
pub use lists::read_lists;
pub use printable::printable;
pub use read::{MAX_FILE_BYTES, Read, read};
pub use recognise::{Recognised, recognise};

//! Signing keys in a TPM 2.0.
//!
//! Decided here: how the TPM is spoken to (one thread, a session that is salted against whoever sits on the bus, bounded
//! retries and a deadline for each call), which attributes make a key one that cannot leave, how a key is bound to the
//! state of the boot, and where the TPM itself keeps the names of keys.
//!
//! Left to others: who trusts a key, what evidence of a TPM is worth, and who may use the TPM (the group of its device
//! file).
//!
//! Names: a key is kept at a persistent handle. `tpm:0x81010005` is that handle; `tpm:door` is a name that an NV index of
//! the same TPM keeps, beside the registers that the key is bound to. The index holds the hash of the key's public area,
//! so that it speaks for this key only, and is useless without it. It is no proof: whoever may write to the TPM's NV memory
//! can give any free name to a key of his own. So a key that others may have too is never used, a name that two keys have is
//! refused, and which key it must be is for the certificate to say.
//!
//! Layers, each in its own file: `worker` (a thread, a queue, deadlines), `device` (connection, session, storage root
//! key), `keys`, `record`, `policy`, `sign` and `evidence` (what is done with keys), and [`TpmProvider`]. What a store of keys
//! does not offer and a TPM can do besides is in `counter`, `credential` and `data`.
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod counter;
mod credential;
mod data;
mod detect;
mod device;
mod evidence;
mod failure;
mod keys;
#[cfg(test)]
mod memory;
mod policy;
mod provider;
mod record;
mod sign;
mod template;
mod worker;

pub use counter::{CounterIndex, TpmCounter};
pub use credential::{Credential, EndorsementKey};
pub use data::DataIndex;
pub use detect::{detect, detect_among};
pub use provider::{TpmOptions, TpmProvider};

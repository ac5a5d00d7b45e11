//! Provisioning: from a device in a fixture to a device with a certificate that is on record.
//!
//! Decided here: the order of a session's steps, what a device must show before anything is signed for it, that the
//! certificate's key is the device's key, and what of a batch is done again after it was stopped. What a certificate says is
//! decided by `countersign-provisioning`, who may have one by `countersign-registry`, that nothing leaves before it is on
//! record by `countersign-issuing`.
//!
//! ```text
//! key in the device ─► evidence ─► possession ─► certificate (row and leaf first) ─► chain into the device, read back
//!                                                   ─► slot locked, if asked ─► test signature ─► recorded
//! ```
//!
//! - [`Station`] and [`provision`]: one device. [`Job`] says which, [`Device`] is what stands in the fixture.
//! - [`read_list`], [`Journal`] and [`Batch`]: a list of them, and how it is taken up again. [`Report`] tells how it went.
//!
//! No private key goes through here, but one in a file where a station takes keys without hardware.
#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "a test may stop by panicking"
    )
)]

#[cfg(test)]
extern crate self as countersign_sessions;

mod batch;
#[cfg(test)]
#[path = "../tests/sessions/bench.rs"]
#[allow(dead_code, reason = "most of it serves the tests from outside")]
mod bench;
mod device;
mod error;
mod journal;
mod list;
mod output;
mod report;
mod session;
mod station;
mod statistics;
mod step;

pub use batch::{Batch, Progress};
pub use device::{
    Attested, Chip, ChipMakers, ChipMemory, Device, Devices, Hardware, Memory, Plain, StoreDevices,
};
#[cfg(feature = "tpm")]
pub use device::{Tpm, TpmMakers};
pub use error::Error;
pub use journal::{Done, Journal};
pub use list::{Row, read_list};
pub use report::{Failure, Report};
pub use session::{Failed, Provisioned, provision};
pub use station::{Job, Station};
pub use statistics::Durations;
pub use step::{Step, Steps};

//! Signing keys in an ATECC608 secure element on an I²C bus.
//!
//! Decided here: how the chip is spoken to (wake, checksums, polling, watchdog, bounded retries and a deadline for each
//! call), what of its configuration makes a key one that cannot leave, how a chip is configured and locked, and when
//! evidence of the chip convinces.
//!
//! Left to others: who trusts the key, and the certificates that say so.
//!
//! Layers, each in its own file: `packet` (checksums and framing), `command` (what there is and how long it takes),
//! `bus` (bytes and time), [`Atecc608`] (commands and whole sequences), and the `Atecc608Provider` of the feature `std`, which is
//! what the other crates use. Without `std` the driver needs neither an operating system nor an allocator.
#![no_std]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

#[cfg(feature = "std")]
extern crate std;

mod bus;
mod command;
mod config;
mod device;
mod error;
mod lock;
mod packet;
mod rules;
mod zones;

#[cfg(feature = "std")]
mod certificate;
#[cfg(feature = "std")]
mod file;
#[cfg(all(feature = "std", target_os = "linux"))]
mod linux;
#[cfg(feature = "std")]
mod plan;
#[cfg(feature = "std")]
mod provider;

pub use bus::DEADLINE_MICROS;
#[cfg(feature = "std")]
pub use certificate::{
    CertificateError, CertificateInvalid, CertificateTemplate, CompressedCertificate, Kind,
    MakerChain, NotTheMakers, SerialSource, StoredCertificate, Subject, SubjectKey,
};
pub use config::{Configuration, Serial, Slot};
pub use countersign_atecc608_rules::{KeyConfig, SlotConfig, Unfit, inspect_slot};
pub use device::{Atecc608, Attestation, Counter, Revision};
pub use error::{Error, Status};
#[cfg(feature = "std")]
pub use file::{ChipFile, ChipFileInvalid, LockFlags, Model};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use linux::{LinuxBus, LinuxBusError, LinuxDelay};
pub use lock::Consent;
#[cfg(feature = "std")]
pub use plan::{Plan, PlanError};
#[cfg(feature = "std")]
pub use provider::{Atecc608Provider, ChipCounter};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use provider::{detect, detect_among};
pub use rules::{Purpose, inspect_locks, inspect_purpose};

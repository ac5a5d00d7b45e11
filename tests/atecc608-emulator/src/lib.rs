//! An ATECC608 in software, at the level of its I²C bus, for tests.
//!
//! Decided here: what the chip answers to bytes on its bus and when (wake, idle, sleep, busy, watchdog), what its
//! configuration and locks allow, and which faults it shows when told to. Keys and signatures are real P-256.
//!
//! Left to others: everything of the host. Nothing is shared with the driver, not even the checksum, so that one mistake
//! is not made on both sides; the vendor's own library and a foreign driver are run against it too.
//!
//! What is not modelled: encrypted reads and writes, authorisation, AES, ECDH, key derivation, secure boot, limited use,
//! and the requirement of a random nonce (KeyConfig, ReqRandom).
#![forbid(unsafe_code)]

mod bus;
mod chip;
mod clock;
mod fault;
pub mod shim;
pub mod socket;
mod state;
pub mod vendor;

pub use bus::{BusFault, EmulatedBus, EmulatedDelay, Emulator};
pub use chip::{Factory, SIGNING_TEST_CONFIG};
pub use clock::Clock;
pub use fault::{Fault, Planned};

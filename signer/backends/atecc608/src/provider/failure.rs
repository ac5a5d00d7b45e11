//! What the chip or the bus reports, as the error that every store has.

use crate::error::{Error as ChipError, Status};
use countersign_keys::{Error, ErrorKind};
use std::fmt;
use std::format;
use std::io;
use std::path::{Path, PathBuf};

/// Where a chip is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) bus: PathBuf,
    pub(super) address: u8,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x} on {}", self.address, self.bus.display())
    }
}

impl Place {
    /// A whole sentence with the chip's own error below it.
    pub(super) fn failed(&self, error: ChipError) -> Error {
        let (kind, next) = match error {
            ChipError::Absent => (
                ErrorKind::NotFound,
                "check wiring, supply and address, and that the bus runs at 100 kHz",
            ),
            ChipError::WrongChip => (
                ErrorKind::NotFound,
                "check the address, and that no other device has it",
            ),
            ChipError::NoAnswer { .. } | ChipError::Watchdog { .. } => (
                ErrorKind::Timeout,
                "try again; if it stays so, check the supply and who else uses the bus",
            ),
            ChipError::Random
            | ChipError::Refused {
                status: Status::RandomHealth,
                ..
            } => (
                ErrorKind::Random,
                "lock its configuration if that was not done; otherwise do not use this chip any more",
            ),
            ChipError::OtherChip => (
                ErrorKind::Permissions,
                "name the serial number of the chip that is there",
            ),
            ChipError::AlreadyLocked => (
                ErrorKind::Exists,
                "a lock cannot be undone; use another slot or chip",
            ),
            ChipError::CounterExhausted => (
                ErrorKind::Unsupported,
                "a counter cannot be set back; replace the chip",
            ),
            ChipError::Lost { .. } => (ErrorKind::Device, "look at the slot before you try again"),
            ChipError::Bus(_) => (
                ErrorKind::Device,
                "check for a short or missing pull-ups, and who else uses the bus",
            ),
            _ => (
                ErrorKind::Device,
                "try again; if it stays so, check the bus for disturbances, or replace the chip",
            ),
        };
        Error::with_source(
            kind,
            format!("the secure element at {self} failed: {error}; {next}"),
            error,
        )
    }
}

/// A bus that cannot be opened.
pub(super) fn of_bus(bus: &Path, error: io::Error) -> Error {
    let bus = bus.display();
    let (kind, sentence) = match error.kind() {
        io::ErrorKind::NotFound => (
            ErrorKind::NotFound,
            format!(
                "there is no I2C bus {bus}; enable it (on Debian: modprobe i2c-dev, and the bus in the device tree or firmware), or name another"
            ),
        ),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::Permissions,
            format!(
                "the I2C bus {bus} may not be used; add the user to the group that owns it (on Debian: i2c)"
            ),
        ),
        _ => (
            ErrorKind::Io,
            format!("the I2C bus {bus} cannot be opened; see what the system says below"),
        ),
    };
    Error::with_source(kind, sentence, error)
}

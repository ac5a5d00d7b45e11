//! Linux: the bus behind `/dev/i2c-N`, and delays.

use core::fmt;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{
    Error as I2cError, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation,
};
use i2cdev::core::{I2CMessage as _, I2CTransfer as _};
use i2cdev::linux::{LinuxI2CBus, LinuxI2CError, LinuxI2CMessage};
use std::path::Path;
use std::time::Duration;
use std::vec::Vec;

/// An adapter of Linux. Transfers are given with their address, so that the same open file serves the wake pulse too.
pub struct LinuxBus(LinuxI2CBus);

impl LinuxBus {
    /// Opens the adapter.
    ///
    /// # Errors
    /// What the system says: there is no such file, or no permission.
    pub fn open(path: &Path) -> Result<Self, std::io::Error> {
        LinuxI2CBus::new(path).map(Self).map_err(Into::into)
    }
}

impl ErrorType for LinuxBus {
    type Error = LinuxBusError;
}

impl I2c for LinuxBus {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), LinuxBusError> {
        let mut messages: Vec<LinuxI2CMessage<'_>> = operations
            .iter_mut()
            .map(|operation| {
                match operation {
                    Operation::Read(bytes) => LinuxI2CMessage::read(bytes),
                    Operation::Write(bytes) => LinuxI2CMessage::write(bytes),
                }
                .with_address(u16::from(address))
            })
            .collect();
        self.0
            .transfer(&mut messages)
            .map(|_| ())
            .map_err(LinuxBusError)
    }
}

/// A transfer that Linux reports as failed.
#[derive(Debug)]
pub struct LinuxBusError(LinuxI2CError);

impl I2cError for LinuxBusError {
    /// As the kernel's list of fault codes says (Documentation/i2c/fault-codes.rst).
    fn kind(&self) -> ErrorKind {
        let code = match &self.0 {
            LinuxI2CError::Errno(code) => Some(*code),
            LinuxI2CError::Io(error) => error.raw_os_error(),
        };
        match code {
            // ENXIO, EREMOTEIO, EIO: some adapters say the one and some the other when nobody acknowledges.
            Some(6 | 121 | 5) => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            // EAGAIN
            Some(11) => ErrorKind::ArbitrationLoss,
            // EBUSY, ETIMEDOUT
            Some(16 | 110) => ErrorKind::Bus,
            _ => ErrorKind::Other,
        }
    }
}

impl fmt::Display for LinuxBusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for LinuxBusError {}

/// Delays by sleeping; at least as long as asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinuxDelay;

impl DelayNs for LinuxDelay {
    fn delay_ns(&mut self, nanos: u32) {
        std::thread::sleep(Duration::from_nanos(u64::from(nanos)));
    }
}

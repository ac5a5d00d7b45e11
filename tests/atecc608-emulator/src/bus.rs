//! The bus in this process: `embedded-hal`'s `I2c` and `DelayNs` over the model.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{
    Error as I2cError, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation,
};

use crate::chip::{Chip, Factory};
use crate::clock::Clock;
use crate::fault::Planned;

/// One emulated chip on one bus. Clones are the same chip.
#[derive(Clone, Debug)]
pub struct Emulator {
    chip: Arc<Mutex<Chip>>,
    clock: Clock,
}

impl Emulator {
    /// A chip in virtual time.
    #[must_use]
    pub fn new(factory: Factory) -> Self {
        Self::with_clock(factory, Clock::stepped())
    }

    /// A chip with this clock.
    #[must_use]
    pub fn with_clock(factory: Factory, clock: Clock) -> Self {
        Self {
            chip: Arc::new(Mutex::new(Chip::new(factory))),
            clock,
        }
    }

    /// A chip whose memory is kept in a file: what is there if it exists, what `factory` makes otherwise.
    ///
    /// # Errors
    /// If the file can be neither read nor written, or is not this program's.
    pub fn with_state(factory: Factory, clock: Clock, state: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            chip: Arc::new(Mutex::new(Chip::with_state(factory, state)?)),
            clock,
        })
    }

    /// The bus that the chip is on.
    #[must_use]
    pub fn bus(&self) -> EmulatedBus {
        EmulatedBus(self.clone())
    }

    /// Delays that belong to the bus: the chip's time goes on by them.
    #[must_use]
    pub fn delay(&self) -> EmulatedDelay {
        EmulatedDelay(self.clock.clone())
    }

    /// The chip's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Switches a fault on.
    pub fn inject(&self, planned: Planned) {
        self.chip().inject(planned);
    }

    /// Switches all faults off.
    pub fn heal(&self) {
        self.chip().heal();
    }

    /// Takes the supply away and gives it back: what is not in non-volatile memory is lost.
    pub fn power_cycle(&self) {
        self.chip().power_cycle();
    }

    /// The operation codes that were executed since the last call, in their order.
    pub fn take_executed(&self) -> Vec<u8> {
        self.chip().take_executed()
    }

    /// The 128 bytes of the configuration zone as they are.
    #[must_use]
    pub fn configuration(&self) -> [u8; 128] {
        self.chip().configuration()
    }

    /// The private scalar of a slot, which no bus shows: for tests that look for it elsewhere.
    #[must_use]
    pub fn private_key(&self, slot: usize) -> Option<[u8; 32]> {
        self.chip().private_key(slot)
    }

    /// The bytes of a data slot, which the bus may not show.
    #[must_use]
    pub fn slot(&self, slot: usize) -> Vec<u8> {
        self.chip().slot(slot)
    }

    /// One write on the bus.
    ///
    /// # Errors
    /// As the bus shows it.
    pub fn write(&self, address: u8, bytes: &[u8]) -> Result<(), BusFault> {
        let now = self.clock.micros();
        let result = self.chip().write(now, address, bytes);
        self.transferred(bytes.len());
        result
    }

    /// One read on the bus.
    ///
    /// # Errors
    /// As the bus shows it.
    pub fn read(&self, address: u8, bytes: &mut [u8]) -> Result<(), BusFault> {
        let now = self.clock.micros();
        let result = self.chip().read(now, address, bytes);
        self.transferred(bytes.len());
        result
    }

    /// Nine bits for each byte and the address, at 100 kHz. Real buses take their own time.
    fn transferred(&self, bytes: usize) {
        if let Some(micros) = self.clock.is_stepped().then_some((bytes as u64 + 1) * 90) {
            self.clock.wait(micros);
        }
    }

    fn chip(&self) -> MutexGuard<'_, Chip> {
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusFault {
    /// Nobody acknowledged the address.
    NoAcknowledge,
    /// A line is held low.
    Stuck,
}

impl I2cError for BusFault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAcknowledge => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Self::Stuck => ErrorKind::Bus,
        }
    }
}

/// The bus of an [`Emulator`].
#[derive(Clone, Debug)]
pub struct EmulatedBus(Emulator);

impl ErrorType for EmulatedBus {
    type Error = BusFault;
}

impl I2c for EmulatedBus {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), BusFault> {
        for operation in operations {
            match operation {
                Operation::Write(bytes) => self.0.write(address, bytes)?,
                Operation::Read(bytes) => self.0.read(address, bytes)?,
            }
        }
        Ok(())
    }
}

/// The delays of an [`Emulator`].
#[derive(Clone, Debug)]
pub struct EmulatedDelay(Clock);

impl DelayNs for EmulatedDelay {
    fn delay_ns(&mut self, nanos: u32) {
        self.0.wait(u64::from(nanos).div_ceil(1000));
    }
}

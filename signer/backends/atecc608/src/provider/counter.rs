//! A counter of the chip, as every counter in hardware is used.

use super::Atecc608Provider;
use crate::device::Counter;
use countersign_keys::{Error, MonotonicCounter};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

/// One of the two counters of a chip.
pub struct ChipCounter<I, D> {
    chip: Atecc608Provider<I, D>,
    counter: Counter,
}

impl<I, D> Atecc608Provider<I, D>
where
    I: I2c + Send,
    D: DelayNs + Send,
{
    /// A counter of this chip.
    #[must_use]
    pub const fn counter(self, counter: Counter) -> ChipCounter<I, D> {
        ChipCounter {
            chip: self,
            counter,
        }
    }
}

impl<I, D> MonotonicCounter for ChipCounter<I, D>
where
    I: I2c + Send,
    D: DelayNs + Send,
{
    fn read(&self) -> Result<u64, Error> {
        let value = self.chip.with_device(|chip| chip.counter(self.counter));
        value
            .map(u64::from)
            .map_err(|error| self.chip.place.failed(error))
    }

    fn increment(&self) -> Result<u64, Error> {
        let value = self.chip.with_device(|chip| chip.count_up(self.counter));
        value
            .map(u64::from)
            .map_err(|error| self.chip.place.failed(error))
    }

    fn end(&self) -> u64 {
        u64::from(Counter::END)
    }
}

//! Locks. None of them can be undone.

use crate::command::{Command, Opcode, STATUS_ANSWER};
use crate::config::{Configuration, Serial, Slot};
use crate::device::Atecc608;
use crate::error::Error;
use crate::packet::checksum;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

/// Somebody's word that this chip, and no other, shall be locked for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent(Serial);

impl Consent {
    /// Consent to lock the chip of this serial number. **No lock can be undone.** What is lost must have been shown
    /// before.
    #[must_use]
    pub const fn to_lock_for_ever(serial: Serial) -> Self {
        Self(serial)
    }
}

impl<I: I2c, D: DelayNs> Atecc608<I, D> {
    /// Locks the configuration zone. **This cannot be undone.** The checksum of `expected` goes with the command, so
    /// that the chip refuses if its zone is not that.
    ///
    /// # Errors
    /// [`Error::OtherChip`], [`Error::AlreadyLocked`], [`Error::WrittenWrongly`] if the zone is not `expected`.
    pub fn lock_configuration(
        &mut self,
        consent: &Consent,
        expected: &Configuration,
    ) -> Result<(), Error> {
        let configuration = self.consented(consent)?;
        if configuration.config_locked() {
            return Err(Error::AlreadyLocked);
        }
        if configuration != *expected {
            return Err(Error::WrittenWrongly);
        }
        let sum = u16::from_le_bytes(checksum(configuration.as_bytes()));
        self.lock(0x00, sum, Configuration::config_locked)
    }

    /// Locks the data and one-time zones. **This cannot be undone.** From now on the configuration rules every slot.
    /// The chip's comparison with a checksum is not asked for, because private keys are part of the zone.
    ///
    /// # Errors
    /// [`Error::OtherChip`], [`Error::AlreadyLocked`]; [`Error::Refused`] before the configuration is locked.
    pub fn lock_data(&mut self, consent: &Consent) -> Result<(), Error> {
        if self.consented(consent)?.data_locked() {
            return Err(Error::AlreadyLocked);
        }
        self.lock(0x81, 0, Configuration::data_locked)
    }

    /// Locks one slot: no new key, no new data. **This cannot be undone.**
    ///
    /// # Errors
    /// [`Error::OtherChip`], [`Error::AlreadyLocked`]; [`Error::Refused`] if the configuration does not allow it.
    pub fn lock_slot(&mut self, consent: &Consent, slot: Slot) -> Result<(), Error> {
        if self.consented(consent)?.slot_locked(slot) {
            return Err(Error::AlreadyLocked);
        }
        let mode = slot.number().checked_shl(2).unwrap_or(0) | 0x82;
        self.lock(mode, 0, |configuration| configuration.slot_locked(slot))
    }

    fn consented(&mut self, consent: &Consent) -> Result<Configuration, Error> {
        let configuration = self.configuration()?;
        if configuration.serial() == consent.0 {
            Ok(configuration)
        } else {
            Err(Error::OtherChip)
        }
    }

    /// Locks, and looks whether it is locked. An answer that was lost makes no difference then.
    fn lock(
        &mut self,
        mode: u8,
        sum: u16,
        is_locked: impl Fn(&Configuration) -> bool,
    ) -> Result<(), Error> {
        let command = Command::new(Opcode::Lock, mode, sum, STATUS_ANSWER).only_once();
        let outcome = self.one_done(&command);
        if matches!(outcome, Ok(()) | Err(Error::Lost { .. })) && is_locked(&self.configuration()?)
        {
            return Ok(());
        }
        outcome?;
        Err(Error::WrittenWrongly)
    }
}

//! Reading and writing zones. What was written is read back wherever it can be.

use crate::command::{Command, Opcode, STATUS_ANSWER};
use crate::config::{Configuration, Slot};
use crate::device::Atecc608;
use crate::error::Error;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

/// A zone, as Read and Write name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    Config,
    Otp,
    Data(Slot),
}

impl Zone {
    const fn code(self) -> u8 {
        match self {
            Self::Config => 0,
            Self::Otp => 1,
            Self::Data(_) => 2,
        }
    }

    /// The address of a word of 4 bytes, counted from the zone's or slot's start.
    fn address(self, word: usize) -> Result<u16, Error> {
        let word = u16::try_from(word).map_err(|_| Error::Place)?;
        let (block, offset) = (word >> 3, word & 7);
        let high = match self {
            Self::Config | Self::Otp => block << 3,
            Self::Data(slot) => (block << 8) | (u16::from(slot.number()) << 3),
        };
        Ok(high | offset)
    }
}

impl<I: I2c, D: DelayNs> Atecc608<I, D> {
    /// The configuration zone.
    ///
    /// # Errors
    /// [`Error`].
    pub fn configuration(&mut self) -> Result<Configuration, Error> {
        let mut bytes = [0; 128];
        self.read(Zone::Config, &mut bytes)?;
        Ok(Configuration::new(bytes))
    }

    /// The one-time zone, 64 bytes.
    ///
    /// # Errors
    /// [`Error::Refused`] before the data zone is locked.
    pub fn one_time(&mut self) -> Result<[u8; 64], Error> {
        let mut bytes = [0; 64];
        self.read(Zone::Otp, &mut bytes)?;
        Ok(bytes)
    }

    /// The first bytes of a slot, as many as `bytes` has room for.
    ///
    /// # Errors
    /// [`Error::Place`] if the slot is smaller; [`Error::Refused`] before the data zone is locked, and for what may not
    /// be read in the clear.
    pub fn read_slot(&mut self, slot: Slot, bytes: &mut [u8]) -> Result<(), Error> {
        if bytes.len() > slot.size() {
            return Err(Error::Place);
        }
        self.read(Zone::Data(slot), bytes)
    }

    /// Writes the first bytes of a slot in the clear; what is missing to a whole word is zero. Read back, if the data
    /// zone is locked; before that, nothing of it can be read.
    ///
    /// # Errors
    /// [`Error::Place`] if the slot is smaller; [`Error::Refused`] if configuration or locks do not allow it;
    /// [`Error::WrittenWrongly`].
    pub fn write_slot(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > slot.size() {
            return Err(Error::Place);
        }
        if !self.configuration()?.data_locked() {
            // Before the lock the chip takes whole blocks only; what is past the slot's end is nowhere.
            return self.write_blocks(Zone::Data(slot), bytes);
        }
        self.write_words(Zone::Data(slot), 0, bytes)?;
        let mut there = [0; 416];
        let there = there.get_mut(..bytes.len()).ok_or(Error::Place)?;
        self.read_slot(slot, there)?;
        if there == bytes {
            Ok(())
        } else {
            Err(Error::WrittenWrongly)
        }
    }

    /// Writes the one-time zone, which is possible between the two locks.
    ///
    /// # Errors
    /// [`Error::Refused`] outside of that time.
    pub fn write_one_time(&mut self, bytes: &[u8; 64]) -> Result<(), Error> {
        self.write_blocks(Zone::Otp, bytes)
    }

    /// Makes the configuration zone what `wanted` says, word by word where it differs, and reads it back. The words
    /// that Write cannot change (identity, locks) are left out. A new address counts from the next waking on.
    ///
    /// # Errors
    /// [`Error::AlreadyLocked`], [`Error::WrittenWrongly`].
    pub fn write_configuration(&mut self, wanted: &Configuration) -> Result<(), Error> {
        let present = self.configuration()?;
        if present.config_locked() {
            return Err(Error::AlreadyLocked);
        }
        let words = present
            .as_bytes()
            .chunks(4)
            .zip(wanted.as_bytes().chunks(4));
        for (word, (old, new)) in words.enumerate() {
            let fixed = word < 4 || word == 21;
            // The word that holds the address comes last.
            if !fixed && word != 4 && old != new {
                self.write_words(Zone::Config, word, new)?;
            }
        }
        if let (Some(old), Some(new)) = (
            present.as_bytes().get(16..20),
            wanted.as_bytes().get(16..20),
        ) && old != new
        {
            self.write_words(Zone::Config, 4, new)?;
        }
        self.move_to(wanted.address());
        let there = self.configuration()?;
        let differs = there
            .as_bytes()
            .chunks(4)
            .zip(wanted.as_bytes().chunks(4))
            .enumerate()
            .any(|(word, (there, wanted))| word >= 4 && word != 21 && there != wanted);
        if differs {
            return Err(Error::WrittenWrongly);
        }
        Ok(())
    }

    fn read(&mut self, zone: Zone, bytes: &mut [u8]) -> Result<(), Error> {
        for (block, part) in bytes.chunks_mut(32).enumerate() {
            let first = block.checked_mul(8).ok_or(Error::Place)?;
            if part.len() == 32 {
                let command =
                    Command::new(Opcode::Read, zone.code() | 0x80, zone.address(first)?, 35);
                part.copy_from_slice(&self.one::<32>(&command)?);
                continue;
            }
            for (offset, part) in part.chunks_mut(4).enumerate() {
                let word = first.checked_add(offset).ok_or(Error::Place)?;
                let command = Command::new(Opcode::Read, zone.code(), zone.address(word)?, 7);
                let content: [u8; 4] = self.one(&command)?;
                for (byte, read) in part.iter_mut().zip(content) {
                    *byte = read;
                }
            }
        }
        Ok(())
    }

    fn write_blocks(&mut self, zone: Zone, bytes: &[u8]) -> Result<(), Error> {
        for (block, part) in bytes.chunks(32).enumerate() {
            let first = block.checked_mul(8).ok_or(Error::Place)?;
            let mut content = [0; 32];
            for (byte, wanted) in content.iter_mut().zip(part) {
                *byte = *wanted;
            }
            self.write(zone.code() | 0x80, zone.address(first)?, &content)?;
        }
        Ok(())
    }

    fn write_words(&mut self, zone: Zone, from: usize, bytes: &[u8]) -> Result<(), Error> {
        for (offset, part) in bytes.chunks(4).enumerate() {
            let word = from.checked_add(offset).ok_or(Error::Place)?;
            let mut content = [0; 4];
            for (byte, wanted) in content.iter_mut().zip(part) {
                *byte = *wanted;
            }
            self.write(zone.code(), zone.address(word)?, &content)?;
        }
        Ok(())
    }

    /// The same bytes may be written twice, so a lost answer is no matter.
    fn write(&mut self, p1: u8, address: u16, content: &[u8]) -> Result<(), Error> {
        self.one_done(&Command::new(Opcode::Write, p1, address, STATUS_ANSWER).with(content))
    }
}

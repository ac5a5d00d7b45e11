//! The chip as a device: single commands, and sequences that are begun again as a whole if the chip falls asleep in
//! them.

use crate::bus::Bus;
use crate::command::{Command, Opcode, STATUS_ANSWER};
use crate::config::{Serial, Slot};
use crate::error::{Error, Trouble};
use crate::packet::Answer;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

/// How often a whole sequence is begun.
const MOST_SEQUENCES: u32 = 3;

/// An ATECC608 on a bus.
///
/// Each call wakes the chip, does its work, and lets it rest again; it ends within [`DEADLINE_MICROS`](crate::DEADLINE_MICROS)
/// of waiting and transfers. Between two commands of a sequence the chip is never left to itself for long, and if its
/// watchdog bites all the same, the sequence is begun again, so that a signature is never made over something old.
pub struct Atecc608<I, D> {
    bus: Bus<I, D>,
    /// The last random number, which must not come again.
    last_random: Option<[u8; 32]>,
}

/// What Info tells of the silicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision(pub [u8; 4]);

impl Revision {
    /// `ATECC608A`, `ATECC608B` (or later, which tell the same), or `unknown`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            [0, 0, 0x60, 0x02] => "ATECC608A",
            [0, 0, 0x60, 0x03] => "ATECC608B",
            _ => "unknown",
        }
    }

    /// Whether this driver was written for it.
    #[must_use]
    pub const fn is_608(self) -> bool {
        matches!(self.0, [0, 0, 0x60, _])
    }
}

/// One of the two monotonic counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Counter 0.
    First,
    /// Counter 1.
    Second,
}

impl Counter {
    /// Where it ends.
    pub const END: u32 = 2_097_151;

    /// From here on it should be said aloud: nine tenths of the end.
    pub const ALARM: u32 = 1_887_436;

    /// Whether it should be said that the counter comes to its end.
    #[must_use]
    pub const fn is_near_end(value: u32) -> bool {
        value >= Self::ALARM
    }

    const fn key_id(self) -> u16 {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }
}

/// What the chip says of a key when it is asked with a number from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The random number that the chip mixed in.
    pub random: [u8; 32],
    /// The attested public key, `X ‖ Y`.
    pub public: [u8; 64],
    /// The signature, `r ‖ s`.
    pub signature: [u8; 64],
}

impl<I: I2c, D: DelayNs> Atecc608<I, D> {
    /// A chip at a 7-bit address. Nothing is sent yet.
    pub fn new(i2c: I, delay: D, address: u8) -> Self {
        Self {
            bus: Bus::new(i2c, delay, address),
            last_random: None,
        }
    }

    /// The chip is at another address from its next waking on.
    pub(crate) fn move_to(&mut self, address: u8) {
        // An idle chip hears nothing and keeps its old address: only from sleep does it wake with the new one.
        let deadline = self.bus.deadline();
        let _ = self.bus.wake(deadline);
        self.bus.sleep();
        self.bus.move_to(address);
    }

    /// Which silicon answers.
    ///
    /// # Errors
    /// [`Error`].
    pub fn revision(&mut self) -> Result<Revision, Error> {
        self.one(&Command::new(Opcode::Info, 0x00, 0, 7))
            .map(Revision)
    }

    /// The serial number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn serial(&mut self) -> Result<Serial, Error> {
        self.configuration()
            .map(|configuration| configuration.serial())
    }

    /// 32 bytes of the chip's random number generator, which gets new seed for them.
    ///
    /// # Errors
    /// [`Error::Random`] for the pattern of a chip whose configuration is not locked, and if the same bytes come twice
    /// in a row.
    pub fn random(&mut self) -> Result<[u8; 32], Error> {
        let random = self.one(&RANDOM)?;
        self.judge_random(random)?;
        Ok(random)
    }

    /// The public key of a private slot, `X ‖ Y`.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no key, or it may not be told.
    pub fn public_key(&mut self, slot: Slot) -> Result<[u8; 64], Error> {
        self.one(&Command::new(Opcode::GenKey, 0x00, key_id(slot), 67))
    }

    /// Makes a new key in a slot, and returns its public half, `X ‖ Y`. A key that was there is gone.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not known whether there is a new key: [`Self::public_key`] tells. [`Error::Refused`] if
    /// configuration or locks do not allow it.
    pub fn generate(&mut self, slot: Slot) -> Result<[u8; 64], Error> {
        self.one(&Command::new(Opcode::GenKey, 0x04, key_id(slot), 67).only_once())
    }

    /// Signs a SHA-256 digest. `r ‖ s`, with either of the two possible `s`. The signature is not verified here.
    ///
    /// The random number generator gets new seed first; then the digest goes into a buffer and is signed from there
    /// (mode: external, message digest buffer), all in one waking period.
    ///
    /// # Errors
    /// [`Error::Random`] before anything is signed, if the chip's random numbers are none: a constant in a signature
    /// gives the key away. Else [`Error`].
    pub fn sign(&mut self, slot: Slot, digest: &[u8; 32]) -> Result<[u8; 64], Error> {
        self.sequence(|chip, deadline| {
            let random = chip.step(&RANDOM, deadline)?;
            chip.judge_random(random)?;
            chip.done(
                &Command::new(Opcode::Nonce, 0x43, 0, STATUS_ANSWER).with(digest),
                deadline,
            )?;
            chip.step(
                &Command::new(Opcode::Sign, 0xa0, key_id(slot), 67),
                deadline,
            )
        })
    }

    /// Lets the key in `signer` vouch for the one in `slot`: Nonce with the caller's 20 bytes and a random number of
    /// the chip, GenKey over the public key, Sign of the chip's own message with the whole serial number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn attest(
        &mut self,
        slot: Slot,
        signer: Slot,
        number: &[u8; 20],
    ) -> Result<Attestation, Error> {
        self.sequence(|chip, deadline| {
            let random = chip.step(
                &Command::new(Opcode::Nonce, 0x00, 0, 35).with(number),
                deadline,
            )?;
            chip.judge_random(random)?;
            let public = chip.step(
                &Command::new(Opcode::GenKey, 0x08, key_id(slot), 67),
                deadline,
            )?;
            let signature = chip.step(
                &Command::new(Opcode::Sign, 0x40, key_id(signer), 67),
                deadline,
            )?;
            Ok(Attestation {
                random,
                public,
                signature,
            })
        })
    }

    /// The value of a counter.
    ///
    /// # Errors
    /// [`Error`].
    pub fn counter(&mut self, counter: Counter) -> Result<u32, Error> {
        self.one(&Command::new(Opcode::Counter, 0x00, counter.key_id(), 7))
            .map(u32::from_le_bytes)
    }

    /// Counts one up and returns the new value. There is no way back.
    ///
    /// # Errors
    /// [`Error::CounterExhausted`] at the end; [`Error::Lost`] if it is not known whether it counted:
    /// [`Self::counter`] tells.
    pub fn count_up(&mut self, counter: Counter) -> Result<u32, Error> {
        if self.counter(counter)? >= Counter::END {
            return Err(Error::CounterExhausted);
        }
        self.one(&Command::new(Opcode::Counter, 0x01, counter.key_id(), 7).only_once())
            .map(u32::from_le_bytes)
    }

    /// One command whose answer is `N` bytes.
    pub(crate) fn one<const N: usize>(&mut self, command: &Command<'_>) -> Result<[u8; N], Error> {
        self.sequence(|chip, deadline| chip.step(command, deadline))
    }

    /// One command whose answer is a status.
    pub(crate) fn one_done(&mut self, command: &Command<'_>) -> Result<(), Error> {
        self.sequence(|chip, deadline| chip.done(command, deadline))
    }

    /// Commands in one waking period. If the chip falls asleep in them, all of it is begun again.
    pub(crate) fn sequence<T>(
        &mut self,
        mut work: impl FnMut(&mut Self, u64) -> Result<T, Trouble>,
    ) -> Result<T, Error> {
        let deadline = self.bus.deadline();
        let mut last = None;
        for _ in 0..MOST_SEQUENCES {
            // That a chip which was there does not wake any more says less than what happened before.
            self.bus
                .wake(deadline)
                .map_err(|error| last.unwrap_or(error))?;
            match work(self, deadline) {
                Ok(result) => {
                    self.bus.idle();
                    return Ok(result);
                }
                Err(Trouble::Error(error)) => {
                    // Whatever was begun must not be there when the next sequence starts.
                    self.bus.sleep();
                    return Err(error);
                }
                Err(Trouble::Asleep(opcode)) => {
                    last = Some(Error::Watchdog {
                        command: opcode.name(),
                    });
                }
                Err(Trouble::Silent(opcode)) => {
                    last = Some(Error::NoAnswer {
                        command: opcode.name(),
                    });
                }
            }
            self.bus.sleep();
            if self.bus.is_over(deadline) {
                break;
            }
        }
        Err(last.unwrap_or(Error::Absent))
    }

    pub(crate) fn step<const N: usize>(
        &mut self,
        command: &Command<'_>,
        deadline: u64,
    ) -> Result<[u8; N], Trouble> {
        let answer: Answer = self.bus.exchange(command, deadline)?;
        Ok(answer.payload_of().ok_or(Error::Length {
            command: command.opcode.name(),
        })?)
    }

    pub(crate) fn done(&mut self, command: &Command<'_>, deadline: u64) -> Result<(), Trouble> {
        self.bus.exchange(command, deadline).map(|_| ())
    }

    fn judge_random(&mut self, random: [u8; 32]) -> Result<(), Error> {
        let pattern = random
            .chunks(4)
            .all(|part| part == [0xff, 0xff, 0x00, 0x00]);
        let constant = random.iter().all(|byte| Some(byte) == random.first());
        let again = self.last_random == Some(random);
        self.last_random = Some(random);
        if pattern || constant || again {
            return Err(Error::Random);
        }
        Ok(())
    }
}

const RANDOM: Command<'static> = Command::new(Opcode::Random, 0x00, 0, 35);

fn key_id(slot: Slot) -> u16 {
    u16::from(slot.number())
}

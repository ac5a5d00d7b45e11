//! What can go wrong between the host and the chip.

use crate::command::Opcode;
use embedded_hal::i2c::ErrorKind as I2cErrorKind;

/// Why a call did not do what was asked. Each call ends with its result or one of these before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody acknowledges the address, however often a wake pulse is sent.
    #[error("no chip answers at the address")]
    Absent,
    /// The zone or slot is locked already.
    #[error("it is locked already")]
    AlreadyLocked,
    /// The bus failed: a line held low, arbitration lost, an adapter that gave up.
    #[error("the bus failed ({0:?})")]
    Bus(I2cErrorKind),
    /// An answer's checksum was wrong twice in a row.
    #[error("the checksum of the answer to {command} was wrong twice")]
    Checksum {
        /// The command.
        command: &'static str,
    },
    /// The chip refused every time because the request arrived with a wrong checksum.
    #[error("the chip received {command} with a wrong checksum each time")]
    ChecksumOfRequest {
        /// The command.
        command: &'static str,
    },
    /// The monotonic counter is at its end; it cannot be set back.
    #[error("the counter is used up")]
    CounterExhausted,
    /// An answer is neither a status nor as long as it must be, twice in a row.
    #[error("the answer to {command} has a wrong length")]
    Length {
        /// The command.
        command: &'static str,
    },
    /// A command that must not be given twice was sent, and its answer was lost: whether it was carried out must be
    /// looked up.
    #[error("the answer to {command} was lost, so it is not known whether it was carried out")]
    Lost {
        /// The command.
        command: &'static str,
    },
    /// The chip was busy, asleep or silent until the time was over.
    #[error("the chip did not answer {command} in time")]
    NoAnswer {
        /// The command.
        command: &'static str,
    },
    /// Another chip has this serial number than the consent names.
    #[error("this is not the chip that the consent is for")]
    OtherChip,
    /// The random number is the pattern of a chip whose configuration is not locked, or the one before again.
    #[error("the random numbers of the chip are none")]
    Random,
    /// The chip refused the command.
    #[error("the chip refused {command}: {status}")]
    Refused {
        /// The command.
        command: &'static str,
        /// Its status.
        status: Status,
    },
    /// The chip woke and said that its self test failed.
    #[error("the chip's self test failed")]
    SelfTest,
    /// No slot has this number, or no place this size.
    #[error("there is no such place in the chip")]
    Place,
    /// Something answers to the wake pulse that is no ATECC608.
    #[error("what answers at the address is no ATECC608, or another device shares the address")]
    WrongChip,
    /// What was read back is not what was written.
    #[error("what was read back is not what was written")]
    WrittenWrongly,
    /// The chip fell asleep in the middle of a sequence, every time.
    #[error("the chip fell asleep in the middle of {command}, every time")]
    Watchdog {
        /// The command at which it was noticed.
        command: &'static str,
    },
}

/// The status byte of an answer (ATECC608: I/O, status and error codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Status {
    /// 01: a verification or comparison did not match.
    #[error("it does not match")]
    Miscompare,
    /// 03: length, code or parameters of the command.
    #[error("it does not know such a command")]
    Parse,
    /// 05: a fault in the elliptic curve computation, or a slot without a key.
    #[error("the key is none, or the computation failed")]
    Ecc,
    /// 07: self test.
    #[error("its self test failed")]
    SelfTest,
    /// 08: health test of the random number generator.
    #[error("the health test of its random numbers failed")]
    RandomHealth,
    /// 0F: not possible in this state or configuration.
    #[error("its state or configuration does not allow it")]
    Execution,
    /// Another code.
    #[error("status {0:#04x}")]
    Other(u8),
}

impl Status {
    pub(crate) const fn of(code: u8) -> Self {
        match code {
            0x01 => Self::Miscompare,
            0x03 => Self::Parse,
            0x05 => Self::Ecc,
            0x07 => Self::SelfTest,
            0x08 => Self::RandomHealth,
            0x0f => Self::Execution,
            other => Self::Other(other),
        }
    }
}

/// What one exchange can end with besides an [`Error`]: things that the sequence may try again as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The chip sleeps: TempKey and digest are gone.
    Asleep(Opcode),
    /// The chip did not answer until the time was over; it may sleep.
    Silent(Opcode),
    /// Final.
    Error(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

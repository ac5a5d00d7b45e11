//! Bytes and time: waking, sending, polling, and putting to rest.
//!
//! There is no clock here: time is what was waited for and what the transfers take at 100 kHz. A kernel's own time-outs
//! come on top; they are bounded because a failing transfer is not repeated more than [`MOST_BUS_FAILURES`] times.

use crate::command::{Command, STATUS_ANSWER};
use crate::error::{Error, Status, Trouble};
use crate::packet::{Answer, Packet};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{Error as _, ErrorKind, I2c};

/// How long one call may take in all, retries included, in microseconds.
pub const DEADLINE_MICROS: u64 = 5_000_000;

/// tWHI: from the wake pulse until the chip may be addressed. The vendor's clients wait 1,500 µs; 2.5 ms is the longest
/// value in the family's documents.
const WAKE_MICROS: u32 = 2_500;
/// Between two questions whether the chip has finished.
const POLL_MICROS: u32 = 2_000;
/// How often a chip is woken before it counts as absent.
const MOST_WAKES: u32 = 4;
/// How often in a row the bus itself may fail.
const MOST_BUS_FAILURES: u32 = 3;
/// How often a request is sent that the chip receives with a wrong checksum.
const MOST_SENDINGS: u32 = 3;
/// Nine bits at 100 kHz.
const BYTE_MICROS: u64 = 90;

const WOKEN: [u8; 4] = [0x04, 0x11, 0x33, 0x43];
/// The checksum of this answer is not the family's, so it is compared as bytes.
const SELF_TEST_FAILED: [u8; 4] = [0x04, 0x07, 0xc4, 0x40];

const WORD_RESET: u8 = 0x00;
const WORD_SLEEP: u8 = 0x01;
const WORD_IDLE: u8 = 0x02;
const STATUS_CHECKSUM: u8 = 0xff;
const STATUS_WATCHDOG: u8 = 0xee;
/// The chip has just woken. Behind a command this means that it had fallen asleep: at 100 kHz the address 0x60 is itself
/// a wake pulse, so asking whether it has finished woke it.
const STATUS_WOKEN: u8 = 0x11;

/// A bus with one chip on it.
pub(crate) struct Bus<I, D> {
    i2c: I,
    delay: D,
    address: u8,
    spent: u64,
}

impl<I: I2c, D: DelayNs> Bus<I, D> {
    pub(crate) fn new(i2c: I, delay: D, address: u8) -> Self {
        Self {
            i2c,
            delay,
            address,
            spent: 0,
        }
    }

    pub(crate) fn move_to(&mut self, address: u8) {
        self.address = address;
    }

    /// When a call that starts now must have ended.
    pub(crate) fn deadline(&self) -> u64 {
        self.spent.saturating_add(DEADLINE_MICROS)
    }

    pub(crate) fn is_over(&self, deadline: u64) -> bool {
        self.spent >= deadline
    }

    /// Wakes the chip, whatever state it is in.
    pub(crate) fn wake(&mut self, deadline: u64) -> Result<(), Error> {
        let mut last = Error::Absent;
        for _ in 0..MOST_WAKES {
            if self.is_over(deadline) {
                break;
            }
            // SDA is low for at least 80 µs while the address 0 is sent at 100 kHz. Nobody acknowledges it.
            let pulse = self.write(0x00, &[0x00]);
            self.wait(WAKE_MICROS);
            let mut answer = [0; 4];
            let read = match pulse {
                Ok(()) | Err(ErrorKind::NoAcknowledge(_)) => self.read(&mut answer),
                Err(other) => Err(other),
            };
            last = match read {
                Ok(()) if answer == WOKEN => return Ok(()),
                Ok(()) if answer == SELF_TEST_FAILED => Error::SelfTest,
                Ok(()) => Error::WrongChip,
                Err(ErrorKind::NoAcknowledge(_)) => Error::Absent,
                Err(other) => Error::Bus(other),
            };
            // It may have been awake: then the pulse meant nothing, and what was read is an old answer.
            self.sleep();
            self.wait(WAKE_MICROS);
        }
        Err(last)
    }

    /// Puts the chip to rest; TempKey stays.
    pub(crate) fn idle(&mut self) {
        // A chip that does not hear this rests by its watchdog.
        let _ = self.write(self.address, &[WORD_IDLE]);
    }

    /// Puts the chip to sleep; TempKey is lost.
    pub(crate) fn sleep(&mut self) {
        let _ = self.write(self.address, &[WORD_SLEEP]);
    }

    /// Gives a command to a chip that is awake, and waits for the answer.
    pub(crate) fn exchange(
        &mut self,
        command: &Command<'_>,
        deadline: u64,
    ) -> Result<Answer, Trouble> {
        let name = command.opcode.name();
        let packet = Packet::new(
            command.opcode.code(),
            command.p1,
            command.p2,
            &[command.data],
        )
        .ok_or(Error::Place)?;
        for _ in 0..MOST_SENDINGS {
            self.send(command, &packet)?;
            let answer = match self.answer(command, deadline) {
                Ok(answer) => answer,
                // It was sent, so it may have been carried out.
                Err(_) if !command.again => return Err(Error::Lost { command: name }.into()),
                Err(trouble) => return Err(trouble),
            };
            match answer.payload_of::<1>() {
                Some([0x00]) if command.answer == STATUS_ANSWER => return Ok(answer),
                // It was not carried out.
                Some([STATUS_CHECKSUM]) => {}
                Some([STATUS_WATCHDOG]) => return Err(Trouble::Asleep(command.opcode)),
                Some([STATUS_WOKEN]) if command.again => {
                    return Err(Trouble::Asleep(command.opcode));
                }
                Some([STATUS_WOKEN]) => return Err(Error::Lost { command: name }.into()),
                Some([code]) => {
                    return Err(Error::Refused {
                        command: name,
                        status: Status::of(code),
                    }
                    .into());
                }
                None => return Ok(answer),
            }
        }
        Err(Error::ChecksumOfRequest { command: name }.into())
    }

    fn send(&mut self, command: &Command<'_>, packet: &Packet) -> Result<(), Trouble> {
        match self.write(self.address, packet.as_bytes()) {
            Ok(()) => Ok(()),
            // The address was not acknowledged: nothing was received.
            Err(ErrorKind::NoAcknowledge(_)) => Err(Trouble::Asleep(command.opcode)),
            // It may have been received all the same.
            Err(_) if !command.again => Err(Error::Lost {
                command: command.opcode.name(),
            }
            .into()),
            Err(other) => Err(Error::Bus(other).into()),
        }
    }

    fn answer(&mut self, command: &Command<'_>, deadline: u64) -> Result<Answer, Trouble> {
        let patience = self
            .spent
            .saturating_add(command.opcode.patience_micros())
            .min(deadline);
        self.wait(command.opcode.first_poll_micros());
        let mut failures: u32 = 0;
        let mut count = [0; 1];
        loop {
            match self.read(&mut count) {
                Ok(()) => break,
                Err(ErrorKind::NoAcknowledge(_)) => {}
                Err(other) => {
                    failures = failures.saturating_add(1);
                    if failures >= MOST_BUS_FAILURES {
                        return Err(Error::Bus(other).into());
                    }
                }
            }
            if self.is_over(patience) {
                return Err(Trouble::Silent(command.opcode));
            }
            self.wait(POLL_MICROS);
        }
        match self.rest_of_answer(command, count) {
            Ok(answer) => Ok(answer),
            // The chip keeps its answer: the pointer is set back and all of it is read once more.
            Err(_) => {
                self.write(self.address, &[WORD_RESET])
                    .map_err(Error::Bus)?;
                self.read(&mut count).map_err(Error::Bus)?;
                Ok(self.rest_of_answer(command, count)?)
            }
        }
    }

    fn rest_of_answer(&mut self, command: &Command<'_>, count: [u8; 1]) -> Result<Answer, Error> {
        let name = command.opcode.name();
        let [count] = count;
        let mut answer = Answer::with_count(count)
            .filter(|_| count == STATUS_ANSWER || count == command.answer)
            .ok_or(Error::Length { command: name })?;
        self.read(answer.rest()).map_err(Error::Bus)?;
        if answer.is_sound() {
            Ok(answer)
        } else {
            Err(Error::Checksum { command: name })
        }
    }

    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), ErrorKind> {
        self.count(bytes.len());
        self.i2c.write(address, bytes).map_err(|error| error.kind())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), ErrorKind> {
        self.count(bytes.len());
        self.i2c
            .read(self.address, bytes)
            .map_err(|error| error.kind())
    }

    fn count(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(1);
        self.spent = self.spent.saturating_add(bytes.saturating_mul(BYTE_MICROS));
    }

    fn wait(&mut self, micros: u32) {
        self.delay.delay_us(micros);
        self.spent = self.spent.saturating_add(u64::from(micros));
    }
}

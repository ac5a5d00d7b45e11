//! The commands that this driver gives: their codes, how long they take, and whether they may be given again.
//!
//! Times are the longest ones at the smallest clock divider (M0), from the vendor's table; a chip with a larger divider
//! takes up to six times as long for a signature, which the deadline still covers.

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Counter,
    GenKey,
    Info,
    Lock,
    Nonce,
    Random,
    Read,
    Sign,
    Write,
}

impl Opcode {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Read => 0x02,
            Self::Write => 0x12,
            Self::Nonce => 0x16,
            Self::Lock => 0x17,
            Self::Random => 0x1b,
            Self::Counter => 0x24,
            Self::Info => 0x30,
            Self::GenKey => 0x40,
            Self::Sign => 0x41,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Nonce => "Nonce",
            Self::Lock => "Lock",
            Self::Random => "Random",
            Self::Counter => "Counter",
            Self::Info => "Info",
            Self::GenKey => "GenKey",
            Self::Sign => "Sign",
        }
    }

    /// When it is first asked whether the chip has finished, in microseconds.
    pub(crate) const fn first_poll_micros(self) -> u32 {
        match self {
            Self::Read | Self::Info => 500,
            Self::Nonce | Self::Write => 4_000,
            Self::Random | Self::Counter | Self::Lock => 8_000,
            Self::GenKey | Self::Sign => 40_000,
        }
    }

    /// How long the chip may take, in microseconds: six times the table's value at M0, for M2.
    pub(crate) const fn patience_micros(self) -> u64 {
        match self {
            Self::Read | Self::Info => 30_000,
            Self::Nonce => 120_000,
            Self::Random | Self::Counter => 150_000,
            Self::Lock => 210_000,
            Self::Write => 270_000,
            Self::GenKey | Self::Sign => 700_000,
        }
    }
}

/// One command with its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) p1: u8,
    pub(crate) p2: u16,
    pub(crate) data: &'a [u8],
    /// How many bytes a successful answer has in all.
    pub(crate) answer: u8,
    /// Whether it may be given again when its answer was lost.
    pub(crate) again: bool,
}

/// An answer that is a status byte.
pub(crate) const STATUS_ANSWER: u8 = 4;

impl<'a> Command<'a> {
    pub(crate) const fn new(opcode: Opcode, p1: u8, p2: u16, answer: u8) -> Self {
        Self {
            opcode,
            p1,
            p2,
            data: &[],
            answer,
            again: true,
        }
    }

    pub(crate) const fn with(mut self, data: &'a [u8]) -> Self {
        self.data = data;
        self
    }

    /// It changes something each time it is carried out.
    pub(crate) const fn only_once(mut self) -> Self {
        self.again = false;
        self
    }
}

//! Faults that can be switched on.

use std::str::FromStr;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The chip does not wake; nobody acknowledges.
    NoWake,
    /// Something else answers at the address: the word after waking is not this chip's.
    WrongWake,
    /// The chip wakes and says that its self test failed.
    SelfTest,
    /// A line is held low: every transfer fails.
    StuckBus,
    /// One bit of a request is another when it reaches the chip.
    RequestBit,
    /// One bit of an answer is another when it reaches the host; which one can be chosen.
    AnswerBit,
    /// The chip accepts a command and is busy for ever.
    Busy,
    /// The watchdog puts the chip to sleep before the command: TempKey and the digest are gone.
    Watchdog,
    /// Power goes away before a command that changes something has changed it.
    PowerCutBefore,
    /// Power goes away after it has, before the answer.
    PowerCutAfter,
    /// Power goes away in the middle: a written block is half new, a new key is no key.
    PowerCutHalf,
    /// The random number generator always gives the same.
    ConstantRandom,
    /// A second master answers in the chip's place, with a good checksum.
    SecondMaster,
    /// The key in the slot is another one from now on.
    KeyReplaced,
    /// The counters stand at their end.
    CounterExhausted,
    /// A bit of the digest is another inside the chip, after the checksum.
    DigestBit,
    /// A bit of the signature is another inside the chip, before the checksum.
    SignatureBit,
    /// A bit of the private scalar is another while signing.
    ScalarBit,
}

impl Fault {
    /// All kinds with the names that the program takes.
    pub const ALL: &[(&'static str, Self)] = &[
        ("no-wake", Self::NoWake),
        ("wrong-wake", Self::WrongWake),
        ("self-test", Self::SelfTest),
        ("stuck-bus", Self::StuckBus),
        ("request-bit", Self::RequestBit),
        ("answer-bit", Self::AnswerBit),
        ("busy", Self::Busy),
        ("watchdog", Self::Watchdog),
        ("power-cut-before", Self::PowerCutBefore),
        ("power-cut-after", Self::PowerCutAfter),
        ("power-cut-half", Self::PowerCutHalf),
        ("constant-random", Self::ConstantRandom),
        ("second-master", Self::SecondMaster),
        ("key-replaced", Self::KeyReplaced),
        ("counter-exhausted", Self::CounterExhausted),
        ("digest-bit", Self::DigestBit),
        ("signature-bit", Self::SignatureBit),
        ("scalar-bit", Self::ScalarBit),
    ];

    /// Always, for every command.
    #[must_use]
    pub const fn always(self) -> Planned {
        Planned {
            fault: self,
            opcode: None,
            skip: 0,
            times: u32::MAX,
            bit: 0,
        }
    }

    /// Once, at the next occasion.
    #[must_use]
    pub const fn once(self) -> Planned {
        let mut planned = self.always();
        planned.times = 1;
        planned
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, fault)| *fault)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
                format!("no fault is called {name}; there are {}", names.join(", "))
            })
    }
}

/// A fault with the occasions at which it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub(crate) fault: Fault,
    opcode: Option<u8>,
    skip: u32,
    times: u32,
    pub(crate) bit: usize,
}

impl Planned {
    /// Only while this command is under way: from its request to the reading of its answer.
    #[must_use]
    pub const fn on(mut self, opcode: u8) -> Self {
        self.opcode = Some(opcode);
        self
    }

    /// Only after so many occasions have passed.
    #[must_use]
    pub const fn after(mut self, occasions: u32) -> Self {
        self.skip = occasions;
        self
    }

    /// So many times and then no more.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Which bit, counted from the first bit of the first byte; taken modulo the length.
    #[must_use]
    pub const fn bit(mut self, bit: usize) -> Self {
        self.bit = bit;
        self
    }
}

/// What was switched on and has not been used up.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Planned>);

impl Faults {
    pub(crate) fn add(&mut self, planned: Planned) {
        self.0.push(planned);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the fault shows at this occasion, with the bit it concerns.
    pub(crate) fn strikes(&mut self, fault: Fault, opcode: Option<u8>) -> Option<usize> {
        for planned in &mut self.0 {
            if planned.fault != fault || planned.times == 0 {
                continue;
            }
            if planned.opcode.is_some() && planned.opcode != opcode {
                continue;
            }
            if planned.skip > 0 {
                planned.skip -= 1;
                continue;
            }
            if planned.times != u32::MAX {
                planned.times -= 1;
            }
            return Some(planned.bit);
        }
        None
    }
}

/// The same bytes with one bit turned.
pub(crate) fn flip(bytes: &mut [u8], bit: usize) {
    if bytes.is_empty() {
        return;
    }
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

//! The chip: its states of power, and what bytes on the bus do to it.

mod commands;
mod keys;
mod memory;
mod packet;
mod random;
mod zones;

use std::path::{Path, PathBuf};

use crate::bus::BusFault;
use crate::fault::{Fault, Faults, Planned, flip};
use crate::state;
pub use memory::{Factory, SIGNING_TEST_CONFIG};
pub(crate) use memory::{Memory, SLOT_BYTES};
use packet::Packet;
use random::Drbg;

/// From the wake pulse until the chip listens (tWHI, the least of the family's documents), in microseconds.
const WAKE_MICROS: u64 = 1_400;
/// From waking to the watchdog's bite (ATECC608: 0.7 s to 1.7 s, typically 1.3 s).
const WATCHDOG_MICROS: u64 = 1_300_000;
/// The answer to waking.
const WOKEN: [u8; 4] = [0x04, 0x11, 0x33, 0x43];
/// The answer to waking when the self test failed.
const SELF_TEST_FAILED: [u8; 4] = [0x04, 0x07, 0xc4, 0x40];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Asleep,
    Idle,
    Awake { since: u64, listens_at: u64 },
}

/// TempKey with the flags that internal signatures tell (ATECC608: TempKeyFlags).
#[derive(Clone, Copy, Debug, Default)]
struct TempKey {
    valid: bool,
    value: [u8; 32],
    key_id: u8,
    /// The value did not start from a random number of the chip.
    from_outside: bool,
    gen_dig: bool,
    gen_key: bool,
}

/// One chip.
#[derive(Debug)]
pub(crate) struct Chip {
    memory: Memory,
    state: Option<PathBuf>,
    random: Drbg,
    faults: Faults,
    power: Power,
    /// What the configuration said when the chip last woke from sleep.
    address: u8,
    busy_until: u64,
    output: Vec<u8>,
    pointer: usize,
    /// The command whose answer is in the output buffer.
    answering: Option<u8>,
    temp_key: TempKey,
    digest: Option<[u8; 32]>,
    sha_input: Option<Vec<u8>>,
    executed: Vec<u8>,
}

impl Chip {
    pub(crate) fn new(factory: Factory) -> Self {
        let random = Drbg::new(factory.seed());
        let memory = Memory::new(factory);
        Self {
            address: memory.config[16] >> 1,
            memory,
            state: None,
            random,
            faults: Faults::default(),
            power: Power::Asleep,
            busy_until: 0,
            output: Vec::new(),
            pointer: 0,
            answering: None,
            temp_key: TempKey::default(),
            digest: None,
            sha_input: None,
            executed: Vec::new(),
        }
    }

    pub(crate) fn with_state(factory: Factory, path: &Path) -> anyhow::Result<Self> {
        let mut chip = Self::new(factory);
        if let Some(memory) = state::load(path)? {
            chip.address = memory.config[16] >> 1;
            chip.memory = memory;
        }
        state::save(path, &chip.memory)?;
        chip.state = Some(path.to_owned());
        // The same numbers must not come again after a restart.
        chip.random = Drbg::new(None);
        Ok(chip)
    }

    pub(crate) fn inject(&mut self, planned: Planned) {
        match planned.fault {
            Fault::CounterExhausted => self.memory.exhaust_counters(),
            fault => {
                if fault == Fault::ConstantRandom {
                    self.random.stick();
                }
                self.faults.add(planned);
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.faults.clear();
        self.random.release();
    }

    pub(crate) fn power_cycle(&mut self) {
        self.fall_asleep();
        self.busy_until = 0;
    }

    pub(crate) fn take_executed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.executed)
    }

    pub(crate) fn configuration(&self) -> [u8; 128] {
        self.memory.config
    }

    pub(crate) fn private_key(&self, slot: usize) -> Option<[u8; 32]> {
        self.memory.keys[slot]
    }

    pub(crate) fn slot(&self, slot: usize) -> Vec<u8> {
        self.memory.slots[slot].clone()
    }

    /// A write on the bus: address, then bytes, if the address is acknowledged.
    pub(crate) fn write(&mut self, now: u64, address: u8, bytes: &[u8]) -> Result<(), BusFault> {
        self.watchdog(now);
        if self
            .faults
            .strikes(Fault::StuckBus, self.current(bytes))
            .is_some()
        {
            return Err(BusFault::Stuck);
        }
        if self.try_wake(now, address) {
            // The chip was not listening, so it acknowledges nothing.
            return Err(BusFault::NoAcknowledge);
        }
        if !self.listens(now) || address != self.address {
            return Err(BusFault::NoAcknowledge);
        }
        let Some((&word_address, rest)) = bytes.split_first() else {
            return Ok(());
        };
        match word_address {
            0x00 => self.pointer = 0,
            0x01 => self.fall_asleep(),
            0x02 => self.power = Power::Idle,
            0x03 => self.command(now, rest),
            // Other word addresses are acknowledged and mean nothing.
            _ => {}
        }
        Ok(())
    }

    /// A read on the bus. The pointer goes on from read to read; what is past the end reads as ones.
    pub(crate) fn read(&mut self, now: u64, address: u8, bytes: &mut [u8]) -> Result<(), BusFault> {
        self.watchdog(now);
        if self
            .faults
            .strikes(Fault::StuckBus, self.answering)
            .is_some()
        {
            return Err(BusFault::Stuck);
        }
        if self.try_wake(now, address) || !self.listens(now) || address != self.address {
            return Err(BusFault::NoAcknowledge);
        }
        for byte in bytes.iter_mut() {
            *byte = self.output.get(self.pointer).copied().unwrap_or(0xff);
            self.pointer += 1;
        }
        if let Some(bit) = self.faults.strikes(Fault::AnswerBit, self.answering) {
            // The bit is one of the whole answer; it may lie outside of what this transfer reads.
            let first = (self.pointer - bytes.len()) * 8;
            let bit = bit % (self.output.len().max(1) * 8);
            if (first..first + bytes.len() * 8).contains(&bit) {
                flip(bytes, bit - first);
            }
        }
        Ok(())
    }

    /// SDA low for 60 µs at 100 kHz is six zero bits in a row. The address is all that is sent to a chip that does not
    /// acknowledge.
    fn try_wake(&mut self, now: u64, address: u8) -> bool {
        let is_down = matches!(self.power, Power::Asleep | Power::Idle);
        let octet = address << 1;
        let pulse = octet.trailing_zeros().min(8) >= 6;
        if !is_down || !pulse {
            return false;
        }
        if self.faults.strikes(Fault::NoWake, None).is_none() {
            if self.power == Power::Asleep {
                self.forget();
                self.address = self.memory.config[16] >> 1;
            }
            self.power = Power::Awake {
                since: now,
                listens_at: now + WAKE_MICROS,
            };
            self.answering = None;
            self.output = if self.faults.strikes(Fault::SelfTest, None).is_some() {
                SELF_TEST_FAILED.to_vec()
            } else if self.faults.strikes(Fault::WrongWake, None).is_some() {
                vec![0x5a; 4]
            } else {
                WOKEN.to_vec()
            };
            self.pointer = 0;
            self.busy_until = 0;
        }
        true
    }

    fn listens(&self, now: u64) -> bool {
        matches!(self.power, Power::Awake { listens_at, .. } if now >= listens_at)
            && now >= self.busy_until
    }

    fn watchdog(&mut self, now: u64) {
        if let Power::Awake { since, .. } = self.power
            && now.saturating_sub(since) > WATCHDOG_MICROS
        {
            self.fall_asleep();
        }
    }

    fn fall_asleep(&mut self) {
        self.power = Power::Asleep;
        self.forget();
    }

    /// What is lost when the chip sleeps.
    fn forget(&mut self) {
        self.temp_key = TempKey::default();
        self.digest = None;
        self.sha_input = None;
        self.output.clear();
        self.pointer = 0;
        self.answering = None;
    }

    /// The command that a write is about.
    fn current(&self, bytes: &[u8]) -> Option<u8> {
        match bytes {
            [0x03, _, opcode, ..] => Some(*opcode),
            _ => self.answering,
        }
    }

    /// A packet has arrived: its checksum is looked at, it is executed, and its answer waits until the time is over.
    fn command(&mut self, now: u64, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let opcode = bytes.get(1).copied();
        if let Some(bit) = self.faults.strikes(Fault::RequestBit, opcode) {
            flip(&mut bytes, bit);
        }
        self.pointer = 0;
        self.answering = opcode;
        let Ok(packet) = Packet::parse(&bytes) else {
            self.output = packet::status(0xff);
            self.busy_until = now + 300;
            return;
        };
        if self.faults.strikes(Fault::Watchdog, opcode).is_some() {
            self.fall_asleep();
            return;
        }
        if self.faults.strikes(Fault::Busy, opcode).is_some() {
            self.busy_until = u64::MAX;
            return;
        }
        let takes = commands::micros(packet.opcode);
        if let Power::Awake { since, .. } = self.power
            && now + takes > since + WATCHDOG_MICROS
        {
            self.output = packet::status(0xee);
            self.busy_until = now + 300;
            return;
        }
        self.execute_and_keep(now, &packet, takes);
    }

    fn execute_and_keep(&mut self, now: u64, packet: &Packet<'_>, takes: u64) {
        let before = self.memory.clone();
        let cut = [
            Fault::PowerCutBefore,
            Fault::PowerCutHalf,
            Fault::PowerCutAfter,
        ]
        .into_iter()
        .find(|fault| self.faults.strikes(*fault, Some(packet.opcode)).is_some());
        self.executed.push(packet.opcode);
        self.output = match self.execute(packet) {
            Ok(payload) => packet::answer(&payload),
            Err(status) => packet::status(status),
        };
        match cut {
            Some(Fault::PowerCutBefore) => self.memory = before,
            Some(Fault::PowerCutHalf) => self.memory.tear(&before),
            _ => {}
        }
        self.save();
        if cut.is_some() {
            self.power_cycle();
            return;
        }
        if self
            .faults
            .strikes(Fault::SecondMaster, Some(packet.opcode))
            .is_some()
        {
            let payload = self.random.foreign(self.output.len() - 3);
            self.output = packet::answer(&payload);
        }
        self.busy_until = now + takes;
    }

    fn save(&self) {
        if let Some(path) = &self.state {
            state::save(path, &self.memory).expect("the state file can be written");
        }
    }
}

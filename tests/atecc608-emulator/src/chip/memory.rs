//! What stays without power: configuration, one-time bytes, slots, keys, counters.

use serde::{Deserialize, Serialize};

/// The size of each data slot (ATECC608: EEPROM data zone).
pub(crate) const SLOT_BYTES: [usize; 16] = [
    36, 36, 36, 36, 36, 36, 36, 36, 416, 72, 72, 72, 72, 72, 72, 72,
];

/// The largest value of a monotonic counter.
pub(crate) const COUNTER_MAX: u32 = 2_097_151;

/// SlotConfig and KeyConfig of a chip for tests: slot 0 and 2 to 4 sign (keys can be made again), slot 1 attests,
/// slot 5 is clear data, slots 8 to 15 are data that can be written in the clear.
pub const SIGNING_TEST_CONFIG: ([u16; 16], [u16; 16]) = (
    [
        0x2083, 0x2082, 0x2083, 0x2083, 0x2083, 0x0000, 0x8080, 0x8080, 0x0000, 0x0000, 0x0000,
        0x0000, 0x0000, 0x0000, 0x0000, 0x0000,
    ],
    [
        0x0033, 0x0033, 0x0033, 0x0033, 0x0033, 0x003c, 0x001c, 0x001c, 0x003c, 0x003c, 0x003c,
        0x0030, 0x003c, 0x003c, 0x003c, 0x003c,
    ],
);

/// SlotConfig as chips leave the maker.
const BLANK_SLOT_CONFIG: [u16; 16] = [
    0x2083, 0x2087, 0x208f, 0x8fc4, 0x8f8f, 0x8f8f, 0x8f9f, 0x8faf, 0, 0, 0, 0, 0, 0, 0, 0x8faf,
];
/// KeyConfig as chips leave the maker.
const BLANK_KEY_CONFIG: [u16; 16] = [
    0x0033, 0x0033, 0x0033, 0x001c, 0x001c, 0x001c, 0x001c, 0x001c, 0x003c, 0x003c, 0x003c, 0x003c,
    0x003c, 0x003c, 0x003c, 0x001c,
];

/// How a chip is when it is first put on the bus.
#[derive(Clone, Debug)]
pub struct Factory {
    seed: Option<u64>,
    serial: [u8; 9],
    address: u8,
    slots: ([u16; 16], [u16; 16]),
    locked: bool,
}

impl Factory {
    /// A blank chip at 0x60: nothing is locked. The same seed gives the same random numbers and keys.
    #[must_use]
    pub fn blank(seed: u64) -> Self {
        let [.., a, b, c] = seed.to_be_bytes();
        Self {
            seed: Some(seed),
            serial: [0x01, 0x23, 0xc6, 0x8e, 0x5b, a, b, c, 0xee],
            address: 0x60,
            slots: (BLANK_SLOT_CONFIG, BLANK_KEY_CONFIG),
            locked: false,
        }
    }

    /// A chip with [`SIGNING_TEST_CONFIG`], both zones locked, no keys yet.
    #[must_use]
    pub fn provisioned(seed: u64) -> Self {
        let mut factory = Self::blank(seed);
        factory.slots = SIGNING_TEST_CONFIG;
        factory.locked = true;
        factory
    }

    /// Random numbers that nobody can repeat, for a chip that is used by hand.
    #[must_use]
    pub fn unpredictable(mut self) -> Self {
        self.seed = None;
        self
    }

    /// Another 7-bit address.
    #[must_use]
    pub fn at(mut self, address: u8) -> Self {
        self.address = address;
        self
    }

    /// Another SlotConfig and KeyConfig for one slot.
    #[must_use]
    pub fn slot(mut self, slot: usize, slot_config: u16, key_config: u16) -> Self {
        self.slots.0[slot] = slot_config;
        self.slots.1[slot] = key_config;
        self
    }

    pub(super) fn seed(&self) -> Option<u64> {
        self.seed
    }
}

/// The non-volatile memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    #[serde(with = "crate::state::hexadecimal")]
    pub(crate) config: [u8; 128],
    #[serde(with = "crate::state::hexadecimal")]
    pub(crate) otp: [u8; 64],
    pub(crate) slots: Vec<Vec<u8>>,
    pub(crate) keys: [Option<[u8; 32]>; 16],
    pub(crate) counters: [u32; 2],
}

impl Memory {
    pub(super) fn new(factory: Factory) -> Self {
        let mut config = [0; 128];
        config[0..4].copy_from_slice(&factory.serial[0..4]);
        config[4..8].copy_from_slice(&[0x00, 0x00, 0x60, 0x02]);
        config[8..13].copy_from_slice(&factory.serial[4..9]);
        config[13] = 0x01;
        config[14] = 0x01;
        config[16] = factory.address << 1;
        for (at, word) in factory.slots.0.iter().enumerate() {
            config[20 + at * 2..22 + at * 2].copy_from_slice(&word.to_le_bytes());
        }
        config[52..56].fill(0xff);
        config[60..64].fill(0xff);
        let lock = if factory.locked { 0x00 } else { 0x55 };
        config[86..88].fill(lock);
        config[88..90].fill(0xff);
        for (at, word) in factory.slots.1.iter().enumerate() {
            config[96 + at * 2..98 + at * 2].copy_from_slice(&word.to_le_bytes());
        }
        Self {
            config,
            otp: [0; 64],
            slots: SLOT_BYTES.iter().map(|size| vec![0; *size]).collect(),
            keys: [None; 16],
            counters: [0; 2],
        }
    }

    pub(super) fn config_locked(&self) -> bool {
        self.config[87] != 0x55
    }

    pub(super) fn data_locked(&self) -> bool {
        self.config[86] != 0x55
    }

    pub(super) fn slot_locked(&self, slot: usize) -> bool {
        self.config[88 + slot / 8] & (1 << (slot % 8)) == 0
    }

    pub(super) fn slot_config(&self, slot: usize) -> u16 {
        u16::from_le_bytes([self.config[20 + slot * 2], self.config[21 + slot * 2]])
    }

    pub(super) fn key_config(&self, slot: usize) -> u16 {
        u16::from_le_bytes([self.config[96 + slot * 2], self.config[97 + slot * 2]])
    }

    /// Whether the slot holds a private P-256 key.
    pub(super) fn is_private(&self, slot: usize) -> bool {
        let config = self.key_config(slot);
        config & 1 == 1 && (config >> 2) & 7 == 4
    }

    pub(super) fn exhaust_counters(&mut self) {
        self.counters = [COUNTER_MAX; 2];
    }

    /// What there is after power went away in the middle of a change: the first half of what changed.
    pub(super) fn tear(&mut self, before: &Self) {
        for (new, old) in self.keys.iter_mut().zip(&before.keys) {
            if new != old {
                *new = None;
            }
        }
        half(&mut self.config, &before.config);
        half(&mut self.otp, &before.otp);
        for (new, old) in self.slots.iter_mut().zip(&before.slots) {
            half(new, old);
        }
    }
}

/// Undoes the second half of what differs.
fn half(new: &mut [u8], old: &[u8]) {
    let changed: Vec<usize> = (0..new.len()).filter(|at| new[*at] != old[*at]).collect();
    for at in &changed[changed.len() / 2..] {
        new[*at] = old[*at];
    }
}

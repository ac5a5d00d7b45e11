//! The configuration zone: 128 bytes that rule what each slot is and what may be done with it.

use core::fmt;

use countersign_atecc608_rules::{KeyConfig, SlotConfig};

/// A chip's serial number, 9 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial(pub [u8; 9]);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

/// The number of a slot, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// The slot of this number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 16 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// How many bytes it holds (ATECC608: 36, 416 or 72).
    #[must_use]
    pub const fn size(self) -> usize {
        match self.0 {
            0..=7 => 36,
            8 => 416,
            _ => 72,
        }
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The configuration zone as it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Configuration([u8; 128]);

impl Configuration {
    /// The zone with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 128]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 128] {
        &self.0
    }

    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> Serial {
        let mut serial = [0; 9];
        let from = (0..4).chain(8..13);
        for (byte, at) in serial.iter_mut().zip(from) {
            *byte = self.byte(at);
        }
        Serial(serial)
    }

    /// The 7-bit address on the bus.
    #[must_use]
    pub fn address(&self) -> u8 {
        self.byte(16) >> 1
    }

    /// Whether this zone can no longer be changed.
    #[must_use]
    pub fn config_locked(&self) -> bool {
        self.byte(87) != 0x55
    }

    /// Whether data and one-time zones are under the rules of this one.
    #[must_use]
    pub fn data_locked(&self) -> bool {
        self.byte(86) != 0x55
    }

    /// Whether the slot was locked on its own.
    #[must_use]
    pub fn slot_locked(&self, slot: Slot) -> bool {
        let bits = u16::from_le_bytes([self.byte(88), self.byte(89)]);
        bits.checked_shr(u32::from(slot.number())).unwrap_or(0) & 1 == 0
    }

    /// What may be done with the slot.
    #[must_use]
    pub fn slot(&self, slot: Slot) -> SlotConfig {
        SlotConfig(self.word(20, slot))
    }

    /// What kind of key it holds.
    #[must_use]
    pub fn key(&self, slot: Slot) -> KeyConfig {
        KeyConfig(self.word(96, slot))
    }

    /// The same with another address on the bus.
    #[must_use]
    pub fn with_address(&self, address: u8) -> Self {
        let mut changed = *self;
        changed.set(16, address.checked_shl(1).unwrap_or(0));
        changed
    }

    /// The same with another SlotConfig and KeyConfig for one slot.
    #[must_use]
    pub fn with_slot(&self, slot: Slot, (slot_config, key_config): (u16, u16)) -> Self {
        let mut changed = *self;
        for (start, word) in [(20_usize, slot_config), (96, key_config)] {
            let at = start.saturating_add(slot.index().saturating_mul(2));
            let [low, high] = word.to_le_bytes();
            changed.set(at, low);
            changed.set(at.saturating_add(1), high);
        }
        changed
    }

    fn set(&mut self, at: usize, value: u8) {
        if let Some(byte) = self.0.get_mut(at) {
            *byte = value;
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn word(&self, start: usize, slot: Slot) -> u16 {
        let at = start.saturating_add(slot.index().saturating_mul(2));
        u16::from_le_bytes([self.byte(at), self.byte(at.saturating_add(1))])
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Configuration(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

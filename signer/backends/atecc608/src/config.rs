//! The configuration zone: 128 bytes that rule what each slot is and what may be done with it.

use core::fmt;

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

/// SlotConfig of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotConfig(pub u16);

impl SlotConfig {
    const fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    /// Private keys: the slot signs messages from outside (ReadKey bit 0).
    #[must_use]
    pub const fn signs_external(self) -> bool {
        self.has(0x0001)
    }

    /// Private keys: the slot signs what the chip states itself (ReadKey bit 1).
    #[must_use]
    pub const fn signs_internal(self) -> bool {
        self.has(0x0002)
    }

    /// The content is secret and never read in the clear.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        self.has(0x0080)
    }

    /// Reading needs encryption.
    #[must_use]
    pub const fn encrypts_reads(self) -> bool {
        self.has(0x0040)
    }

    /// Private keys: a new key can be made in the chip at any time (WriteConfig bit 1).
    #[must_use]
    pub const fn allows_generation(self) -> bool {
        self.has(0x2000)
    }

    /// Private keys: a key from outside can be put in (WriteConfig bit 2).
    #[must_use]
    pub const fn allows_private_write(self) -> bool {
        self.has(0x4000)
    }
}

/// KeyConfig of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyConfig(pub u16);

impl KeyConfig {
    /// The slot holds a private key.
    #[must_use]
    pub const fn is_private(self) -> bool {
        self.0 & 0x0001 != 0
    }

    /// The public key of the private one can be asked for at any time.
    #[must_use]
    pub const fn tells_public(self) -> bool {
        self.0 & 0x0002 != 0
    }

    /// KeyType: 4 is P-256.
    #[must_use]
    pub const fn is_p256(self) -> bool {
        (self.0 >> 2) & 7 == 4
    }

    /// The slot can be locked on its own.
    #[must_use]
    pub const fn is_lockable(self) -> bool {
        self.0 & 0x0020 != 0
    }

    /// Use needs authorisation (ReqAuth), which this driver does not give.
    #[must_use]
    pub const fn needs_authorisation(self) -> bool {
        self.0 & 0x0080 != 0
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

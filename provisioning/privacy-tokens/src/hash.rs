//! Who a device is, as a hash.

use std::fmt;

/// The 32-byte hash of a device's hardware identity, made at the factory. What it was made from is kept nowhere.
///
/// It links a device's tokens, so it is treated as a secret: `Debug` does not show it, and comparing takes a time that tells
/// nothing.
#[derive(Clone)]
pub struct HardwareHash([u8; 32]);

impl HardwareHash {
    /// The hash as it was made.
    #[must_use]
    pub fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The bytes, for who keeps or looks up.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for HardwareHash {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for HardwareHash {}

impl fmt::Debug for HardwareHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HardwareHash(..)")
    }
}

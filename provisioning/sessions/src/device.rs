//! What stands in the fixture: a store of keys, the hardware's own word for it, and perhaps room for a chain.

mod chip;
mod makers;
pub(crate) mod open;
mod plain;
#[cfg(feature = "tpm")]
mod tpm;

use countersign_format::{AttestationHardware, Digest};
use countersign_keys::{Challenge, KeyInfo, KeyProvider, KeyUri};

use crate::Error;

pub use chip::{Chip, ChipMemory};
pub use makers::chip::ChipMakers;
#[cfg(feature = "tpm")]
pub use makers::tpm::TpmMakers;
pub use open::{Devices, StoreDevices};
pub use plain::Plain;
#[cfg(feature = "tpm")]
pub use tpm::Tpm;

/// A device, as a session uses it.
pub trait Device: Send + Sync {
    /// Its keys.
    fn keys(&self) -> &dyn KeyProvider;

    /// What tells this hardware from any other; none where nothing does.
    ///
    /// # Errors
    /// What the hardware reports.
    fn hardware(&self) -> Result<Option<Hardware>, Error>;

    /// Has the hardware vouch for a key in answer to a fresh challenge, and judges what it says. What is missing for that, an
    /// attestation key, is made.
    ///
    /// # Errors
    /// [`Error::Attestation`] unless the key was made in this hardware and cannot leave it.
    fn attest(&self, key: &KeyInfo, challenge: &Challenge) -> Result<Attested, Error>;

    /// Where in the device the chain goes; none where it goes beside it only.
    fn memory(&self) -> Option<&dyn Memory>;

    /// The serial number that consent to lock must name; none where nothing can be locked.
    ///
    /// # Errors
    /// What the hardware reports.
    fn lock_serial(&self, key: &KeyUri) -> Result<Option<String>, Error>;
}

/// Room in a device for what is public.
pub trait Memory: Send + Sync {
    /// Where that is, in words.
    fn place(&self) -> String;

    /// How many bytes there is room for.
    fn room(&self) -> usize;

    /// Keeps these bytes instead of others.
    ///
    /// # Errors
    /// What the hardware reports.
    fn write(&self, bytes: &[u8]) -> Result<(), Error>;

    /// What is kept.
    ///
    /// # Errors
    /// What the hardware reports.
    fn read(&self) -> Result<Vec<u8>, Error>;
}

/// What identifies hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// In words, such as a chip's serial number.
    pub name: String,
    hash: [u8; 32],
}

impl Hardware {
    /// Hardware of this kind that is told from others by these bytes.
    #[must_use]
    pub fn new(kind: &str, bytes: &[u8], name: String) -> Self {
        let text = [b"countersign hardware\n", kind.as_bytes(), b"\n", bytes].concat();
        Self {
            name,
            hash: *Digest::of(&text).as_bytes(),
        }
    }

    /// SHA-256 over kind and bytes, as the registry has it.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

/// What vouches for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The hardware; none if nothing does.
    pub by: Option<AttestationHardware>,
}

impl Attested {
    /// A stable word for records: `tpm`, `atecc608`, `none`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.by.map_or("none", AttestationHardware::as_str)
    }
}

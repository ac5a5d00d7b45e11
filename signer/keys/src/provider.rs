//! One abstraction over every store of private keys: what it can do is asked for, not assumed.
//!
//! A store that cannot do something says so ([`ErrorKind::Unsupported`]); none does it in
//! software instead. Keys come out of a store as a [`SigningKey`], which checks every signature.

use crate::{Algorithm, Error, ErrorKind, Evidence, KeyUri, PublicKey, SigningKey};
use std::fmt;

/// A store of private keys: a folder of files, a TPM, a secure element, a token.
///
/// Each call ends within the store's own deadline, with what was asked or with an [`Error`] that names the remedy.
/// A store is shared between threads; where the device takes one command at a time, calls wait for each other.
pub trait KeyProvider: Send + Sync {
    /// Which device this is, in one line for people: `TPM 2.0 of IBM, firmware 8217.4131`.
    ///
    /// # Errors
    /// What the store reports if it must be asked.
    fn describe(&self) -> Result<String, Error>;

    /// What this store can do with keys.
    fn capabilities(&self) -> Capabilities;

    /// Makes a new key inside the store, under the name that `key` gives. The private half never leaves a store whose
    /// [`Capabilities::hardware`] is set.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is a key of that name: a key is never replaced by a new
    /// one in silence; [`ErrorKind::Unsupported`] for what the store cannot promise.
    fn generate(&self, key: &KeyUri, template: &KeyTemplate) -> Result<KeyInfo, Error>;

    /// Opens a key for signing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such key, and what the store reports.
    fn open(&self, key: &KeyUri) -> Result<SigningKey, Error>;

    /// What is known about one key.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn show(&self, key: &KeyUri) -> Result<KeyInfo, Error>;

    /// The store's signing keys, in the order of their names.
    ///
    /// # Errors
    /// What the store reports; [`ErrorKind::Unsupported`] if it cannot tell.
    fn list(&self) -> Result<Vec<KeyInfo>, Error>;

    /// Removes a key for good. There is no way back: what it signed can still be verified, nothing new can be signed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`];
    /// [`ErrorKind::Unsupported`] where keys are permanent.
    fn delete(&self, key: &KeyUri) -> Result<(), Error>;

    /// Lets the device vouch for a key: that it was made inside and cannot leave.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the device has no means to; attributes that a
    /// library reports are no evidence.
    fn attest(&self, key: &KeyUri, challenge: &Challenge) -> Result<Evidence, Error>;

    /// Lets the device vouch for the state of the boot: the present values of these registers (SHA-256 bank; at least
    /// one), signed by an attestation key of this store.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the device keeps no such registers, as is the case
    /// unless a store says otherwise; [`ErrorKind::NotFound`] if there is no such key.
    fn state(
        &self,
        attestation_key: &KeyUri,
        registers: &[u8],
        challenge: &Challenge,
    ) -> Result<Evidence, Error> {
        let _ = (registers, challenge);
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the store of {attestation_key} keeps no state of the boot that it could vouch for; use a TPM"
            ),
        ))
    }

    /// Makes a key, or the configuration that it depends on, unchangeable. **This cannot be undone.**
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where nothing can be locked;
    /// [`ErrorKind::Permissions`] if `consent` names another device.
    fn lock(&self, key: &KeyUri, consent: &LockConsent) -> Result<(), Error>;
}

/// What a store can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The algorithms in which new keys can be made.
    pub algorithms: Vec<Algorithm>,
    /// Private keys are made inside a device and cannot be read out of it.
    pub hardware: bool,
    /// [`KeyProvider::generate`] works.
    pub generate: bool,
    /// [`KeyProvider::list`] works.
    pub list: bool,
    /// [`KeyProvider::delete`] works.
    pub delete: bool,
    /// [`KeyProvider::attest`] works.
    pub attest: bool,
    /// [`KeyProvider::lock`] works.
    pub lock: bool,
    /// Keys can be bound to the state of the boot ([`KeyTemplate::boot_state`]).
    pub boot_state: bool,
}

impl Capabilities {
    /// A store that opens keys and can do nothing else; set what it can do besides.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            algorithms: Vec::new(),
            hardware: false,
            generate: false,
            list: false,
            delete: false,
            attest: false,
            lock: false,
            boot_state: false,
        }
    }
}

/// What a new key shall be. All of it is fixed when the key is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyTemplate {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What the key may be used for.
    pub usage: KeyUsage,
    /// Platform configuration registers (SHA-256 bank) whose present values are needed for every signature. Empty: none.
    pub boot_state: Vec<u8>,
}

impl KeyTemplate {
    /// A key that signs messages and depends on no register.
    #[must_use]
    pub const fn signing(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            usage: KeyUsage::Signing,
            boot_state: Vec::new(),
        }
    }

    /// A key that signs what its device states, and nothing else.
    #[must_use]
    pub const fn attestation(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            usage: KeyUsage::Attestation,
            boot_state: Vec::new(),
        }
    }

    /// The same key, usable only while these registers hold what they hold when it is made.
    #[must_use]
    pub fn bound_to(mut self, registers: &[u8]) -> Self {
        self.boot_state = registers.to_vec();
        self.boot_state.sort_unstable();
        self.boot_state.dedup();
        self
    }
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyUsage {
    /// Messages of any content.
    Signing,
    /// Only what the device itself states (TPM: restricted; ATECC608: internal messages).
    Attestation,
}

/// What is known about a key without using it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its name.
    pub uri: KeyUri,
    /// The public half.
    pub public: PublicKey,
    /// What it may be used for.
    pub usage: KeyUsage,
    /// Where the private half was made, as far as the store tells. It is no evidence.
    pub origin: Origin,
    /// Whether the key, or the part of the configuration that rules it, can no longer be changed.
    pub locked: bool,
    /// The registers that it is bound to; empty if none.
    pub boot_state: Vec<u8>,
}

impl KeyInfo {
    /// A signing key of unknown origin, not locked and bound to nothing; set what is known.
    #[must_use]
    pub const fn new(uri: KeyUri, public: PublicKey) -> Self {
        Self {
            uri,
            public,
            usage: KeyUsage::Signing,
            origin: Origin::Unknown,
            locked: false,
            boot_state: Vec::new(),
        }
    }
}

/// Where a private key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Inside the device, and it cannot leave.
    Device,
    /// Outside, and put into the device.
    Imported,
    /// In software; it lies in a file.
    Software,
    /// The store does not tell.
    Unknown,
}

impl Origin {
    /// A stable word for logs: `device`, `imported`, `software`, `unknown`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Imported => "imported",
            Self::Software => "software",
            Self::Unknown => "unknown",
        }
    }
}

/// Fresh bytes of whoever asks for evidence, so that old evidence does not answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge([u8; 32]);

impl Challenge {
    /// The challenge; 32 bytes that were never used before.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// That somebody knows what locking takes away, and which device it is: the serial number that the device itself tells
/// must be given.
#[derive(Clone, PartialEq, Eq)]
pub struct LockConsent {
    serial: String,
}

impl LockConsent {
    /// Consent to lock the device of this serial number, in lower-case hexadecimal digits. What will be lost must have
    /// been shown before.
    #[must_use]
    pub fn for_device_with_serial(serial: &str) -> Self {
        Self {
            serial: serial.to_ascii_lowercase(),
        }
    }

    /// Whether it names this device.
    #[must_use]
    pub fn covers(&self, serial: &[u8]) -> bool {
        let mut digits = String::new();
        for byte in serial {
            use fmt::Write as _;
            // Writing to a string cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        !serial.is_empty() && digits == self.serial
    }
}

impl fmt::Debug for LockConsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockConsent({})", self.serial)
    }
}

/// What a search of the machine for one kind of store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// Where was looked: a device file, a bus and address, a module.
    pub place: String,
    /// What is there.
    pub found: Found,
}

/// The answer of one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A store that can be used.
    Ready {
        /// As [`KeyProvider::describe`] says.
        description: String,
        /// What a key URI for it looks like.
        example: KeyUri,
    },
    /// Something is there and cannot be used, or nothing is.
    Missing {
        /// Why, in a sentence that ends with the remedy.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_covers_the_device_that_it_names_and_no_other() {
        let consent = LockConsent::for_device_with_serial("0123AB");
        assert!(consent.covers(&[0x01, 0x23, 0xab]));
        assert!(!consent.covers(&[0x01, 0x23, 0xac]));
        assert!(!consent.covers(&[0x01, 0x23]));
        assert!(!LockConsent::for_device_with_serial("").covers(&[]));
    }

    #[test]
    fn registers_are_a_set() {
        let template = KeyTemplate::signing(Algorithm::Esp256).bound_to(&[7, 0, 7, 2]);
        assert_eq!(template.boot_state, [0, 2, 7]);
    }
}

//! What a slot's configuration must say before its key counts as one that cannot leave.
//!
//! Decided here, for the driver, which reads the configuration, and for whoever judges the chip's evidence, which repeats
//! it: so there is one rule. Without operating system, allocator or dependencies.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

/// Why a slot's key is not accepted. Each is a property of the configuration; none can be mended once that is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unfit {
    /// The configuration zone can still be changed, and so everything it says.
    ConfigUnlocked,
    /// The data zone is not under the configuration's rules yet.
    DataUnlocked,
    /// The slot is not for a private key on P-256.
    NoP256Key,
    /// The slot does not say that its content is secret.
    NotSecret,
    /// A key from outside can be put in (PrivWrite), so that whoever wrote it may still have it.
    Importable,
    /// The key's use needs an authorisation that this driver does not give.
    NeedsAuthorisation,
    /// The public key cannot be asked for.
    PublicHidden,
    /// The slot does not sign messages from outside.
    NoExternalSignatures,
    /// An attestation key that also signs messages from outside can be made to say anything.
    ExternalSignatures,
    /// The slot does not sign the chip's own messages.
    NoInternalSignatures,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigUnlocked => {
                "the configuration is not locked, so everything that it says can be changed"
            }
            Self::DataUnlocked => {
                "the data zone is not locked, so the configuration does not bind it yet"
            }
            Self::NoP256Key => "the slot is not for a private P-256 key",
            Self::NotSecret => "the slot is not marked as secret",
            Self::Importable => {
                "the slot takes keys from outside (PrivWrite), so somebody may have a copy"
            }
            Self::NeedsAuthorisation => {
                "the key needs an authorisation (ReqAuth), which is not supported"
            }
            Self::PublicHidden => "the slot does not tell the public key (PubInfo)",
            Self::NoExternalSignatures => "the slot does not sign messages from outside",
            Self::ExternalSignatures => {
                "the slot also signs messages from outside, so an attestation by it is worth nothing"
            }
            Self::NoInternalSignatures => "the slot does not sign the chip's own messages",
        })
    }
}

/// Whether SlotConfig and KeyConfig make a key that was made in the chip and stays there.
///
/// # Errors
/// The first rule that is broken.
pub fn inspect_slot(slot: SlotConfig, key: KeyConfig) -> Result<(), Unfit> {
    if !key.is_private() || !key.is_p256() {
        return Err(Unfit::NoP256Key);
    }
    if slot.allows_private_write() {
        return Err(Unfit::Importable);
    }
    if !slot.is_secret() {
        return Err(Unfit::NotSecret);
    }
    if key.needs_authorisation() {
        return Err(Unfit::NeedsAuthorisation);
    }
    if !key.tells_public() {
        return Err(Unfit::PublicHidden);
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A signing key that can be made anew, as factories configure it.
    const SLOT: u16 = 0x2083;
    const KEY: u16 = 0x0033;

    fn inspect(slot: u16, key: u16) -> Result<(), Unfit> {
        inspect_slot(SlotConfig(slot), KeyConfig(key))
    }

    #[test]
    fn tf20_a_slot_that_lets_a_key_in_or_out_is_refused() {
        assert_eq!(inspect(SLOT, KEY), Ok(()));
        assert_eq!(inspect(0x0083, 0x0013), Ok(()));
        for (slot, key, unfit) in [
            (SLOT | 0x4000, KEY, Unfit::Importable),
            (SLOT & !0x0080, KEY, Unfit::NotSecret),
            (SLOT, KEY & !1, Unfit::NoP256Key),
            (SLOT, (KEY & !0x1c) | 0x18, Unfit::NoP256Key),
            (SLOT, KEY | 0x0080, Unfit::NeedsAuthorisation),
            (SLOT, KEY & !2, Unfit::PublicHidden),
        ] {
            assert_eq!(inspect(slot, key), Err(unfit), "{slot:04x} {key:04x}");
        }
    }
}

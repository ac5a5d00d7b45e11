//! What a slot's configuration must say before its key counts as one that cannot leave.

use crate::config::{Configuration, KeyConfig, Slot, SlotConfig};
use core::fmt;

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It signs digests from outside.
    Signing,
    /// It signs what the chip states, and nothing from outside.
    Attestation,
}

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

/// The same, with what the purpose needs, in a chip with this configuration.
///
/// # Errors
/// The first rule that is broken.
pub fn inspect_purpose(
    configuration: &Configuration,
    slot: Slot,
    purpose: Purpose,
) -> Result<(), Unfit> {
    let config = configuration.slot(slot);
    inspect_slot(config, configuration.key(slot))?;
    match purpose {
        Purpose::Signing if !config.signs_external() => Err(Unfit::NoExternalSignatures),
        Purpose::Attestation if config.signs_external() => Err(Unfit::ExternalSignatures),
        Purpose::Attestation if !config.signs_internal() => Err(Unfit::NoInternalSignatures),
        _ => Ok(()),
    }
}

/// Whether both zones are locked, so that the configuration is true and stays so.
///
/// # Errors
/// [`Unfit::ConfigUnlocked`], [`Unfit::DataUnlocked`].
pub fn inspect_locks(configuration: &Configuration) -> Result<(), Unfit> {
    if !configuration.config_locked() {
        return Err(Unfit::ConfigUnlocked);
    }
    if !configuration.data_locked() {
        return Err(Unfit::DataUnlocked);
    }
    Ok(())
}

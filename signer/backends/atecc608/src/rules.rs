//! What a chip's configuration must say before the key in a slot counts as one that cannot leave and serves its purpose.
//! What the slot's own two words must say is decided in a crate of its own, which verifiers share.

use crate::config::{Configuration, Slot};
use countersign_atecc608_rules::{Unfit, inspect_slot};

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It signs digests from outside.
    Signing,
    /// It signs what the chip states, and nothing from outside.
    Attestation,
}

/// Whether a slot holds a key that was made in the chip and stays there ([`inspect_slot`]), with what the purpose needs, in
/// a chip with this configuration.
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

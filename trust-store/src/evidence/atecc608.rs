//! What an ATECC608 signed about one of its keys. The message is made again by the crate of keys; here is decided what it
//! must say.

use countersign_atecc608_rules::{KeyConfig, SlotConfig, Unfit, inspect_slot};
use countersign_format::Atecc608Proof;
use countersign_keys::{Atecc608Evidence, Challenge};

use super::{AttestedHardware, invalid};
use crate::{Rejection, VerifiedChain};

/// The 55 bytes that the chip signed.
pub(super) fn message(
    proof: &Atecc608Proof,
    chain: &VerifiedChain,
    challenge: &Challenge,
) -> Result<Vec<u8>, Rejection> {
    Ok(evidence(proof, chain)?.message(challenge))
}

/// Judges evidence whose signature verified.
pub(super) fn inspect(
    proof: &Atecc608Proof,
    chain: &VerifiedChain,
) -> Result<AttestedHardware, Rejection> {
    if proof.slot == proof.attestation_slot {
        return Err(invalid("a key of the chip vouches for itself"));
    }
    let slot = SlotConfig(proof.slot_config);
    inspect_slot(slot, KeyConfig(proof.key_config)).map_err(|unfit| invalid(reason(unfit)))?;
    Ok(AttestedHardware::Atecc608Key {
        serial: proof.serial,
        slot: proof.slot,
        key: evidence(proof, chain)?.public,
        replaceable: proof.slot_unlocked && slot.allows_generation(),
    })
}

fn evidence(proof: &Atecc608Proof, chain: &VerifiedChain) -> Result<Atecc608Evidence, Rejection> {
    Atecc608Evidence::from_proof(proof, chain.key().clone())
        .map_err(|_| invalid("the attested point is not on P-256"))
}

const fn reason(unfit: Unfit) -> &'static str {
    match unfit {
        Unfit::Importable => {
            "the chip's slot takes keys from outside, so somebody may have a copy of the key"
        }
        Unfit::NoP256Key => "the chip's slot is not for a private P-256 key",
        Unfit::NotSecret => "the chip's slot is not marked as secret",
        _ => "the chip's slot is not configured for a signing key that stays in it",
    }
}

//! Whether evidence of an ATECC608 convinces. A pure function: no device is asked.
//!
//! The chip signs 55 bytes that it makes itself (Sign, internal): a digest over a random number of its own, the asker's
//! challenge and the attested public key, then the configuration and the lock of the slot, and its serial number. All of
//! that is in the evidence, so the message can be made again.

use crate::config::{KeyConfig, SlotConfig};
use crate::rules::{Unfit, inspect_slot};
use countersign_keys::{Algorithm, Atecc608Evidence, Challenge, PublicKey};
use sha2::{Digest as _, Sha256};
use std::vec::Vec;

/// Nonce: random, with new seed.
const NONCE_MODE: u8 = 0x00;
/// GenKey: digest of the private slot's public key.
const GEN_KEY_MODE: u8 = 0x08;
/// Sign: internal, with the whole serial number.
const SIGN_MODE: u8 = 0x40;
/// TempKeyFlags: made by GenKey, from a random number of the chip.
const FLAGS: u8 = 0x40;

/// What evidence must show.
#[derive(Clone, Debug)]
pub struct EvidencePolicy {
    attestation_key: PublicKey,
    serial: Option<[u8; 9]>,
    unchangeable: bool,
}

impl EvidencePolicy {
    /// The attestation key must be this one. It must have been recorded when the chip was provisioned, from a slot that
    /// signs the chip's own messages and nothing else: the evidence cannot show that of its own signer.
    #[must_use]
    pub const fn of_attestation_key(key: PublicKey) -> Self {
        Self {
            attestation_key: key,
            serial: None,
            unchangeable: false,
        }
    }

    /// The chip must have this serial number.
    #[must_use]
    pub const fn with_serial(mut self, serial: [u8; 9]) -> Self {
        self.serial = Some(serial);
        self
    }

    /// It must not be possible any more to make a new key in the slot.
    #[must_use]
    pub const fn unchangeable(mut self) -> Self {
        self.unchangeable = true;
        self
    }
}

/// Why evidence does not convince.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceRefused {
    /// Another key signed than the policy names.
    #[error("it is signed by another attestation key than the recorded one")]
    AttestationKey,
    /// The key can still be replaced by a new one.
    #[error("a new key can still be made in the slot")]
    Changeable,
    /// The attested key is not on P-256.
    #[error("the attested key is of another algorithm")]
    KeyAlgorithm,
    /// The attestation key attests itself, or a slot has no such number.
    #[error("the slots cannot be so")]
    Slots,
    /// Another chip.
    #[error("it is of another chip than the policy names")]
    Serial,
    /// The signature does not fit: another challenge, another key, another configuration, or not the chip's.
    #[error("the signature does not fit the challenge and what is stated")]
    Signature,
    /// The configuration lets a key in or out, or does not fit a signing key.
    #[error("the slot's configuration is not accepted: {0}")]
    Slot(Unfit),
}

/// Verifies evidence against the challenge that it was asked with.
///
/// # Errors
/// [`EvidenceRefused`]: the first reason.
pub fn verify_evidence(
    evidence: &Atecc608Evidence,
    challenge: &Challenge,
    policy: &EvidencePolicy,
) -> Result<(), EvidenceRefused> {
    if evidence.attestation_key != policy.attestation_key {
        return Err(EvidenceRefused::AttestationKey);
    }
    if policy
        .serial
        .is_some_and(|serial| serial != evidence.serial)
    {
        return Err(EvidenceRefused::Serial);
    }
    if evidence.slot > 15
        || evidence.attestation_slot > 15
        || evidence.slot == evidence.attestation_slot
    {
        return Err(EvidenceRefused::Slots);
    }
    if evidence.public.algorithm() != Algorithm::Esp256 {
        return Err(EvidenceRefused::KeyAlgorithm);
    }
    is_signed(evidence, challenge)?;
    let slot = SlotConfig(evidence.slot_config);
    inspect_slot(slot, KeyConfig(evidence.key_config)).map_err(EvidenceRefused::Slot)?;
    if policy.unchangeable && evidence.slot_unlocked && slot.allows_generation() {
        return Err(EvidenceRefused::Changeable);
    }
    Ok(())
}

/// Whether the signature is one of the key that the evidence names, over what it says.
pub(crate) fn is_signed(
    evidence: &Atecc608Evidence,
    challenge: &Challenge,
) -> Result<(), EvidenceRefused> {
    // Chips give either of the two possible s.
    let signature = p256::ecdsa::Signature::from_slice(&evidence.signature)
        .map_err(|_| EvidenceRefused::Signature)?
        .normalize_s();
    evidence
        .attestation_key
        .verify(&message(evidence, challenge), &signature.to_bytes())
        .map_err(|_| EvidenceRefused::Signature)
}

/// The 20 bytes that the chip takes from its host, made of the challenge of 32.
pub(crate) fn number_of(challenge: &Challenge) -> [u8; 20] {
    let digest: [u8; 32] = Sha256::digest(challenge.as_bytes()).into();
    let mut number = [0; 20];
    for (byte, from) in number.iter_mut().zip(digest) {
        *byte = from;
    }
    number
}

/// The 55 bytes that the chip signs (Sign, internal messages).
fn message(evidence: &Atecc608Evidence, challenge: &Challenge) -> Vec<u8> {
    let [s0, s1, s2, s3, s4, s5, s6, s7, s8] = evidence.serial;
    let point = evidence.public.to_raw_bytes();
    let nonce: [u8; 32] = Sha256::new()
        .chain_update(evidence.random)
        .chain_update(number_of(challenge))
        .chain_update([0x16, NONCE_MODE, 0x00])
        .finalize()
        .into();
    let key: [u8; 32] = Sha256::new()
        .chain_update(nonce)
        .chain_update([0x40, GEN_KEY_MODE, evidence.slot, 0x00])
        .chain_update([s8, s0, s1])
        .chain_update([0; 25])
        .chain_update(point.get(1..).unwrap_or_default())
        .finalize()
        .into();
    let [slot_low, slot_high] = evidence.slot_config.to_le_bytes();
    let [key_low, key_high] = evidence.key_config.to_le_bytes();
    let mut message = key.to_vec();
    message.extend_from_slice(&[0x41, SIGN_MODE, evidence.attestation_slot, 0x00]);
    message.extend_from_slice(&[slot_low, slot_high, key_low, key_high]);
    message.extend_from_slice(&[FLAGS | evidence.slot, 0x00, 0x00]);
    message.extend_from_slice(&[s8, s4, s5, s6, s7, s0, s1, s2, s3]);
    message.extend_from_slice(&[u8::from(evidence.slot_unlocked), 0x00, 0x00]);
    message
}

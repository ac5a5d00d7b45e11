//! The message that an ATECC608 signs about one of its keys, made again from what the evidence tells. A pure function: no
//! device is asked.
//!
//! The chip signs 55 bytes that it makes itself (Sign, internal): a digest over a random number of its own, the asker's
//! challenge and the attested public key, then the configuration and the lock of the slot, and its serial number. All of
//! that is in the evidence.

use super::Atecc608Evidence;
use crate::{Challenge, Digest, Error, ErrorKind, Signature};

/// Nonce: random, with new seed.
const NONCE_MODE: u8 = 0x00;
/// GenKey: digest of the private slot's public key.
const GEN_KEY_MODE: u8 = 0x08;
/// Sign: internal, with the whole serial number.
const SIGN_MODE: u8 = 0x40;
/// TempKeyFlags: made by GenKey, from a random number of the chip.
const FLAGS: u8 = 0x40;

impl Atecc608Evidence {
    /// The 20 bytes that the chip takes from its host, made of the challenge of 32.
    #[must_use]
    pub fn number_of(challenge: &Challenge) -> [u8; 20] {
        let digest = Digest::of(challenge.as_bytes());
        let mut number = [0; 20];
        for (byte, from) in number.iter_mut().zip(digest.as_bytes()) {
            *byte = *from;
        }
        number
    }

    /// The 55 bytes that the chip signs (Sign, internal messages).
    #[must_use]
    pub fn message(&self, challenge: &Challenge) -> Vec<u8> {
        let [s0, s1, s2, s3, s4, s5, s6, s7, s8] = self.serial;
        let point = self.public.to_raw_bytes();
        let nonce = Digest::of(
            &[
                &self.random[..],
                &Self::number_of(challenge),
                &[0x16, NONCE_MODE, 0x00],
            ]
            .concat(),
        );
        let key = Digest::of(
            &[
                &nonce.as_bytes()[..],
                &[0x40, GEN_KEY_MODE, self.slot, 0x00],
                &[s8, s0, s1],
                &[0; 25],
                point.get(1..).unwrap_or_default(),
            ]
            .concat(),
        );
        let [slot_low, slot_high] = self.slot_config.to_le_bytes();
        let [key_low, key_high] = self.key_config.to_le_bytes();
        let mut message = key.as_bytes().to_vec();
        message.extend_from_slice(&[0x41, SIGN_MODE, self.attestation_slot, 0x00]);
        message.extend_from_slice(&[slot_low, slot_high, key_low, key_high]);
        message.extend_from_slice(&[FLAGS | self.slot, 0x00, 0x00]);
        message.extend_from_slice(&[s8, s4, s5, s6, s7, s0, s1, s2, s3]);
        message.extend_from_slice(&[u8::from(self.slot_unlocked), 0x00, 0x00]);
        message
    }

    /// Whether the signature is one of the key that the evidence names, over what it says, for this challenge. The chip
    /// gives either of the two possible `s`; the checked signature has the low one.
    ///
    /// # Errors
    /// [`ErrorKind::BadSignature`].
    pub fn check_signature(&self, challenge: &Challenge) -> Result<Signature, Error> {
        Signature::checked(
            &self.attestation_key,
            &self.message(challenge),
            &self.signature,
        )
        .map_err(|error| {
            Error::with_source(
                ErrorKind::BadSignature,
                "the chip signed other evidence than it gave; ask again",
                error,
            )
        })
    }
}

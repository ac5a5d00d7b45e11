//! What a device says of its own keys, as it said it: bytes that others judge.
//!
//! Decided here: the shape, and whether the attestation key signed it. Whether evidence convinces (whose attestation key,
//! which configuration, which challenge) is for whoever asked for it.

mod atecc608;
mod proof;

use crate::PublicKey;

/// A device's statement about one of its keys or about its own state. Each kind of store has its own; none stands for another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// `TPM2_Certify` by an attestation key.
    Tpm(TpmEvidence),
    /// `TPM2_Quote` by an attestation key: the state of the boot, and no key but the one that signed.
    TpmQuote(TpmQuoteEvidence),
    /// An internally generated message of an ATECC608, signed by a key that signs nothing else.
    Atecc608(Atecc608Evidence),
}

/// What `TPM2_Certify` gives (TPM 2.0 part 3, §18.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmEvidence {
    /// The certified key's public area: `TPMT_PUBLIC` as marshalled (part 2, §12.2.4).
    pub public_area: Vec<u8>,
    /// What was signed: `TPMS_ATTEST` as marshalled (part 2, §10.12.12); its qualifying data is the challenge.
    pub attest: Vec<u8>,
    /// The signature over it, `r ‖ s`.
    pub signature: [u8; 64],
    /// The key that signed.
    pub attestation_key: PublicKey,
}

/// What `TPM2_Quote` gives (TPM 2.0 part 3, §18.4), with the register values that it was made over.
///
/// The quote signs a digest of the values, not the values: whoever judges it computes that digest from `registers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmQuoteEvidence {
    /// What was signed: `TPMS_ATTEST` as marshalled (part 2, §10.12.12); its qualifying data is the challenge.
    pub attest: Vec<u8>,
    /// The signature over it, `r ‖ s`.
    pub signature: [u8; 64],
    /// Number and value of each register (SHA-256 bank), ascending, each once.
    pub registers: Vec<(u8, [u8; 32])>,
    /// The key that signed.
    pub attestation_key: PublicKey,
}

/// What an ATECC608 gives: GenKey's digest of a public key, signed internally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Atecc608Evidence {
    /// The chip's serial number, 9 bytes.
    pub serial: [u8; 9],
    /// The slot that is attested, 0 to 15.
    pub slot: u8,
    /// Its public key.
    pub public: PublicKey,
    /// The slot's configuration as the chip tells it: SlotConfig, little-endian.
    pub slot_config: u16,
    /// KeyConfig, little-endian.
    pub key_config: u16,
    /// Whether the slot can still be changed.
    pub slot_unlocked: bool,
    /// The random number that the chip mixed into the challenge (Nonce command), 32 bytes.
    pub random: [u8; 32],
    /// The slot of the key that signed.
    pub attestation_slot: u8,
    /// The key that signed.
    pub attestation_key: PublicKey,
    /// The signature, `r ‖ s`, over the message of 55 bytes that all of this makes.
    pub signature: [u8; 64],
}

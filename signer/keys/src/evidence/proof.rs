//! From what a device gave to the part of an attestation that carries it. Nothing leaves unverified.

use countersign_format::{Atecc608Proof, EvidenceKind, EvidenceProof, TpmKeyProof, TpmQuoteProof};

use super::{Atecc608Evidence, Evidence};
use crate::{Challenge, Error, ErrorKind, PublicKey, PublicKeyInvalid, Signature};

impl Evidence {
    /// The key that signed, whose certificates go with the evidence.
    #[must_use]
    pub const fn attestation_key(&self) -> &PublicKey {
        match self {
            Self::Tpm(evidence) => &evidence.attestation_key,
            Self::TpmQuote(evidence) => &evidence.attestation_key,
            Self::Atecc608(evidence) => &evidence.attestation_key,
        }
    }

    /// Which kind of attestation it makes.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Tpm(_) => EvidenceKind::TpmKey,
            Self::TpmQuote(_) => EvidenceKind::TpmQuote,
            Self::Atecc608(_) => EvidenceKind::Atecc608Key,
        }
    }

    /// The evidence as an attestation carries it, with its signature checked and in the form that COSE has (low-S).
    ///
    /// # Errors
    /// [`ErrorKind::BadSignature`] if the attestation key did not sign this.
    pub fn to_proof(&self, challenge: &Challenge) -> Result<EvidenceProof, Error> {
        let signed = |message: &[u8], raw: &[u8; 64]| {
            Signature::checked(self.attestation_key(), message, raw)
                .map(|signature| *signature.as_bytes())
                .map_err(|error| {
                    Error::with_source(
                        ErrorKind::BadSignature,
                        "the TPM signed other evidence than it gave; ask again",
                        error,
                    )
                })
        };
        Ok(match self {
            Self::Tpm(evidence) => EvidenceProof::TpmKey(TpmKeyProof {
                attest: evidence.attest.clone(),
                signature: signed(&evidence.attest, &evidence.signature)?,
                public_area: evidence.public_area.clone(),
            }),
            Self::TpmQuote(evidence) => EvidenceProof::TpmQuote(TpmQuoteProof {
                attest: evidence.attest.clone(),
                signature: signed(&evidence.attest, &evidence.signature)?,
                registers: evidence.registers.clone(),
            }),
            Self::Atecc608(evidence) => EvidenceProof::Atecc608Key(Atecc608Proof {
                serial: evidence.serial,
                slot: evidence.slot,
                public: coordinates(&evidence.public)?,
                slot_config: evidence.slot_config,
                key_config: evidence.key_config,
                slot_unlocked: evidence.slot_unlocked,
                random: evidence.random,
                attestation_slot: evidence.attestation_slot,
                signature: *evidence.check_signature(challenge)?.as_bytes(),
            }),
        })
    }
}

impl Atecc608Evidence {
    /// The evidence that an attestation carries, signed by this key as its certificate says.
    ///
    /// # Errors
    /// [`PublicKeyInvalid`] for an attested key that is not on P-256.
    pub fn from_proof(
        proof: &Atecc608Proof,
        attestation_key: PublicKey,
    ) -> Result<Self, PublicKeyInvalid> {
        let mut point = vec![0x04];
        point.extend_from_slice(&proof.public);
        Ok(Self {
            serial: proof.serial,
            slot: proof.slot,
            public: PublicKey::from_p256_point(&point)?,
            slot_config: proof.slot_config,
            key_config: proof.key_config,
            slot_unlocked: proof.slot_unlocked,
            random: proof.random,
            attestation_slot: proof.attestation_slot,
            attestation_key,
            signature: proof.signature,
        })
    }
}

/// X ‖ Y of a key on P-256.
fn coordinates(public: &PublicKey) -> Result<[u8; 64], Error> {
    let raw = public.to_raw_bytes();
    raw.get(1..)
        .and_then(|coordinates| coordinates.try_into().ok())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Malformed,
                "the chip attested a key that is not on P-256; it is no ATECC608",
            )
        })
}

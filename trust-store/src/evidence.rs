//! `bytes -> VerifiedEvidence`: the verdict on what a device says of itself.
//!
//! Decides whether a key that these roots certify for attestation signed what the device says, whether it answers the
//! nonce that was asked with, what the hardware itself adds to it ([`AttestedHardware`]), and whether all that is within
//! the asker's [`EvidencePolicy`]. What the device's host says ([`EvidenceClaims`]) stays the host's word: a measured boot
//! with expected registers is what makes it more.

mod atecc608;
mod bytes;
pub mod firmware;
mod policy;
mod tpm;

use countersign_format::{
    EvidenceClaims, EvidenceDocument, EvidenceKind, EvidenceProof, evidence_challenge,
    evidence_to_be_signed,
};
use countersign_keys::{Challenge, PublicKey};

use crate::explain::{Outcome, Step};
use crate::{Anchors, Check, Now, PathProfile, Rejection, TrustState, VerifiedChain};

pub use policy::EvidencePolicy;
pub use tpm::{TpmClock, TpmKeyArea};

/// What a device says of itself, signed by a key that one of these roots certifies for attestation, in answer to the nonce
/// of the asker's policy.
///
/// ```compile_fail,E0451
/// # use countersign_format::EvidenceDocument;
/// # use countersign_trust_store::VerifiedEvidence;
/// // There is no constructor but verification, and every field is private.
/// # fn tb21_no_evidence_but_by_verification(document: EvidenceDocument, other: VerifiedEvidence) -> VerifiedEvidence {
/// VerifiedEvidence { document, ..other }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedEvidence {
    document: EvidenceDocument,
    chain: VerifiedChain,
    hardware: AttestedHardware,
}

impl VerifiedEvidence {
    /// What the device's host says: all of it self-reported.
    #[must_use]
    pub const fn claims(&self) -> &EvidenceClaims {
        self.document.claims()
    }

    /// What the hardware itself vouches for.
    #[must_use]
    pub const fn hardware(&self) -> &AttestedHardware {
        &self.hardware
    }

    /// The attestation key's chain.
    #[must_use]
    pub const fn chain(&self) -> &VerifiedChain {
        &self.chain
    }
}

/// What hardware vouches for, beyond that it was asked with these claims.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttestedHardware {
    /// An ATECC608 holds a key that was made in it and cannot leave it.
    Atecc608Key {
        /// The chip's serial number.
        serial: [u8; 9],
        /// The key's slot.
        slot: u8,
        /// The key.
        key: PublicKey,
        /// Whether a new key can still be made in the slot.
        replaceable: bool,
    },
    /// Nothing: where the key that signed lies, nobody shows.
    Software,
    /// A TPM's registers hold what was measured since it was reset.
    TpmBoot {
        /// Number and value of each register of the SHA-256 bank.
        registers: Vec<(u8, [u8; 32])>,
        /// The TPM's clock and how often it was reset.
        clock: TpmClock,
        /// The firmware's version as the TPM gives it; obfuscated unless the attestation key is in the endorsement
        /// hierarchy (TPM 2.0 part 1, §36.7).
        firmware: u64,
    },
    /// A TPM holds a key that was made in it and cannot leave it.
    TpmKey {
        /// The key.
        key: PublicKey,
        /// The TPM's clock and how often it was reset.
        clock: TpmClock,
        /// As in [`Self::TpmBoot`].
        firmware: u64,
    },
}

impl AttestedHardware {
    /// The kind of evidence that it came from.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Atecc608Key { .. } => EvidenceKind::Atecc608Key,
            Self::Software => EvidenceKind::Software,
            Self::TpmBoot { .. } => EvidenceKind::TpmQuote,
            Self::TpmKey { .. } => EvidenceKind::TpmKey,
        }
    }
}

impl Anchors {
    /// Decides whether bytes are a device's attestation that answers the policy's nonce and is within the policy.
    /// Certificates and lists are judged as for components, under the profile of attestation keys (extended key usage
    /// tcg-kp-AIKCertificate).
    ///
    /// # Errors
    /// The first [`Rejection`], in the order of [`Check::EVIDENCE`].
    pub fn verify_evidence(
        &self,
        bytes: &[u8],
        policy: &EvidencePolicy,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedEvidence, Rejection> {
        self.verify_evidence_explained(bytes, policy, now, state, &mut |_| {})
    }

    /// As [`Self::verify_evidence`], telling each check as it is made.
    ///
    /// # Errors
    /// The first [`Rejection`], which is told too.
    pub fn verify_evidence_explained(
        &self,
        bytes: &[u8],
        policy: &EvidencePolicy,
        now: &Now,
        state: &TrustState,
        report: &mut dyn FnMut(Step),
    ) -> Result<VerifiedEvidence, Rejection> {
        let verdict = self.judge_evidence(bytes, policy, now, state, report);
        if let Err(rejection) = &verdict {
            report(Step {
                check: rejection.check(),
                signer: None,
                outcome: Outcome::Refused(Box::new(rejection.clone())),
                detail: rejection.to_string(),
            });
        }
        verdict
    }

    fn judge_evidence(
        &self,
        bytes: &[u8],
        policy: &EvidencePolicy,
        now: &Now,
        state: &TrustState,
        report: &mut dyn FnMut(Step),
    ) -> Result<VerifiedEvidence, Rejection> {
        let mut passed = |check, detail: String| {
            report(Step {
                check,
                signer: None,
                outcome: Outcome::Passed,
                detail,
            });
        };
        let document = EvidenceDocument::decode(bytes)?;
        let kind = document.claims().kind().as_str();
        passed(
            Check::Framing,
            format!("{} bytes of an attestation by {kind}", bytes.len()),
        );
        if self.is_empty() {
            return Err(Rejection::NoRoot);
        }
        let profile = &PathProfile::ATTESTATION;
        let chain = self.verify_chain_told(document.chain(), profile, now, state, &mut passed)?;
        names_its_device(&document, &chain)?;
        check_signature(&document, &chain)?;
        passed(
            Check::Signature,
            format!("made by the key of {}", chain.leaf().subject()),
        );
        let hardware = inspect_hardware(&document, &chain)?;
        passed(Check::Evidence, describe(&hardware));
        policy.check_nonce(document.claims())?;
        passed(
            Check::Freshness,
            "it answers the nonce that was asked with".to_owned(),
        );
        policy.check(document.claims(), &hardware)?;
        passed(
            Check::EvidencePolicy,
            "it is what the policy expects".to_owned(),
        );
        Ok(VerifiedEvidence {
            document,
            chain,
            hardware,
        })
    }
}

/// The device of the claims is the one of the certificate, so that no device speaks for another.
fn names_its_device(document: &EvidenceDocument, chain: &VerifiedChain) -> Result<(), Rejection> {
    let claimed = document.claims().device();
    let certified = chain.device().map(crate::CertifiedDevice::identity);
    if certified == Some(claimed) {
        return Ok(());
    }
    Err(Rejection::DeviceMismatch {
        claimed: claimed.clone(),
        certified: certified.map_or_else(|| "none".to_owned(), ToString::to_string),
    })
}

/// Whether the certified key signed what its hardware says, or the claims.
fn check_signature(document: &EvidenceDocument, chain: &VerifiedChain) -> Result<(), Rejection> {
    let (message, signature) = match document.proof() {
        EvidenceProof::Software(proof) => {
            if chain.key().algorithm() != proof.algorithm {
                return Err(Rejection::AlgorithmMismatch {
                    signer: 0,
                    stated: proof.algorithm.name(),
                });
            }
            let signed =
                evidence_to_be_signed(proof.algorithm, document.chain(), document.claims());
            (signed, proof.signature)
        }
        EvidenceProof::TpmQuote(proof) => (proof.attest.clone(), proof.signature),
        EvidenceProof::TpmKey(proof) => (proof.attest.clone(), proof.signature),
        EvidenceProof::Atecc608Key(proof) => (
            atecc608::message(proof, chain, &challenge(document))?,
            proof.signature,
        ),
        _ => return Err(unknown_proof()),
    };
    chain
        .key()
        .verify(&message, &signature)
        .map_err(|_| Rejection::SignatureInvalid {
            signer: 0,
            subject: chain.leaf().subject(),
        })
}

/// What the signed hardware evidence shows, if it is sound and bound to these claims.
fn inspect_hardware(
    document: &EvidenceDocument,
    chain: &VerifiedChain,
) -> Result<AttestedHardware, Rejection> {
    lies_in_its_hardware(document.proof(), chain)?;
    let challenge = challenge(document);
    match document.proof() {
        EvidenceProof::Software(_) => Ok(AttestedHardware::Software),
        EvidenceProof::TpmQuote(proof) => tpm::inspect_quote(proof, &challenge),
        EvidenceProof::TpmKey(proof) => tpm::inspect_key(proof, &challenge),
        EvidenceProof::Atecc608Key(proof) => atecc608::inspect(proof, chain),
        _ => Err(unknown_proof()),
    }
}

/// Whether the proof is of the hardware that the issuer of the key's certificate found the key in. Any key can sign the bytes
/// of any proof: a key in software those of a TPM, a TPM's attestation key those of an ATECC608, which do not begin as its
/// own do. Only the certificate tells them apart.
fn lies_in_its_hardware(proof: &EvidenceProof, chain: &VerifiedChain) -> Result<(), Rejection> {
    match (proof.kind().hardware(), chain.attested_by()) {
        (stated, certified) if stated == certified => Ok(()),
        (_, None) => Err(invalid(
            "the attestation key is not certified as one in hardware, so what it signs is no hardware's word; have it \
             certified again with the kind of its hardware",
        )),
        (None, Some(_)) => Err(invalid(
            "the attestation key is certified as one in hardware, and this is how keys in software sign",
        )),
        (_, Some(_)) => Err(invalid(
            "the attestation key is certified as one in hardware of another kind than is stated",
        )),
    }
}

fn challenge(document: &EvidenceDocument) -> Challenge {
    Challenge::new(*evidence_challenge(document.claims()).as_bytes())
}

/// The format may learn of kinds before this crate does.
const fn unknown_proof() -> Rejection {
    invalid("it is of a kind that this program cannot judge")
}

/// What hardware said does not hold.
const fn invalid(reason: &'static str) -> Rejection {
    Rejection::EvidenceInvalid { reason }
}

fn describe(hardware: &AttestedHardware) -> String {
    match hardware {
        AttestedHardware::Atecc608Key { slot, key, .. } => {
            format!("an ATECC608 vouches for the key {key} in its slot {slot}")
        }
        AttestedHardware::Software => "no hardware vouches for it".to_owned(),
        AttestedHardware::TpmBoot { registers, .. } => {
            format!("a TPM vouches for {} registers", registers.len())
        }
        AttestedHardware::TpmKey { key, .. } => format!("a TPM vouches for the key {key}"),
    }
}

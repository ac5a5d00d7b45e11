//! The checks by name, in their one order, so that a verdict can be told step by step.

use crate::Rejection;

/// One of the questions asked of a signed component or of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Size limits, preamble and sections; one signature section, at the very end.
    Framing,
    /// The only permitted encoding of envelope and statement.
    CanonicalForm,
    /// Size and SHA-256 of the component.
    Digest,
    /// The signers in the file are those that the statement lists.
    Signers,
    /// Each certificate is what its place in the chain needs.
    Profile,
    /// The chain leads to a root of this host.
    Path,
    /// Every certificate of the chain is valid now.
    Time,
    /// No certificate of the chain was revoked.
    Revocation,
    /// Each signature verifies.
    Signature,
    /// The signer may sign components of this name.
    Scope,
    /// The component is meant for this device.
    Audience,
    /// Enough devices signed.
    Threshold,
    /// The component is not older than what ran here.
    Rollback,
    /// What hardware vouches for holds, and goes with what the device says.
    Evidence,
    /// The attestation answers the asker's nonce.
    Freshness,
    /// The attestation shows what the asker expects.
    EvidencePolicy,
}

impl Check {
    /// Every check of a component, in the order in which they are made.
    pub const ALL: &'static [Self] = &[
        Self::Framing,
        Self::CanonicalForm,
        Self::Digest,
        Self::Signers,
        Self::Profile,
        Self::Path,
        Self::Time,
        Self::Revocation,
        Self::Signature,
        Self::Scope,
        Self::Audience,
        Self::Threshold,
        Self::Rollback,
    ];

    /// Every check of an attestation, in the order in which they are made.
    pub const EVIDENCE: &'static [Self] = &[
        Self::Framing,
        Self::Profile,
        Self::Path,
        Self::Time,
        Self::Revocation,
        Self::Signature,
        Self::Evidence,
        Self::Freshness,
        Self::EvidencePolicy,
    ];

    /// A word for the check.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Framing => "framing",
            Self::CanonicalForm => "canonical-form",
            Self::Digest => "digest",
            Self::Signers => "signers",
            Self::Profile => "profile",
            Self::Path => "path",
            Self::Time => "time",
            Self::Revocation => "revocation",
            Self::Signature => "signature",
            Self::Scope => "scope",
            Self::Audience => "audience",
            Self::Threshold => "threshold",
            Self::Rollback => "rollback",
            Self::Evidence => "evidence",
            Self::Freshness => "freshness",
            Self::EvidencePolicy => "evidence-policy",
        }
    }

    /// The question, as a technician would ask it.
    #[must_use]
    pub const fn question(self) -> &'static str {
        match self {
            Self::Framing => "Is it a WebAssembly component with one signature at its very end?",
            Self::CanonicalForm => "Is the signature written in its only permitted form?",
            Self::Digest => "Is the component, byte for byte, the one that was signed?",
            Self::Signers => "Did those sign who were to sign, all of them and no one else?",
            Self::Profile => "Was each certificate issued for this, in every detail?",
            Self::Path => "Do the certificates lead to a root that this host trusts?",
            Self::Time => "Are all certificates valid now?",
            Self::Revocation => "Has no certificate been revoked?",
            Self::Signature => "Does the signature verify with the signer's key?",
            Self::Scope => "May this signer sign components of this name?",
            Self::Audience => "Is it meant for this device?",
            Self::Threshold => {
                "Have enough different devices signed, and those whom the operator names?"
            }
            Self::Rollback => "Is it no older than what ran here before?",
            Self::Evidence => "Does hardware vouch for what the device says?",
            Self::Freshness => "Does it answer the nonce that was asked with?",
            Self::EvidencePolicy => "Is the device in a state that is expected?",
        }
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Passed.
    Passed,
    /// Passed for the file, but this signer does not count.
    NotCounted,
    /// The file is refused.
    Refused(Box<Rejection>),
}

/// One check that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The question.
    pub check: Check,
    /// The signer it was asked of, from 0; none if of the whole file.
    pub signer: Option<usize>,
    /// The answer.
    pub outcome: Outcome,
    /// What was found, in a sentence or two.
    pub detail: String,
}

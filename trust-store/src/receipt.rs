//! `bytes -> VerifiedReceipt`: the verdict on what a gateway says of its state to whoever is not connected to it.
//!
//! Decides whether an attestation of a device of these roots is over what the receipt says, whether the gateway itself asked for
//! it, and whether the receipt is the one that is waited for ([`ReceiptPolicy`]). What the receipt says stays the gateway's word,
//! as everything that a host says in an attestation.

use countersign_format::{Digest, EvidenceNonce, Receipt, ReceiptFields, receipt_nonce};

use crate::{Anchors, EvidencePolicy, Now, Rejection, TrustState, VerifiedEvidence};

/// The program that makes receipts, as its attestations name it.
pub const GATEWAY: &str = "countersign-gateway";

/// What a receipt must show. Without more: it is of any device of these roots, vouched for by hardware.
#[derive(Clone, Debug)]
pub struct ReceiptPolicy {
    evidence: EvidencePolicy,
    nonce: Option<EvidenceNonce>,
    after: u64,
    bundle: Option<Digest>,
}

impl Default for ReceiptPolicy {
    fn default() -> Self {
        Self {
            evidence: EvidencePolicy::unasked(),
            nonce: None,
            after: 0,
            bundle: None,
        }
    }
}

impl ReceiptPolicy {
    /// Demands more, or less, of its attestation: the device, registers, the program. The attestation's own nonce is the receipt's
    /// affair: one that is set here does not count.
    #[must_use]
    pub fn attested(mut self, change: impl FnOnce(EvidencePolicy) -> EvidencePolicy) -> Self {
        self.evidence = change(self.evidence);
        self
    }

    /// It must have been asked for with this nonce.
    #[must_use]
    pub fn answering(mut self, nonce: EvidenceNonce) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// Its number must be above that of the last one that was seen of its device.
    #[must_use]
    pub const fn after(mut self, number: u64) -> Self {
        self.after = number;
        self
    }

    /// The bundle with this SHA-256 of its index must run.
    #[must_use]
    pub const fn running(mut self, index: Digest) -> Self {
        self.bundle = Some(index);
        self
    }

    fn check(&self, fields: &ReceiptFields) -> Result<(), Rejection> {
        if self.nonce.is_some() && fields.nonce != self.nonce {
            return Err(Rejection::EvidenceNonce);
        }
        if fields.number <= self.after {
            return Err(refuse(format!(
                "its number is {}, and {} was seen before: it is an old one",
                fields.number, self.after
            )));
        }
        let runs = fields.bundle.as_ref().map(|bundle| bundle.index);
        if self.bundle.is_some() && runs != self.bundle {
            return Err(refuse("the expected bundle does not run"));
        }
        Ok(())
    }
}

/// What a gateway says of its state, bound to its device by an attestation that these roots vouch for.
///
/// ```compile_fail,E0451
/// # use countersign_format::Receipt;
/// # use countersign_trust_store::VerifiedReceipt;
/// // There is no constructor but verification, and every field is private.
/// # fn tb21_no_receipt_but_by_verification(receipt: Receipt, other: VerifiedReceipt) -> VerifiedReceipt {
/// VerifiedReceipt { receipt, ..other }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedReceipt {
    receipt: Receipt,
    evidence: VerifiedEvidence,
}

impl VerifiedReceipt {
    /// What the gateway says: its own word, of the device that the attestation names.
    #[must_use]
    pub const fn fields(&self) -> &ReceiptFields {
        self.receipt.body().fields()
    }

    /// The attestation that binds it to its device.
    #[must_use]
    pub const fn evidence(&self) -> &VerifiedEvidence {
        &self.evidence
    }
}

impl Anchors {
    /// Decides whether bytes are a receipt of a gateway on a device of these roots, and the one that the policy waits for.
    ///
    /// # Errors
    /// The first [`Rejection`]: of its form; of its attestation, as [`Self::verify_evidence`]; that a component or another program
    /// than a gateway asked for that; and what the policy demands.
    pub fn verify_receipt(
        &self,
        bytes: &[u8],
        policy: &ReceiptPolicy,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedReceipt, Rejection> {
        let receipt = Receipt::decode(bytes)?;
        let asked = policy
            .evidence
            .clone()
            .asked_with(receipt_nonce(receipt.body())?);
        let evidence = self.verify_evidence(receipt.evidence(), &asked, now, state)?;
        let claims = evidence.claims();
        // A component, or who asks a person for an attestation, chooses the nonce, and with it what a receipt would say.
        if claims.component().is_some() {
            return Err(refuse("a component asked for its attestation"));
        }
        if claims.runtime().name() != GATEWAY {
            return Err(refuse(format!(
                "{} asked for its attestation, and not a gateway",
                claims.runtime().name()
            )));
        }
        policy.check(receipt.body().fields())?;
        Ok(VerifiedReceipt { receipt, evidence })
    }
}

fn refuse(reason: impl Into<String>) -> Rejection {
    Rejection::EvidencePolicy {
        reason: reason.into(),
    }
}

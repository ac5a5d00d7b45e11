//! A receipt: what a gateway says of its state for whoever is not connected to it, described by `receipt.cddl`.
//!
//! The body ([`ReceiptBody`]) is the gateway's own word. It is bound to the device by an attestation whose nonce is
//! [`receipt_nonce`], a digest under a label of ours over the whole body. What the attestation is worth, and that it was made for
//! the gateway and not for one of its components, is for the trust store to decide.
//!
//! Decoded as strictly as the envelope: what [`Receipt::decode`] accepts has one encoding.

mod body;
mod read;

pub use body::{
    ReceiptBody, ReceiptBundle, ReceiptComponent, ReceiptFields, ReceiptRefusal, ReceiptService,
    ServiceState,
};

use crate::cbor::{Reader, Writer, length, within};
use crate::{DigestWriter, EvidenceDocument, EvidenceNonce, FormatError, limits};

/// The content type of a receipt.
pub const RECEIPT_CONTENT_TYPE: &str = "application/vnd.countersign.receipt";

/// Goes before the body where it is hashed for the attestation.
const LABEL: &[u8] = b"countersign receipt v1\0";

/// What the attestation of a receipt with this body must answer.
///
/// # Errors
/// None for a digest; the nonce's own rule decides.
pub fn receipt_nonce(body: &ReceiptBody) -> Result<EvidenceNonce, FormatError> {
    let mut digest = DigestWriter::new();
    digest.update(LABEL);
    digest.update(&body.encode());
    EvidenceNonce::new(digest.finish().as_bytes())
}

/// A body, and the attestation that binds it to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    body: ReceiptBody,
    evidence: Vec<u8>,
}

impl Receipt {
    /// Puts the two together.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] for more than 4 MiB; what [`EvidenceDocument::decode`] says of the attestation;
    /// [`FormatError::Malformed`] for one that answers something else.
    pub fn new(body: ReceiptBody, evidence: Vec<u8>) -> Result<Self, FormatError> {
        let answers = EvidenceDocument::decode(&evidence)?;
        if *answers.claims().nonce() != receipt_nonce(&body)? {
            return Err(FormatError::Malformed {
                what: "the attestation of a receipt is not over its body",
                offset: 0,
            });
        }
        let receipt = Self { body, evidence };
        let size = length(receipt.encode().len());
        within("receipt", limits::MAX_RECEIPT_BYTES, size)?;
        Ok(receipt)
    }

    /// Reads a receipt, and that its attestation is over its body.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::Purpose`] for something that was made for something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        within("receipt", limits::MAX_RECEIPT_BYTES, length(bytes.len()))?;
        let mut reader = Reader::new(bytes);
        reader.tuple("a receipt is an array of three", 3)?;
        let content_type = reader.text("content type", limits::MAX_TEXT_BYTES)?;
        if content_type != RECEIPT_CONTENT_TYPE {
            return Err(FormatError::purpose(content_type, RECEIPT_CONTENT_TYPE));
        }
        let body = reader.bytes("body", limits::MAX_RECEIPT_BYTES)?;
        let base = reader.offset().saturating_sub(length(body.len()));
        let body = ReceiptBody::decode_at(base, body)?;
        let evidence = reader.bytes("attestation", limits::MAX_EVIDENCE_BYTES)?;
        reader.finish("bytes are left over after the receipt")?;
        Self::new(body, evidence.to_vec())
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(3);
        writer.text(RECEIPT_CONTENT_TYPE);
        writer.bytes(&self.body.encode());
        writer.bytes(&self.evidence);
        writer.finish()
    }

    /// What the gateway says of its state.
    #[must_use]
    pub const fn body(&self) -> &ReceiptBody {
        &self.body
    }

    /// The encoded attestation.
    #[must_use]
    pub fn evidence(&self) -> &[u8] {
        &self.evidence
    }
}

#[cfg(test)]
mod tests;

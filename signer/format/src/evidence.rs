//! What a device says of itself, to whoever asked with a nonce: an attestation, described by `evidence.cddl`.
//!
//! The claims ([`EvidenceClaims`]) are the host's. What makes them evidence stands beside them ([`EvidenceProof`]), with
//! the certificates of the key that signed. Hardware never signs the asker's nonce: what it is given, as qualifying data
//! or challenge, is [`evidence_challenge`], a digest under a label of ours over all claims, the nonce among them. So
//! nobody, and no guest, gets a quote for another purpose out of a device, and no part of the claims can be exchanged.
//! Where no hardware vouches, a key signs the claims as a COSE_Sign1 (RFC 9052 §4.2), and the document says `software`.
//!
//! Decoded as strictly as the envelope: what [`EvidenceDocument::decode`] accepts has one encoding.

mod claims;
mod proof;

pub use claims::{ComponentClaim, EvidenceClaims, EvidenceNonce, RuntimeClaim};
pub use proof::{
    Atecc608Proof, EvidenceKind, EvidenceProof, SoftwareProof, TpmKeyProof, TpmQuoteProof,
};

use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::envelope::{
    HEADER_ALGORITHM, HEADER_CONTENT_TYPE, HEADER_X5CHAIN, check_chain, decode_chain,
    empty_unprotected, encode_chain, protected,
};
use crate::guest_data::TAG_COSE_SIGN1;
use crate::{Algorithm, Digest, DigestWriter, FormatError, limits};

/// The content type of an attestation.
pub const EVIDENCE_CONTENT_TYPE: &str = "application/vnd.countersign.evidence";

/// Goes before the claims where they are hashed for hardware.
const LABEL: &[u8] = b"countersign evidence v1\0";

/// What hardware is asked to sign for these claims: SHA-256 of a label and the encoded claims. A TPM takes it as
/// qualifying data, an ATECC608 as the challenge.
#[must_use]
pub fn evidence_challenge(claims: &EvidenceClaims) -> Digest {
    let mut digest = DigestWriter::new();
    digest.update(LABEL);
    digest.update(&claims.encode());
    digest.finish()
}

/// What a key signs where no hardware vouches: the Sig_structure of RFC 9052 §4.4 with its context "Signature1".
/// `chain` is the key's: leaf first, without root.
#[must_use]
pub fn evidence_to_be_signed(
    algorithm: Algorithm,
    chain: &[Vec<u8>],
    claims: &EvidenceClaims,
) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(4);
    writer.text("Signature1");
    writer.bytes(&encode_header(algorithm, chain));
    writer.bytes(&[]);
    writer.bytes(&claims.encode());
    writer.finish()
}

/// Claims, what vouches for them, and the certificates of the key that signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceDocument {
    claims: EvidenceClaims,
    chain: Vec<Vec<u8>>,
    proof: EvidenceProof,
}

impl EvidenceDocument {
    /// Puts the parts together. `chain` is that of the attestation key: leaf first, without root.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] for a proof of another kind than the claims state, registers that do not rise or a slot
    /// over 15; it and [`FormatError::LimitExceeded`] unless there are 1 to 3 certificates of 1 byte to 8 KiB, and for
    /// structures over 512 bytes.
    pub fn new(
        claims: EvidenceClaims,
        chain: Vec<Vec<u8>>,
        proof: EvidenceProof,
    ) -> Result<Self, FormatError> {
        check_chain(&chain)?;
        proof.check()?;
        if claims.kind() != proof.kind() {
            return Err(FormatError::Malformed {
                what: "the claims state another kind of evidence than there is",
                offset: 0,
            });
        }
        Ok(Self {
            claims,
            chain,
            proof,
        })
    }

    /// Reads an attestation.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::Purpose`] for something that was made for something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        within(
            "attestation",
            limits::MAX_EVIDENCE_BYTES,
            length(bytes.len()),
        )?;
        let mut reader = Reader::new(bytes);
        // RFC 8949 §3.1: major type 6 is a tag; what hardware vouches for begins with an array.
        let document = if reader.major() == Some(6) {
            Self::decode_signed(&mut reader)?
        } else {
            Self::decode_vouched(&mut reader)?
        };
        reader.finish("bytes are left over after the attestation")?;
        Ok(document)
    }

    fn decode_signed(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        const WHAT: &str = "an attestation without hardware is a COSE_Sign1 with tag 18";
        let error = reader.malformed(WHAT);
        if reader.tag(WHAT)? != TAG_COSE_SIGN1 {
            return Err(error);
        }
        reader.tuple("a COSE_Sign1 is an array of four", 4)?;
        let (header, at) = protected(reader)?;
        let (algorithm, chain) = decode_header(header, at)?;
        empty_unprotected(reader)?;
        let claims = embedded_claims(reader)?;
        let signature = proof::signature(reader)?;
        let proof = EvidenceProof::Software(SoftwareProof {
            algorithm,
            signature,
        });
        Self::new(claims, chain, proof)
    }

    fn decode_vouched(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        reader.tuple("an attestation by hardware is an array of four", 4)?;
        let content_type = reader.text("content type", limits::MAX_TEXT_BYTES)?;
        if content_type != EVIDENCE_CONTENT_TYPE {
            return Err(purpose(content_type));
        }
        let claims = embedded_claims(reader)?;
        let chain = decode_chain(reader)?;
        let proof = EvidenceProof::decode(reader)?;
        Self::new(claims, chain, proof)
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match &self.proof {
            EvidenceProof::Software(proof) => {
                writer.tag(TAG_COSE_SIGN1);
                writer.array(4);
                writer.bytes(&encode_header(proof.algorithm, &self.chain));
                writer.map(0);
                writer.bytes(&self.claims.encode());
            }
            _ => {
                writer.array(4);
                writer.text(EVIDENCE_CONTENT_TYPE);
                writer.bytes(&self.claims.encode());
                encode_chain(&mut writer, &self.chain);
            }
        }
        self.proof.encode(&mut writer);
        writer.finish()
    }

    /// What the host says. True only as far as the proof, and whoever vouches for the host, go.
    #[must_use]
    pub const fn claims(&self) -> &EvidenceClaims {
        &self.claims
    }

    /// The DER certificates of the attestation key: leaf first, then intermediates, no root. 1 to 3.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// What vouches for the claims.
    #[must_use]
    pub const fn proof(&self) -> &EvidenceProof {
        &self.proof
    }
}

fn embedded_claims(reader: &mut Reader<'_>) -> Result<EvidenceClaims, FormatError> {
    let bytes = reader.bytes(
        "claims are embedded as a byte string",
        limits::MAX_EVIDENCE_CLAIMS_BYTES,
    )?;
    let base = reader.offset().saturating_sub(length(bytes.len()));
    EvidenceClaims::decode(bytes, base)
}

fn encode_header(algorithm: Algorithm, chain: &[Vec<u8>]) -> Vec<u8> {
    let mut header = MapWriter::default();
    header.entry(HEADER_ALGORITHM, |writer| {
        writer.integer(algorithm.cose_id())
    });
    header.entry(HEADER_CONTENT_TYPE, |writer| {
        writer.text(EVIDENCE_CONTENT_TYPE);
    });
    header.entry(HEADER_X5CHAIN, |writer| encode_chain(writer, chain));
    header.finish()
}

fn decode_header(bytes: &[u8], at: u64) -> Result<(Algorithm, Vec<Vec<u8>>), FormatError> {
    let mut reader = Reader::at(at, bytes);
    let mut algorithm = None;
    let mut content_type = None;
    let mut chain = None;
    let mut keys = reader.map("a protected header is a map", 8)?;
    while let Some(key) = keys.next(&mut reader)? {
        match key {
            HEADER_ALGORITHM => {
                algorithm = Some(Algorithm::require(reader.integer("signature algorithm")?)?);
            }
            HEADER_CONTENT_TYPE => content_type = Some(read_content_type(&mut reader)?),
            HEADER_X5CHAIN => chain = Some(decode_chain(&mut reader)?),
            // RFC 9597: guest data has its claims here.
            _ if content_type.is_none() => return Err(purpose("something without a content type")),
            _ => return Err(reader.malformed("a header parameter that the format does not have")),
        }
    }
    let missing = reader.malformed("the header lacks its algorithm or its certificates");
    reader.finish("bytes are left over in a protected header")?;
    if content_type.is_none() {
        return Err(purpose("something without a content type"));
    }
    algorithm.zip(chain).ok_or(missing)
}

fn read_content_type(reader: &mut Reader<'_>) -> Result<(), FormatError> {
    if reader.major() == Some(0) {
        let format = reader.unsigned("content type")?;
        return Err(purpose(&format!("CoAP content format {format}")));
    }
    match reader.text("content type", limits::MAX_TEXT_BYTES)? {
        EVIDENCE_CONTENT_TYPE => Ok(()),
        other => Err(purpose(other)),
    }
}

/// Made for something else.
fn purpose(found: &str) -> FormatError {
    FormatError::purpose(found, EVIDENCE_CONTENT_TYPE)
}

#[cfg(test)]
mod tests;

//! The envelope: a COSE_Sign (RFC 9052 §4, tag 98) around the statement, described by `envelope.cddl`. The index of a bundle
//! has one of the same form; its content type keeps them apart ([`SignedContent`]).
//!
//! Decoded strictly, so that [`Envelope::encode`] of what [`Envelope::decode`] returns is the input, byte for byte.
//! Nothing may stand in an unprotected header, so every byte is either signed or a signature. Certificates are
//! carried as bytes: what is in them, whether signatures are good, and whether the signers are those that the
//! statement lists is left to the trust store.

use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::{Algorithm, FormatError, limits};

/// The content type that marks a COSE_Sign as the signature of a component: the purpose of every signature in it.
pub const CONTENT_TYPE: &str = "application/vnd.countersign.statement+cbor";

/// What an envelope may hold: in which content type, under which name in messages, and how large.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SignedContent {
    pub(crate) content_type: &'static str,
    pub(crate) name: &'static str,
    pub(crate) embedded: &'static str,
    pub(crate) max_content: u64,
    pub(crate) max_envelope: u64,
}

/// A component's.
static STATEMENT: SignedContent = SignedContent {
    content_type: CONTENT_TYPE,
    name: "statement",
    embedded: "the statement must be embedded as a byte string",
    max_content: limits::MAX_STATEMENT_BYTES,
    max_envelope: limits::MAX_SIGNATURE_BYTES,
};

/// RFC 9052 §4.1: the CBOR tag of COSE_Sign.
const TAG_COSE_SIGN: u64 = 98;

/// RFC 9052 §3.1 and RFC 9360 §2: header labels.
pub(crate) const HEADER_ALGORITHM: u64 = 1;
pub(crate) const HEADER_CONTENT_TYPE: u64 = 3;
pub(crate) const HEADER_X5CHAIN: u64 = 33;

/// The statement's bytes and who signed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    of: &'static SignedContent,
    statement: Vec<u8>,
    signers: Vec<SignerEntry>,
}

impl Envelope {
    /// An envelope around an encoded statement.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] or [`FormatError::Malformed`] unless there are 1 to 4 signers and a statement
    /// of 1 byte to 16 KiB.
    pub fn new(statement_bytes: Vec<u8>, signers: Vec<SignerEntry>) -> Result<Self, FormatError> {
        Self::around(&STATEMENT, statement_bytes, signers)
    }

    /// An envelope around what this kind of content is.
    pub(crate) fn around(
        of: &'static SignedContent,
        statement_bytes: Vec<u8>,
        signers: Vec<SignerEntry>,
    ) -> Result<Self, FormatError> {
        within(of.name, of.max_content, length(statement_bytes.len()))?;
        within(
            "number of signers",
            limits::MAX_SIGNERS,
            length(signers.len()),
        )?;
        if statement_bytes.is_empty() {
            return Err(FormatError::Malformed {
                what: "what was signed is empty",
                offset: 0,
            });
        }
        if signers.is_empty() {
            return Err(FormatError::Malformed {
                what: "there is no signature",
                offset: 0,
            });
        }
        Ok(Self {
            of,
            statement: statement_bytes,
            signers,
        })
    }

    /// Reads the payload of S.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::Purpose`] for a COSE message that was made for something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::decode_around(&STATEMENT, bytes)
    }

    /// Reads an envelope around this kind of content.
    pub(crate) fn decode_around(
        of: &'static SignedContent,
        bytes: &[u8],
    ) -> Result<Self, FormatError> {
        within("signature section", of.max_envelope, length(bytes.len()))?;
        let mut reader = Reader::new(bytes);
        expect_tag(of, &mut reader)?;
        reader.tuple("a COSE_Sign is an array of four", 4)?;
        let (header, at) = protected(&mut reader)?;
        decode_body_header(of, header, at)?;
        empty_unprotected(&mut reader)?;
        let statement = reader.bytes(of.embedded, of.max_content)?;
        let none = reader.malformed("there is no signature");
        let count = reader.array(
            "the signatures of a COSE_Sign are an array",
            limits::MAX_SIGNERS,
        )?;
        if count == 0 {
            return Err(none);
        }
        let signers = (0..count)
            .map(|_| SignerEntry::decode(&mut reader))
            .collect::<Result<Vec<_>, FormatError>>()?;
        reader.finish("bytes are left over after the COSE_Sign")?;
        Self::around(of, statement.to_vec(), signers)
    }

    /// The one encoding: the payload of S.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.tag(TAG_COSE_SIGN);
        writer.array(4);
        writer.bytes(&encode_body_header(self.of));
        writer.map(0);
        writer.bytes(&self.statement);
        writer.array(self.signers.len());
        for signer in &self.signers {
            writer.array(3);
            writer.bytes(&encode_signer_header(signer.algorithm, &signer.chain));
            writer.map(0);
            writer.bytes(&signer.signature);
        }
        writer.finish()
    }

    /// The encoded statement, as it was signed.
    #[must_use]
    pub fn statement_bytes(&self) -> &[u8] {
        &self.statement
    }

    /// The signers, in the order of the envelope: 1 to 4.
    #[must_use]
    pub fn signers(&self) -> &[SignerEntry] {
        &self.signers
    }

    /// What signer `index` signed: the Sig_structure of RFC 9052 §4.4. `None` if there is no such signer.
    #[must_use]
    pub fn to_be_signed(&self, index: usize) -> Option<Vec<u8>> {
        self.signers
            .get(index)
            .map(|signer| to_be_signed(self.of, &self.statement, signer.algorithm, &signer.chain))
    }
}

/// What a signer signs, before an envelope exists: the Sig_structure of RFC 9052 §4.4, with its context
/// "Signature", both protected headers, no external data, and the statement. `chain` is leaf first, without root.
#[must_use]
pub fn signer_to_be_signed(
    statement_bytes: &[u8],
    algorithm: Algorithm,
    chain: &[Vec<u8>],
) -> Vec<u8> {
    to_be_signed(&STATEMENT, statement_bytes, algorithm, chain)
}

/// The same for any kind of content.
pub(crate) fn to_be_signed(
    of: &SignedContent,
    statement_bytes: &[u8],
    algorithm: Algorithm,
    chain: &[Vec<u8>],
) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(5);
    writer.text("Signature");
    writer.bytes(&encode_body_header(of));
    writer.bytes(&encode_signer_header(algorithm, chain));
    writer.bytes(&[]);
    writer.bytes(statement_bytes);
    writer.finish()
}

/// One signature, and the certificates that lead from its key to a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerEntry {
    algorithm: Algorithm,
    chain: Vec<Vec<u8>>,
    signature: [u8; 64],
}

impl SignerEntry {
    /// A signature with its chain: DER certificates, leaf first, without the root.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] or [`FormatError::Malformed`] unless there are 1 to 3 certificates of 1 byte
    /// to 8 KiB each.
    pub fn new(
        algorithm: Algorithm,
        chain: Vec<Vec<u8>>,
        signature: [u8; 64],
    ) -> Result<Self, FormatError> {
        check_chain(&chain)?;
        Ok(Self {
            algorithm,
            chain,
            signature,
        })
    }

    /// The algorithm of the leaf's key and of the signature.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The DER certificates: leaf first, then intermediates, no root. 1 to 3.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The signature, 64 bytes: `r ‖ s`, or Ed25519's.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// RFC 9052 §4.1: COSE_Signature.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        reader.tuple("a COSE_Signature is an array of three", 3)?;
        let (header, at) = protected(reader)?;
        let (algorithm, chain) = decode_signer_header(header, at)?;
        empty_unprotected(reader)?;
        let signature = reader.array_of("a signature is a byte string of 64 bytes")?;
        Self::new(algorithm, chain, signature)
    }
}

/// 1 to 3 certificates of 1 byte to 8 KiB each.
pub(crate) fn check_chain(chain: &[Vec<u8>]) -> Result<(), FormatError> {
    within(
        "number of certificates",
        limits::MAX_CHAIN_CERTIFICATES,
        length(chain.len()),
    )?;
    if chain.is_empty() || chain.iter().any(Vec::is_empty) {
        return Err(FormatError::Malformed {
            what: "a signature has no certificate",
            offset: 0,
        });
    }
    chain.iter().try_for_each(|certificate| {
        within(
            "certificate",
            limits::MAX_CERTIFICATE_BYTES,
            length(certificate.len()),
        )
    })
}

fn expect_tag(of: &SignedContent, reader: &mut Reader<'_>) -> Result<(), FormatError> {
    const WHAT: &str = "the signature is a COSE_Sign with tag 98";
    let error = reader.malformed(WHAT);
    let name = match reader.tag(WHAT)? {
        TAG_COSE_SIGN => return Ok(()),
        16 => "a COSE_Encrypt0",
        17 => "a COSE_Mac0",
        18 => "a COSE_Sign1, as devices sign guest data and attestations",
        61 => "a CBOR Web Token",
        96 => "a COSE_Encrypt",
        97 => "a COSE_Mac",
        _ => return Err(error),
    };
    Err(FormatError::purpose(name, of.content_type))
}

/// A protected header: its bytes, and where they start.
pub(crate) fn protected<'b>(reader: &mut Reader<'b>) -> Result<(&'b [u8], u64), FormatError> {
    let bytes = reader.bytes(
        "a protected header is a byte string",
        limits::MAX_SIGNATURE_BYTES,
    )?;
    Ok((bytes, reader.offset().saturating_sub(length(bytes.len()))))
}

/// An unprotected header is signed by nobody, so it must say nothing.
pub(crate) fn empty_unprotected(reader: &mut Reader<'_>) -> Result<(), FormatError> {
    let error = reader.noncanonical("an unprotected header that is not empty");
    let map = reader.map("an unprotected header is a map", u64::MAX)?;
    if map.is_empty() { Ok(()) } else { Err(error) }
}

fn encode_body_header(of: &SignedContent) -> Vec<u8> {
    let mut header = MapWriter::default();
    header.entry(HEADER_CONTENT_TYPE, |writer| writer.text(of.content_type));
    header.finish()
}

fn decode_body_header(of: &SignedContent, bytes: &[u8], at: u64) -> Result<(), FormatError> {
    let mut reader = Reader::at(at, bytes);
    let purpose = |found: &str| FormatError::purpose(found, of.content_type);
    if bytes.is_empty() {
        return Err(purpose("something without a content type"));
    }
    let mut keys = reader.map("a protected header is a map", 8)?;
    let mut found = false;
    while let Some(key) = keys.next(&mut reader)? {
        match (key, reader.major()) {
            (HEADER_CONTENT_TYPE, Some(0)) => {
                let format = reader.unsigned("content type")?;
                return Err(purpose(&format!("CoAP content format {format}")));
            }
            (HEADER_CONTENT_TYPE, _) => {
                let content_type = reader.text("content type", limits::MAX_TEXT_BYTES)?;
                if content_type != of.content_type {
                    return Err(purpose(content_type));
                }
                found = true;
            }
            _ => return Err(reader.malformed("a header parameter that the format does not have")),
        }
    }
    if !found {
        return Err(purpose("something without a content type"));
    }
    reader.finish("bytes are left over in a protected header")
}

fn encode_signer_header(algorithm: Algorithm, chain: &[Vec<u8>]) -> Vec<u8> {
    let mut header = MapWriter::default();
    header.entry(HEADER_ALGORITHM, |writer| {
        writer.integer(algorithm.cose_id())
    });
    header.entry(HEADER_X5CHAIN, |writer| encode_chain(writer, chain));
    header.finish()
}

/// RFC 9360 §2: one certificate is a byte string, two or more are an array.
pub(crate) fn encode_chain(writer: &mut Writer, chain: &[Vec<u8>]) {
    match chain {
        [leaf] => writer.bytes(leaf),
        _ => {
            writer.array(chain.len());
            chain
                .iter()
                .for_each(|certificate| writer.bytes(certificate));
        }
    }
}

fn decode_signer_header(bytes: &[u8], at: u64) -> Result<(Algorithm, Vec<Vec<u8>>), FormatError> {
    let mut reader = Reader::at(at, bytes);
    let mut algorithm = None;
    let mut chain = None;
    let mut keys = reader.map("a protected header is a map", 8)?;
    while let Some(key) = keys.next(&mut reader)? {
        match key {
            HEADER_ALGORITHM => {
                algorithm = Some(Algorithm::require(reader.integer("signature algorithm")?)?)
            }
            HEADER_X5CHAIN => chain = Some(decode_chain(&mut reader)?),
            _ => return Err(reader.malformed("a header parameter that the format does not have")),
        }
    }
    let missing = reader.malformed("a signer's header lacks its algorithm or its certificates");
    reader.finish("bytes are left over in a protected header")?;
    algorithm.zip(chain).ok_or(missing)
}

pub(crate) fn decode_chain(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, FormatError> {
    let certificate = |reader: &mut Reader<'_>| {
        reader
            .bytes("certificate", limits::MAX_CERTIFICATE_BYTES)
            .map(<[u8]>::to_vec)
    };
    if reader.major() == Some(2) {
        return Ok(vec![certificate(reader)?]);
    }
    let one = reader.noncanonical("a chain of less than two certificates written as an array");
    let count = reader.array("number of certificates", limits::MAX_CHAIN_CERTIFICATES)?;
    if count < 2 {
        return Err(one);
    }
    (0..count).map(|_| certificate(reader)).collect()
}

#[cfg(test)]
mod tests;

//! What a device signs for one of its guests: a COSE_Sign1 (RFC 9052 §4.2, tag 18), described by `guest-data.cddl`.
//!
//! A guest chooses the message and, within its grant, the context. Everything else in the signed bytes is the host's:
//! the content type, which no other message of ours or of others has, and the claims, which say which component on which
//! device this was. So no message passes as a certificate, a handshake, a component's statement, or another guest's data.
//!
//! Decoded as strictly as the envelope: what [`GuestData::decode`] accepts has one encoding, and every byte but the
//! signature is signed.

use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::envelope::{
    HEADER_ALGORITHM, HEADER_CONTENT_TYPE, HEADER_X5CHAIN, check_chain, decode_chain,
    empty_unprotected, encode_chain, protected,
};
use crate::text::check_label;
use crate::{Algorithm, ComponentName, DeviceIdentity, Digest, FormatError, limits};

/// The content type that marks a COSE_Sign1 as a guest's data signed by its device.
pub const GUEST_DATA_CONTENT_TYPE: &str = "application/vnd.countersign.guest-data";

/// RFC 9052 §4.2: the CBOR tag of COSE_Sign1.
pub(crate) const TAG_COSE_SIGN1: u64 = 18;

/// RFC 9597 §2: CWT claims in a header.
const HEADER_CLAIMS: u64 = 15;
/// COSE Hash Envelope (IANA registry "COSE Header Parameters").
const HEADER_PAYLOAD_HASH: u64 = 258;
const HEADER_PREIMAGE_TYPE: u64 = 259;

/// IANA registry "COSE Algorithms" (RFC 9054 §3.2): SHA-256.
const SHA_256: i64 = -16;

/// RFC 8392 §3.1: issuer and subject; the rest are private claims, which are integers below -65536.
pub(crate) const CLAIM_DEVICE: i64 = 1;
pub(crate) const CLAIM_COMPONENT: i64 = 2;
pub(crate) const CLAIM_COMPONENT_DIGEST: i64 = -65_537;
pub(crate) const CLAIM_SIGNERS: i64 = -65_538;
const CLAIM_CONTEXT: i64 = -65_539;
const CLAIM_BOOT: i64 = -65_540;
const CLAIM_SEQUENCE: i64 = -65_541;
/// How many claims there are; none can be left out.
const CLAIMS: usize = 7;

/// Which run of a host it was: 16 random bytes, new at every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootId([u8; 16]);

impl BootId {
    /// The identity of a boot.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What the host says about who asked for the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestClaims {
    device: DeviceIdentity,
    component: ComponentName,
    component_digest: Digest,
    signers: Vec<Digest>,
    context: String,
    boot: BootId,
    sequence: u64,
}

impl GuestClaims {
    /// The claims for one signature. `signers` are SHA-256 of the SubjectPublicKeyInfo of those who signed the component,
    /// in the order of its statement.
    ///
    /// # Errors
    /// [`FormatError::Text`] for a context that is not 1 to 64 characters of `A-Z a-z 0-9 . _ : + / -`, the first a letter
    /// or digit; [`FormatError::LimitExceeded`] or [`FormatError::Malformed`] unless there are 1 to 4 signers.
    pub fn new(
        device: DeviceIdentity,
        component: ComponentName,
        component_digest: Digest,
        signers: Vec<Digest>,
        context: &str,
        boot: BootId,
        sequence: u64,
    ) -> Result<Self, FormatError> {
        check_label("context", context)?;
        within(
            "number of signers",
            limits::MAX_SIGNERS,
            length(signers.len()),
        )?;
        if signers.is_empty() {
            return Err(FormatError::Malformed {
                what: "the claims name no signer of the component",
                offset: 0,
            });
        }
        Ok(Self {
            device,
            component,
            component_digest,
            signers,
            context: context.to_owned(),
            boot,
            sequence,
        })
    }

    /// The device whose guest it was.
    #[must_use]
    pub fn device(&self) -> &DeviceIdentity {
        &self.device
    }

    /// The component's name in its statement.
    #[must_use]
    pub fn component(&self) -> &ComponentName {
        &self.component
    }

    /// SHA-256 of the component P.
    #[must_use]
    pub fn component_digest(&self) -> Digest {
        self.component_digest
    }

    /// SHA-256 of the SubjectPublicKeyInfo of each signer of the component.
    #[must_use]
    pub fn signers(&self) -> &[Digest] {
        &self.signers
    }

    /// What the guest signed it as; one of the contexts that its statement and the operator allow.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The run of the host.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Rises with every signature that the host made for its guests in this boot. Gaps are signatures for others, or
    /// such as failed.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    fn encode(&self, writer: &mut Writer) {
        // RFC 8949 §4.2.1: in the order of the encoded keys, which is that of the numbers, then of the negative ones' size.
        writer.map(CLAIMS);
        writer.integer(CLAIM_DEVICE);
        writer.text(self.device.as_str());
        writer.integer(CLAIM_COMPONENT);
        writer.text(self.component.as_str());
        writer.integer(CLAIM_COMPONENT_DIGEST);
        writer.bytes(self.component_digest.as_bytes());
        writer.integer(CLAIM_SIGNERS);
        writer.array(self.signers.len());
        for signer in &self.signers {
            writer.bytes(signer.as_bytes());
        }
        writer.integer(CLAIM_CONTEXT);
        writer.text(&self.context);
        writer.integer(CLAIM_BOOT);
        writer.bytes(self.boot.as_bytes());
        writer.integer(CLAIM_SEQUENCE);
        writer.unsigned(self.sequence);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        reader.record("the claims are a map of seven", length(CLAIMS))?;
        claim(reader, CLAIM_DEVICE)?;
        let device =
            DeviceIdentity::parse(reader.text("device identity", limits::MAX_TEXT_BYTES)?)?;
        claim(reader, CLAIM_COMPONENT)?;
        let name = reader.text("component name", limits::MAX_COMPONENT_NAME_BYTES)?;
        let component = ComponentName::parse(name)?;
        claim(reader, CLAIM_COMPONENT_DIGEST)?;
        let component_digest = digest(reader)?;
        claim(reader, CLAIM_SIGNERS)?;
        let signers = reader.list("signers", limits::MAX_SIGNERS, false, digest)?;
        claim(reader, CLAIM_CONTEXT)?;
        let context = reader.text("context", limits::MAX_TEXT_BYTES)?;
        claim(reader, CLAIM_BOOT)?;
        let boot = BootId::new(reader.array_of("a boot is a byte string of 16 bytes")?);
        claim(reader, CLAIM_SEQUENCE)?;
        let sequence = reader.unsigned("sequence number")?;
        Self::new(
            device,
            component,
            component_digest,
            signers,
            context,
            boot,
            sequence,
        )
    }
}

/// The key of the next claim, which must be this one.
fn claim(reader: &mut Reader<'_>, expected: i64) -> Result<(), FormatError> {
    let error = reader.malformed("a claim that is missing, unknown or out of order");
    if reader.integer("claim")? == expected {
        Ok(())
    } else {
        Err(error)
    }
}

pub(crate) fn digest(reader: &mut Reader<'_>) -> Result<Digest, FormatError> {
    reader
        .array_of("a digest is a byte string of 32 bytes")
        .map(Digest::from_bytes)
}

/// What was signed beside the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestPayload {
    /// A message of at most 64 KiB.
    Message(Vec<u8>),
    /// SHA-256 of a message that is kept elsewhere.
    Digest(Digest),
}

impl GuestPayload {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Message(message) => message,
            Self::Digest(digest) => digest.as_bytes(),
        }
    }
}

/// What a device signs, before there is a signature: the Sig_structure of RFC 9052 §4.4 with its context "Signature1".
/// `chain` is the device's: leaf first, without root.
#[must_use]
pub fn guest_data_to_be_signed(
    algorithm: Algorithm,
    chain: &[Vec<u8>],
    claims: &GuestClaims,
    payload: &GuestPayload,
) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(4);
    writer.text("Signature1");
    writer.bytes(&encode_header(algorithm, chain, claims, payload));
    writer.bytes(&[]);
    writer.bytes(payload.as_bytes());
    writer.finish()
}

/// A guest's message or its digest, the host's claims, and the device's signature over both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestData {
    algorithm: Algorithm,
    chain: Vec<Vec<u8>>,
    claims: GuestClaims,
    payload: GuestPayload,
    signature: [u8; 64],
}

impl GuestData {
    /// Puts the parts together. `chain` is leaf first, without root.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] or [`FormatError::Malformed`] unless there are 1 to 3 certificates of 1 byte to 8 KiB
    /// and at most 64 KiB of message.
    pub fn new(
        algorithm: Algorithm,
        chain: Vec<Vec<u8>>,
        claims: GuestClaims,
        payload: GuestPayload,
        signature: [u8; 64],
    ) -> Result<Self, FormatError> {
        check_chain(&chain)?;
        within(
            "message",
            limits::MAX_GUEST_MESSAGE_BYTES,
            length(payload.as_bytes().len()),
        )?;
        Ok(Self {
            algorithm,
            chain,
            claims,
            payload,
            signature,
        })
    }

    /// Reads what a device signed.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::Purpose`] for a COSE_Sign1 that was made for something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "signed guest data is a COSE_Sign1 with tag 18";
        within(
            "guest data",
            limits::MAX_GUEST_DATA_BYTES,
            length(bytes.len()),
        )?;
        let mut reader = Reader::new(bytes);
        let error = reader.malformed(WHAT);
        if reader.tag(WHAT)? != TAG_COSE_SIGN1 {
            return Err(error);
        }
        reader.tuple("a COSE_Sign1 is an array of four", 4)?;
        let (header, at) = protected(&mut reader)?;
        let header = Header::decode(header, at)?;
        empty_unprotected(&mut reader)?;
        let payload = if header.hashed {
            GuestPayload::Digest(digest(&mut reader)?)
        } else {
            let message = reader.bytes(
                "the message must be embedded as a byte string",
                limits::MAX_GUEST_MESSAGE_BYTES,
            )?;
            GuestPayload::Message(message.to_vec())
        };
        let signature = reader.array_of("a signature is a byte string of 64 bytes")?;
        reader.finish("bytes are left over after the COSE_Sign1")?;
        Self::new(
            header.algorithm,
            header.chain,
            header.claims,
            payload,
            signature,
        )
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.tag(TAG_COSE_SIGN1);
        writer.array(4);
        writer.bytes(&encode_header(
            self.algorithm,
            &self.chain,
            &self.claims,
            &self.payload,
        ));
        writer.map(0);
        writer.bytes(self.payload.as_bytes());
        writer.bytes(&self.signature);
        writer.finish()
    }

    /// What the signature is over.
    #[must_use]
    pub fn to_be_signed(&self) -> Vec<u8> {
        guest_data_to_be_signed(self.algorithm, &self.chain, &self.claims, &self.payload)
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

    /// What the host says. True only if the signature is good and its chain leads to a root.
    #[must_use]
    pub fn claims(&self) -> &GuestClaims {
        &self.claims
    }

    /// The message, or its digest.
    #[must_use]
    pub fn payload(&self) -> &GuestPayload {
        &self.payload
    }

    /// The signature, 64 bytes: `r ‖ s`, or Ed25519's.
    #[must_use]
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

fn encode_header(
    algorithm: Algorithm,
    chain: &[Vec<u8>],
    claims: &GuestClaims,
    payload: &GuestPayload,
) -> Vec<u8> {
    let hashed = matches!(payload, GuestPayload::Digest(_));
    let mut header = MapWriter::default();
    header.entry(HEADER_ALGORITHM, |writer| {
        writer.integer(algorithm.cose_id())
    });
    if !hashed {
        header.entry(HEADER_CONTENT_TYPE, |writer| {
            writer.text(GUEST_DATA_CONTENT_TYPE);
        });
    }
    header.entry(HEADER_CLAIMS, |writer| claims.encode(writer));
    header.entry(HEADER_X5CHAIN, |writer| encode_chain(writer, chain));
    if hashed {
        header.entry(HEADER_PAYLOAD_HASH, |writer| writer.integer(SHA_256));
        header.entry(HEADER_PREIMAGE_TYPE, |writer| {
            writer.text(GUEST_DATA_CONTENT_TYPE);
        });
    }
    header.finish()
}

/// A decoded protected header.
struct Header {
    algorithm: Algorithm,
    claims: GuestClaims,
    chain: Vec<Vec<u8>>,
    hashed: bool,
}

impl Header {
    fn decode(bytes: &[u8], at: u64) -> Result<Self, FormatError> {
        let mut reader = Reader::at(at, bytes);
        let mut algorithm = None;
        let mut content_type = None;
        let mut claims = None;
        let mut chain = None;
        let mut hash = None;
        let mut preimage_type = None;
        let mut keys = reader.map("a protected header is a map", 8)?;
        while let Some(key) = keys.next(&mut reader)? {
            match key {
                HEADER_ALGORITHM => {
                    algorithm = Some(Algorithm::require(reader.integer("signature algorithm")?)?);
                }
                HEADER_CONTENT_TYPE => content_type = Some(read_content_type(&mut reader)?),
                HEADER_CLAIMS => claims = Some(GuestClaims::decode(&mut reader)?),
                HEADER_X5CHAIN => chain = Some(decode_chain(&mut reader)?),
                HEADER_PAYLOAD_HASH => hash = Some(read_hash(&mut reader)?),
                HEADER_PREIMAGE_TYPE => preimage_type = Some(read_content_type(&mut reader)?),
                _ => {
                    return Err(
                        reader.malformed("a header parameter that the format does not have")
                    );
                }
            }
        }
        // What is hashed has its type beside the hash, what is not has it in its usual place; never both.
        let hashed = match (content_type, hash, preimage_type) {
            (Some(()), None, None) => false,
            (None, Some(()), Some(())) => true,
            (None, None, None) => {
                return Err(purpose("something without a content type"));
            }
            _ => {
                return Err(reader.malformed(
                    "a message has a content type, a digest its algorithm and the content type of what was hashed",
                ));
            }
        };
        let missing =
            reader.malformed("the header lacks its algorithm, its claims or its certificates");
        reader.finish("bytes are left over in a protected header")?;
        let (Some(algorithm), Some(claims), Some(chain)) = (algorithm, claims, chain) else {
            return Err(missing);
        };
        Ok(Self {
            algorithm,
            claims,
            chain,
            hashed,
        })
    }
}

fn read_content_type(reader: &mut Reader<'_>) -> Result<(), FormatError> {
    if reader.major() == Some(0) {
        let format = reader.unsigned("content type")?;
        return Err(purpose(&format!("CoAP content format {format}")));
    }
    match reader.text("content type", limits::MAX_TEXT_BYTES)? {
        GUEST_DATA_CONTENT_TYPE => Ok(()),
        other => Err(purpose(other)),
    }
}

fn read_hash(reader: &mut Reader<'_>) -> Result<(), FormatError> {
    match reader.integer("digest algorithm")? {
        SHA_256 => Ok(()),
        found => Err(FormatError::AlgorithmForbidden {
            what: "digest algorithm",
            found,
        }),
    }
}

/// Made for something else.
fn purpose(found: &str) -> FormatError {
    FormatError::purpose(found, GUEST_DATA_CONTENT_TYPE)
}

#[cfg(test)]
mod tests;

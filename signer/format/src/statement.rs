//! The statement: what the signers say about a component, described by `statement.cddl`.
//!
//! A deterministic CBOR map with unsigned integer keys. A [`Statement`] can only hold what the format allows, so
//! encoding cannot fail, and [`Statement::encode`] of what [`Statement::decode`] returns is the input, byte for
//! byte. Whether it is true, meant for this device, and newer than the last is left to the trust store.

use std::collections::BTreeSet;

use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::grants::{filled, read_texts, write_texts};
use crate::{
    Algorithm, ComponentName, DeviceIdentity, Digest, DigestWriter, FormatError, Grants,
    GuestLimits, limits, text,
};

/// The version of the statement that this crate reads and writes.
const VERSION: u64 = 1;

/// IANA registry "COSE Algorithms": SHA-256.
const COSE_SHA_256: i64 = -16;

/// What is signed about a component. See [`StatementFields`] for the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    fields: StatementFields,
}

/// The parts of a statement; [`Statement::new`] checks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementFields {
    /// SHA-256 of P.
    pub component_digest: Digest,
    /// The size of P in bytes.
    pub component_size: u64,
    /// The component's name, `namespace:name`.
    pub name: ComponentName,
    /// The component's version, for people. Going back is decided by `security_version`.
    pub version: semver::Version,
    /// Rises with every release that must not be undone.
    pub security_version: u64,
    /// Who signs: exactly the keys and chains in the envelope, 1 to 4.
    pub signers: Vec<SignerId>,
    /// Where it may run.
    pub audience: Audience,
    /// What it asks for.
    pub grants: Grants,
    /// How much it asks for.
    pub limits: GuestLimits,
    /// Documents that belong to it, by digest.
    pub documents: Vec<Document>,
    /// When it was signed, by the signer's clock, in seconds since 1970. Information only: no evidence of time.
    pub issued_at: Option<u64>,
}

/// A signer: the algorithm of its key, the SHA-256 of the key's DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), and the
/// SHA-256 of its certificate chain.
///
/// The chain is here because a signer's own signature is all that covers it otherwise: whoever holds the key of a
/// revoked co-signer could sign the same statement again with a chain that leads nowhere and so counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerId {
    /// The algorithm of the key. Sorted by its COSE number as an integer: Ed25519 (-19) before ESP256 (-9).
    pub algorithm: Algorithm,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki_sha256: Digest,
    /// SHA-256 of the DER certificates of x5chain (RFC 9360 §2), one after the other in their order, leaf first.
    pub chain_sha256: Digest,
}

impl SignerId {
    /// The signer with this key and this chain, DER, leaf first. Nothing is parsed here: that the key is the leaf's
    /// is left to the caller.
    #[must_use]
    pub fn of(algorithm: Algorithm, spki_sha256: Digest, chain: &[Vec<u8>]) -> Self {
        // Nothing stands between the certificates: DER says itself where it ends.
        let mut digest = DigestWriter::new();
        for certificate in chain {
            digest.update(certificate);
        }
        Self {
            algorithm,
            spki_sha256,
            chain_sha256: digest.finish(),
        }
    }
}

/// Where a component may run: on the devices named, of the types named. An empty list says nothing, both empty
/// mean anywhere; where both are given, a device must be in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Device identities.
    pub devices: Vec<String>,
    /// Device types.
    pub types: Vec<String>,
}

/// A document about a component, such as an SBOM or provenance, that is kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Document {
    /// Its media type, such as `application/vnd.cyclonedx+json`.
    pub media_type: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

impl Statement {
    /// Checks the parts and sorts those lists whose order says nothing.
    ///
    /// # Errors
    /// [`FormatError::Text`] for a text that its field may not hold or an entry that appears twice,
    /// [`FormatError::LimitExceeded`] for anything too large, [`FormatError::Malformed`] without a signer.
    pub fn new(mut fields: StatementFields) -> Result<Self, FormatError> {
        within(
            "component",
            limits::MAX_COMPONENT_BYTES,
            fields.component_size,
        )?;
        within(
            "version",
            limits::MAX_VERSION_BYTES,
            length(fields.version.to_string().len()),
        )?;
        within(
            "number of signers",
            limits::MAX_SIGNERS,
            length(fields.signers.len()),
        )?;
        if fields.signers.is_empty() {
            return Err(FormatError::Malformed {
                what: "the statement names no signer",
                offset: 0,
            });
        }
        text::sort_unique("signers", &mut fields.signers)?;
        refuse_repeated_keys(&fields.signers)?;
        fields.audience.normalise()?;
        fields.grants.normalise()?;
        for document in &fields.documents {
            text::check_media_type("media type", &document.media_type)?;
        }
        text::sort_unique("documents", &mut fields.documents)?;
        if let Some(issued_at) = fields.issued_at {
            within("issue time", limits::MAX_UNIX_SECONDS, issued_at)?;
        }
        let statement = Self { fields };
        within(
            "statement",
            limits::MAX_STATEMENT_BYTES,
            length(statement.encode().len()),
        )?;
        Ok(statement)
    }

    /// Reads a statement.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::VersionUnknown`] before anything else in it is looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        within(
            "statement",
            limits::MAX_STATEMENT_BYTES,
            length(bytes.len()),
        )?;
        let mut reader = Reader::new(bytes);
        let fields = decode_fields(&mut reader)?;
        reader.finish("bytes are left over after the statement")?;
        let statement = Self::new(fields)?;
        // What is left to compare are the orders that `new` sorts.
        match differs(&statement.encode(), bytes) {
            None => Ok(statement),
            Some(offset) => Err(FormatError::Noncanonical {
                what: "a list that is not sorted",
                offset,
            }),
        }
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = &self.fields;
        let mut map = MapWriter::default();
        map.entry(1, |writer| writer.unsigned(VERSION));
        map.entry(2, |writer| writer.integer(COSE_SHA_256));
        map.entry(3, |writer| writer.bytes(fields.component_digest.as_bytes()));
        map.entry(4, |writer| writer.unsigned(fields.component_size));
        map.entry(5, |writer| writer.text(fields.name.as_str()));
        map.entry(6, |writer| writer.text(&fields.version.to_string()));
        map.entry(7, |writer| writer.unsigned(fields.security_version));
        map.entry(8, |writer| write_signers(writer, &fields.signers));
        map.optional(9, non_empty(fields.audience.encode()), |writer, map| {
            map.write_to(writer)
        });
        map.optional(10, non_empty(fields.grants.encode()), |writer, map| {
            map.write_to(writer)
        });
        map.optional(11, non_empty(fields.limits.encode()), |writer, map| {
            map.write_to(writer)
        });
        map.optional(12, filled(&fields.documents), |writer, documents| {
            writer.array(documents.len());
            for document in documents {
                writer.array(3);
                writer.text(&document.media_type);
                writer.integer(COSE_SHA_256);
                writer.bytes(document.digest.as_bytes());
            }
        });
        map.optional(13, fields.issued_at, Writer::unsigned);
        map.finish()
    }

    /// All parts, checked and sorted.
    #[must_use]
    pub fn fields(&self) -> &StatementFields {
        &self.fields
    }

    /// SHA-256 of P.
    #[must_use]
    pub fn component_digest(&self) -> &Digest {
        &self.fields.component_digest
    }

    /// The size of P in bytes.
    #[must_use]
    pub fn component_size(&self) -> u64 {
        self.fields.component_size
    }

    /// The component's name.
    #[must_use]
    pub fn name(&self) -> &ComponentName {
        &self.fields.name
    }

    /// The component's version, for people.
    #[must_use]
    pub fn version(&self) -> &semver::Version {
        &self.fields.version
    }

    /// The version that must never fall.
    #[must_use]
    pub fn security_version(&self) -> u64 {
        self.fields.security_version
    }

    /// The signers, sorted, no key twice, 1 to 4.
    #[must_use]
    pub fn signers(&self) -> &[SignerId] {
        &self.fields.signers
    }

    /// Where it may run.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.fields.audience
    }

    /// What it asks for.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.fields.grants
    }

    /// How much it asks for.
    #[must_use]
    pub fn limits(&self) -> &GuestLimits {
        &self.fields.limits
    }

    /// Documents that belong to it.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.fields.documents
    }

    /// When it was signed, in seconds since 1970; information only.
    #[must_use]
    pub fn issued_at(&self) -> Option<u64> {
        self.fields.issued_at
    }
}

impl Audience {
    /// Whether it says nothing: anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.types.is_empty()
    }

    /// Whether a host of this identity and type is meant. What a host cannot prove (`None`) matches no list.
    #[must_use]
    pub fn admits(&self, device: Option<&str>, device_type: Option<&str>) -> bool {
        let within = |list: &[String], own: Option<&str>| {
            list.is_empty() || own.is_some_and(|own| list.iter().any(|entry| entry == own))
        };
        within(&self.devices, device) && within(&self.types, device_type)
    }

    /// Whether every host that this audience admits is surely admitted by `outer`.
    #[must_use]
    pub fn is_within(&self, outer: &Self) -> bool {
        let within = |inner: &[String], outer: &[String]| {
            outer.is_empty()
                || (!inner.is_empty() && inner.iter().all(|entry| outer.contains(entry)))
        };
        within(&self.devices, &outer.devices) && within(&self.types, &outer.types)
    }

    /// Sorts both lists and checks their texts.
    ///
    /// # Errors
    /// As [`Grants::normalise`].
    pub fn normalise(&mut self) -> Result<(), FormatError> {
        self.devices
            .iter()
            .try_for_each(|device| DeviceIdentity::parse(device).map(|_| ()))?;
        text::sort_unique("audience devices", &mut self.devices)?;
        self.types
            .iter()
            .try_for_each(|device_type| text::check_label("device type", device_type))?;
        text::sort_unique("audience types", &mut self.types)
    }

    pub(crate) fn encode(&self) -> MapWriter {
        let mut map = MapWriter::default();
        map.optional(1, filled(&self.devices), write_texts);
        map.optional(2, filled(&self.types), write_texts);
        map
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut audience = Self::default();
        let empty = reader.noncanonical("an empty audience, which must be left out");
        let mut keys = reader.map("audience", 8)?;
        if keys.is_empty() {
            return Err(empty);
        }
        while let Some(key) = keys.next(reader)? {
            match key {
                1 => audience.devices = read_texts(reader, "audience devices", false)?,
                2 => audience.types = read_texts(reader, "audience types", false)?,
                _ => {
                    return Err(
                        reader.malformed("a part of the audience that the format does not have")
                    );
                }
            }
        }
        Ok(audience)
    }
}

fn decode_fields(reader: &mut Reader<'_>) -> Result<StatementFields, FormatError> {
    let mut keys = reader.map("a statement is a map", 32)?;
    let mut require =
        |reader: &mut Reader<'_>, expected: u64| match keys.next(reader)? {
            Some(key) if key == expected => Ok(()),
            _ => Err(reader
                .malformed("the statement lacks a required part, or it has one that is unknown")),
        };
    require(reader, 1)?;
    let version = reader.unsigned("statement version")?;
    if version != VERSION {
        return Err(FormatError::VersionUnknown {
            found: version,
            supported: VERSION,
        });
    }
    require(reader, 2)?;
    expect_sha_256(reader)?;
    require(reader, 3)?;
    let component_digest = decode_digest(reader)?;
    require(reader, 4)?;
    let component_size = reader.unsigned("component size")?;
    require(reader, 5)?;
    let name =
        ComponentName::parse(reader.text("component name", limits::MAX_COMPONENT_NAME_BYTES)?)?;
    require(reader, 6)?;
    let version = decode_version(reader)?;
    require(reader, 7)?;
    let security_version = reader.unsigned("security version")?;
    require(reader, 8)?;
    let signers = read_signers(reader)?;
    let mut fields = StatementFields {
        component_digest,
        component_size,
        name,
        version,
        security_version,
        signers,
        audience: Audience::default(),
        grants: Grants::default(),
        limits: GuestLimits::default(),
        documents: Vec::new(),
        issued_at: None,
    };
    while let Some(key) = keys.next(reader)? {
        match key {
            9 => fields.audience = Audience::decode(reader)?,
            10 => fields.grants = Grants::decode(reader)?,
            11 => fields.limits = GuestLimits::decode(reader)?,
            12 => {
                fields.documents =
                    reader.list("documents", limits::MAX_LIST_ENTRIES, false, |reader| {
                        reader.tuple(
                            "a document is a media type, a digest algorithm and a digest",
                            3,
                        )?;
                        let media_type = reader
                            .text("media type", limits::MAX_TEXT_BYTES)?
                            .to_owned();
                        expect_sha_256(reader)?;
                        Ok(Document {
                            media_type,
                            digest: decode_digest(reader)?,
                        })
                    })?;
            }
            13 => fields.issued_at = Some(reader.unsigned("issue time")?),
            _ => {
                return Err(
                    reader.malformed("a part of the statement that the format does not have")
                );
            }
        }
    }
    Ok(fields)
}

/// Who signs, as it stands in everything that lists its signers.
pub(crate) fn write_signers(writer: &mut Writer, signers: &[SignerId]) {
    writer.array(signers.len());
    for signer in signers {
        writer.array(3);
        writer.integer(signer.algorithm.cose_id());
        writer.bytes(signer.spki_sha256.as_bytes());
        writer.bytes(signer.chain_sha256.as_bytes());
    }
}

pub(crate) fn read_signers(reader: &mut Reader<'_>) -> Result<Vec<SignerId>, FormatError> {
    reader.list("number of signers", limits::MAX_SIGNERS, false, |reader| {
        reader.tuple("a signer is an algorithm and two digests", 3)?;
        let algorithm = Algorithm::require(reader.integer("signature algorithm")?)?;
        Ok(SignerId {
            algorithm,
            spki_sha256: decode_digest(reader)?,
            chain_sha256: decode_digest(reader)?,
        })
    })
}

/// One key is one signer, whatever chains or algorithms it is listed with.
pub(crate) fn refuse_repeated_keys(signers: &[SignerId]) -> Result<(), FormatError> {
    let keys: BTreeSet<Digest> = signers.iter().map(|signer| signer.spki_sha256).collect();
    if keys.len() == signers.len() {
        Ok(())
    } else {
        Err(FormatError::text("signers", "", "a key appears twice"))
    }
}

fn decode_digest(reader: &mut Reader<'_>) -> Result<Digest, FormatError> {
    reader
        .array_of("a digest is a byte string of 32 bytes")
        .map(Digest::from_bytes)
}

fn expect_sha_256(reader: &mut Reader<'_>) -> Result<(), FormatError> {
    match reader.integer("digest algorithm")? {
        COSE_SHA_256 => Ok(()),
        found => Err(FormatError::AlgorithmForbidden {
            what: "digest algorithm",
            found,
        }),
    }
}

fn decode_version(reader: &mut Reader<'_>) -> Result<semver::Version, FormatError> {
    let text = reader.text("version", limits::MAX_VERSION_BYTES)?;
    let refuse = || {
        FormatError::text(
            "version",
            text,
            "write a semantic version, as in 1.2.3 or 1.2.3-rc.1",
        )
    };
    let version = semver::Version::parse(text).map_err(|_| refuse())?;
    // A version has one spelling: semver refuses leading zeros, this refuses whatever else it may let through.
    if version.to_string() == text {
        Ok(version)
    } else {
        Err(refuse())
    }
}

fn non_empty(map: MapWriter) -> Option<MapWriter> {
    (!map.is_empty()).then_some(map)
}

/// The first offset at which two encodings differ.
fn differs(a: &[u8], b: &[u8]) -> Option<u64> {
    if a == b {
        return None;
    }
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    Some(length(same))
}

#[cfg(test)]
mod tests;

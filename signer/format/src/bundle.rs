//! A bundle: many files that go together, as one file for a stick or a download, described by `bundle.cddl`.
//!
//! ```text
//! bundle = preamble ‖ envelope ‖ part ‖ part ‖ …
//! preamble  "CSBUNDLE", then the envelope's length, 4 bytes, most significant first
//! envelope  a COSE_Sign whose payload is the index
//! part      the bytes of a file; the index says how many and which, in its order; nothing follows the last
//! ```
//!
//! Nothing in it is compressed, and no part has a path: it is read once from front to end, and each part is known before its
//! first byte comes. Every byte is covered: the envelope by its one encoding, the parts by their sizes and digests in the
//! index. Whether the index is true, new, and meant for this device is left to the trust store; what the parts mean, to whoever
//! uses them. A component in a bundle is believed for its own signature, never for the bundle's.

use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::envelope::{self, SignedContent};
use crate::grants::filled;
use crate::{
    Algorithm, Audience, ComponentName, Digest, Envelope, FormatError, SignerEntry, SignerId,
    limits, text,
};

/// The content type that marks a COSE_Sign as the envelope of a bundle's index.
pub const BUNDLE_CONTENT_TYPE: &str = "application/vnd.countersign.bundle+cbor";

/// How a bundle begins.
pub const BUNDLE_MAGIC: [u8; 8] = *b"CSBUNDLE";

/// The bytes before the envelope.
pub const BUNDLE_PREAMBLE_BYTES: usize = 12;

/// The version of the index that this crate reads and writes.
const VERSION: u64 = 1;

static INDEX: SignedContent = SignedContent {
    content_type: BUNDLE_CONTENT_TYPE,
    name: "bundle's index",
    embedded: "the index must be embedded as a byte string",
    max_content: limits::MAX_BUNDLE_INDEX_BYTES,
    max_envelope: limits::MAX_BUNDLE_ENVELOPE_BYTES,
};

/// What a part is. In the order in which the parts stand: what is needed to judge comes before what is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKind {
    /// Revocation lists, PEM or DER.
    Lists,
    /// The gateway's configuration of what runs. At most one.
    Configuration,
    /// A signed component.
    Component,
    /// A document, such as an SBOM, for people and their tools.
    Document,
    /// Precompiled code of a component.
    Precompiled,
}

impl PartKind {
    /// Every kind, in their order.
    pub const ALL: [Self; 5] = [
        Self::Lists,
        Self::Configuration,
        Self::Component,
        Self::Document,
        Self::Precompiled,
    ];

    /// The spelling in messages and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lists => "lists",
            Self::Configuration => "configuration",
            Self::Component => "component",
            Self::Document => "document",
            Self::Precompiled => "precompiled",
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::Lists => 0,
            Self::Configuration => 1,
            Self::Component => 2,
            Self::Document => 3,
            Self::Precompiled => 4,
        }
    }

    /// The most bytes that a part of this kind may have.
    #[must_use]
    pub const fn max_bytes(self) -> u64 {
        match self {
            Self::Lists => limits::MAX_LIST_PART_BYTES,
            Self::Configuration => limits::MAX_CONFIGURATION_BYTES,
            Self::Component => limits::MAX_SIGNED_FILE_BYTES,
            Self::Document => limits::MAX_DOCUMENT_BYTES,
            Self::Precompiled => limits::MAX_PRECOMPILED_BYTES,
        }
    }
}

/// A part, as the index names it. Sorted by kind, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BundlePart {
    /// What it is.
    pub kind: PartKind,
    /// Its name: 1 to 64 letters, digits and `. _ -`, the first a letter or digit. No path; no two parts have one name.
    pub name: String,
    /// Its size in bytes, at least 1.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// A component of which nothing older is to run any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minimum {
    /// The component's name, under whichever root.
    pub name: ComponentName,
    /// The least security version that may still run, at least 1.
    pub security_version: u64,
}

/// The parts of an index; [`BundleIndex::new`] checks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFields {
    /// Which line of bundles it belongs to, in the form of a part's name. Numbers are compared within a line.
    pub line: String,
    /// Rises from bundle to bundle of a line; at least 1.
    pub number: u64,
    /// The last second at which it may be applied, since 1970.
    pub not_after: u64,
    /// Who signs: exactly the keys and chains in the envelope, 1 to 4.
    pub signers: Vec<SignerId>,
    /// Which devices it is for.
    pub audience: Audience,
    /// The parts, in the order of the file.
    pub parts: Vec<BundlePart>,
    /// What must not run any more.
    pub minimums: Vec<Minimum>,
}

/// What is signed about a bundle: which parts belong together, for whom, until when, and after which other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleIndex {
    fields: BundleFields,
}

impl BundleIndex {
    /// Checks the parts of an index and sorts its lists.
    ///
    /// # Errors
    /// [`FormatError::Text`] for a text that its field may not hold or an entry that appears twice,
    /// [`FormatError::LimitExceeded`] for anything too large, [`FormatError::Malformed`] without a signer, without parts and
    /// minimums, for two configurations, and for a number, a size or a version of 0.
    pub fn new(mut fields: BundleFields) -> Result<Self, FormatError> {
        let malformed = |what| Err(FormatError::Malformed { what, offset: 0 });
        check_bundle_name("line", &fields.line)?;
        if fields.number == 0 {
            return malformed("a bundle's number is at least 1");
        }
        within(
            "end of the bundle",
            limits::MAX_UNIX_SECONDS,
            fields.not_after,
        )?;
        within(
            "number of signers",
            limits::MAX_SIGNERS,
            length(fields.signers.len()),
        )?;
        if fields.signers.is_empty() {
            return malformed("the index names no signer");
        }
        text::sort_unique("signers", &mut fields.signers)?;
        crate::statement::refuse_repeated_keys(&fields.signers)?;
        fields.audience.normalise()?;
        check_parts(&mut fields.parts)?;
        check_minimums(&mut fields.minimums)?;
        if fields.parts.is_empty() && fields.minimums.is_empty() {
            return malformed("the bundle brings nothing");
        }
        let index = Self { fields };
        within(
            INDEX.name,
            limits::MAX_BUNDLE_INDEX_BYTES,
            length(index.encode().len()),
        )?;
        Ok(index)
    }

    /// Reads an index.
    ///
    /// # Errors
    /// See [`FormatError`]; [`FormatError::VersionUnknown`] before anything else in it is looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        within(
            INDEX.name,
            limits::MAX_BUNDLE_INDEX_BYTES,
            length(bytes.len()),
        )?;
        let mut reader = Reader::new(bytes);
        let fields = decode_fields(&mut reader)?;
        reader.finish("bytes are left over after the index")?;
        let index = Self::new(fields)?;
        // What is left to compare are the orders that `new` sorts.
        if index.encode() == bytes {
            Ok(index)
        } else {
            Err(FormatError::Noncanonical {
                what: "a list that is not sorted",
                offset: 0,
            })
        }
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = &self.fields;
        let mut map = MapWriter::default();
        map.entry(1, |writer| writer.unsigned(VERSION));
        map.entry(2, |writer| writer.text(&fields.line));
        map.entry(3, |writer| writer.unsigned(fields.number));
        map.entry(4, |writer| writer.unsigned(fields.not_after));
        map.entry(5, |writer| {
            crate::statement::write_signers(writer, &fields.signers);
        });
        let audience = fields.audience.encode();
        map.optional(
            6,
            (!audience.is_empty()).then_some(audience),
            |writer, map| {
                map.write_to(writer);
            },
        );
        map.optional(7, filled(&fields.parts), |writer, parts| {
            writer.array(parts.len());
            for part in parts {
                writer.array(4);
                writer.unsigned(part.kind.number());
                writer.text(&part.name);
                writer.unsigned(part.size);
                writer.bytes(part.digest.as_bytes());
            }
        });
        map.optional(8, filled(&fields.minimums), write_minimums);
        map.finish()
    }

    /// All parts of the index, checked and sorted.
    #[must_use]
    pub fn fields(&self) -> &BundleFields {
        &self.fields
    }

    /// The size of all parts together, in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        // Bounded when it was made.
        self.fields
            .parts
            .iter()
            .fold(0, |sum, part| sum.saturating_add(part.size))
    }
}

fn check_parts(parts: &mut [BundlePart]) -> Result<(), FormatError> {
    within(
        "number of parts",
        limits::MAX_BUNDLE_PARTS,
        length(parts.len()),
    )?;
    parts.sort();
    let mut names = std::collections::BTreeSet::new();
    let mut total: u64 = 0;
    let mut configurations: u32 = 0;
    for part in &*parts {
        check_bundle_name("part's name", &part.name)?;
        if !names.insert(&part.name) {
            return Err(FormatError::text(
                "part's name",
                &part.name,
                "two parts have it",
            ));
        }
        if part.size == 0 {
            return Err(FormatError::Malformed {
                what: "a part of a bundle is empty",
                offset: 0,
            });
        }
        within("part", part.kind.max_bytes(), part.size)?;
        total = total.saturating_add(part.size);
        if part.kind == PartKind::Configuration {
            configurations = configurations.saturating_add(1);
        }
    }
    if configurations > 1 {
        return Err(FormatError::Malformed {
            what: "a bundle has at most one configuration",
            offset: 0,
        });
    }
    within("bundle", limits::MAX_BUNDLE_BYTES, total)
}

fn check_minimums(minimums: &mut [Minimum]) -> Result<(), FormatError> {
    within(
        "number of minimums",
        limits::MAX_BUNDLE_MINIMUMS,
        length(minimums.len()),
    )?;
    minimums.sort();
    for (one, next) in minimums.iter().zip(minimums.iter().skip(1)) {
        if one.name == next.name {
            return Err(FormatError::text(
                "minimums",
                one.name.as_str(),
                "it appears twice",
            ));
        }
    }
    if minimums.iter().any(|minimum| minimum.security_version == 0) {
        return Err(FormatError::Malformed {
            what: "a minimum of 0 says nothing",
            offset: 0,
        });
    }
    Ok(())
}

/// The name of a part or a line: 1 to 64 letters, digits and `. _ -`, the first a letter or digit. So it is no path, and does
/// not begin with a dot or a hyphen.
///
/// # Errors
/// [`FormatError::Text`] and [`FormatError::LimitExceeded`].
pub fn check_bundle_name(what: &'static str, name: &str) -> Result<(), FormatError> {
    text::check_safe(
        what,
        name,
        b"._-",
        "use only letters, digits and . _ -, and start with a letter or digit",
    )
}

fn decode_fields(reader: &mut Reader<'_>) -> Result<BundleFields, FormatError> {
    let mut keys = reader.map("an index is a map", 16)?;
    let mut require = |reader: &mut Reader<'_>, expected: u64| match keys.next(reader)? {
        Some(key) if key == expected => Ok(()),
        _ => {
            Err(reader.malformed("the index lacks a required part, or it has one that is unknown"))
        }
    };
    require(reader, 1)?;
    let version = reader.unsigned("index version")?;
    if version != VERSION {
        return Err(FormatError::VersionUnknown {
            found: version,
            supported: VERSION,
        });
    }
    require(reader, 2)?;
    let line = reader.text("line", limits::MAX_TEXT_BYTES)?.to_owned();
    require(reader, 3)?;
    let number = reader.unsigned("number")?;
    require(reader, 4)?;
    let not_after = reader.unsigned("end of the bundle")?;
    require(reader, 5)?;
    let mut fields = BundleFields {
        line,
        number,
        not_after,
        signers: crate::statement::read_signers(reader)?,
        audience: Audience::default(),
        parts: Vec::new(),
        minimums: Vec::new(),
    };
    while let Some(key) = keys.next(reader)? {
        match key {
            6 => fields.audience = Audience::decode(reader)?,
            7 => {
                fields.parts =
                    reader.list("parts", limits::MAX_BUNDLE_PARTS, false, decode_part)?;
            }
            8 => {
                let limit = limits::MAX_BUNDLE_MINIMUMS;
                fields.minimums = reader.list("minimums", limit, false, decode_minimum)?;
            }
            _ => {
                return Err(reader.malformed("a part of the index that the format does not have"));
            }
        }
    }
    Ok(fields)
}

fn decode_part(reader: &mut Reader<'_>) -> Result<BundlePart, FormatError> {
    reader.tuple("a part is a kind, a name, a size and a digest", 4)?;
    let unknown = reader.malformed("a kind of part that the format does not have");
    let number = reader.unsigned("kind of part")?;
    let kind = PartKind::ALL
        .into_iter()
        .find(|kind| kind.number() == number)
        .ok_or(unknown)?;
    Ok(BundlePart {
        kind,
        name: reader
            .text("part's name", limits::MAX_TEXT_BYTES)?
            .to_owned(),
        size: reader.unsigned("size of a part")?,
        digest: crate::guest_data::digest(reader)?,
    })
}

pub(crate) fn write_minimums(writer: &mut Writer, minimums: &[Minimum]) {
    writer.array(minimums.len());
    for minimum in minimums {
        writer.array(2);
        writer.text(minimum.name.as_str());
        writer.unsigned(minimum.security_version);
    }
}

pub(crate) fn decode_minimum(reader: &mut Reader<'_>) -> Result<Minimum, FormatError> {
    reader.tuple("a minimum is a component's name and a security version", 2)?;
    let name = reader.text("component name", limits::MAX_COMPONENT_NAME_BYTES)?;
    Ok(Minimum {
        name: ComponentName::parse(name)?,
        security_version: reader.unsigned("security version")?,
    })
}

/// What a signer of a bundle signs, before an envelope exists: as [`crate::signer_to_be_signed`], for an encoded index.
#[must_use]
pub fn bundle_to_be_signed(index_bytes: &[u8], algorithm: Algorithm, chain: &[Vec<u8>]) -> Vec<u8> {
    envelope::to_be_signed(&INDEX, index_bytes, algorithm, chain)
}

/// The index's bytes and who signed them. Never a component's [`Envelope`], nor the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleEnvelope(Envelope);

impl BundleEnvelope {
    /// An envelope around an encoded index.
    ///
    /// # Errors
    /// As [`Envelope::new`].
    pub fn new(index_bytes: Vec<u8>, signers: Vec<SignerEntry>) -> Result<Self, FormatError> {
        Envelope::around(&INDEX, index_bytes, signers).map(Self)
    }

    /// Reads what follows the preamble.
    ///
    /// # Errors
    /// As [`Envelope::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Envelope::decode_around(&INDEX, bytes).map(Self)
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// The encoded index, as it was signed.
    #[must_use]
    pub fn index_bytes(&self) -> &[u8] {
        self.0.statement_bytes()
    }

    /// The signers, in the order of the envelope: 1 to 4.
    #[must_use]
    pub fn signers(&self) -> &[SignerEntry] {
        self.0.signers()
    }

    /// What signer `index` signed. `None` if there is no such signer.
    #[must_use]
    pub fn to_be_signed(&self, index: usize) -> Option<Vec<u8>> {
        self.0.to_be_signed(index)
    }
}

/// What stands before an envelope of this encoding.
///
/// # Errors
/// [`FormatError::LimitExceeded`] if it is longer than any may be.
pub fn bundle_preamble(envelope: &[u8]) -> Result<[u8; BUNDLE_PREAMBLE_BYTES], FormatError> {
    let actual = length(envelope.len());
    within("envelope", limits::MAX_BUNDLE_ENVELOPE_BYTES, actual)?;
    let [a, b, c, d] = u32::try_from(actual).unwrap_or(u32::MAX).to_be_bytes();
    let [m0, m1, m2, m3, m4, m5, m6, m7] = BUNDLE_MAGIC;
    Ok([m0, m1, m2, m3, m4, m5, m6, m7, a, b, c, d])
}

/// The length in bytes of the envelope that follows this preamble.
///
/// # Errors
/// [`FormatError::NotABundle`] for anything else than a bundle, [`FormatError::LimitExceeded`] for a length that no envelope
/// may have.
pub fn read_bundle_preamble(preamble: &[u8; BUNDLE_PREAMBLE_BYTES]) -> Result<u64, FormatError> {
    let [m0, m1, m2, m3, m4, m5, m6, m7, a, b, c, d] = *preamble;
    if [m0, m1, m2, m3, m4, m5, m6, m7] != BUNDLE_MAGIC {
        return Err(FormatError::NotABundle);
    }
    let claimed = u64::from(u32::from_be_bytes([a, b, c, d]));
    within("envelope", limits::MAX_BUNDLE_ENVELOPE_BYTES, claimed)?;
    Ok(claimed)
}

#[cfg(test)]
mod tests;

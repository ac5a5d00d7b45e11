//! The form of EST's answers: a CMS message that holds certificates and nothing else (RFC 5652 §5, RFC 7030 §4.1.3, §4.2.3).
//!
//! A stranger's bytes. Read here are lengths and tags; each certificate comes out as it stood, unread. Written out by hand, since
//! the library for CMS insists on an order of certificates that servers do not keep.

use const_oid::ObjectIdentifier;
use der::asn1::AnyRef;
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};

/// As many as are taken: a leaf, and what a large authority has above it, with those of a change of keys.
pub const MAX_CERTIFICATES: usize = 16;

/// RFC 5652 §5.1.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// RFC 5652 §4.
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");

/// `[0]`: the certificates, and the content of a ContentInfo.
const ZERO: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(0),
};
/// `[1]`: revocation lists.
const ONE: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(1),
};

/// Why bytes are not such a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertsOnlyInvalid {
    /// It is not base64.
    #[error("it is not base64, in which EST answers; check the address of the server")]
    Base64,
    /// There are none.
    #[error("it holds no certificate; ask the authority's operator what it issued")]
    Empty,
    /// It does not have the form.
    #[error(
        "it is no certs-only message in DER ({what}); ask the authority's operator for a server that follows RFC 7030"
    )]
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// There are too many.
    #[error("it holds more than {MAX_CERTIFICATES} certificates; no device's chain is that long")]
    TooMany,
}

/// The certificates of the message, DER, in its order.
///
/// # Errors
/// [`CertsOnlyInvalid`].
pub fn parse(message: &[u8]) -> Result<Vec<Vec<u8>>, CertsOnlyInvalid> {
    let malformed = |what| move |_: der::Error| CertsOnlyInvalid::Malformed { what };
    let outer = malformed("ContentInfo");
    let content = inside(
        AnyRef::from_der(message).map_err(outer)?,
        Tag::Sequence,
        "ContentInfo",
    )?;
    let mut content = SliceReader::new(content).map_err(outer)?;
    if ObjectIdentifier::decode(&mut content).map_err(outer)? != SIGNED_DATA {
        return Err(CertsOnlyInvalid::Malformed {
            what: "content type",
        });
    }
    let explicit = inside(
        AnyRef::decode(&mut content).map_err(outer)?,
        ZERO,
        "content",
    )?;
    content.finish().map_err(outer)?;

    let signed = malformed("SignedData");
    let data = inside(
        AnyRef::from_der(explicit).map_err(signed)?,
        Tag::Sequence,
        "SignedData",
    )?;
    let mut data = SliceReader::new(data).map_err(signed)?;
    // CMSVersion; RFC 5652 §5.1 has 1 for what this is, and other numbers do not change what follows.
    u8::decode(&mut data).map_err(signed)?;
    let digests = AnyRef::decode(&mut data).map_err(signed)?;
    nothing(
        inside(digests, Tag::Set, "digestAlgorithms")?,
        "digestAlgorithms",
    )?;
    let encapsulated = AnyRef::decode(&mut data).map_err(signed)?;
    let encapsulated = inside(encapsulated, Tag::Sequence, "encapContentInfo")?;
    // RFC 5652 §5.2: without content, which certs-only messages have not.
    if ObjectIdentifier::from_der(encapsulated) != Ok(DATA) {
        return Err(CertsOnlyInvalid::Malformed {
            what: "encapContentInfo",
        });
    }
    let mut certificates = Vec::new();
    let mut next = AnyRef::decode(&mut data).map_err(signed)?;
    if next.tag() == ZERO {
        let mut set = SliceReader::new(next.value()).map_err(signed)?;
        while !set.is_finished() {
            if certificates.len() == MAX_CERTIFICATES {
                return Err(CertsOnlyInvalid::TooMany);
            }
            let certificate = AnyRef::decode(&mut set).map_err(malformed("certificates"))?;
            // RFC 5652 §10.2.2: other choices than a certificate have other tags.
            inside(certificate, Tag::Sequence, "certificates")?;
            certificates.push(certificate.to_der().map_err(malformed("certificates"))?);
        }
        next = AnyRef::decode(&mut data).map_err(signed)?;
    }
    // Revocation lists may come along (RFC 5652 §5.1); a device has its own way to them.
    if next.tag() == ONE {
        next = AnyRef::decode(&mut data).map_err(signed)?;
    }
    nothing(inside(next, Tag::Set, "signerInfos")?, "signerInfos")?;
    data.finish().map_err(signed)?;
    if certificates.is_empty() {
        return Err(CertsOnlyInvalid::Empty);
    }
    Ok(certificates)
}

/// What stands inside a value of this tag.
fn inside<'a>(
    value: AnyRef<'a>,
    tag: Tag,
    what: &'static str,
) -> Result<&'a [u8], CertsOnlyInvalid> {
    if value.tag() == tag {
        Ok(value.value())
    } else {
        Err(CertsOnlyInvalid::Malformed { what })
    }
}

/// What signs something, or names an algorithm for it, has no place here.
fn nothing(value: &[u8], what: &'static str) -> Result<(), CertsOnlyInvalid> {
    if value.is_empty() {
        Ok(())
    } else {
        Err(CertsOnlyInvalid::Malformed { what })
    }
}

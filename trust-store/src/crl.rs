//! Certificate revocation lists: which ones are read at all, and what they say.
//!
//! Full lists of one issuer only (RFC 5280 §5): no indirect, delta or partitioned ones. webpki reads the entries; the
//! header is checked here, because webpki keeps neither the number nor the key identifier, and the index is ours,
//! because webpki's takes several times the memory. A list is believed only after its signature verified under its
//! issuer's key, which [`crate::chain`] sees to.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use countersign_format::Digest;
use der::{
    Decode, Encode, Reader, SliceReader, Tag, TagNumber,
    asn1::{BitStringRef, ContextSpecific},
};
use webpki::BorrowedCertRevocationList;
use x509_cert::{
    Version,
    ext::{Extensions, pkix::AuthorityKeyIdentifier, pkix::CrlNumber as CrlNumberExtension},
    name::Name,
    spki::AlgorithmIdentifierOwned,
    time::Time,
};

use crate::{
    Rejection, UnixTime,
    algorithm::{self, Checks, VerifyError, verify_x509},
    certificate::{check_serial, has_only_text, printable, unix_time},
    oid,
    strict_der::{decode_canonical, is_der_throughout},
};

/// The largest revocation list that is read: a million entries of the usual 37 bytes, with room to spare.
pub const MAX_CRL_BYTES: usize = 48 * 1024 * 1024;

/// The issuer's name in a list, DER: as much as would leave room in a certificate for anything else.
const MAX_ISSUER_BYTES: usize = 2 * 1024;

/// The extensions of a list, DER. Ours take 50 bytes.
const MAX_EXTENSIONS_BYTES: usize = 4 * 1024;

/// Of how many keys it is remembered that a list is not signed with them: of more than ever have one name and one identifier.
const MAX_FAILED: usize = 16;

/// A SEQUENCE of nothing, DER.
const EMPTY_SEQUENCE: [u8; 2] = [0x30, 0];

/// A CRL number: at most 20 octets, compared as a number (RFC 5280 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber([u8; 20]);

impl CrlNumber {
    /// The number in big-endian form, padded with zeros on the left.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 20] {
        self.0
    }

    /// The number from its padded big-endian form.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    fn from_octets(octets: &[u8]) -> Option<Self> {
        padded(octets).map(Self)
    }
}

/// A number of at most 20 octets, so written that the order of the arrays is the order of the numbers.
fn padded(octets: &[u8]) -> Option<[u8; 20]> {
    let mut padded = [0; 20];
    let start = padded.len().checked_sub(octets.len())?;
    padded.get_mut(start..)?.copy_from_slice(octets);
    Some(padded)
}

impl std::fmt::Display for CrlNumber {
    /// Decimal where it fits 128 bits, else hexadecimal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (high, low) = self.0.split_at(4);
        let mut word = [0; 16];
        word.copy_from_slice(low);
        if high.iter().all(|octet| *octet == 0) {
            return write!(f, "{}", u128::from_be_bytes(word));
        }
        f.write_str("0x")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A well-formed revocation list, whose signature is not verified yet. Copies share one body.
#[derive(Clone, Debug)]
pub struct Crl(Arc<Body>);

#[derive(Debug)]
struct Body {
    der: Vec<u8>,
    to_be_signed: Range<usize>,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
    header: Header,
    /// The key under which the signature verified, once it did: what was verified stays so, and a list can be long.
    verified_under: OnceLock<Key>,
    /// SHA-256 of the SubjectPublicKeyInfo of keys under which it failed, [`MAX_FAILED`] at most.
    failed_under: Mutex<Vec<Digest>>,
    /// The serial numbers in order. Made when the list is first used, which is after its signature verified: nobody
    /// else decides how much memory it takes.
    serials: OnceLock<Option<Vec<[u8; 20]>>>,
}

#[derive(Debug)]
struct Key {
    /// A SubjectPublicKeyInfo, DER.
    spki: Vec<u8>,
    /// SHA-256 of it.
    digest: Digest,
}

impl Body {
    /// The TBSCertList. Its range was found in these bytes.
    fn to_be_signed(&self) -> &[u8] {
        self.der.get(self.to_be_signed.clone()).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Header {
    issuer: Vec<u8>,
    issuer_text: String,
    authority_key: Vec<u8>,
    number: CrlNumber,
    this_update: UnixTime,
    next_update: UnixTime,
}

impl Crl {
    /// Parses one DER revocation list.
    ///
    /// # Errors
    /// [`Rejection::CrlInvalid`]: not strict DER of a full version 2 list with number, authority key identifier and
    /// nextUpdate, or larger than [`MAX_CRL_BYTES`].
    pub fn parse(der: &[u8]) -> Result<Self, Rejection> {
        let invalid = |issuer: &str, reason: &'static str| Rejection::CrlInvalid {
            issuer: issuer.to_owned(),
            reason,
        };
        if der.len() > MAX_CRL_BYTES {
            return Err(invalid("unread", "it is larger than any list needs to be"));
        }
        let outer = Outer::read(der)
            .ok_or_else(|| invalid("unreadable", "it is not strict DER of a revocation list"))?;
        let tbs = der.get(outer.to_be_signed.clone()).unwrap_or_default();
        let header = Header::read(tbs, &outer.signature_algorithm)
            .map_err(|(issuer, reason)| invalid(&issuer, reason))?;
        walk_entries(der, |_| {}).map_err(|reason| invalid(&header.issuer_text, reason))?;
        Ok(Self(Arc::new(Body {
            der: der.to_vec(),
            to_be_signed: outer.to_be_signed,
            signature_algorithm: outer.signature_algorithm,
            signature: outer.signature,
            header,
            verified_under: OnceLock::new(),
            failed_under: Mutex::default(),
            serials: OnceLock::new(),
        })))
    }

    /// The issuer's name, as RFC 4514 text safe to print.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.header.issuer_text
    }

    /// The list's number.
    #[must_use]
    pub fn number(&self) -> CrlNumber {
        self.0.header.number
    }

    /// When the list was made.
    #[must_use]
    pub fn this_update(&self) -> UnixTime {
        self.0.header.this_update
    }

    /// When a newer one should be there at the latest.
    #[must_use]
    pub fn next_update(&self) -> UnixTime {
        self.0.header.next_update
    }

    /// The DER encoding that was parsed.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// SHA-256 of the SubjectPublicKeyInfo under which its signature verified, here or in a copy of it, once it did: the key of
    /// an issuer whose certificate led to a root, whatever else became of the chain.
    #[must_use]
    pub fn verified_under(&self) -> Option<Digest> {
        self.0.verified_under.get().map(|key| key.digest)
    }

    /// The same SubjectPublicKeyInfo, DER.
    pub(crate) fn verified_spki(&self) -> Option<&[u8]> {
        self.0.verified_under.get().map(|key| key.spki.as_slice())
    }

    /// Of which name, DER, and key identifier the list claims to come.
    pub(crate) fn claimed_issuer(&self) -> (&[u8], &[u8]) {
        let header = &self.0.header;
        (&header.issuer, &header.authority_key)
    }

    /// Whether both claim to come from the same issuer.
    #[must_use]
    pub fn has_issuer_of(&self, other: &Self) -> bool {
        self.claimed_issuer() == other.claimed_issuer()
    }

    /// Whether the list has an entry for this serial number, given as the octets of its INTEGER.
    ///
    /// That is what the list says. Whether the list is to be believed is another question.
    #[must_use]
    pub fn lists(&self, serial: &[u8]) -> bool {
        let serials = self
            .0
            .serials
            .get_or_init(|| sorted_serials(&self.0.der))
            .as_ref();
        // What cannot be looked up counts as listed. That does not occur: the entries were walked when the list was
        // parsed, and certificates with longer serial numbers are refused.
        let (Some(serials), Some(serial)) = (serials, padded(serial)) else {
            return true;
        };
        serials.binary_search(&serial).is_ok()
    }

    /// Whether two lists differ in nothing but their signature. Of an ECDSA signature anybody can make a second one that
    /// fits, so what is compared is what was signed.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.0.to_be_signed() == other.0.to_be_signed()
    }

    /// Verifies the list's signature; under a key under which it failed, not again: a list can be long.
    pub(crate) fn verify_once(
        &self,
        checks: &Checks,
        issuer_spki: &[u8],
    ) -> Result<(), VerifyError> {
        // It is whole between any two statements.
        let failed = || (self.0.failed_under.lock()).unwrap_or_else(PoisonError::into_inner);
        let key = Digest::of(issuer_spki);
        if failed().contains(&key) {
            return Err(VerifyError::Invalid);
        }
        let verified = self.verify(checks, issuer_spki);
        if matches!(verified, Err(VerifyError::Invalid)) {
            let mut failed = failed();
            if failed.len() < MAX_FAILED && !failed.contains(&key) {
                failed.push(key);
            }
        }
        verified
    }

    /// Verifies the list's signature, once for each issuer.
    pub(crate) fn verify(&self, checks: &Checks, issuer_spki: &[u8]) -> Result<(), VerifyError> {
        let body = &self.0;
        let digest = Digest::of(issuer_spki);
        if self.verified_under() == Some(digest) {
            return Ok(());
        }
        verify_x509(
            checks,
            issuer_spki,
            &body.signature_algorithm,
            body.to_be_signed(),
            &body.signature,
        )?;
        body.verified_under.get_or_init(|| Key {
            spki: issuer_spki.to_vec(),
            digest,
        });
        Ok(())
    }
}

/// Walks the entries and gives `see` the serial number of each.
///
/// An entry's serial number in another encoding than that of RFC 5280 §4.1.2.2 could pass for another number.
fn walk_entries(der: &[u8], mut see: impl FnMut(&[u8])) -> Result<(), &'static str> {
    const MALFORMED: &str =
        "an entry or extension of it is malformed or of a kind that is not understood";
    let list = BorrowedCertRevocationList::from_der(der).map_err(|_| MALFORMED)?;
    for entry in &list {
        let entry = entry.map_err(|_| MALFORMED)?;
        check_serial(entry.serial_number)
            .map_err(|_| "an entry's serial number is not in the only form that it may have")?;
        see(entry.serial_number);
    }
    Ok(())
}

/// The serial numbers of the entries, in order.
fn sorted_serials(der: &[u8]) -> Option<Vec<[u8; 20]>> {
    let mut serials = Vec::new();
    walk_entries(der, |serial| serials.extend(padded(serial))).ok()?;
    serials.sort_unstable();
    serials.shrink_to_fit();
    Some(serials)
}

/// The three parts of a CertificateList (RFC 5280 §5.1.1).
struct Outer {
    to_be_signed: Range<usize>,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
}

impl Outer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = SliceReader::new(bytes).ok()?;
        let outer = reader
            .sequence(|inner| {
                let start = inner.position();
                inner.tlv_bytes()?;
                let end = inner.position();
                let algorithm = AlgorithmIdentifierOwned::decode(inner)?;
                let signature = BitStringRef::decode(inner)?;
                Ok::<_, der::Error>((
                    start,
                    end,
                    algorithm,
                    signature.as_bytes().map(<[u8]>::to_vec),
                ))
            })
            .ok()?;
        reader.finish().ok()?;
        let (start, end, signature_algorithm, signature) = outer;
        algorithm::check_signature_algorithm(&signature_algorithm).ok()?;
        let to_be_signed = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        Some(Self {
            to_be_signed,
            signature_algorithm,
            signature: signature?,
        })
    }
}

type HeaderError = (String, &'static str);

impl Header {
    /// Everything of a TBSCertList but its entries, which are skipped.
    fn read(tbs: &[u8], outer_algorithm: &AlgorithmIdentifierOwned) -> Result<Self, HeaderError> {
        let unreadable = |_| {
            (
                "unreadable".to_owned(),
                "it is not strict DER of a version 2 revocation list",
            )
        };
        let mut reader = SliceReader::new(tbs).map_err(unreadable)?;
        let (version, algorithm, issuer, this_update, next_update, extensions) = reader
            .sequence(|tbs| {
                let version = Version::decode(tbs)?;
                let algorithm = AlgorithmIdentifierOwned::decode(tbs)?;
                let issuer: Name = bounded(tbs, MAX_ISSUER_BYTES, |bytes| Name::from_der(bytes))?;
                let this_update = Time::decode(tbs)?;
                let next_update = Option::<Time>::decode(tbs)?;
                // RFC 5280 §5.1.2.6: left out where there is none; an empty one is another encoding of the same.
                if !tbs.is_finished()
                    && Tag::peek(tbs)? == Tag::Sequence
                    && tbs.tlv_bytes()? == EMPTY_SEQUENCE
                {
                    return Err(der::ErrorKind::Noncanonical { tag: Tag::Sequence }.into());
                }
                let extensions = if tbs.is_finished() {
                    None
                } else {
                    bounded(tbs, MAX_EXTENSIONS_BYTES, read_extensions)?
                };
                Ok::<_, der::Error>((
                    version,
                    algorithm,
                    issuer,
                    this_update,
                    next_update,
                    extensions,
                ))
            })
            .map_err(unreadable)?;
        let issuer_text = printable(&issuer.to_string());
        let invalid = |reason| (issuer_text.clone(), reason);
        // RFC 5280 §5.1.2.1: extensions need version 2.
        if version != Version::V2 {
            return Err(invalid("it is not of version 2"));
        }
        // RFC 5280 §5.1.1.2.
        if algorithm != *outer_algorithm {
            return Err(invalid("its two signature algorithm fields differ"));
        }
        if issuer.is_empty() {
            return Err(invalid("its issuer is empty"));
        }
        if !has_only_text(&issuer) {
            return Err(invalid("its issuer's name holds something that is no text"));
        }
        // RFC 5280 §5.1.2.5: conforming issuers include nextUpdate.
        let next_update = next_update.ok_or_else(|| invalid("it has no nextUpdate"))?;
        let extensions = extensions.unwrap_or_default();
        let number: CrlNumberExtension = extension(&extensions, oid::CRL_NUMBER)
            .ok_or_else(|| invalid("it has no well-formed cRLNumber"))?;
        let number = CrlNumber::from_octets(number.0.as_bytes())
            .ok_or_else(|| invalid("its cRLNumber is longer than 20 octets"))?;
        let authority: AuthorityKeyIdentifier =
            extension(&extensions, oid::AUTHORITY_KEY_IDENTIFIER)
                .ok_or_else(|| invalid("it has no well-formed authorityKeyIdentifier"))?;
        let authority_key = authority
            .key_identifier
            .ok_or_else(|| invalid("its authorityKeyIdentifier has no keyIdentifier"))?
            .as_bytes()
            .to_vec();
        check_extensions(&extensions).map_err(invalid)?;
        // RFC 5280 §5.1.2.4 and §5.1.2.5: UTCTime up to 2049.
        if ![this_update, next_update]
            .into_iter()
            .all(is_canonical_time)
        {
            return Err(invalid(
                "its times are not in the form that RFC 5280 demands",
            ));
        }
        let this_update = unix_time(this_update);
        let next_update = unix_time(next_update);
        if next_update < this_update {
            return Err(invalid("its nextUpdate is before its thisUpdate"));
        }
        let issuer = issuer.to_der().map_err(unreadable)?;
        Ok(Self {
            issuer,
            issuer_text,
            authority_key,
            number,
            this_update,
            next_update,
        })
    }
}

/// The extensions under their tag, in the one encoding that they have (X.690 §11.5: no default written out).
fn read_extensions(bytes: &[u8]) -> der::Result<Option<Extensions>> {
    let mut reader = SliceReader::new(bytes)?;
    let extensions = ContextSpecific::<Extensions>::decode_explicit(&mut reader, TagNumber(0))?;
    match extensions {
        Some(extensions) if extensions.to_der()? != bytes => {
            Err(der::ErrorKind::Noncanonical { tag: Tag::Sequence }.into())
        }
        extensions => Ok(extensions.map(|extensions| extensions.value)),
    }
}

/// RFC 5280 §5.2: no list of a part of the certificates (issuingDistributionPoint, §5.2.5), no delta (§5.2.4), no
/// critical extension, none twice.
fn check_extensions(extensions: &Extensions) -> Result<(), &'static str> {
    let mut seen = BTreeSet::new();
    for extension in extensions {
        let id = extension.extn_id;
        if id == oid::ISSUING_DISTRIBUTION_POINT {
            return Err(
                "it covers only a part of its issuer's certificates (issuingDistributionPoint)",
            );
        }
        if id == oid::DELTA_CRL_INDICATOR {
            return Err("it is a delta list; a full one is needed");
        }
        // RFC 5280 §5.2.1 and §5.2.3: those that are understood must not be critical.
        if extension.critical {
            return Err(
                "it has a critical extension, which is not understood or must not be critical",
            );
        }
        if !seen.insert(id) {
            return Err("one of its extensions occurs twice");
        }
    }
    Ok(())
}

/// Reads the next element, which must not be longer than `limit` octets: a stranger's name or list of extensions is
/// not copied before that is known.
fn bounded<T>(
    reader: &mut SliceReader<'_>,
    limit: usize,
    decode: impl FnOnce(&[u8]) -> der::Result<T>,
) -> der::Result<T> {
    let bytes = reader.tlv_bytes()?;
    if bytes.len() > limit || !is_der_throughout(bytes) {
        return Err(der::ErrorKind::Overlength.into());
    }
    decode(bytes)
}

fn is_canonical_time(time: Time) -> bool {
    match time {
        Time::UtcTime(_) => true,
        Time::GeneralTime(time) => time.to_date_time().year() >= 2050,
    }
}

fn extension<T: for<'a> Decode<'a> + Encode>(
    extensions: &Extensions,
    id: const_oid::ObjectIdentifier,
) -> Option<T> {
    let extension = extensions
        .iter()
        .find(|extension| extension.extn_id == id)?;
    decode_canonical(extension.extn_value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tc21_a_default_is_not_written_out_in_a_lists_extensions() {
        let read = |extension: &[u8]| {
            let lengths = [extension.len() + 4, extension.len() + 2, extension.len()];
            let [outer, list, inner] = lengths.map(|length| u8::try_from(length).unwrap());
            let header = [0xa0, outer, 0x30, list, 0x30, inner];
            read_extensions(&[&header[..], extension].concat())
        };
        // cRLNumber 1, as it is written and with `critical FALSE`.
        let good = [0x06, 0x03, 0x55, 0x1d, 0x14, 0x04, 0x03, 0x02, 0x01, 0x01];
        let written_out = [&good[..5], &[0x01, 0x01, 0x00], &good[5..]].concat();
        assert_eq!(read(&good).unwrap().unwrap().len(), 1);
        assert!(read(&written_out).is_err());
    }

    #[test]
    fn td13_a_list_that_a_key_has_not_signed_is_not_verified_under_it_again() {
        let pki = countersign_testing::TestPki::new();
        let list = Crl::parse(&pki.crls()[1]).unwrap();
        let spki_of = |der: &[u8]| crate::Certificate::parse(der).unwrap().spki().to_vec();
        let strangers = [7, 8, 9].map(|seed| {
            let stranger = countersign_testing::TestPki::builder().seed(seed).build();
            spki_of(&stranger.chain()[1])
        });
        for spki in &strangers {
            let verified = list.verify_once(&Checks::new(1), spki);
            assert!(matches!(verified, Err(VerifyError::Invalid)));
        }
        // Nothing is left to verify with, and nothing is needed.
        for spki in &strangers {
            let verified = list.verify_once(&Checks::new(0), spki);
            assert!(matches!(verified, Err(VerifyError::Invalid)));
        }
        let own = spki_of(&pki.chain()[1]);
        assert!(list.verify_once(&Checks::new(1), &own).is_ok());
        assert!(list.verify_once(&Checks::new(0), &own).is_ok());
    }

    #[test]
    fn numbers_compare_as_numbers_and_print_in_decimal() {
        let number = |octets: &[u8]| CrlNumber::from_octets(octets).unwrap();
        assert!(number(&[0x02]) < number(&[0x01, 0x00]));
        assert_eq!(number(&[0x01, 0x00]), number(&[0x00, 0x01, 0x00]));
        assert_eq!(number(&[0x01, 0x00]).to_string(), "256");
        assert!(number(&[0xff; 20]).to_string().starts_with("0xffff"));
        assert_eq!(CrlNumber::from_octets(&[1; 21]), None);
    }
}

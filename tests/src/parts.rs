//! Certificates and revocation lists taken apart, so that one thing can be changed and the rest signed again.
//!
//! Every field is the DER that stands there, so that it can hold what no builder would write.

use countersign_keys::SigningKey;
use countersign_trust_store::UnixTime;
use der::asn1::{Any, BitString, ObjectIdentifier, OctetString, Uint};
use der::{Choice, DateTime, Decode, Encode, Length, Reader, Sequence, Tag, Tagged, Writer};
use std::time::Duration;
use x509_cert::ext::Extension;
use x509_cert::time::{Time, Validity};

use crate::issuer_key;

/// TBSCertificate (RFC 5280 §4.1), field by field.
#[derive(Clone, Debug, Sequence)]
pub struct CertificateParts {
    /// `INTEGER 2` for version 3; absent for version 1.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub version: Option<Any>,
    /// The serial.
    pub serial_number: Any,
    /// The signature algorithm that is signed.
    pub signature: Any,
    /// The issuer's name.
    pub issuer: Any,
    /// notBefore and notAfter.
    pub validity: Any,
    /// The subject's name.
    pub subject: Any,
    /// The public key.
    pub subject_public_key_info: Any,
    /// Obsolete.
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub issuer_unique_id: Option<BitString>,
    /// Obsolete.
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub subject_unique_id: Option<BitString>,
    /// The extensions, in any number and order.
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub extensions: Option<Vec<Extension>>,
}

/// TBSCertList (RFC 5280 §5.1), field by field.
#[derive(Clone, Debug, Sequence)]
pub struct CrlParts {
    /// `INTEGER 1` for version 2.
    #[asn1(optional = "true")]
    pub version: Option<u8>,
    /// The signature algorithm.
    pub signature: Any,
    /// The issuer's name.
    pub issuer: Any,
    /// When the list was made.
    pub this_update: TimeField,
    /// When the next one is due.
    #[asn1(optional = "true")]
    pub next_update: Option<TimeField>,
    /// The revoked certificates.
    #[asn1(optional = "true")]
    pub revoked_certificates: Option<Vec<Any>>,
    /// The list's extensions.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub extensions: Option<Vec<Extension>>,
}

/// A time as it stands there: UTCTime or GeneralizedTime, whatever their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeField(pub Any);

impl<'a> Choice<'a> for TimeField {
    fn can_decode(tag: Tag) -> bool {
        matches!(tag, Tag::UtcTime | Tag::GeneralizedTime)
    }
}

impl<'a> Decode<'a> for TimeField {
    type Error = der::Error;

    fn decode<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        Any::decode(reader).map(Self)
    }
}

impl Encode for TimeField {
    fn encoded_len(&self) -> der::Result<Length> {
        self.0.encoded_len()
    }

    fn encode(&self, writer: &mut impl Writer) -> der::Result<()> {
        self.0.encode(writer)
    }
}

impl Tagged for TimeField {
    fn tag(&self) -> Tag {
        self.0.tag()
    }
}

/// What certificates and lists have in common.
#[derive(Sequence)]
struct Signed {
    to_be_signed: Any,
    algorithm: Any,
    signature: BitString,
}

impl CertificateParts {
    /// Takes a certificate apart.
    ///
    /// # Panics
    /// When it is not one.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        to_be_signed(certificate)
    }

    /// Signs the parts with `issuer`.
    ///
    /// # Panics
    /// When the key fails.
    #[must_use]
    pub fn sign(&self, issuer: &SigningKey) -> Vec<u8> {
        sign(self, &self.signature, issuer)
    }

    /// Replaces notBefore and notAfter.
    pub fn set_validity(&mut self, not_before: UnixTime, not_after: UnixTime) {
        self.validity = any(&Validity::<x509_cert::certificate::Rfc5280>::new(
            time(not_before),
            time(not_after),
        ));
    }

    /// Adds an extension, or replaces the value and criticality of the one with this identifier.
    pub fn set_extension(&mut self, id: ObjectIdentifier, critical: bool, value: &[u8]) {
        set_extension(self.extensions.get_or_insert_default(), id, critical, value);
    }

    /// Adds an extension even if there is one with this identifier.
    pub fn push_extension(&mut self, id: ObjectIdentifier, critical: bool, value: &[u8]) {
        self.extensions
            .get_or_insert_default()
            .push(extension(id, critical, value));
    }

    /// Removes every extension with this identifier.
    ///
    /// # Panics
    /// When there is none: the test would not test what it says.
    pub fn remove_extension(&mut self, id: ObjectIdentifier) {
        remove_extension(self.extensions.get_or_insert_default(), id);
    }
}

impl CrlParts {
    /// Takes a revocation list apart.
    ///
    /// # Panics
    /// When it is not one.
    #[must_use]
    pub fn of(crl: &[u8]) -> Self {
        to_be_signed(crl)
    }

    /// Signs the parts with `issuer`.
    ///
    /// # Panics
    /// When the key fails.
    #[must_use]
    pub fn sign(&self, issuer: &SigningKey) -> Vec<u8> {
        sign(self, &self.signature, issuer)
    }

    /// Signs the parts with `issuer`, of P-256, and gives the other signature that mathematics accepts: n - s in place of s, which
    /// whoever has the first can make.
    ///
    /// # Panics
    /// When the key fails, or is of another kind.
    #[must_use]
    pub fn sign_otherwise(&self, issuer: &SigningKey) -> Vec<u8> {
        let message = self.to_be_signed();
        let genuine = issuer_key::sign(issuer, &message);
        let mut values = EcdsaSigValue::from_der(&genuine).expect("a signature of ECDSA");
        values.s = Uint::new(&negated(values.s.as_bytes())).expect("a number");
        let signature = values.to_der().expect("two numbers encode");
        assemble(&message, &self.signature, &signature)
    }

    fn to_be_signed(&self) -> Vec<u8> {
        self.to_der().expect("parts encode")
    }

    /// Replaces thisUpdate and nextUpdate.
    pub fn set_updates(&mut self, this_update: UnixTime, next_update: UnixTime) {
        self.this_update = TimeField(any(&time(this_update)));
        self.next_update = Some(TimeField(any(&time(next_update))));
    }

    /// Adds an extension, or replaces the value and criticality of the one with this identifier.
    pub fn set_extension(&mut self, id: ObjectIdentifier, critical: bool, value: &[u8]) {
        set_extension(self.extensions.get_or_insert_default(), id, critical, value);
    }

    /// Removes every extension with this identifier.
    ///
    /// # Panics
    /// When there is none: the test would not test what it says.
    pub fn remove_extension(&mut self, id: ObjectIdentifier) {
        remove_extension(self.extensions.get_or_insert_default(), id);
    }
}

/// Ecdsa-Sig-Value (RFC 3279 §2.2.3).
#[derive(Sequence)]
struct EcdsaSigValue {
    r: Uint,
    s: Uint,
}

/// The order n of P-256, big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// n - `number`, big-endian.
fn negated(number: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let digits = number.iter().rev().chain(std::iter::repeat(&0));
    let differences = ORDER.iter().rev().zip(digits).map(|(order, digit)| {
        let difference = i16::from(*order) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        u8::try_from(difference.rem_euclid(256)).expect("a byte")
    });
    let mut negated: Vec<_> = differences.collect();
    negated.reverse();
    negated
}

/// The DER of a value, to put into a field.
pub(crate) fn any(value: &(impl Encode + der::Tagged)) -> Any {
    Any::from_der(&value.to_der().expect("a value of a test encodes"))
        .expect("what was encoded decodes")
}

fn to_be_signed<T: for<'a> Decode<'a, Error = der::Error>>(object: &[u8]) -> T {
    let signed = Signed::from_der(object)
        .expect("the object has a signed part, an algorithm and a signature");
    let der = signed
        .to_be_signed
        .to_der()
        .expect("what was decoded encodes");
    T::from_der(&der).expect("the signed part has the fields of RFC 5280")
}

fn sign(parts: &impl Encode, algorithm: &Any, issuer: &SigningKey) -> Vec<u8> {
    let message = parts.to_der().expect("parts encode");
    assemble(&message, algorithm, &issuer_key::sign(issuer, &message))
}

/// The signed object of its three parts.
pub(crate) fn assemble(message: &[u8], algorithm: &Any, signature: &[u8]) -> Vec<u8> {
    let signed = Signed {
        to_be_signed: Any::from_der(message).expect("what was encoded decodes"),
        algorithm: algorithm.clone(),
        signature: BitString::from_bytes(signature).expect("a signature fits"),
    };
    signed.to_der().expect("a signed object encodes")
}

fn time(at: UnixTime) -> Time {
    Time::from(
        DateTime::from_unix_duration(Duration::from_secs(at.as_secs()))
            .expect("a time before the year 10000"),
    )
}

fn extension(extn_id: ObjectIdentifier, critical: bool, value: &[u8]) -> Extension {
    Extension {
        extn_id,
        critical,
        extn_value: OctetString::new(value).expect("a value of a test fits"),
    }
}

fn set_extension(
    extensions: &mut Vec<Extension>,
    id: ObjectIdentifier,
    critical: bool,
    value: &[u8],
) {
    let new = extension(id, critical, value);
    match extensions
        .iter_mut()
        .find(|extension| extension.extn_id == id)
    {
        Some(old) => *old = new,
        None => extensions.push(new),
    }
}

fn remove_extension(extensions: &mut Vec<Extension>, id: ObjectIdentifier) {
    let before = extensions.len();
    extensions.retain(|extension| extension.extn_id != id);
    assert!(
        extensions.len() < before,
        "there is no extension {id} to remove"
    );
}

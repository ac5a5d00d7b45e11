//! What a case changes. A change to a field is made before the object is signed; the last few change what was signed,
//! or what is handed over.

use countersign_format::{Audience, NamePattern, Scope, oid as ours};
use countersign_trust_store::{UnixTime, oid};
use der::asn1::{Any, BitString, ObjectIdentifier, OctetString};
use der::flagset::FlagSet;
use der::{Decode, Encode, Tag};
use serde::Deserialize;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::seed;
use super::words::{Bit, Octets, Oid, Place, Serial, Stamp, tlv};
use crate::issuer_key::IssuerKey;
use crate::parts::{TimeField, any};
use crate::{OpenCertificate, OpenList, OpenPki, Sealed, TestPki};

/// One change. `of` is the certificate, or the issuer of the list.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(super) enum Change {
    // Extensions of a certificate.
    /// Leaves an extension out, which must be there.
    Remove {
        of: Place,
        extension: Oid,
    },
    /// Replaces or adds an extension.
    Set {
        of: Place,
        extension: Oid,
        #[serde(default)]
        critical: bool,
        value: Octets,
    },
    /// Adds an extension, even if there is one; so many, each of another number, if `count` is given.
    Add {
        of: Place,
        extension: Oid,
        #[serde(default)]
        critical: bool,
        value: Octets,
        count: Option<u32>,
    },
    /// Marks an extension as critical or not.
    Critical {
        of: Place,
        extension: Oid,
        critical: bool,
    },
    KeyUsage {
        of: Place,
        bits: Vec<Bit>,
    },
    Purposes {
        of: Place,
        purposes: Vec<Oid>,
    },
    Constraints {
        of: Place,
        ca: bool,
        path_length: Option<u8>,
    },
    /// subjectAltName with a hardwareModuleName for each serial number.
    Devices {
        of: Place,
        serials: Vec<Serial>,
    },
    Scope {
        of: Place,
        components: Vec<String>,
    },
    /// authorityKeyIdentifier with this keyIdentifier.
    AuthorityKey {
        of: Place,
        identifier: Octets,
    },

    // Other fields of a certificate.
    /// The number in the version field; version 1 has none.
    Version {
        of: Place,
        number: Option<u8>,
    },
    SerialNumber {
        of: Place,
        octets: Octets,
    },
    /// In seconds from the present.
    Valid {
        of: Place,
        from: i64,
        until: i64,
    },
    Dates {
        of: Place,
        from: Stamp,
        until: Stamp,
    },
    Name {
        of: Place,
        field: NameField,
        becomes: NameSource,
    },
    UniqueIdentifier {
        of: Place,
        field: NameField,
    },
    /// The signature algorithm, in the signed part or beside it.
    Algorithm {
        of: Place,
        r#in: AlgorithmField,
        becomes: Oid,
        parameters: Option<Octets>,
    },
    Key {
        of: Place,
        becomes: KeySource,
    },

    // Lists.
    /// No list of this issuer.
    NoList {
        of: Place,
    },
    /// In seconds from the present.
    ListValid {
        of: Place,
        from: i64,
        until: i64,
    },
    ListDates {
        of: Place,
        this: Stamp,
        next: Option<Stamp>,
    },
    ListVersion {
        of: Place,
        number: Option<u8>,
    },
    ListIssuer {
        of: Place,
        becomes: NameSource,
    },
    ListSet {
        of: Place,
        extension: Oid,
        #[serde(default)]
        critical: bool,
        value: Octets,
    },
    /// Marks an extension as critical or not.
    ListCritical {
        of: Place,
        extension: Oid,
        critical: bool,
    },
    /// Adds an extension even if there is one.
    ListAdd {
        of: Place,
        extension: Oid,
        value: Octets,
    },
    ListRemove {
        of: Place,
        extension: Oid,
    },
    /// The entries, each the content of its SEQUENCE.
    ListEntries {
        of: Place,
        entries: Vec<Octets>,
    },
    ListAlgorithm {
        of: Place,
        r#in: AlgorithmField,
        becomes: Oid,
    },
    /// A second list of this issuer, of this number, which revokes one certificate.
    ListBeside {
        of: Place,
        number: u8,
        revokes: Option<Place>,
        /// Signed by a stranger of the same name.
        #[serde(default)]
        forged: bool,
    },

    // Signatures.
    /// Signs with another key than the issuer's.
    SignedBy {
        of: Place,
        key: SignerSource,
    },
    ListSignedBy {
        of: Place,
        key: SignerSource,
    },

    // What is handed over.
    /// The certificates of the chain, in this order.
    Present {
        certificates: Vec<PresentedAs>,
    },
    /// One more certificate at the end of the chain, so many times.
    AlsoPresent {
        certificate: PresentedAs,
        count: usize,
    },
    /// Octets after a finished certificate.
    Append {
        to: PresentedPlace,
        octets: Octets,
    },
    ListAppend {
        to: Place,
        octets: Octets,
    },
    /// A finished certificate in another encoding.
    Encode {
        of: PresentedPlace,
        r#as: Encoding,
    },
    /// The bit at this place from the end of a finished certificate, the last octet's being 0.
    Flip {
        of: PresentedPlace,
        bit: usize,
    },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NameField {
    Issuer,
    Subject,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NameSource {
    /// A name without any part.
    Empty,
    /// The certificate's own subject.
    OwnSubject,
    /// The certificate's own issuer.
    OwnIssuer,
    /// What stands there, its texts in PrintableString.
    Printable,
    /// What stands there, its texts in BMPString.
    Bmp,
    /// What stands there, its letters in lower case.
    LowerCase,
    /// What stands there, its texts with an octet in front that UTF-8 does not have.
    NotUtf8,
    /// What stands there, its texts as octets.
    Octets,
    /// What stands there, its texts in PrintableString with a character in front that it does not have.
    NotPrintable,
    /// What stands there without the serial number.
    WithoutSerialNumber,
    /// A name that nobody has.
    Strange,
    /// The intermediate's subject.
    OfIntermediate,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AlgorithmField {
    Signed,
    Beside,
    Both,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum KeySource {
    /// The same P-256 point, compressed.
    Compressed,
    /// The same P-256 point in the hybrid form.
    Hybrid,
    /// The point at infinity.
    Infinity,
    /// A point that does not lie on the curve.
    OffCurve,
    /// A P-256 key whose curve has no name.
    WithoutCurve,
    /// An RSA key of 2048 bits.
    Rsa,
    /// The Ed25519 key of order 1.
    SmallOrder,
    /// A P-384 key.
    P384,
    /// The key of the certificate above.
    OfIssuer,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SignerSource {
    /// The stranger's who has the same name.
    Stranger,
    /// The certificate's own.
    Own,
    /// The leaf's.
    Leaf,
    /// The intermediate's.
    Intermediate,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PresentedAs {
    Leaf,
    Intermediate,
    Upper,
    Root,
    OtherLeaf,
    OtherIntermediate,
    OtherRoot,
}

/// A place in what is handed over.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PresentedPlace {
    First,
    Second,
    Root,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Encoding {
    Pem,
    /// The outermost length in one octet more than it needs.
    LongLength,
    /// The outermost length left open.
    IndefiniteLength,
}

impl Change {
    /// Makes the change if it is one that is made before signing.
    pub(super) fn apply(&self, open: &mut OpenPki, other: &OpenPki, now: UnixTime) {
        match self {
            Self::Remove { of, extension } => {
                certificate(open, *of).parts.remove_extension(extension.0);
            }
            Self::Set {
                of,
                extension,
                critical,
                value,
            } => set(open, *of, extension.0, *critical, &value.0),
            Self::Add {
                of,
                extension,
                critical,
                value,
                count,
            } => {
                let parts = &mut certificate(open, *of).parts;
                match count {
                    None => parts.push_extension(extension.0, *critical, &value.0),
                    Some(count) => (0..*count).for_each(|number| {
                        let id = extension.0.push_arc(number).expect("one arc more fits");
                        parts.push_extension(id, *critical, &value.0);
                    }),
                }
            }
            Self::Critical {
                of,
                extension,
                critical,
            } => find(open, *of, extension.0).critical = *critical,
            Self::KeyUsage { of, bits } => {
                let usages = bits
                    .iter()
                    .fold(FlagSet::default(), |all, bit| all | bit.usage());
                set(open, *of, oid::KEY_USAGE, true, &der(&KeyUsage(usages)));
            }
            Self::Purposes { of, purposes } => {
                let purposes = purposes.iter().map(|purpose| purpose.0).collect();
                let value = der(&ExtendedKeyUsage(purposes));
                set(open, *of, oid::EXTENDED_KEY_USAGE, false, &value);
            }
            Self::Constraints {
                of,
                ca,
                path_length,
            } => {
                let value = der(&BasicConstraints {
                    ca: *ca,
                    path_len_constraint: *path_length,
                });
                set(open, *of, oid::BASIC_CONSTRAINTS, true, &value);
            }
            Self::Devices { of, serials } => {
                let names = serials.iter().flat_map(|serial| device_name(&serial.0));
                let value = tlv(Tag::Sequence, &names.collect::<Vec<_>>());
                set(open, *of, oid::SUBJECT_ALT_NAME, false, &value);
            }
            Self::Scope { of, components } => {
                let patterns = components
                    .iter()
                    .map(|text| NamePattern::parse(text).expect("a pattern"));
                let scope = Scope::new(patterns.collect(), Audience::default()).expect("a scope");
                let value = scope.to_der().expect("a scope encodes");
                set(open, *of, ours::COMPONENT_SCOPE, false, &value);
            }
            Self::AuthorityKey { of, identifier } => {
                let length = u8::try_from(identifier.0.len()).expect("short");
                let content = [&[0x80, length], identifier.0.as_slice()].concat();
                let value = tlv(Tag::Sequence, &content);
                set(open, *of, oid::AUTHORITY_KEY_IDENTIFIER, false, &value);
            }
            Self::Version { of, number } => {
                certificate(open, *of).parts.version = number.map(|number| integer(&[number]));
            }
            Self::SerialNumber { of, octets } => {
                certificate(open, *of).parts.serial_number = integer(&octets.0);
            }
            Self::Valid { of, from, until } => certificate(open, *of)
                .parts
                .set_validity(relative(now, *from), relative(now, *until)),
            Self::Dates { of, from, until } => {
                let both = [der(&from.0), der(&until.0)].concat();
                certificate(open, *of).parts.validity = sequence(&both);
            }
            Self::Name { of, field, becomes } => {
                let intermediate = certificate(open, Place::Intermediate).parts.subject.clone();
                let parts = &mut certificate(open, *of).parts;
                let name = match field {
                    _ if matches!(becomes, NameSource::OfIntermediate) => intermediate,
                    NameField::Issuer => becomes.of(&parts.issuer, &parts.subject, &parts.issuer),
                    NameField::Subject => becomes.of(&parts.subject, &parts.subject, &parts.issuer),
                };
                match field {
                    NameField::Issuer => parts.issuer = name,
                    NameField::Subject => parts.subject = name,
                }
            }
            Self::UniqueIdentifier { of, field } => {
                let parts = &mut certificate(open, *of).parts;
                let bits = Some(BitString::from_bytes(&[1]).expect("it fits"));
                match field {
                    NameField::Issuer => parts.issuer_unique_id = bits,
                    NameField::Subject => parts.subject_unique_id = bits,
                }
            }
            Self::Algorithm {
                of,
                r#in,
                becomes,
                parameters,
            } => {
                let parameters = parameters.as_ref().map_or(&[][..], |octets| &octets.0);
                let algorithm = sequence(&[der(&becomes.0).as_slice(), parameters].concat());
                let certificate = certificate(open, *of);
                let signed = &mut certificate.parts.signature;
                r#in.put(algorithm, signed, &mut certificate.outer_algorithm);
            }
            Self::Key { of, becomes } => becomes.give(open, *of),
            Self::NoList { of } => {
                let place = of.list(open);
                open.lists.remove(place);
            }
            Self::ListValid { of, from, until } => list(open, *of)
                .parts
                .set_updates(relative(now, *from), relative(now, *until)),
            Self::ListDates { of, this, next } => {
                let parts = &mut list(open, *of).parts;
                parts.this_update = TimeField(this.0.clone());
                parts.next_update = next.as_ref().map(|next| TimeField(next.0.clone()));
            }
            Self::ListVersion { of, number } => list(open, *of).parts.version = *number,
            Self::ListIssuer { of, becomes } => {
                let parts = &mut list(open, *of).parts;
                parts.issuer = becomes.of(&parts.issuer, &parts.issuer, &parts.issuer);
            }
            Self::ListSet {
                of,
                extension,
                critical,
                value,
            } => list(open, *of)
                .parts
                .set_extension(extension.0, *critical, &value.0),
            Self::ListCritical {
                of,
                extension,
                critical,
            } => {
                let extensions = list(open, *of).parts.extensions.as_mut();
                extensions
                    .into_iter()
                    .flatten()
                    .find(|one| one.extn_id == extension.0)
                    .unwrap_or_else(|| panic!("the list of {of:?} has no {extension:?}"))
                    .critical = *critical;
            }
            Self::ListAdd {
                of,
                extension,
                value,
            } => {
                let new = Extension {
                    extn_id: extension.0,
                    critical: false,
                    extn_value: OctetString::new(value.0.as_slice()).expect("it fits"),
                };
                let parts = &mut list(open, *of).parts;
                parts.extensions.get_or_insert_default().push(new);
            }
            Self::ListRemove { of, extension } => {
                list(open, *of).parts.remove_extension(extension.0);
            }
            Self::ListEntries { of, entries } => {
                let entries = entries.iter().map(|entry| sequence(&entry.0));
                list(open, *of).parts.revoked_certificates = Some(entries.collect());
            }
            Self::ListAlgorithm { of, r#in, becomes } => {
                let algorithm = sequence(&der(&becomes.0));
                let list = list(open, *of);
                let signed = &mut list.parts.signature;
                r#in.put(algorithm, signed, &mut list.outer_algorithm);
            }
            Self::ListBeside {
                of,
                number,
                revokes,
                forged,
            } => {
                let mut second = list(open, *of).clone();
                let value = der(&integer(&[*number]));
                second.parts.set_extension(oid::CRL_NUMBER, false, &value);
                if let Some(place) = revokes {
                    let serial = &certificate(open, *place).parts.serial_number;
                    let entry =
                        sequence(&[der(serial), tlv(Tag::UtcTime, b"200101000000Z")].concat());
                    second.parts.revoked_certificates = Some(vec![entry]);
                }
                if *forged {
                    second.signer = SignerSource::Stranger.key(open, other, *of);
                }
                open.lists.push(second);
            }
            Self::SignedBy { of, key } => {
                // A stranger stands where the issuer stands.
                let issuer = of.index(open).saturating_add(1);
                let root = open.certificates.len().saturating_sub(1);
                let key = key.key_at(open, other, of.index(open), issuer.min(root));
                certificate(open, *of).signer = key;
            }
            Self::ListSignedBy { of, key } => {
                let key = key.key(open, other, *of);
                list(open, *of).signer = key;
            }
            Self::Present { .. }
            | Self::AlsoPresent { .. }
            | Self::Append { .. }
            | Self::ListAppend { .. }
            | Self::Encode { .. }
            | Self::Flip { .. } => {}
        }
    }

    /// Makes the change if it is one to what was signed.
    pub(super) fn apply_sealed(&self, sealed: &mut Sealed, other: &TestPki, pki: &TestPki) {
        match self {
            Self::Present { certificates } => {
                sealed.chain = certificates
                    .iter()
                    .map(|one| one.der(sealed, other))
                    .collect();
            }
            Self::AlsoPresent { certificate, count } => {
                let der = certificate.der(sealed, other);
                sealed.chain.extend(std::iter::repeat_n(der, *count));
            }
            Self::Append { to, octets } => to.of(sealed).extend(&octets.0),
            Self::ListAppend { to, octets } => {
                let place = to.list(&pki.open());
                let list = sealed.crls.get_mut(place).expect("the list is there");
                list.extend(&octets.0);
            }
            Self::Encode { of, r#as } => {
                let der = of.of(sealed);
                *der = r#as.of(der);
            }
            Self::Flip { of, bit } => {
                let der = of.of(sealed);
                let octet = der.len().checked_sub(bit.div_euclid(8).saturating_add(1));
                let octet = octet.and_then(|at| der.get_mut(at)).expect("it is there");
                *octet ^= 1 << bit.rem_euclid(8);
            }
            _ => {}
        }
    }
}

impl NameSource {
    fn of(self, current: &Any, subject: &Any, issuer: &Any) -> Any {
        match self {
            Self::Empty => sequence(&[]),
            // Only a certificate has an intermediate beside it.
            Self::OwnSubject | Self::OfIntermediate => subject.clone(),
            Self::OwnIssuer => issuer.clone(),
            Self::Printable => texts(current, |_, text| (Tag::PrintableString, text.to_vec())),
            Self::Bmp => texts(current, |_, text| {
                let wide = text.iter().flat_map(|octet| [0, *octet]).collect();
                (Tag::BmpString, wide)
            }),
            Self::LowerCase => texts(current, |tag, text| (tag, text.to_ascii_lowercase())),
            Self::NotUtf8 => texts(current, |tag, text| (tag, [&[0xff], text].concat())),
            Self::Octets => texts(current, |_, text| (Tag::OctetString, text.to_vec())),
            Self::NotPrintable => texts(current, |_, text| {
                (Tag::PrintableString, [b"@", text].concat())
            }),
            Self::WithoutSerialNumber => {
                let id = der(&oid::SERIAL_NUMBER);
                let kept = children(current)
                    .into_iter()
                    .filter(|part| !der(part).windows(id.len()).any(|octets| octets == id));
                sequence(&kept.flat_map(|part| der(&part)).collect::<Vec<_>>())
            }
            Self::Strange => texts(current, |tag, text| (tag, vec![b'x'; text.len()])),
        }
    }
}

/// A name with each text replaced.
fn texts(name: &Any, replace: impl Fn(Tag, &[u8]) -> (Tag, Vec<u8>)) -> Any {
    let content: Vec<u8> = children(name)
        .iter()
        .flat_map(|part| {
            let attributes = children(part).into_iter().flat_map(|attribute| {
                let [id, text] = children(&attribute).try_into().expect("type and value");
                let (tag, text) = replace(der::Tagged::tag(&text), text.value());
                tlv(Tag::Sequence, &[der(&id), tlv(tag, &text)].concat())
            });
            tlv(Tag::Set, &attributes.collect::<Vec<_>>())
        })
        .collect();
    sequence(&content)
}

fn children(of: &Any) -> Vec<Any> {
    let mut rest = of.value();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (one, after) = Any::from_der_partial(rest).expect("DER");
        found.push(one);
        rest = after;
    }
    found
}

impl AlgorithmField {
    fn put(self, algorithm: Any, signed: &mut Any, beside: &mut Option<Any>) {
        match self {
            Self::Signed => {
                *beside = Some(std::mem::replace(signed, algorithm));
            }
            Self::Beside => *beside = Some(algorithm),
            Self::Both => *signed = algorithm,
        }
    }
}

impl KeySource {
    fn give(self, open: &mut OpenPki, of: Place) {
        let place = of.index(open);
        let above = place.saturating_add(1);
        let issuer = open.certificates.get(above).map(|above| {
            let key = &above.parts.subject_public_key_info;
            (key.clone(), above.key.clone())
        });
        let parts = &mut certificate(open, of).parts;
        let spki = der(&parts.subject_public_key_info);
        // SEQUENCE { SEQUENCE { algorithm, curve }, BIT STRING { 4, x, y } } of P-256: 91 octets.
        let algorithm = || spki.get(2..23).expect("a P-256 key").to_vec();
        let x = || spki.get(27..59).expect("a P-256 key").to_vec();
        let bits = |octets: &[u8]| tlv(Tag::BitString, &[&[0], octets].concat());
        let key = match self {
            Self::Compressed => {
                let odd = spki.last().expect("a P-256 key") & 1;
                [algorithm(), bits(&[vec![2 | odd], x()].concat())].concat()
            }
            Self::Hybrid => {
                let odd = spki.last().expect("a P-256 key") & 1;
                let y = spki.get(59..91).expect("a P-256 key").to_vec();
                [algorithm(), bits(&[vec![6 | odd], x(), y].concat())].concat()
            }
            Self::Infinity => [algorithm(), bits(&[0])].concat(),
            Self::OffCurve => {
                let mut content = spki.get(2..).expect("a P-256 key").to_vec();
                *content.last_mut().expect("a P-256 key") ^= 1;
                content
            }
            Self::WithoutCurve => {
                let id = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
                let point = spki.get(23..).expect("a P-256 key").to_vec();
                [tlv(Tag::Sequence, &der(&id)), point].concat()
            }
            Self::Rsa => {
                let id = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
                let algorithm = tlv(Tag::Sequence, &[der(&id), vec![5, 0]].concat());
                let modulus = [vec![0], vec![0xc5; 256]].concat();
                let numbers = [tlv(Tag::Integer, &modulus), vec![2, 3, 1, 0, 1]].concat();
                [algorithm, bits(&tlv(Tag::Sequence, &numbers))].concat()
            }
            Self::SmallOrder => {
                let id = ObjectIdentifier::new_unwrap("1.3.101.112");
                let identity = [vec![1], vec![0; 31]].concat();
                [tlv(Tag::Sequence, &der(&id)), bits(&identity)].concat()
            }
            Self::P384 => {
                let key = IssuerKey::p384(&seed(2, place)).spki();
                key.value().to_vec()
            }
            Self::OfIssuer => {
                let (key, _) = issuer.expect("there is a certificate above");
                key.value().to_vec()
            }
        };
        parts.subject_public_key_info = sequence(&key);
    }
}

impl SignerSource {
    /// The key for a list of this issuer.
    fn key(self, open: &OpenPki, other: &OpenPki, of: Place) -> IssuerKey {
        let issuer = of.index(open);
        self.key_at(open, other, issuer, issuer)
    }

    fn key_at(self, open: &OpenPki, other: &OpenPki, own: usize, issuer: usize) -> IssuerKey {
        let key = |pki: &OpenPki, place: usize| {
            let certificate = pki.certificates.get(place).expect("it is there");
            certificate.key.clone()
        };
        match self {
            Self::Stranger => key(other, issuer),
            Self::Own => key(open, own),
            Self::Leaf => key(open, 0),
            Self::Intermediate => key(open, 1),
        }
    }
}

impl PresentedAs {
    fn der(self, ours: &Sealed, other: &TestPki) -> Vec<u8> {
        let (chain, place) = match self {
            Self::Root => return ours.root.clone(),
            Self::OtherRoot => return other.root().to_vec(),
            Self::Leaf => (ours.chain.as_slice(), 0),
            Self::Intermediate => (ours.chain.as_slice(), 1),
            Self::Upper => (ours.chain.as_slice(), 2),
            Self::OtherLeaf => (other.chain(), 0),
            Self::OtherIntermediate => (other.chain(), 1),
        };
        chain.get(place).expect("it is in the chain").clone()
    }
}

impl PresentedPlace {
    fn of(self, sealed: &mut Sealed) -> &mut Vec<u8> {
        let place = match self {
            Self::First => 0,
            Self::Second => 1,
            Self::Root => return &mut sealed.root,
        };
        sealed.chain.get_mut(place).expect("it is in the chain")
    }
}

impl Encoding {
    fn of(self, der: &[u8]) -> Vec<u8> {
        // Every certificate here is a SEQUENCE of 256 to 65,535 octets: 30 82 and two octets of length.
        let [0x30, 0x82, high, low, content @ ..] = der else {
            panic!("the certificate has another length");
        };
        match self {
            Self::Pem => der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der)
                .expect("PEM encodes")
                .into_bytes(),
            Self::LongLength => [&[0x30, 0x83, 0, *high, *low], content].concat(),
            Self::IndefiniteLength => [&[0x30, 0x80], content, &[0, 0]].concat(),
        }
    }
}

fn certificate(open: &mut OpenPki, of: Place) -> &mut OpenCertificate {
    let place = of.index(open);
    open.certificates.get_mut(place).expect("it is there")
}

fn list(open: &mut OpenPki, of: Place) -> &mut OpenList {
    let place = of.list(open);
    open.lists.get_mut(place).expect("it is there")
}

fn set(open: &mut OpenPki, of: Place, id: ObjectIdentifier, critical: bool, value: &[u8]) {
    certificate(open, of)
        .parts
        .set_extension(id, critical, value);
}

fn find(open: &mut OpenPki, of: Place, id: ObjectIdentifier) -> &mut Extension {
    let extensions = certificate(open, of).parts.extensions.as_mut();
    extensions
        .into_iter()
        .flatten()
        .find(|extension| extension.extn_id == id)
        .unwrap_or_else(|| panic!("{of:?} has no {id}"))
}

/// A GeneralName for a device (RFC 4108 §5).
fn device_name(serial: &[u8]) -> Vec<u8> {
    let context = |content: &[u8]| {
        let mut wrapped = tlv(Tag::Sequence, content);
        // [0], constructed.
        if let Some(tag) = wrapped.first_mut() {
            *tag = 0xa0;
        }
        wrapped
    };
    let module = [der(&ours::HARDWARE_TYPE), tlv(Tag::OctetString, serial)].concat();
    let id = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.4");
    context(&[der(&id), context(&tlv(Tag::Sequence, &module))].concat())
}

fn integer(octets: &[u8]) -> Any {
    Any::new(Tag::Integer, octets).expect("it fits")
}

fn sequence(content: &[u8]) -> Any {
    any(&Any::new(Tag::Sequence, content).expect("it fits"))
}

fn der(value: &impl Encode) -> Vec<u8> {
    value.to_der().expect("a value of a test encodes")
}

fn relative(now: UnixTime, seconds: i64) -> UnixTime {
    UnixTime::from_secs(now.as_secs().saturating_add_signed(seconds))
}

//! The words of the case files: places, extensions, purposes, key usages, times, octets.

use countersign_format::{Algorithm, oid as ours};
use countersign_provisioning::Profile;
use countersign_trust_store::{UnixTime, oid};
use der::asn1::{Any, ObjectIdentifier};
use der::{Encode, Tag};
use serde::Deserialize;
use x509_cert::ext::pkix::KeyUsages;

use crate::OpenPki;

/// A certificate of the PKI, or the list that it issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    Leaf,
    /// The authority that issued to the leaf.
    Intermediate,
    /// The one above it.
    Upper,
    Root,
}

impl Place {
    pub(super) fn index(self, open: &OpenPki) -> usize {
        let root = open.certificates.len().saturating_sub(1);
        let index = match self {
            Self::Leaf => 0,
            Self::Intermediate => 1,
            Self::Upper => 2,
            Self::Root => return root,
        };
        assert!(index < root, "this PKI has no {self:?}");
        index
    }

    /// The place in the list of lists, the root's first.
    pub(super) fn list(self, open: &OpenPki) -> usize {
        let issuer = self.index(open);
        open.lists
            .iter()
            .position(|list| list.issuer == issuer)
            .unwrap_or_else(|| panic!("there is no list of {self:?}"))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum KeyWord {
    P256,
    Ed25519,
}

impl KeyWord {
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Esp256,
            Self::Ed25519 => Algorithm::Ed25519,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProfileWord {
    ComponentSigner,
    Tls,
    GuestData,
    Attestation,
    Idevid,
}

impl ProfileWord {
    pub(super) fn profile(self) -> Profile {
        match self {
            Self::ComponentSigner => Profile::ComponentSigner,
            Self::Tls => Profile::Tls,
            Self::GuestData => Profile::GuestData,
            Self::Attestation => Profile::Attestation,
            Self::Idevid => Profile::IDevId,
        }
    }
}

/// `2026-11-22T08:00:00Z`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Time(pub(super) UnixTime);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|error| format!("{text}: {error}"))
    }
}

/// Hexadecimal digits; spaces are for the eye. `*N` after a part repeats it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Octets(pub(super) Vec<u8>);

impl TryFrom<String> for Octets {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut octets = Vec::new();
        for part in text.split_whitespace() {
            let (digits, times) = match part.split_once('*') {
                None => (part, 1),
                Some((digits, times)) => {
                    let times = times.parse().map_err(|_| format!("{part}: how often?"))?;
                    (digits, times)
                }
            };
            let part = hex::decode(digits).map_err(|error| format!("{digits}: {error}"))?;
            octets.extend(part.repeat(times));
        }
        Ok(Self(octets))
    }
}

/// A name of an object identifier, or its dotted form.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Oid(pub(super) ObjectIdentifier);

const NAMES: &[(&str, ObjectIdentifier)] = &[
    ("attested-by", ours::ATTESTED_BY),
    ("authorityInfoAccess", oid::AUTHORITY_INFO_ACCESS),
    ("authorityKeyIdentifier", oid::AUTHORITY_KEY_IDENTIFIER),
    ("basicConstraints", oid::BASIC_CONSTRAINTS),
    ("capabilities", ours::CAPABILITIES),
    ("certificatePolicies", oid::CERTIFICATE_POLICIES),
    ("component-scope", ours::COMPONENT_SCOPE),
    ("cRLDistributionPoints", oid::CRL_DISTRIBUTION_POINTS),
    ("cRLNumber", oid::CRL_NUMBER),
    ("deltaCRLIndicator", oid::DELTA_CRL_INDICATOR),
    ("development-root", ours::DEVELOPMENT_ROOT),
    ("device-type", ours::DEVICE_TYPE),
    ("extKeyUsage", oid::EXTENDED_KEY_USAGE),
    ("firmware-version", ours::FIRMWARE_VERSION),
    ("freshestCRL", oid::FRESHEST_CRL),
    ("hardware-revision", ours::HARDWARE_REVISION),
    ("inhibitAnyPolicy", oid::INHIBIT_ANY_POLICY),
    ("issuingDistributionPoint", oid::ISSUING_DISTRIBUTION_POINT),
    ("keyUsage", oid::KEY_USAGE),
    ("nameConstraints", oid::NAME_CONSTRAINTS),
    ("noRevAvail", oid::NO_REV_AVAIL),
    ("policyConstraints", oid::POLICY_CONSTRAINTS),
    ("policyMappings", oid::POLICY_MAPPINGS),
    ("subjectAltName", oid::SUBJECT_ALT_NAME),
    ("subjectKeyIdentifier", oid::SUBJECT_KEY_IDENTIFIER),
    (
        "anyExtendedKeyUsage",
        ObjectIdentifier::new_unwrap("2.5.29.37.0"),
    ),
    ("clientAuth", oid::CLIENT_AUTH),
    ("codeSigning", oid::CODE_SIGNING),
    ("documentSigning", oid::DOCUMENT_SIGNING),
    ("serverAuth", oid::SERVER_AUTH),
    (
        "ecdsa-with-SHA1",
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
    ),
    (
        "ecdsa-with-SHA256",
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
    ),
    (
        "ecdsa-with-SHA384",
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"),
    ),
    (
        "sha256WithRSAEncryption",
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
    ),
    ("Ed25519", ObjectIdentifier::new_unwrap("1.3.101.112")),
];

impl TryFrom<String> for Oid {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        if let Some((_, id)) = NAMES.iter().find(|(name, _)| *name == word) {
            return Ok(Self(*id));
        }
        // `x:` and the octets, for an identifier that has no dotted form.
        if let Some(digits) = word.strip_prefix("x:") {
            let octets = hex::decode(digits).map_err(|error| format!("{word}: {error}"))?;
            return ObjectIdentifier::from_bytes(&octets)
                .map(Self)
                .map_err(|error| format!("{word}: {error}"));
        }
        ObjectIdentifier::new(&word)
            .map(Self)
            .map_err(|_| format!("{word} is neither a known name nor a dotted identifier"))
    }
}

/// A bit of keyUsage.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Bit {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    KeyAgreement,
    KeyCertSign,
    #[serde(rename = "cRLSign")]
    CrlSign,
}

impl Bit {
    pub(super) fn usage(self) -> KeyUsages {
        match self {
            Self::DigitalSignature => KeyUsages::DigitalSignature,
            Self::NonRepudiation => KeyUsages::NonRepudiation,
            Self::KeyEncipherment => KeyUsages::KeyEncipherment,
            Self::KeyAgreement => KeyUsages::KeyAgreement,
            Self::KeyCertSign => KeyUsages::KeyCertSign,
            Self::CrlSign => KeyUsages::CRLSign,
        }
    }
}

/// A time as a certificate writes it: `utc 200101000000Z` or `general 20510101000000Z`, whatever the text.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Stamp(pub(super) Any);

impl TryFrom<String> for Stamp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (tag, digits) = match text.split_once(' ') {
            Some(("utc", digits)) => (Tag::UtcTime, digits),
            Some(("general", digits)) => (Tag::GeneralizedTime, digits),
            _ => return Err(format!("{text} is neither \"utc …\" nor \"general …\"")),
        };
        Any::new(tag, digits.as_bytes())
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

/// A text as it stands, or octets after `x:`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Serial(pub(super) Vec<u8>);

impl TryFrom<String> for Serial {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.strip_prefix("x:") {
            Some(digits) => hex::decode(digits)
                .map(Self)
                .map_err(|error| format!("{text}: {error}")),
            None => Ok(Self(text.into_bytes())),
        }
    }
}

/// DER of this tag and content, any length.
pub(super) fn tlv(tag: Tag, content: &[u8]) -> Vec<u8> {
    Any::new(tag, content)
        .and_then(|any| any.to_der())
        .expect("a value of a test encodes")
}

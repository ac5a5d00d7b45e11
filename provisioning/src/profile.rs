//! What each kind of certificate, and a revocation list, is made of: one table.
//!
//! It decides nothing by itself: `fields` writes the extensions that a row names, `issuer` keeps to its names and lives,
//! and `rehearsal` shows the outcome to the code of a host, which has its own table of what it accepts.

use std::fmt;
use std::str::FromStr;

use countersign_trust_store::profile;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::name::Name;

use crate::extensions::{
    ATTESTATION, CLIENT_AUTH, CODE_SIGNING, CONFIG_SIGNING, DOCUMENT_SIGNING, SERVER_AUTH,
    UPDATE_PACKAGE_SIGNING,
};
use crate::name::{COMMON_NAME, COUNTRY, ORGANIZATION, ORGANIZATIONAL_UNIT, SERIAL_NUMBER};

/// A kind of end entity certificate. A key has one purpose, so a device has a certificate of each kind it needs, over
/// different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Signs components: codeSigning, and the names it may sign.
    ComponentSigner,
    /// Speaks TLS, as client and as server.
    Tls,
    /// Signs data for guests: documentSigning (RFC 9336).
    GuestData,
    /// Signs attestation evidence: tcg-kp-AIKCertificate.
    Attestation,
    /// Signs bundles for gateways, and the configurations in them (RFC 9809).
    Bundle,
    /// Says who the device is, from the factory to the scrapyard: no extended key usage, no expiry (IEEE 802.1AR).
    IDevId,
}

/// An extension, or a set of them, that a certificate made here may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    BasicConstraints,
    KeyUsage,
    SubjectKeyIdentifier,
    AuthorityKeyIdentifier,
    /// The device's identity, and host names where [`Rules::dns_names`] has them.
    SubjectAltName,
    ExtendedKeyUsage,
    ComponentScope,
    AttestedBy,
    DevelopmentRoot,
    /// Device type, hardware revision, firmware version and capabilities, as far as they are known.
    Metadata,
    NoRevAvail,
}

/// How a subject is named: by these attributes and no others.
#[derive(Debug)]
pub(crate) struct NameForm {
    pub(crate) always: &'static [ObjectIdentifier],
    pub(crate) if_given: &'static [ObjectIdentifier],
}

const AUTHORITY_NAME: NameForm = NameForm {
    always: &[ORGANIZATION, COMMON_NAME],
    if_given: &[COUNTRY],
};

/// IEEE 802.1AR §8.6: the device's identity is the serialNumber.
const DEVICE_NAME: NameForm = NameForm {
    always: &[COMMON_NAME, SERIAL_NUMBER],
    if_given: &[ORGANIZATION, ORGANIZATIONAL_UNIT],
};

impl NameForm {
    /// Whether `name` has each attribute of this form once, and no other.
    pub(crate) fn fits(&self, name: &Name) -> bool {
        let count = |oid| name.iter().filter(|attribute| attribute.oid == oid).count();
        let known = |oid| self.always.contains(&oid) || self.if_given.contains(&oid);
        self.always.iter().all(|oid| count(*oid) == 1)
            && self.if_given.iter().all(|oid| count(*oid) <= 1)
            && name.iter().all(|attribute| known(attribute.oid))
    }
}

/// How long a certificate may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// This many days at most, and within its issuer's period if it has another issuer.
    Days(u64),
    /// It ends at 99991231235959Z, whenever its issuer does (IEEE 802.1AR §8.7).
    WithoutEnd,
}

/// One row: everything in which the kinds differ.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Spelling on command lines and in records.
    pub(crate) name: &'static str,
    /// What a host checks of a certificate of this kind.
    pub(crate) kind: &'static profile::Profile,
    /// The form of its subject.
    pub(crate) name_form: NameForm,
    /// What stands in every such certificate, in this order.
    pub(crate) always: &'static [Field],
    /// What follows if it was given, in this order. What is in neither list is refused where it is given.
    pub(crate) if_given: &'static [Field],
    /// What the key may do, as keyUsage says it.
    pub(crate) key_usage: &'static [KeyUsages],
    /// Extended key usages, in order; empty for none.
    pub(crate) extended_key_usage: &'static [ObjectIdentifier],
    /// Whether it may carry dNSNames.
    pub(crate) dns_names: bool,
    /// How long it may live.
    pub(crate) life: Life,
    /// How many bytes it may have.
    pub(crate) max_bytes: usize,
}

impl Rules {
    /// Whether such a certificate may carry `field`.
    pub(crate) fn carries(&self, field: Field) -> bool {
        self.always.contains(&field) || self.if_given.contains(&field)
    }
}

/// Three years is what the code signing world allows at most; a device's other certificates follow it.
const DEVICE_LIFE: Life = Life::Days(3 * 366);

/// An authority outlives its keys' algorithms sooner than this.
const AUTHORITY_LIFE: Life = Life::Days(30 * 366);

/// A device keeps its chain where there is little room, and sends it with each message: two authorities and itself stay
/// under 5 KB. Usual are 600 bytes.
const AUTHORITY_BYTES: usize = 1_400;

/// Room for every name, four capabilities and a scope of some length; usual are 700 bytes.
const DEVICE_BYTES: usize = 2_048;

const AUTHORITY_ALWAYS: &[Field] = &[
    Field::BasicConstraints,
    Field::KeyUsage,
    Field::SubjectKeyIdentifier,
    Field::AuthorityKeyIdentifier,
];

const DEVICE_ALWAYS: &[Field] = &[
    Field::KeyUsage,
    Field::SubjectKeyIdentifier,
    Field::AuthorityKeyIdentifier,
    Field::SubjectAltName,
    Field::ExtendedKeyUsage,
];

/// A self-signed root. At most 31 days if it is for development: [`DEVELOPMENT_ROOT_DAYS`](crate::DEVELOPMENT_ROOT_DAYS).
pub(crate) static ROOT: Rules = Rules {
    name: "root",
    kind: &profile::ROOT,
    if_given: &[Field::DevelopmentRoot],
    ..AUTHORITY_FORM
};

/// An authority below another.
pub(crate) static INTERMEDIATE: Rules = Rules {
    name: "intermediate",
    kind: &profile::INTERMEDIATE,
    if_given: &[Field::ComponentScope],
    ..AUTHORITY_FORM
};

/// What roots and intermediates share.
const AUTHORITY_FORM: Rules = Rules {
    name: "",
    kind: &profile::INTERMEDIATE,
    name_form: AUTHORITY_NAME,
    always: AUTHORITY_ALWAYS,
    if_given: &[],
    key_usage: &[KeyUsages::KeyCertSign, KeyUsages::CRLSign],
    extended_key_usage: &[],
    dns_names: false,
    life: AUTHORITY_LIFE,
    max_bytes: AUTHORITY_BYTES,
};

/// What devices' certificates share.
const DEVICE_FORM: Rules = Rules {
    name: "",
    kind: &profile::IDEVID,
    name_form: DEVICE_NAME,
    always: DEVICE_ALWAYS,
    if_given: &[Field::Metadata, Field::NoRevAvail],
    key_usage: &[KeyUsages::DigitalSignature],
    extended_key_usage: &[],
    dns_names: false,
    life: DEVICE_LIFE,
    max_bytes: DEVICE_BYTES,
};

static COMPONENT_SIGNER: Rules = Rules {
    name: "component-signer",
    kind: &profile::COMPONENT_SIGNER,
    if_given: &[Field::ComponentScope, Field::Metadata, Field::NoRevAvail],
    extended_key_usage: &[CODE_SIGNING],
    ..DEVICE_FORM
};

static TLS: Rules = Rules {
    name: "tls",
    kind: &profile::TLS,
    extended_key_usage: &[CLIENT_AUTH, SERVER_AUTH],
    dns_names: true,
    ..DEVICE_FORM
};

static GUEST_DATA: Rules = Rules {
    name: "guest-data",
    kind: &profile::GUEST_DATA,
    extended_key_usage: &[DOCUMENT_SIGNING],
    ..DEVICE_FORM
};

static ATTESTATION_KEY: Rules = Rules {
    name: "attestation",
    kind: &profile::ATTESTATION,
    if_given: &[Field::AttestedBy, Field::Metadata, Field::NoRevAvail],
    extended_key_usage: &[ATTESTATION],
    ..DEVICE_FORM
};

static BUNDLE: Rules = Rules {
    name: "bundle",
    kind: &profile::BUNDLE_SIGNER,
    extended_key_usage: &[UPDATE_PACKAGE_SIGNING, CONFIG_SIGNING],
    ..DEVICE_FORM
};

static IDEVID: Rules = Rules {
    name: "idevid",
    kind: &profile::IDEVID,
    always: &[
        Field::KeyUsage,
        Field::SubjectKeyIdentifier,
        Field::AuthorityKeyIdentifier,
        Field::SubjectAltName,
    ],
    life: Life::WithoutEnd,
    ..DEVICE_FORM
};

/// What a revocation list carries (RFC 5280 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListField {
    AuthorityKeyIdentifier,
    CrlNumber,
}

/// A revocation list: full, direct, numbered, so neither deltas nor distribution points.
pub(crate) struct ListRules {
    /// The list's extensions, in order.
    pub(crate) extensions: &'static [ListField],
    /// Days from thisUpdate to nextUpdate at most.
    pub(crate) max_days: u64,
}

pub(crate) static CRL: ListRules = ListRules {
    extensions: &[ListField::AuthorityKeyIdentifier, ListField::CrlNumber],
    max_days: 3_660,
};

impl Profile {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::ComponentSigner,
        Self::Tls,
        Self::GuestData,
        Self::Attestation,
        Self::Bundle,
        Self::IDevId,
    ];

    /// The spelling on command lines and in records, such as `component-signer`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.rules().name
    }

    /// Whether certificates of this kind carry a component scope.
    #[must_use]
    pub fn is_scoped(self) -> bool {
        self.rules().carries(Field::ComponentScope)
    }

    /// Whether certificates of this kind never expire.
    #[must_use]
    pub fn is_without_expiry(self) -> bool {
        self.rules().life == Life::WithoutEnd
    }

    pub(crate) fn rules(self) -> &'static Rules {
        match self {
            Self::ComponentSigner => &COMPONENT_SIGNER,
            Self::Tls => &TLS,
            Self::GuestData => &GUEST_DATA,
            Self::Attestation => &ATTESTATION_KEY,
            Self::Bundle => &BUNDLE,
            Self::IDevId => &IDEVID,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|profile| profile.as_str()).collect();
                format!("{text:?} is not a profile; there are {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse::<Profile>(), Ok(profile));
        }
        assert!("root".parse::<Profile>().is_err());
    }

    #[test]
    fn tc13_no_two_profiles_share_a_purpose() {
        let mut seen = Vec::new();
        for profile in Profile::ALL {
            for oid in profile.rules().extended_key_usage {
                assert!(!seen.contains(oid), "{oid} twice");
                seen.push(*oid);
            }
        }
    }

    #[test]
    fn tg20_the_table_of_what_is_made_lies_within_that_of_what_hosts_accept() {
        use countersign_trust_store::profile::{ExtendedKeyUsageRule, Presence};

        let devices = Profile::ALL.map(Profile::rules);
        for rules in devices.into_iter().chain([&ROOT, &INTERMEDIATE]) {
            let name = rules.name;
            for usage in rules.kind.key_usage_required {
                assert!(rules.key_usage.contains(usage), "{name}: {usage:?}");
            }
            for usage in rules.key_usage {
                let accepted = rules.kind.key_usage_required.contains(usage)
                    || rules.kind.key_usage_allowed.contains(usage);
                assert!(accepted, "{name}: {usage:?}");
            }
            let usages = rules.extended_key_usage;
            match rules.kind.extended_key_usage {
                ExtendedKeyUsageRule::Exactly(all) => assert_eq!(usages, all, "{name}"),
                ExtendedKeyUsageRule::SomeOf(some) => {
                    assert!(!usages.is_empty() && usages.iter().all(|id| some.contains(id)));
                }
                ExtendedKeyUsageRule::AbsentOrPathPurpose => assert!(usages.is_empty(), "{name}"),
            }
            assert_eq!(
                rules.life == Life::WithoutEnd,
                rules.kind.may_never_expire,
                "{name}"
            );
            for rule in rules.kind.extensions {
                if rule.presence == Presence::Required {
                    let made = rules
                        .always
                        .iter()
                        .any(|field| field.writes(rule.extension));
                    assert!(made, "{name} lacks {}", rule.extension);
                }
                if rule.presence == Presence::Forbidden {
                    let made = rules.always.iter().chain(rules.if_given);
                    let mut made = made.filter(|field| field.writes(rule.extension));
                    assert_eq!(made.next(), None, "{name} has {}", rule.extension);
                }
            }
            for field in rules.always {
                assert!(!rules.if_given.contains(field), "{name}: {field:?} twice");
            }
        }
    }
}

//! Our X.509 extensions: their object identifiers, and their values in strict DER.
//!
//! ```text
//! ComponentScope  ::= SEQUENCE { components SEQUENCE SIZE (1..64) OF UTF8String,
//!                                audience [0] IMPLICIT ScopeAudience OPTIONAL }
//! ScopeAudience   ::= SEQUENCE { devices [0] IMPLICIT SEQUENCE SIZE (1..64) OF UTF8String OPTIONAL,
//!                                types   [1] IMPLICIT SEQUENCE SIZE (1..64) OF UTF8String OPTIONAL }  -- not empty
//! DeviceType, HardwareRevision, FirmwareVersion ::= UTF8String
//! Capabilities    ::= SEQUENCE SIZE (1..64) OF UTF8String
//! DevelopmentRoot ::= NULL
//! AttestedBy      ::= UTF8String ("tpm" | "atecc608")
//! ```
//!
//! Lists are sorted and hold no entry twice. A value is accepted only if encoding what was read gives the same
//! bytes. Which certificates need or may carry which extension is left to the profiles of the trust store.

use std::fmt;

use der::asn1::Null;
use der::{Decode, Encode, Sequence};

use crate::cbor::{length, within};
use crate::text::{check_label, sort_unique};
use crate::{Audience, ComponentName, FormatError, NamePattern, limits};

/// The object identifiers. All lie under one arc: 32473, the number that RFC 5612 sets aside for examples, until
/// one is registered.
pub mod oid {
    use der::asn1::ObjectIdentifier;

    /// The components that a signer, or the signers under a CA, may sign: [`super::Scope`].
    pub const COMPONENT_SCOPE: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.1");
    /// The type of a device.
    pub const DEVICE_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.2");
    /// The revision of a device's hardware.
    pub const HARDWARE_REVISION: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.3");
    /// The version of a device's firmware when the certificate was issued.
    pub const FIRMWARE_VERSION: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.4");
    /// What a device can do.
    pub const CAPABILITIES: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.5");
    /// Marks the root of a development PKI, which is loud and short-lived.
    pub const DEVELOPMENT_ROOT: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.6");
    /// The kind of hardware that the issuer of an attestation key's certificate found the key in:
    /// [`super::AttestationHardware`].
    pub const ATTESTED_BY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.7");
    /// Not an extension: the `hwType` of the hardwareModuleName (RFC 4108 §5) that carries a device identity as its
    /// `hwSerialNum`.
    pub const HARDWARE_TYPE: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.2.1");
    /// Not an extension: the profile (RFC 9711 §4.3.2) of the attestations that [`crate::EvidenceDocument`] reads.
    pub const EVIDENCE_PROFILE: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.3.1");
}

/// What a component signer may sign: component names and, if wanted, audiences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    components: Vec<NamePattern>,
    audience: Audience,
}

impl Scope {
    /// A scope over these names; an empty audience means any.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] without a pattern; [`FormatError::Text`] for a pattern given twice or a bad
    /// audience; [`FormatError::LimitExceeded`] over 64 entries or 4 KiB of DER.
    pub fn new(
        mut components: Vec<NamePattern>,
        mut audience: Audience,
    ) -> Result<Self, FormatError> {
        if components.is_empty() {
            return Err(FormatError::Malformed {
                what: "a component scope names no component",
                offset: 0,
            });
        }
        // By text, so that the order in the encoding can be told without our types.
        components.sort_by_cached_key(ToString::to_string);
        let mut sorted: Vec<String> = components.iter().map(ToString::to_string).collect();
        sort_unique("component scope", &mut sorted)?;
        audience.normalise()?;
        let scope = Self {
            components,
            audience,
        };
        scope.to_der()?;
        Ok(scope)
    }

    /// The patterns, sorted, at least one.
    #[must_use]
    pub fn components(&self) -> &[NamePattern] {
        &self.components
    }

    /// The audiences that a statement may name; empty: any.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Whether a statement with this name and audience is within the scope. A scope with audiences admits no
    /// statement that could reach beyond them, so none with an empty audience.
    #[must_use]
    pub fn admits(&self, name: &ComponentName, audience: &Audience) -> bool {
        self.components.iter().any(|pattern| pattern.matches(name))
            && audience.is_within(&self.audience)
    }

    /// Whether everything that `inner` admits is admitted by this scope too: `inner` may stand below it.
    #[must_use]
    pub fn contains(&self, inner: &Self) -> bool {
        inner
            .components
            .iter()
            .all(|inner| self.components.iter().any(|outer| outer.contains(inner)))
            && inner.audience.is_within(&self.audience)
    }

    /// The value of the extension [`oid::COMPONENT_SCOPE`].
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] over 4 KiB.
    pub fn to_der(&self) -> Result<Vec<u8>, FormatError> {
        let list = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        encode(&ScopeDer {
            components: self.components.iter().map(ToString::to_string).collect(),
            audience: (!self.audience.is_empty()).then(|| ScopeAudienceDer {
                devices: list(&self.audience.devices),
                types: list(&self.audience.types),
            }),
        })
    }

    /// Reads the value of the extension [`oid::COMPONENT_SCOPE`].
    ///
    /// # Errors
    /// See [`FormatError`].
    pub fn from_der(der: &[u8]) -> Result<Self, FormatError> {
        let read: ScopeDer = decode(der, "component scope")?;
        let components = read
            .components
            .iter()
            .map(|text| NamePattern::parse(text))
            .collect::<Result<_, _>>()?;
        let audience = read
            .audience
            .map_or_else(Audience::default, |audience| Audience {
                devices: audience.devices.unwrap_or_default(),
                types: audience.types.unwrap_or_default(),
            });
        let scope = Self::new(components, audience)?;
        same(&scope.to_der()?, der)?;
        Ok(scope)
    }
}

/// The value of [`oid::DEVICE_TYPE`], [`oid::HARDWARE_REVISION`] or [`oid::FIRMWARE_VERSION`].
///
/// # Errors
/// [`FormatError::Text`] or [`FormatError::LimitExceeded`] unless it is 1 to 64 characters of
/// `A-Z a-z 0-9 . _ : + / -`.
pub fn text_to_der(text: &str) -> Result<Vec<u8>, FormatError> {
    check_label("device metadata", text)?;
    encode(&text.to_owned())
}

/// Reads the value of [`oid::DEVICE_TYPE`], [`oid::HARDWARE_REVISION`] or [`oid::FIRMWARE_VERSION`].
///
/// # Errors
/// See [`FormatError`].
pub fn text_from_der(der: &[u8]) -> Result<String, FormatError> {
    let text: String = decode(der, "device metadata")?;
    same(&text_to_der(&text)?, der)?;
    Ok(text)
}

/// The value of [`oid::CAPABILITIES`], sorted.
///
/// # Errors
/// As [`text_to_der`]; also for none, more than 64, or one given twice.
pub fn capabilities_to_der(capabilities: &[String]) -> Result<Vec<u8>, FormatError> {
    if capabilities.is_empty() {
        return Err(FormatError::Malformed {
            what: "an empty list of capabilities, which must be left out",
            offset: 0,
        });
    }
    let mut capabilities = capabilities.to_vec();
    capabilities
        .iter()
        .try_for_each(|capability| check_label("capability", capability))?;
    sort_unique("capabilities", &mut capabilities)?;
    encode(&capabilities)
}

/// Reads the value of [`oid::CAPABILITIES`].
///
/// # Errors
/// See [`FormatError`].
pub fn capabilities_from_der(der: &[u8]) -> Result<Vec<String>, FormatError> {
    let capabilities: Vec<String> = decode(der, "capabilities")?;
    same(&capabilities_to_der(&capabilities)?, der)?;
    Ok(capabilities)
}

/// The value of [`oid::DEVELOPMENT_ROOT`].
#[must_use]
pub fn development_root_to_der() -> Vec<u8> {
    DER_NULL.to_vec()
}

/// Reads the value of [`oid::DEVELOPMENT_ROOT`].
///
/// # Errors
/// [`FormatError::Malformed`] unless it is NULL.
pub fn development_root_from_der(der: &[u8]) -> Result<(), FormatError> {
    decode::<Null>(der, "development root")?;
    same(&DER_NULL, der)
}

/// The kind of hardware that an attestation key lies in, as the issuer of its certificate asserts. A certificate without it
/// is that of a key in software.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttestationHardware {
    /// An ATECC608, in a slot whose key signs the chip's own messages only.
    Atecc608,
    /// A TPM 2.0, as a restricted signing key.
    Tpm,
}

impl AttestationHardware {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Atecc608, Self::Tpm];

    /// The spelling in certificates and on command lines, such as `tpm`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Atecc608 => "atecc608",
            Self::Tpm => "tpm",
        }
    }

    /// The value of the extension [`oid::ATTESTED_BY`].
    ///
    /// # Errors
    /// As [`text_to_der`], for none of today's kinds.
    pub fn to_der(self) -> Result<Vec<u8>, FormatError> {
        text_to_der(self.as_str())
    }

    /// Reads the value of the extension [`oid::ATTESTED_BY`].
    ///
    /// # Errors
    /// As [`text_from_der`]; [`FormatError::Malformed`] for a kind that is not known here.
    pub fn from_der(der: &[u8]) -> Result<Self, FormatError> {
        let text = text_from_der(der)?;
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(FormatError::Malformed {
                what: "an unknown kind of hardware",
                offset: 0,
            })
    }
}

impl fmt::Display for AttestationHardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// X.690 §8.8.
const DER_NULL: [u8; 2] = [5, 0];

#[derive(Sequence)]
struct ScopeDer {
    components: Vec<String>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    audience: Option<ScopeAudienceDer>,
}

#[derive(Sequence)]
struct ScopeAudienceDer {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    devices: Option<Vec<String>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    types: Option<Vec<String>>,
}

fn encode(value: &impl Encode) -> Result<Vec<u8>, FormatError> {
    let der = value.to_der().map_err(|_| FormatError::Malformed {
        what: "an extension that DER cannot express",
        offset: 0,
    })?;
    within("extension", limits::MAX_EXTENSION_BYTES, length(der.len()))?;
    Ok(der)
}

/// Reads exactly one value; nothing may be left over.
fn decode<'a, T: Decode<'a>>(der: &'a [u8], what: &'static str) -> Result<T, FormatError> {
    within("extension", limits::MAX_EXTENSION_BYTES, length(der.len()))?;
    T::from_der(der).map_err(|_| FormatError::Malformed { what, offset: 0 })
}

fn same(encoded: &[u8], der: &[u8]) -> Result<(), FormatError> {
    if encoded == der {
        Ok(())
    } else {
        Err(FormatError::Noncanonical {
            what: "an extension that is not in its one DER form",
            offset: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(components: &[&str], devices: &[&str], types: &[&str]) -> Scope {
        let audience = Audience {
            devices: devices.iter().map(ToString::to_string).collect(),
            types: types.iter().map(ToString::to_string).collect(),
        };
        let components = components
            .iter()
            .map(|text| NamePattern::parse(text).unwrap())
            .collect();
        Scope::new(components, audience).unwrap()
    }

    #[test]
    fn scopes_round_trip() {
        for scope in [
            scope(&["acme:*"], &[], &[]),
            scope(&["acme:pump", "acme:valve", "other:*"], &["SN-1"], &[]),
            scope(&["acme:*"], &[], &["gateway-x2", "gateway-x3"]),
            scope(&["acme:*"], &["SN-1"], &["gateway-x2"]),
        ] {
            assert_eq!(Scope::from_der(&scope.to_der().unwrap()).unwrap(), scope);
        }
        let some = scope(&["acme:pump", "acme:*"], &["SN-1"], &["gateway-x2"]);
        let patterns: Vec<String> = some.components().iter().map(ToString::to_string).collect();
        assert_eq!(patterns, ["acme:*", "acme:pump"]);
        assert_eq!(some.audience().devices, ["SN-1"]);
        assert_eq!(some.audience().types, ["gateway-x2"]);
        // SEQUENCE { SEQUENCE { UTF8String } }, by hand.
        let expected = [&[0x30, 10, 0x30, 8, 0x0c, 6][..], b"acme:*"].concat();
        assert_eq!(scope(&["acme:*"], &[], &[]).to_der().unwrap(), expected);
        // Order of what is given says nothing.
        assert_eq!(
            scope(&["b:*", "a:x"], &["2", "1"], &[]),
            scope(&["a:x", "b:*"], &["1", "2"], &[])
        );
    }

    #[test]
    fn tc21_scopes_in_another_encoding() {
        let refused = |der: &[u8]| assert!(Scope::from_der(der).is_err(), "{der:?}");
        let good = scope(&["acme:*"], &["SN-1"], &[]).to_der().unwrap();
        assert!(Scope::from_der(&good).is_ok());
        for end in 0..good.len() {
            refused(&good[..end]);
        }
        refused(&[&good[..], &[0]].concat());
        // Long-form and indefinite lengths.
        refused(&[&[0x30, 0x81, 10, 0x30, 8, 0x0c, 6][..], b"acme:*"].concat());
        refused(&[&[0x30, 0x80, 0x30, 8, 0x0c, 6][..], b"acme:*", &[0, 0]].concat());
        // PrintableString in place of UTF8String.
        refused(&[&[0x30, 10, 0x30, 8, 0x13, 6][..], b"acme:*"].concat());
        // An audience that is there and empty; an empty list in one.
        refused(&[&[0x30, 12, 0x30, 8, 0x0c, 6][..], b"acme:*", &[0xa0, 0]].concat());
        refused(
            &[
                &[0x30, 14, 0x30, 8, 0x0c, 6][..],
                b"acme:*",
                &[0xa0, 2, 0xa0, 0],
            ]
            .concat(),
        );
        // An unknown element.
        refused(&[&[0x30, 12, 0x30, 8, 0x0c, 6][..], b"acme:*", &[0xa1, 0]].concat());
        // No component; unsorted; twice.
        refused(&[0x30, 2, 0x30, 0]);
        refused(
            &[
                &[0x30, 14, 0x30, 12, 0x0c, 4][..],
                b"b:bb",
                &[0x0c, 4],
                b"a:aa",
            ]
            .concat(),
        );
        refused(
            &[
                &[0x30, 14, 0x30, 12, 0x0c, 4][..],
                b"a:aa",
                &[0x0c, 4],
                b"a:aa",
            ]
            .concat(),
        );
    }

    #[test]
    fn tc39_patterns_in_a_scope_are_names() {
        for pattern in ["*", "", "acme", "acme*", "Acme:*", ":*"] {
            let mut der = vec![0x30, 4 + u8::try_from(pattern.len()).unwrap(), 0x30];
            der.push(2 + u8::try_from(pattern.len()).unwrap());
            der.extend([0x0c, u8::try_from(pattern.len()).unwrap()]);
            der.extend(pattern.as_bytes());
            assert!(
                matches!(Scope::from_der(&der), Err(FormatError::Text { .. })),
                "{pattern:?}"
            );
        }
        assert!(Scope::new(Vec::new(), Audience::default()).is_err());
    }

    #[test]
    fn tc30_scopes_are_limited() {
        let many = |count: usize| {
            let components = (0..count)
                .map(|index| NamePattern::parse(&format!("a{index}:*")).unwrap())
                .collect();
            Scope::new(components, Audience::default())
        };
        assert!(many(64).is_ok());
        assert!(matches!(
            many(65),
            Err(FormatError::LimitExceeded { limit: 64, .. })
        ));
        let long = |count: usize| {
            let components = (0..count)
                .map(|index| NamePattern::parse(&format!("a{index:0>125}:*")).unwrap())
                .collect();
            Scope::new(components, Audience::default())
        };
        assert!(long(24).is_ok());
        assert!(matches!(
            long(64),
            Err(FormatError::LimitExceeded {
                what: "extension",
                ..
            })
        ));
        assert!(matches!(
            Scope::from_der(&[0x30; 4097]),
            Err(FormatError::LimitExceeded { .. })
        ));
    }

    #[test]
    fn tc39_scopes_admit_and_contain() {
        let name = |text: &str| ComponentName::parse(text).unwrap();
        let any = Audience::default();
        let fleet = Audience {
            devices: Vec::new(),
            types: vec!["x2".to_owned()],
        };
        let open = scope(&["acme:*", "other:one"], &[], &[]);
        assert!(open.admits(&name("acme:pump"), &any));
        assert!(open.admits(&name("other:one"), &fleet));
        assert!(!open.admits(&name("other:two"), &any));
        assert!(!open.admits(&name("acme-evil:pump"), &any));
        let bound = scope(&["acme:*"], &[], &["x2", "x3"]);
        assert!(bound.admits(&name("acme:pump"), &fleet));
        assert!(!bound.admits(&name("acme:pump"), &any));
        assert!(!bound.admits(
            &name("acme:pump"),
            &Audience {
                devices: vec!["x2".to_owned()],
                types: Vec::new()
            }
        ));

        assert!(open.contains(&bound));
        assert!(open.contains(&open));
        assert!(!bound.contains(&open));
        assert!(!bound.contains(&scope(&["acme:*"], &[], &[])));
        assert!(bound.contains(&scope(&["acme:pump"], &["SN-1"], &["x2"])));
        assert!(!scope(&["acme:pump"], &[], &[]).contains(&scope(&["acme:*"], &[], &[])));
    }

    #[test]
    fn metadata_round_trips_and_is_strict() {
        assert_eq!(
            text_to_der("gateway-x2").unwrap(),
            [&[0x0c, 10][..], b"gateway-x2"].concat()
        );
        assert_eq!(
            text_from_der(&text_to_der("1.2.3+b").unwrap()).unwrap(),
            "1.2.3+b"
        );
        for der in [
            &[][..],
            &[0x0c, 0],
            &[0x0c, 1, b' '],
            &[0x0c, 1, b'a', 0],
            &[0x0c, 0x81, 1, b'a'],
            &[0x13, 1, b'a'],
            &[0x0c, 1, 0xff],
        ] {
            assert!(text_from_der(der).is_err(), "{der:?}");
        }
        let capabilities = vec!["modbus".to_owned(), "relay".to_owned()];
        let der = capabilities_to_der(&capabilities).unwrap();
        assert_eq!(capabilities_from_der(&der).unwrap(), capabilities);
        assert!(capabilities_from_der(&[0x30, 0]).is_err());
        assert!(capabilities_from_der(&[0x30, 6, 0x0c, 1, b'b', 0x0c, 1, b'a']).is_err());
        assert!(capabilities_from_der(&[0x30, 6, 0x0c, 1, b'a', 0x0c, 1, b'a']).is_err());
        assert!(development_root_from_der(&development_root_to_der()).is_ok());
        for der in [
            &[][..],
            &[5],
            &[5, 1, 0],
            &[5, 0, 0],
            &[5, 0x81, 0],
            &[1, 1, 0xff],
        ] {
            assert!(development_root_from_der(der).is_err(), "{der:?}");
        }
    }

    #[test]
    fn tf25_the_kind_of_hardware_has_one_spelling() {
        for kind in AttestationHardware::ALL {
            let der = kind.to_der().unwrap();
            assert_eq!(AttestationHardware::from_der(&der).unwrap(), kind);
            assert!(AttestationHardware::from_der(&der[..der.len() - 1]).is_err());
        }
        assert_eq!(AttestationHardware::Tpm.to_der().unwrap(), b"\x0c\x03tpm");
        for der in [
            &b"\x0c\x03TPM"[..],
            b"\x0c\x08software",
            b"\x13\x03tpm",
            b"\x0c\x03tpm\0",
        ] {
            assert!(AttestationHardware::from_der(der).is_err(), "{der:?}");
        }
    }

    #[test]
    fn object_identifiers_are_distinct_and_under_one_arc() {
        let all = [
            oid::COMPONENT_SCOPE,
            oid::DEVICE_TYPE,
            oid::HARDWARE_REVISION,
            oid::FIRMWARE_VERSION,
            oid::CAPABILITIES,
            oid::DEVELOPMENT_ROOT,
            oid::ATTESTED_BY,
            oid::HARDWARE_TYPE,
        ];
        for (index, oid) in all.iter().enumerate() {
            assert!(oid.to_string().starts_with("1.3.6.1.4.1.32473."));
            assert!(!all[..index].contains(oid), "{oid} twice");
        }
    }
}

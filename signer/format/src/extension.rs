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
//! ```
//!
//! Lists are sorted and hold no entry twice. A value is accepted only if encoding what was read gives the same
//! bytes. Which certificates need or may carry which extension is left to the profiles of the trust store.

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
    pub const COMPONENT_SCOPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.1");
    /// The type of a device.
    pub const DEVICE_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.2");
    /// The revision of a device's hardware.
    pub const HARDWARE_REVISION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.3");
    /// The version of a device's firmware when the certificate was issued.
    pub const FIRMWARE_VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.4");
    /// What a device can do.
    pub const CAPABILITIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.5");
    /// Marks the root of a development PKI, which is loud and short-lived.
    pub const DEVELOPMENT_ROOT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.6");
    /// Not an extension: the `hwType` of the hardwareModuleName (RFC 4108 §5) that carries a device identity as its
    /// `hwSerialNum`.
    pub const HARDWARE_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.2.1");
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
    pub fn new(mut components: Vec<NamePattern>, mut audience: Audience) -> Result<Self, FormatError> {
        if components.is_empty() {
            return Err(FormatError::Malformed { what: "a component scope names no component", offset: 0 });
        }
        // By text, so that the order in the encoding can be told without our types.
        components.sort_by_cached_key(ToString::to_string);
        let mut sorted: Vec<String> = components.iter().map(ToString::to_string).collect();
        sort_unique("component scope", &mut sorted)?;
        audience.normalise()?;
        let scope = Self { components, audience };
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
        self.components.iter().any(|pattern| pattern.matches(name)) && audience.is_within(&self.audience)
    }

    /// Whether everything that `inner` admits is admitted by this scope too: `inner` may stand below it.
    #[must_use]
    pub fn contains(&self, inner: &Self) -> bool {
        inner.components.iter().all(|inner| self.components.iter().any(|outer| outer.contains(inner)))
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
        let components = read.components.iter().map(|text| NamePattern::parse(text)).collect::<Result<_, _>>()?;
        let audience = read.audience.map_or_else(Audience::default, |audience| Audience {
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
        return Err(FormatError::Malformed { what: "an empty list of capabilities, which must be left out", offset: 0 });
    }
    let mut capabilities = capabilities.to_vec();
    capabilities.iter().try_for_each(|capability| check_label("capability", capability))?;
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
    let der = value
        .to_der()
        .map_err(|_| FormatError::Malformed { what: "an extension that DER cannot express", offset: 0 })?;
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
        Err(FormatError::Noncanonical { what: "an extension that is not in its one DER form", offset: 0 })
    }
}

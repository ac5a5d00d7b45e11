//! Distinguished names: which parts a CA and a device have, and which characters may stand in them.

use countersign_format::DeviceIdentity;
use der::asn1::{Any, ObjectIdentifier, PrintableString, SetOfVec, Utf8StringRef};
use der::{Decode, Encode};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use crate::Error;

pub(crate) const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
pub(crate) const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
pub(crate) const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
pub(crate) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
pub(crate) const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");

/// Upper bound of a name's part in characters (RFC 5280 appendix A, ub-organization-name and its like).
const MAX_CHARACTERS: usize = 64;

/// The name of a certification authority: country, organisation, common name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaName {
    country: Option<String>,
    organization: String,
    common_name: String,
}

impl CaName {
    /// A name with an organisation and a common name, and a country of two letters if given.
    ///
    /// # Errors
    ///
    /// [`Error::NameInvalid`] for an empty part, more than 64 characters, a control or invisible character, or a
    /// country that is not two capital letters (ISO 3166-1).
    pub fn new(
        organization: &str,
        common_name: &str,
        country: Option<&str>,
    ) -> Result<Self, Error> {
        Ok(Self {
            country: country.map(checked_country).transpose()?,
            organization: checked("organization", organization)?,
            common_name: checked("common name", common_name)?,
        })
    }

    /// The organisation, which device names take over.
    #[must_use]
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// The common name.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The country, if there is one.
    #[must_use]
    pub fn country(&self) -> Option<&str> {
        self.country.as_deref()
    }

    pub(crate) fn to_x509(&self) -> Result<Name, Error> {
        let mut parts = Vec::new();
        if let Some(country) = &self.country {
            parts.push((COUNTRY, printable(country)?));
        }
        parts.push((ORGANIZATION, utf8(&self.organization)?));
        parts.push((COMMON_NAME, utf8(&self.common_name)?));
        assemble(parts)
    }
}

/// The name of a device: organisation, organisational unit, common name and, always, its identity as serialNumber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceName {
    organization: Option<String>,
    organizational_unit: Option<String>,
    common_name: String,
    identity: DeviceIdentity,
}

impl DeviceName {
    /// The name of `identity`, which is its common name too until [`DeviceName::with_common_name`] says otherwise.
    #[must_use]
    pub fn new(identity: DeviceIdentity) -> Self {
        Self {
            organization: None,
            organizational_unit: None,
            common_name: identity.as_str().to_owned(),
            identity,
        }
    }

    /// Adds the organisation (O).
    ///
    /// # Errors
    ///
    /// [`Error::NameInvalid`] as in [`CaName::new`].
    pub fn with_organization(mut self, organization: &str) -> Result<Self, Error> {
        self.organization = Some(checked("organization", organization)?);
        Ok(self)
    }

    /// Adds the organisational unit (OU).
    ///
    /// # Errors
    ///
    /// [`Error::NameInvalid`] as in [`CaName::new`].
    pub fn with_organizational_unit(mut self, unit: &str) -> Result<Self, Error> {
        self.organizational_unit = Some(checked("organizational unit", unit)?);
        Ok(self)
    }

    /// Replaces the common name (CN).
    ///
    /// # Errors
    ///
    /// [`Error::NameInvalid`] as in [`CaName::new`].
    pub fn with_common_name(mut self, common_name: &str) -> Result<Self, Error> {
        self.common_name = checked("common name", common_name)?;
        Ok(self)
    }

    /// Who the device is.
    #[must_use]
    pub fn identity(&self) -> &DeviceIdentity {
        &self.identity
    }

    pub(crate) fn to_x509(&self) -> Result<Name, Error> {
        let mut parts = Vec::new();
        if let Some(organization) = &self.organization {
            parts.push((ORGANIZATION, utf8(organization)?));
        }
        if let Some(unit) = &self.organizational_unit {
            parts.push((ORGANIZATIONAL_UNIT, utf8(unit)?));
        }
        parts.push((COMMON_NAME, utf8(&self.common_name)?));
        // RFC 5280 appendix A: serialNumber is a PrintableString. An identity may have `_`, which that type lacks; it is
        // then written as UTF8String, which every reader we know takes.
        let identity = self.identity.as_str();
        parts.push((
            SERIAL_NUMBER,
            printable(identity).or_else(|_| utf8(identity))?,
        ));
        assemble(parts)
    }
}

fn assemble(parts: Vec<(ObjectIdentifier, Any)>) -> Result<Name, Error> {
    let encoding = || Error::encoding("a name");
    let mut rdns = RdnSequence::default();
    for (oid, value) in parts {
        let attribute = AttributeTypeAndValue { oid, value };
        let set = SetOfVec::try_from(vec![attribute]).map_err(encoding())?;
        rdns.push(RelativeDistinguishedName::from(set));
    }
    let der = rdns.to_der().map_err(encoding())?;
    Name::from_der(&der).map_err(encoding())
}

fn utf8(text: &str) -> Result<Any, Error> {
    Utf8StringRef::new(text)
        .and_then(|text| Any::encode_from(&text))
        .map_err(Error::encoding("a name"))
}

fn printable(text: &str) -> Result<Any, Error> {
    PrintableString::new(text)
        .and_then(|text| Any::encode_from(&text))
        .map_err(Error::encoding("a name"))
}

fn checked_country(text: &str) -> Result<String, Error> {
    if text.len() == 2 && text.bytes().all(|letter| letter.is_ascii_uppercase()) {
        return Ok(text.to_owned());
    }
    Err(Error::NameInvalid {
        field: "country",
        value: text.to_owned(),
        reason: "a country is two capital letters, such as DE or CH (ISO 3166-1)",
    })
}

fn checked(field: &'static str, text: &str) -> Result<String, Error> {
    let reason = if text.trim().is_empty() {
        Some("it is empty")
    } else if text.trim() != text {
        Some("it begins or ends with a space")
    } else if text.chars().count() > MAX_CHARACTERS {
        Some("it has more than 64 characters")
    } else if text.chars().any(deceptive) {
        Some(
            "it holds control characters, or ones that are invisible or change the direction of writing",
        )
    } else {
        None
    };
    match reason {
        None => Ok(text.to_owned()),
        Some(reason) => Err(Error::NameInvalid {
            field,
            value: text
                .chars()
                .filter(|character| !deceptive(*character))
                .take(MAX_CHARACTERS)
                .collect(),
            reason,
        }),
    }
}

/// Characters that make two different names look alike on a screen, or that end a line in a log.
fn deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_name_reads_back_in_order() {
        let name = CaName::new("Müller GmbH", "Root 1", Some("DE"))
            .expect("valid")
            .to_x509()
            .expect("encodes");
        assert_eq!(name.to_string(), "CN=Root 1,O=Müller GmbH,C=DE");
    }

    #[test]
    fn tc19_deceptive_empty_and_long_parts_are_refused() {
        for bad in [
            "",
            " ",
            "a\n",
            "a\u{202e}b",
            "a\0b",
            "zero\u{200b}width",
            " lead",
            &"x".repeat(65),
        ] {
            assert!(CaName::new(bad, "Root", None).is_err(), "{bad:?}");
            assert!(CaName::new("Org", bad, None).is_err(), "{bad:?}");
        }
        assert!(CaName::new("Org", &"x".repeat(64), None).is_ok());
    }

    #[test]
    fn a_country_is_two_capitals() {
        for bad in ["de", "DEU", "D", "D1", ""] {
            assert!(CaName::new("Org", "Root", Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_device_name_ends_with_its_identity() {
        let identity: DeviceIdentity = "gw-0042".parse().expect("valid");
        let name = DeviceName::new(identity)
            .with_organization("Acme")
            .and_then(|name| name.with_organizational_unit("Plant 7"))
            .expect("valid");
        let text = name.to_x509().expect("encodes").to_string();
        assert!(
            text.contains("gw-0042") && text.ends_with("CN=gw-0042,OU=Plant 7,O=Acme"),
            "{text}"
        );
    }
}

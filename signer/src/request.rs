//! PKCS#10 certification requests (RFC 2986): what a device or a build host sends to a CA.
//!
//! The request is signed with the key it asks a certificate for, which proves possession. What of it a CA grants is
//! the CA's decision.

use countersign_format::{
    DeviceIdentity, DeviceMetadata, FormatError, Scope, capabilities_to_der, oid, text_to_der,
};
use countersign_keys::{Algorithm, SigningKey};
use x509_cert::attr::{Attribute, AttributeTypeAndValue, Attributes};
use x509_cert::der::asn1::{
    Any, BitString, Ia5String, ObjectIdentifier, OctetString, PrintableString, SetOfVec,
};
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Decode, Encode, EncodePem};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName, OtherName};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// RFC 5280 Appendix A.1: upper bounds of the attributes, in characters.
const MAX_NAME: usize = 64;

/// Who asks: the parts of a distinguished name. `Default` is empty; a request needs a common name or a serial
/// number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// CN, 1 to 64 characters.
    pub common_name: Option<String>,
    /// O, 1 to 64 characters.
    pub organization: Option<String>,
    /// OU, 1 to 64 characters.
    pub organizational_unit: Option<String>,
    /// C, two letters of ISO 3166.
    pub country: Option<String>,
    /// serialNumber, 1 to 64 printable characters. Taken from the device identity if there is one and this is
    /// `None` (IEEE 802.1AR §8.6).
    pub serial_number: Option<String>,
}

/// What a request asks for besides the subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFields {
    /// Who asks.
    pub subject: Subject,
    /// The device's identity: goes into the subject's serialNumber and the SAN's hardwareModuleName (RFC 4108 §5).
    pub identity: Option<DeviceIdentity>,
    /// What else is said about the device.
    pub metadata: DeviceMetadata,
    /// DNS names for a TLS certificate.
    pub dns_names: Vec<String>,
    /// What the key wants to sign.
    pub scope: Option<Scope>,
}

/// Why a request could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request could not be encoded.
    #[error("the request could not be encoded: {0}")]
    Encoding(#[from] x509_cert::der::Error),
    /// The key could not sign.
    #[error(transparent)]
    Key(#[from] countersign_keys::Error),
    /// A part of the device's description is not allowed.
    #[error(transparent)]
    Metadata(#[from] FormatError),
    /// A part of the subject is not allowed.
    #[error("the subject's {what} {why}")]
    Subject {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// Makes a request, signed with `key`: the DER bytes.
///
/// # Errors
/// [`RequestError`]; see its variants.
pub fn certification_request(
    key: &SigningKey,
    fields: &RequestFields,
) -> Result<Vec<u8>, RequestError> {
    let mut attributes = Attributes::new();
    let extensions = extensions(fields)?;
    if !extensions.is_empty() {
        attributes.insert(Attribute::try_from(ExtensionReq(extensions))?)?;
    }
    let info = CertReqInfo {
        version: Version::V1,
        subject: name(&fields.subject, fields.identity.as_ref())?,
        public_key: SubjectPublicKeyInfoOwned::from_der(&key.public_key().to_spki_der())?,
        attributes,
    };
    let signature = key.sign(&info.to_der()?)?;
    let request = CertReq {
        info,
        algorithm: signature_algorithm(key.algorithm()),
        signature: BitString::from_bytes(&signature.to_x509())?,
    };
    Ok(request.to_der()?)
}

/// The PEM form of a request, `CERTIFICATE REQUEST`.
///
/// # Errors
/// [`RequestError::Encoding`] if the bytes are no request.
pub fn to_pem(request: &[u8]) -> Result<String, RequestError> {
    Ok(CertReq::from_der(request)?.to_pem(LineEnding::LF)?)
}

/// RFC 5758 §3.2 ecdsa-with-SHA256, RFC 8410 §3 id-Ed25519; both without parameters.
fn signature_algorithm(algorithm: Algorithm) -> AlgorithmIdentifierOwned {
    const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
    const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
    let oid = if algorithm == Algorithm::Ed25519 {
        ED25519
    } else {
        ECDSA_WITH_SHA256
    };
    AlgorithmIdentifierOwned {
        oid,
        parameters: None,
    }
}

/// C, O, OU, CN, serialNumber, each in a set of its own, from the general to the particular.
fn name(subject: &Subject, identity: Option<&DeviceIdentity>) -> Result<Name, RequestError> {
    const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
    const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
    const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
    const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");

    let mut sets = Vec::new();
    let mut add = |oid, value: Any| -> Result<(), RequestError> {
        sets.push(SetOfVec::try_from(vec![AttributeTypeAndValue {
            oid,
            value,
        }])?);
        Ok(())
    };
    if let Some(country) = &subject.country {
        // X.520 §6.3.1: two letters of ISO 3166, as PrintableString.
        if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return refuse("country", "must be two capital letters, as in DE".into());
        }
        add(COUNTRY, Any::encode_from(&PrintableString::new(country)?)?)?;
    }
    for (what, oid, text) in [
        ("organization", ORGANIZATION, &subject.organization),
        (
            "organizational unit",
            ORGANIZATIONAL_UNIT,
            &subject.organizational_unit,
        ),
        ("common name", COMMON_NAME, &subject.common_name),
    ] {
        if let Some(text) = text {
            add(oid, Any::encode_from(bounded(what, text)?)?)?;
        }
    }
    let serial = subject.serial_number.as_deref();
    if let (Some(serial), Some(identity)) = (serial, identity)
        && serial != identity.as_str()
    {
        return refuse(
            "serial number",
            format!("{serial} is not the device identity {identity}; give one of them"),
        );
    }
    if let Some(serial) = serial.or(identity.map(DeviceIdentity::as_str)) {
        add(
            SERIAL_NUMBER,
            serial_number(bounded("serial number", &serial.to_owned())?)?,
        )?;
    } else if subject.common_name.is_none() {
        return refuse(
            "common name",
            "is missing; a request needs one, or a serial number".into(),
        );
    }
    // `Name` is a sequence of such sets, and reads as one.
    Ok(Name::from_der(&sets.to_der()?)?)
}

/// X.520 §6.2.9: a PrintableString. An identity may hold `_`, which that type lacks; then UTF-8 carries it.
fn serial_number(text: &String) -> Result<Any, RequestError> {
    Ok(match PrintableString::new(text) {
        Ok(printable) => Any::encode_from(&printable)?,
        Err(_) => Any::encode_from(text)?,
    })
}

fn bounded<'a>(what: &'static str, text: &'a String) -> Result<&'a String, RequestError> {
    let length = text.chars().count();
    if length == 0 || length > MAX_NAME {
        return refuse(
            what,
            format!("has {length} characters; 1 to {MAX_NAME} are allowed"),
        );
    }
    if text.chars().any(char::is_control) {
        return refuse(what, "holds a control character".into());
    }
    Ok(text)
}

fn refuse<T>(what: &'static str, why: String) -> Result<T, RequestError> {
    Err(RequestError::Subject { what, why })
}

fn extensions(fields: &RequestFields) -> Result<Vec<Extension>, RequestError> {
    const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

    let mut extensions = Vec::new();
    let mut add = |extn_id, der: Vec<u8>| -> Result<(), RequestError> {
        extensions.push(Extension {
            extn_id,
            critical: false,
            extn_value: OctetString::new(der)?,
        });
        Ok(())
    };
    let mut names = Vec::new();
    if let Some(identity) = &fields.identity {
        names.push(GeneralName::OtherName(OtherName::try_from(
            &HardwareModuleName {
                hw_type: oid::HARDWARE_TYPE,
                hw_serial_num: OctetString::new(identity.as_str().as_bytes())?,
            },
        )?));
    }
    for name in &fields.dns_names {
        names.push(GeneralName::DnsName(dns_name(name)?));
    }
    if !names.is_empty() {
        add(SUBJECT_ALT_NAME, SubjectAltName(names).to_der()?)?;
    }
    let metadata = &fields.metadata;
    for (oid, text) in [
        (oid::DEVICE_TYPE, metadata.device_type()),
        (oid::HARDWARE_REVISION, metadata.hardware_revision()),
        (oid::FIRMWARE_VERSION, metadata.firmware_version()),
    ] {
        if let Some(text) = text {
            add(oid, text_to_der(text)?)?;
        }
    }
    if !metadata.capabilities().is_empty() {
        add(
            oid::CAPABILITIES,
            capabilities_to_der(metadata.capabilities())?,
        )?;
    }
    if let Some(scope) = &fields.scope {
        add(oid::COMPONENT_SCOPE, scope.to_der()?)?;
    }
    Ok(extensions)
}

/// RFC 1034 §3.5 with a wildcard label in front allowed (RFC 6125 §6.4.3).
fn dns_name(name: &str) -> Result<Ia5String, RequestError> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !host.split('.').all(label) {
        return refuse("DNS name", format!("{name:?} is not a host name"));
    }
    Ok(Ia5String::new(name)?)
}

//! PKCS#10 certification requests (RFC 2986): who asks, for which key, and the proof that he holds it.
//!
//! A request is read for its key and its identity. Whatever else it asks for (to be a CA, other key usages, names,
//! a hundred years) has no way into a certificate: the profile decides. It is listed, so that an operator sees it.

use const_oid::AssociatedOid;
use countersign_format::{DeviceIdentity, oid};
use countersign_keys::PublicKey;
use der::asn1::{AnyRef, BitStringRef, PrintableStringRef, Utf8StringRef};
use der::{Decode, Encode, Sequence};
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName};
use x509_cert::name::Name;
use x509_cert::request::{CertReqInfo, ExtensionReq};

use crate::Error;
use crate::extensions::{BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME};
use crate::name::SERIAL_NUMBER;
use crate::sign::algorithm_identifier;

/// The largest request that is read, in bytes. One with a P-256 key, every name and extension is about 1,000.
const MAX_BYTES: usize = 16 * 1024;

/// A request whose signature was verified under the key it carries.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    public_key: PublicKey,
    subject: String,
    identity: Option<String>,
    ignored: Vec<String>,
}

/// RFC 2986 §4 with the signed part left as it is, because the signature is over those bytes.
#[derive(Sequence)]
struct Outer<'a> {
    info: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

impl CertificateRequest {
    /// Reads a request and verifies proof of possession: its signature under its own key.
    ///
    /// # Errors
    ///
    /// - [`Error::RequestInvalid`]: larger than 16 KiB, not DER, or signed with an algorithm that does not fit its key;
    /// - [`Error::KeyUnsupported`]: a key that is neither P-256 nor Ed25519;
    /// - [`Error::ProofOfPossession`]: the signature does not verify.
    pub fn verify(request: &[u8]) -> Result<Self, Error> {
        if request.len() > MAX_BYTES {
            return Err(invalid(format!(
                "it is {} bytes, and at most {MAX_BYTES} are read",
                request.len()
            )));
        }
        let not_der =
            |error: der::Error| invalid(format!("it is not a DER PKCS#10 request ({error})"));
        let outer = Outer::from_der(request).map_err(not_der)?;
        let signed = outer.info.to_der().map_err(not_der)?;
        let info = CertReqInfo::from_der(&signed).map_err(not_der)?;

        let spki = info.public_key.to_der().map_err(not_der)?;
        let public_key =
            PublicKey::from_spki_der(&spki).map_err(|error| Error::KeyUnsupported {
                reason: error.to_string(),
            })?;
        let wanted = algorithm_identifier(public_key.algorithm())?;
        if outer.algorithm != wanted {
            return Err(invalid(format!(
                "it is signed with algorithm {}, and a {} key signs requests with {}",
                outer.algorithm.oid,
                public_key.algorithm().name(),
                wanted.oid,
            )));
        }
        let signature = outer.signature.as_bytes().ok_or(Error::ProofOfPossession)?;
        public_key
            .verify_x509(&signed, signature)
            .map_err(|_| Error::ProofOfPossession)?;

        Ok(Self {
            public_key,
            subject: info.subject.to_string(),
            identity: identity(&info)?,
            ignored: ignored(&info)?,
        })
    }

    /// The key whose possession was proven.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The name it asks for, for people; it is not taken over.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What it asks for that has no effect, one line each.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The device this request is for: what the operator says, what the request says in its serialNumber, and an error
    /// when both speak and differ, or neither does.
    ///
    /// # Errors
    ///
    /// [`Error::IdentityMismatch`], or [`Error::RequestInvalid`] when there is no acceptable identity.
    pub fn identity(&self, given: Option<&DeviceIdentity>) -> Result<DeviceIdentity, Error> {
        match (given, &self.identity) {
            (Some(given), Some(requested)) if given.as_str() != requested => {
                Err(Error::IdentityMismatch {
                    requested: requested.clone(),
                    given: given.clone(),
                })
            }
            (Some(given), _) => Ok(given.clone()),
            (None, Some(requested)) => requested.parse().map_err(|error| {
                invalid(format!(
                    "its serialNumber is not a device identity: {error}"
                ))
            }),
            (None, None) => Err(invalid(
                "its subject has no serialNumber to name the device: give the device id yourself"
                    .to_owned(),
            )),
        }
    }
}

fn serial_number(subject: &Name) -> Result<Option<String>, Error> {
    let mut values = subject
        .iter()
        .filter(|attribute| attribute.oid == SERIAL_NUMBER);
    let Some(attribute) = values.next() else {
        return Ok(None);
    };
    // Two identities would let two readers see two devices.
    if values.next().is_some() {
        return Err(invalid(
            "its subject has more than one serialNumber".to_owned(),
        ));
    }
    let printable =
        PrintableStringRef::try_from(&attribute.value).map(|text| text.as_str().to_owned());
    printable
        .or_else(|_| Utf8StringRef::try_from(&attribute.value).map(|text| text.as_str().to_owned()))
        .map(Some)
        .map_err(|_| invalid("the serialNumber of its subject is not text".to_owned()))
}

/// Who the request says it is for: in the subject's serialNumber, in the hardwareModuleName (RFC 4108 §5) of a
/// subjectAltName it asks for, or in both with the same words.
fn identity(info: &CertReqInfo) -> Result<Option<String>, Error> {
    let mut identity = serial_number(&info.subject)?;
    for extension in requested_extensions(info)? {
        if extension.extn_id != SUBJECT_ALT_NAME {
            continue;
        }
        let unreadable = |_| invalid("the subjectAltName it asks for cannot be read".to_owned());
        let names =
            SubjectAltName::from_der(extension.extn_value.as_bytes()).map_err(unreadable)?;
        for name in names.0 {
            let GeneralName::OtherName(other) = name else {
                continue;
            };
            let Some(module) = HardwareModuleName::from_other_name(&other).map_err(unreadable)?
            else {
                continue;
            };
            let serial = String::from_utf8(module.hw_serial_num.as_bytes().to_vec())
                .map_err(|_| invalid("its hardwareModuleName is not text".to_owned()))?;
            match &identity {
                Some(other) if *other != serial => {
                    return Err(invalid(
                        "it names two devices, in serialNumber and hardwareModuleName or twice in one"
                            .to_owned(),
                    ));
                }
                _ => identity = Some(serial),
            }
        }
    }
    Ok(identity)
}

/// The extensions a request asks for (RFC 2985 §5.4.2).
fn requested_extensions(info: &CertReqInfo) -> Result<Vec<Extension>, Error> {
    let mut extensions = Vec::new();
    for attribute in info.attributes.iter() {
        if attribute.oid != ExtensionReq::OID {
            continue;
        }
        for value in attribute.values.iter() {
            let requested: ExtensionReq = value
                .decode_as()
                .map_err(|_| invalid("the extensions it asks for cannot be read".to_owned()))?;
            extensions.extend(requested.0);
        }
    }
    Ok(extensions)
}

/// What has no effect, in words that say where the operator decides it instead.
fn ignored(info: &CertReqInfo) -> Result<Vec<String>, Error> {
    let mut lines: Vec<String> = requested_extensions(info)?
        .iter()
        .filter_map(|extension| {
            let name = match extension.extn_id {
                SUBJECT_ALT_NAME => return other_names(extension),
                oid::COMPONENT_SCOPE => "component scope",
                oid::DEVICE_TYPE => "device type",
                oid::HARDWARE_REVISION => "hardware revision",
                oid::FIRMWARE_VERSION => "firmware version",
                oid::CAPABILITIES => "capabilities",
                oid::ATTESTED_BY => "hardware of the key",
                BASIC_CONSTRAINTS => "basicConstraints",
                KEY_USAGE => "keyUsage",
                EXTENDED_KEY_USAGE => "extKeyUsage",
                other => return Some(format!("extension {other}")),
            };
            Some(name.to_owned())
        })
        .collect();
    for attribute in info.attributes.iter() {
        if attribute.oid != ExtensionReq::OID {
            lines.push(format!("attribute {}", attribute.oid));
        }
    }
    Ok(lines)
}

/// A subjectAltName says something beyond the identity when it has another kind of name.
fn other_names(extension: &Extension) -> Option<String> {
    let names = SubjectAltName::from_der(extension.extn_value.as_bytes()).ok()?;
    let beyond = names.0.iter().any(|name| {
        !matches!(name, GeneralName::OtherName(other)
            if matches!(HardwareModuleName::from_other_name(other), Ok(Some(_))))
    });
    beyond.then(|| "other names in subjectAltName".to_owned())
}

fn invalid(reason: String) -> Error {
    Error::RequestInvalid { reason }
}

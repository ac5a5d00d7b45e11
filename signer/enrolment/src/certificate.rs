//! A device's own certificate: the little of it that enrolling needs.

use countersign_format::DeviceIdentity;
use countersign_signer::request::Subject;
use der::asn1::{Any, Ia5StringRef, PrintableStringRef, Utf8StringRef};
use der::{Decode as _, Encode as _};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName};
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

/// Why a certificate cannot be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateUnreadable {
    /// It is no certificate.
    #[error("the certificate cannot be read ({what}); give an X.509 certificate in DER or PEM")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// Its names are more than a request of ours can repeat.
    #[error(
        "the certificate's subject has a part ({what}) that a request cannot repeat, and RFC 7030 wants the same names in a renewal; enrol the device anew"
    )]
    Names {
        /// Which part.
        what: String,
    },
}

/// What a certificate says of its holder and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    spki: Vec<u8>,
    device: Option<String>,
    serial: Option<String>,
    dns_names: Vec<String>,
    subject: Result<Subject, CertificateUnreadable>,
    purposes: Vec<ObjectIdentifier>,
    not_before: u64,
    not_after: u64,
}

impl Own {
    /// Reads a certificate, DER.
    ///
    /// # Errors
    /// [`CertificateUnreadable::Malformed`].
    pub fn parse(certificate: &[u8]) -> Result<Self, CertificateUnreadable> {
        let malformed = |what| move |_| CertificateUnreadable::Malformed { what };
        let parsed = Certificate::from_der(certificate).map_err(malformed("form"))?;
        let tbs = parsed.tbs_certificate();
        let spki = tbs.subject_public_key_info().to_der();
        let (mut device, mut dns_names) = (None, Vec::new());
        let names = tbs.get_extension::<SubjectAltName>();
        if let Some((_, SubjectAltName(names))) = names.map_err(malformed("subjectAltName"))? {
            for name in names {
                match name {
                    GeneralName::DnsName(name) => dns_names.push(name.to_string()),
                    GeneralName::OtherName(name) => {
                        let module = HardwareModuleName::from_other_name(&name)
                            .map_err(malformed("hardwareModuleName"))?;
                        // RFC 4108 §5; one device, one name.
                        if let Some(module) = module {
                            let id = String::from_utf8(module.hw_serial_num.into_bytes().into())
                                .ok()
                                .filter(|_| device.is_none());
                            device = Some(id.ok_or(CertificateUnreadable::Malformed {
                                what: "hardwareModuleName",
                            })?);
                        }
                    }
                    _ => (),
                }
            }
        }
        let usage = tbs.get_extension::<ExtendedKeyUsage>();
        let purposes = match usage.map_err(malformed("extendedKeyUsage"))? {
            Some((_, ExtendedKeyUsage(purposes))) => purposes,
            None => Vec::new(),
        };
        let subject = subject(&parsed);
        let serial = match &subject {
            Ok(subject) => subject.serial_number.clone(),
            Err(_) => None,
        };
        let validity = tbs.validity();
        Ok(Self {
            spki: spki.map_err(malformed("public key"))?,
            device,
            serial,
            dns_names,
            subject,
            purposes,
            not_before: validity.not_before.to_unix_duration().as_secs(),
            not_after: validity.not_after.to_unix_duration().as_secs(),
        })
    }

    /// SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The device that it names: in hardwareModuleName (RFC 4108), else in the subject's serialNumber (IEEE 802.1AR §8.6);
    /// `None` if it names none, or two.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match (&self.device, &self.serial) {
            (Some(device), Some(serial)) if device != serial => None,
            (device, serial) => device.as_deref().or(serial.as_deref()),
        }
    }

    /// The same device, if its name is one of ours.
    #[must_use]
    pub fn identity(&self) -> Option<DeviceIdentity> {
        DeviceIdentity::parse(self.device()?).ok()
    }

    /// Its host names.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The subject as a request repeats it, which RFC 7030 §4.2.2 asks for.
    ///
    /// # Errors
    /// [`CertificateUnreadable::Names`] if it has parts that requests of ours have not.
    pub fn subject(&self) -> Result<Subject, CertificateUnreadable> {
        self.subject.clone()
    }

    /// Its extended key usages.
    pub(crate) fn purposes(&self) -> &[ObjectIdentifier] {
        &self.purposes
    }

    /// From when it is valid, in seconds since 1970.
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// Until when it is valid, in seconds since 1970, this second included.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after
    }
}

/// The parts of the subject's name.
fn subject(certificate: &Certificate) -> Result<Subject, CertificateUnreadable> {
    let mut subject = Subject::default();
    for part in certificate.tbs_certificate().subject().iter() {
        let names = |what: String| CertificateUnreadable::Names { what };
        let place = match part.oid.to_string().as_str() {
            "2.5.4.3" => &mut subject.common_name,
            "2.5.4.5" => &mut subject.serial_number,
            "2.5.4.6" => &mut subject.country,
            "2.5.4.10" => &mut subject.organization,
            "2.5.4.11" => &mut subject.organizational_unit,
            other => return Err(names(other.to_owned())),
        };
        let value = text(&part.value).filter(|_| place.is_none());
        *place = Some(value.ok_or_else(|| names(part.oid.to_string()))?);
    }
    Ok(subject)
}

/// The text of a name's part, in the types that RFC 5280 §4.1.2.4 lets authorities use today.
fn text(value: &Any) -> Option<String> {
    let utf8 = value
        .decode_as::<Utf8StringRef<'_>>()
        .map(|text| text.as_str().to_owned());
    let printable = || {
        value
            .decode_as::<PrintableStringRef<'_>>()
            .map(|text| text.as_str().to_owned())
    };
    let ia5 = || {
        value
            .decode_as::<Ia5StringRef<'_>>()
            .map(|text| text.as_str().to_owned())
    };
    utf8.or_else(|_| printable()).or_else(|_| ia5()).ok()
}

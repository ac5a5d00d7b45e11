//! One certificate, parsed strictly. Decides whether the bytes are a well-formed X.509 version 3 certificate in DER;
//! leaves what its kind may contain to [`crate::profile`], and who issued it to [`crate::chain`].

use std::collections::BTreeSet;

use const_oid::ObjectIdentifier;
use countersign_format::{
    AttestationHardware, DeviceIdentity, Digest, FormatError, Scope, capabilities_from_der, limits,
    text_from_der,
};
use countersign_keys::PublicKey;
use der::{Decode, Encode, Tag, Tagged};
use x509_cert::{
    Version,
    ext::pkix::{
        AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, CrlDistributionPoints,
        ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
        crl::dp::DistributionPoint,
        name::{GeneralName, HardwareModuleName},
    },
    name::Name,
    time::Time,
};

use crate::{
    UnixTime, algorithm, algorithm::KeyKind, fault::Fault, oid, strict_der::decode_canonical,
};

/// A certificate whose encoding, version, serial number, algorithms and extensions are sound by themselves.
///
/// Nothing is said yet of its issuer, its purpose or its time.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    inner: x509_cert::Certificate,
    key: KeyKind,
    spki: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl Certificate {
    /// Parses one DER certificate.
    ///
    /// # Errors
    /// A [`Fault`]: larger than [`limits::MAX_CERTIFICATE_BYTES`], not strict DER, not version 3, a bad serial number,
    /// an algorithm or key that is not allowed, an empty name, or an extension that occurs twice.
    pub fn parse(der: &[u8]) -> Result<Self, Fault> {
        let actual = u64::try_from(der.len()).unwrap_or(u64::MAX);
        if actual > limits::MAX_CERTIFICATE_BYTES {
            return Err(Fault::TooLarge {
                limit: limits::MAX_CERTIFICATE_BYTES,
                actual,
            });
        }
        let inner: x509_cert::Certificate = decode_canonical(der).ok_or(Fault::NotDer)?;
        let tbs = inner.tbs_certificate();

        // RFC 5280 §4.1.2.1: extensions need version 3; §4.1.2.8: unique identifiers must not be used.
        if tbs.version() != Version::V3 {
            return Err(Fault::Version);
        }
        if tbs.issuer_unique_id().is_some() || tbs.subject_unique_id().is_some() {
            return Err(Fault::UniqueIdentifier);
        }
        check_serial(tbs.serial_number().as_bytes())?;

        // RFC 5280 §4.1.1.2: the two algorithm fields must be the same.
        if tbs.signature() != inner.signature_algorithm() {
            return Err(Fault::AlgorithmMismatch);
        }
        algorithm::check_signature_algorithm(inner.signature_algorithm())?;
        if inner.signature().unused_bits() != 0 {
            return Err(Fault::NotDer);
        }

        // RFC 5280 §4.1.2.4 and §4.1.2.6; stricter than the latter: an end entity needs a subject too.
        if tbs.issuer().is_empty() {
            return Err(Fault::EmptyName { which: "issuer" });
        }
        if tbs.subject().is_empty() {
            return Err(Fault::EmptyName { which: "subject" });
        }

        if !has_only_text(tbs.issuer()) || !has_only_text(tbs.subject()) {
            return Err(Fault::NotDer);
        }

        let spki = tbs
            .subject_public_key_info()
            .to_der()
            .map_err(|_| Fault::NotDer)?;
        let key = KeyKind::of(&spki)?;
        let issuer = tbs.issuer().to_der().map_err(|_| Fault::NotDer)?;
        let subject = tbs.subject().to_der().map_err(|_| Fault::NotDer)?;
        let not_before = unix_time(tbs.validity().not_before);
        let not_after = unix_time(tbs.validity().not_after);
        if not_before > not_after {
            return Err(Fault::Validity {
                reason: "it ends before it begins",
            });
        }

        let certificate = Self {
            der: der.to_vec(),
            key,
            spki,
            issuer,
            subject,
            not_before,
            not_after,
            inner,
        };
        certificate.check_extensions_unique()?;
        Ok(certificate)
    }

    /// The DER encoding that was parsed.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject as RFC 4514 text, safe to print.
    #[must_use]
    pub fn subject(&self) -> String {
        printable(&self.inner.tbs_certificate().subject().to_string())
    }

    /// The issuer as RFC 4514 text, safe to print.
    #[must_use]
    pub fn issuer(&self) -> String {
        printable(&self.inner.tbs_certificate().issuer().to_string())
    }

    /// The octets of the serial number's INTEGER.
    pub(crate) fn serial_octets(&self) -> &[u8] {
        self.inner.tbs_certificate().serial_number().as_bytes()
    }

    /// The serial number in upper-case hexadecimal, bytes joined by colons.
    #[must_use]
    pub fn serial(&self) -> String {
        self.inner.tbs_certificate().serial_number().to_string()
    }

    /// Valid from this time on, itself included.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// Valid up to this time, itself included.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// The SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_sha256(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// The kind of the key.
    #[must_use]
    pub const fn key_kind(&self) -> KeyKind {
        self.key
    }

    /// The key, where components may be signed with its kind.
    ///
    /// # Errors
    /// [`Fault::Key`] for a P-384 key, which only CAs may have.
    pub fn public_key(&self) -> Result<PublicKey, Fault> {
        PublicKey::from_spki_der(&self.spki).map_err(|error| Fault::Key {
            reason: error.to_string(),
        })
    }

    /// The device that the certificate names in subjectAltName (hardwareModuleName, RFC 4108 §5), if it names one.
    ///
    /// # Errors
    /// [`Fault::Identity`] if it names two, or one with characters that a device id must not have, or another one in
    /// the subject's serialNumber.
    pub fn device(&self) -> Result<Option<CertifiedDevice>, Fault> {
        let mut devices = Vec::new();
        for name in self.alternative_names()? {
            let GeneralName::OtherName(other) = name else {
                continue;
            };
            let module =
                HardwareModuleName::from_other_name(&other).map_err(|_| Fault::Identity {
                    reason: "its hardwareModuleName cannot be read",
                })?;
            devices.extend(module);
        }
        let module = match devices.as_slice() {
            [] => return Ok(None),
            [module] => module,
            _ => {
                return Err(Fault::Identity {
                    reason: "it names more than one device",
                });
            }
        };
        let identity = std::str::from_utf8(module.hw_serial_num.as_bytes())
            .ok()
            .and_then(|text| DeviceIdentity::parse(text).ok())
            .ok_or(Fault::Identity {
                reason: "the device id has characters or a length that no device id may have",
            })?;
        self.check_subject_serial(&identity)?;
        Ok(Some(CertifiedDevice {
            module_type: module.hw_type,
            identity,
        }))
    }

    /// The scope in the certificate's own extension, if it has one.
    ///
    /// # Errors
    /// [`Fault::ExtensionMalformed`].
    pub fn scope(&self) -> Result<Option<Scope>, Fault> {
        self.raw_extension(oid::COMPONENT_SCOPE)
            .map(|(_, value)| Scope::from_der(value))
            .transpose()
            .map_err(|_| Fault::ExtensionMalformed {
                extension: "component-scope",
            })
    }

    /// One of our text extensions (device type, hardware revision, firmware version), if the certificate has it.
    ///
    /// # Errors
    /// [`Fault::ExtensionMalformed`].
    pub fn device_type(&self) -> Result<Option<String>, Fault> {
        self.raw_extension(oid::DEVICE_TYPE)
            .map(|(_, value)| text_from_der(value))
            .transpose()
            .map_err(|_| Fault::ExtensionMalformed {
                extension: "device type",
            })
    }

    /// The kind of hardware that an attestation key's issuer found it in; none for a key in software.
    ///
    /// # Errors
    /// [`Fault::ExtensionMalformed`], also for a kind that is not known here.
    pub fn attested_by(&self) -> Result<Option<AttestationHardware>, Fault> {
        self.raw_extension(oid::ATTESTED_BY)
            .map(|(_, value)| AttestationHardware::from_der(value))
            .transpose()
            .map_err(|_| Fault::ExtensionMalformed {
                extension: oid::name(oid::ATTESTED_BY),
            })
    }

    /// Whether the certificate is marked as a development root.
    #[must_use]
    pub fn is_development_root(&self) -> bool {
        self.raw_extension(oid::DEVELOPMENT_ROOT).is_some()
    }

    pub(crate) fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    pub(crate) fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// RFC 5280 §3.2: subject and issuer are the same entity.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    pub(crate) fn is_no_rev_avail(&self) -> bool {
        self.raw_extension(oid::NO_REV_AVAIL).is_some()
    }

    /// RFC 9608 §2 and §3: noRevAvail is NULL, and nothing beside it says where revocation information would be.
    pub(crate) fn check_no_rev_avail(&self) -> Result<(), Fault> {
        let Some((_, value)) = self.raw_extension(oid::NO_REV_AVAIL) else {
            return Ok(());
        };
        if value != [0x05, 0x00] {
            return Err(Fault::ExtensionMalformed {
                extension: oid::name(oid::NO_REV_AVAIL),
            });
        }
        let contradictions = [
            oid::CRL_DISTRIBUTION_POINTS,
            oid::FRESHEST_CRL,
            oid::AUTHORITY_INFO_ACCESS,
        ];
        match contradictions
            .into_iter()
            .find(|id| self.raw_extension(*id).is_some())
        {
            Some(id) => Err(Fault::ExtensionForbidden {
                extension: oid::name(id),
                profile: "certificate that says noRevAvail",
            }),
            None => Ok(()),
        }
    }

    /// RFC 5280 §4.2.1.4: at least one policy, none twice. Nobody here asks for a policy, but what stands in a certificate
    /// is what it says it is.
    pub(crate) fn check_policies(&self) -> Result<(), Fault> {
        let Some(policies) = self.extension::<CertificatePolicies>(oid::CERTIFICATE_POLICIES)?
        else {
            return Ok(());
        };
        let distinct: BTreeSet<_> = policies
            .0
            .iter()
            .map(|policy| policy.policy_identifier)
            .collect();
        if distinct.is_empty() || distinct.len() != policies.0.len() {
            return Err(Fault::ExtensionMalformed {
                extension: oid::name(oid::CERTIFICATE_POLICIES),
            });
        }
        Ok(())
    }

    /// RFC 5280 §4.2.1.13: at least one distribution point, and none that gives reasons only. Nothing is fetched from
    /// there, but what cannot be meant is not let through.
    pub(crate) fn check_distribution_points(&self) -> Result<(), Fault> {
        let id = oid::CRL_DISTRIBUTION_POINTS;
        let Some(CrlDistributionPoints(points)) = self.extension(id)? else {
            return Ok(());
        };
        let says_nothing = |point: &DistributionPoint| {
            point.distribution_point.is_none() && point.crl_issuer.is_none()
        };
        if points.is_empty() || points.iter().any(says_nothing) {
            return Err(Fault::ExtensionMalformed {
                extension: oid::name(id),
            });
        }
        Ok(())
    }

    /// The names in subjectAltName; none if there is no such extension.
    pub(crate) fn alternative_names(&self) -> Result<Vec<GeneralName>, Fault> {
        match self.extension::<SubjectAltName>(oid::SUBJECT_ALT_NAME)? {
            None => Ok(Vec::new()),
            // RFC 5280 §4.2.1.6: SIZE (1..MAX).
            Some(names) if names.0.is_empty() => Err(Fault::ExtensionMalformed {
                extension: oid::name(oid::SUBJECT_ALT_NAME),
            }),
            Some(names) => Ok(names.0),
        }
    }

    /// Our extensions about a device, each well-formed where it is there.
    pub(crate) fn check_metadata(&self) -> Result<(), Fault> {
        for id in [
            oid::DEVICE_TYPE,
            oid::HARDWARE_REVISION,
            oid::FIRMWARE_VERSION,
        ] {
            self.check_raw(id, |value| text_from_der(value).map(drop))?;
        }
        self.check_raw(oid::CAPABILITIES, |value| {
            capabilities_from_der(value).map(drop)
        })
    }

    fn check_raw(
        &self,
        id: ObjectIdentifier,
        check: impl FnOnce(&[u8]) -> Result<(), FormatError>,
    ) -> Result<(), Fault> {
        let malformed = |_| Fault::ExtensionMalformed {
            extension: oid::name(id),
        };
        self.raw_extension(id)
            .map_or(Ok(()), |(_, value)| check(value).map_err(malformed))
    }

    pub(crate) fn basic_constraints(&self) -> Result<Option<BasicConstraints>, Fault> {
        self.extension(oid::BASIC_CONSTRAINTS)
    }

    pub(crate) fn key_usage(&self) -> Result<Option<KeyUsage>, Fault> {
        self.extension(oid::KEY_USAGE)
    }

    pub(crate) fn extended_key_usage(&self) -> Result<Option<Vec<ObjectIdentifier>>, Fault> {
        Ok(self
            .extension::<ExtendedKeyUsage>(oid::EXTENDED_KEY_USAGE)?
            .map(|usage| usage.0))
    }

    pub(crate) fn authority_key_identifier(&self) -> Result<Option<AuthorityKeyIdentifier>, Fault> {
        self.extension(oid::AUTHORITY_KEY_IDENTIFIER)
    }

    pub(crate) fn subject_key_identifier(&self) -> Result<Option<SubjectKeyIdentifier>, Fault> {
        self.extension(oid::SUBJECT_KEY_IDENTIFIER)
    }

    /// The to-be-signed bytes and the signature.
    pub(crate) fn signed_parts(&self) -> Result<(Vec<u8>, &[u8]), Fault> {
        let message = self
            .inner
            .tbs_certificate()
            .to_der()
            .map_err(|_| Fault::NotDer)?;
        Ok((message, self.inner.signature().raw_bytes()))
    }

    pub(crate) fn signature_algorithm(&self) -> &x509_cert::spki::AlgorithmIdentifierOwned {
        self.inner.signature_algorithm()
    }

    /// Every extension: identifier and criticality.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = (ObjectIdentifier, bool)> + '_ {
        self.inner
            .tbs_certificate()
            .extensions()
            .into_iter()
            .flatten()
            .map(|e| (e.extn_id, e.critical))
    }

    fn raw_extension(&self, id: ObjectIdentifier) -> Option<(bool, &[u8])> {
        let extensions = self.inner.tbs_certificate().extensions()?;
        extensions
            .iter()
            .find(|e| e.extn_id == id)
            .map(|e| (e.critical, e.extn_value.as_bytes()))
    }

    fn extension<T: for<'a> Decode<'a> + Encode>(
        &self,
        id: ObjectIdentifier,
    ) -> Result<Option<T>, Fault> {
        self.raw_extension(id)
            .map(|(_, value)| {
                decode_canonical(value).ok_or(Fault::ExtensionMalformed {
                    extension: oid::name(id),
                })
            })
            .transpose()
    }

    /// RFC 5280 §4.2: a certificate must not include more than one instance of an extension.
    fn check_extensions_unique(&self) -> Result<(), Fault> {
        let mut seen = BTreeSet::new();
        for (id, _) in self.extensions() {
            if !seen.insert(id) {
                return Err(Fault::ExtensionTwice {
                    extension: oid::display(id),
                });
            }
        }
        // RFC 5280 §4.1.2.9: SIZE (1..MAX), so that an empty list is another encoding of none.
        if self
            .inner
            .tbs_certificate()
            .extensions()
            .is_some_and(Vec::is_empty)
        {
            return Err(Fault::NotDer);
        }
        Ok(())
    }

    /// IEEE 802.1AR §8.6: the subject's serialNumber is the device's serial number; it must not contradict the name
    /// that we go by.
    fn check_subject_serial(&self, identity: &DeviceIdentity) -> Result<(), Fault> {
        const CONTRADICTION: Fault = Fault::Identity {
            reason: "its serialNumber names another device than its hardwareModuleName",
        };
        for attribute in self.inner.tbs_certificate().subject().iter() {
            if attribute.oid == oid::SERIAL_NUMBER
                && attribute.value.value() != identity.as_str().as_bytes()
            {
                return Err(CONTRADICTION);
            }
        }
        Ok(())
    }
}

/// A device as its certificate names it: the serial number is unique under the type of hardware module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertifiedDevice {
    module_type: ObjectIdentifier,
    identity: DeviceIdentity,
}

impl CertifiedDevice {
    /// The device id.
    #[must_use]
    pub const fn identity(&self) -> &DeviceIdentity {
        &self.identity
    }

    /// The type of hardware module under which the id is unique (hwType of RFC 4108 §5), dotted.
    #[must_use]
    pub fn module_type(&self) -> String {
        self.module_type.to_string()
    }
}

/// Whether every part of a name is a text. RFC 5280 §4.1.2.4 has DirectoryString and IA5String for all attributes that
/// names are made of; stricter: what is defined for other attributes (a bit string), and TeletexString, which means
/// something else to every reader, are refused too.
pub(crate) fn has_only_text(name: &Name) -> bool {
    name.iter().all(|attribute| {
        matches!(
            attribute.value.tag(),
            Tag::Utf8String
                | Tag::PrintableString
                | Tag::Ia5String
                | Tag::NumericString
                | Tag::BmpString
        )
    })
}

/// RFC 5280 §4.1.2.2: positive, at most 20 octets; X.690 §8.3.2: in the shortest form.
pub(crate) fn check_serial(octets: &[u8]) -> Result<(), Fault> {
    let negative = octets.first().is_none_or(|first| first & 0x80 != 0);
    let padded = matches!(octets, [0, next, ..] if next & 0x80 == 0);
    if negative || padded || octets.len() > 20 || octets.iter().all(|octet| *octet == 0) {
        return Err(Fault::Serial);
    }
    Ok(())
}

pub(crate) fn unix_time(time: Time) -> UnixTime {
    UnixTime::from_secs(time.to_unix_duration().as_secs())
}

/// Text from a stranger, with everything but printable ASCII escaped, so that it can neither steer a terminal nor
/// pass for other text.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c.to_string()
            } else {
                c.escape_unicode().to_string()
            }
            .chars()
            .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tc16_serial_numbers_are_positive_and_at_most_twenty_octets() {
        assert_eq!(check_serial(&[1]), Ok(()));
        assert_eq!(check_serial(&[0, 0x80]), Ok(()));
        assert_eq!(check_serial(&[0x7f; 20]), Ok(()));
        for bad in [
            &[][..],
            &[0],
            &[0x80],
            &[0, 0x7f],
            &[0xff, 0x01],
            &[0x7f; 21],
        ] {
            assert_eq!(check_serial(bad), Err(Fault::Serial), "{bad:?}");
        }
    }

    #[test]
    fn tc19_text_of_strangers_is_printed_escaped() {
        assert_eq!(
            printable("CN=pump\u{202e}\n\u{1b}[31m"),
            "CN=pump\\u{202e}\\u{a}\\u{1b}[31m"
        );
    }
}

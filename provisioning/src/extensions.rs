//! The extensions that certificates made here carry, each in one place: its object identifier, criticality and value.

use countersign_format::{
    AttestationHardware, DeviceIdentity, DeviceMetadata, FormatError, Scope, capabilities_to_der,
    development_root_to_der, oid, text_to_der,
};
use countersign_keys::PublicKey;
use der::asn1::{Ia5String, Null, ObjectIdentifier, OctetString};
use der::flagset::FlagSet;
use der::{Encode, asn1::Uint};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName, OtherName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlNumber, CrlReason, ExtendedKeyUsage, KeyUsage,
    KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};

use crate::Error;

/// id-kp-serverAuth (RFC 5280 §4.2.1.12).
pub(crate) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// id-kp-clientAuth (RFC 5280 §4.2.1.12).
pub(crate) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// id-kp-codeSigning (RFC 5280 §4.2.1.12): the key signs components.
pub const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
/// id-kp-documentSigning (RFC 9336): the key signs data of guests.
pub const DOCUMENT_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.36");
/// id-kp-updatePackageSigning (RFC 9809): the key signs bundles for gateways.
pub(crate) const UPDATE_PACKAGE_SIGNING: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.43");
/// id-kp-configSigning (RFC 9809): the key signs configurations in bundles.
pub(crate) const CONFIG_SIGNING: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.41");
/// tcg-kp-AIKCertificate: the key signs attestation evidence.
pub const ATTESTATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");
/// id-ce-noRevAvail (RFC 9608): no revocation status will ever be published.
pub const NO_REV_AVAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.56");

pub(crate) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
pub(crate) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(crate) const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
pub(crate) const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.5.29.35");
pub(crate) const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const CRL_REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");

/// Octets of a key identifier: the leftmost 160 bits of SHA-256 over the public key's bits (RFC 7093 §2, method 1).
/// A name for the key, not a proof, so its length is that of the usual SHA-1 form.
const KEY_ID_OCTETS: usize = 20;

/// The identifier that names `key` in subjectKeyIdentifier.
pub(crate) fn key_id(key: &PublicKey) -> Result<OctetString, Error> {
    let digest = countersign_format::Digest::of(&key.to_raw_bytes());
    let octets = digest
        .as_bytes()
        .get(..KEY_ID_OCTETS)
        .unwrap_or(digest.as_bytes());
    OctetString::new(octets).map_err(Error::encoding("a key identifier"))
}

/// RFC 5280 §4.2.1.9: critical in a CA certificate. End entities do not carry it.
pub(crate) fn basic_constraints(path_length: u8) -> Result<Extension, Error> {
    let value = BasicConstraints {
        ca: true,
        path_len_constraint: Some(path_length),
    };
    extension(BASIC_CONSTRAINTS, true, &value)
}

/// RFC 5280 §4.2.1.3: critical, here always present.
pub(crate) fn key_usage(usage: FlagSet<KeyUsages>) -> Result<Extension, Error> {
    extension(KEY_USAGE, true, &KeyUsage(usage))
}

/// RFC 5280 §4.2.1.12. Not critical: every verifier that matters looks for it, and others may read the certificate.
pub(crate) fn extended_key_usage(usages: &[ObjectIdentifier]) -> Result<Extension, Error> {
    extension(
        EXTENDED_KEY_USAGE,
        false,
        &ExtendedKeyUsage(usages.to_vec()),
    )
}

/// RFC 5280 §4.2.1.2.
pub(crate) fn subject_key_identifier(id: OctetString) -> Result<Extension, Error> {
    extension(SUBJECT_KEY_IDENTIFIER, false, &SubjectKeyIdentifier(id))
}

/// RFC 5280 §4.2.1.1: the issuer's subjectKeyIdentifier, nothing else.
pub(crate) fn authority_key_identifier(issuer: &OctetString) -> Result<Extension, Error> {
    let value = AuthorityKeyIdentifier {
        key_identifier: Some(issuer.clone()),
        ..AuthorityKeyIdentifier::default()
    };
    extension(AUTHORITY_KEY_IDENTIFIER, false, &value)
}

/// RFC 5280 §4.2.1.6 with the hardwareModuleName of RFC 4108 §5, where 802.1AR wants the device's identity, and the
/// host names of TLS.
pub(crate) fn subject_alt_name(
    identity: &DeviceIdentity,
    dns_names: &[String],
) -> Result<Extension, Error> {
    let encoding = || Error::encoding("a subjectAltName");
    let module = HardwareModuleName {
        hw_type: oid::HARDWARE_TYPE,
        hw_serial_num: OctetString::new(identity.as_str().as_bytes()).map_err(encoding())?,
    };
    let other = OtherName::try_from(&module).map_err(encoding())?;
    let mut names = vec![GeneralName::OtherName(other)];
    for name in dns_names {
        names.push(GeneralName::DnsName(
            Ia5String::new(name).map_err(encoding())?,
        ));
    }
    extension(SUBJECT_ALT_NAME, false, &SubjectAltName(names))
}

/// RFC 9608 §2: NULL, never critical, end entities only.
pub(crate) fn no_rev_avail() -> Result<Extension, Error> {
    extension(NO_REV_AVAIL, false, &Null)
}

/// Which component names, for which audiences, the holder may sign.
pub(crate) fn component_scope(scope: &Scope) -> Result<Extension, Error> {
    raw(oid::COMPONENT_SCOPE, formatted(scope.to_der())?)
}

/// The kind of hardware that an attestation key lies in.
pub(crate) fn attested_by(hardware: AttestationHardware) -> Result<Extension, Error> {
    raw(oid::ATTESTED_BY, formatted(hardware.to_der())?)
}

/// The mark of a root for development.
pub(crate) fn development_root() -> Result<Extension, Error> {
    raw(oid::DEVELOPMENT_ROOT, development_root_to_der())
}

/// One extension for each thing that is known about the device.
pub(crate) fn metadata(metadata: &DeviceMetadata) -> Result<Vec<Extension>, Error> {
    let mut extensions = Vec::new();
    let texts = [
        (oid::DEVICE_TYPE, metadata.device_type()),
        (oid::HARDWARE_REVISION, metadata.hardware_revision()),
        (oid::FIRMWARE_VERSION, metadata.firmware_version()),
    ];
    for (oid, text) in texts {
        if let Some(text) = text {
            extensions.push(raw(oid, formatted(text_to_der(text))?)?);
        }
    }
    if !metadata.capabilities().is_empty() {
        extensions.push(raw(
            oid::CAPABILITIES,
            formatted(capabilities_to_der(metadata.capabilities()))?,
        )?);
    }
    Ok(extensions)
}

/// RFC 5280 §5.2.3: not critical.
pub(crate) fn crl_number(number: u64) -> Result<Extension, Error> {
    let number = Uint::new(&number.to_be_bytes()).map_err(Error::encoding("a CRL number"))?;
    extension(CRL_NUMBER, false, &CrlNumber(number))
}

/// RFC 5280 §5.3.1: not critical.
pub(crate) fn crl_reason(reason: CrlReason) -> Result<Extension, Error> {
    extension(CRL_REASON, false, &reason)
}

fn extension(
    extn_id: ObjectIdentifier,
    critical: bool,
    value: &impl Encode,
) -> Result<Extension, Error> {
    let der = value.to_der().map_err(Error::encoding("an extension"))?;
    Ok(Extension {
        extn_id,
        critical,
        extn_value: OctetString::new(der).map_err(Error::encoding("an extension"))?,
    })
}

/// The types were checked when they were made; what remains is a list whose encoding is too long.
fn formatted(der: Result<Vec<u8>, FormatError>) -> Result<Vec<u8>, Error> {
    der.map_err(|source| Error::Extension { source })
}

fn raw(extn_id: ObjectIdentifier, der: Vec<u8>) -> Result<Extension, Error> {
    Ok(Extension {
        extn_id,
        critical: false,
        extn_value: OctetString::new(der).map_err(Error::encoding("an extension"))?,
    })
}

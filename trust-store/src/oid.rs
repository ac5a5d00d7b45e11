//! Object identifiers that the verifier knows, with the names that its messages use.

use const_oid::ObjectIdentifier;
pub use countersign_format::oid::{
    ATTESTED_BY, CAPABILITIES, COMPONENT_SCOPE, DEVELOPMENT_ROOT, DEVICE_TYPE, FIRMWARE_VERSION,
    HARDWARE_REVISION,
};

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $dotted:literal, $text:literal;)*) => {
        $($(#[$doc])* pub const $name: ObjectIdentifier = ObjectIdentifier::new_unwrap($dotted);)*

        /// The name of an identifier that we know, else "an unknown extension".
        pub(crate) fn name(id: ObjectIdentifier) -> &'static str {
            $(if id == $name { return $text; })*
            if id == COMPONENT_SCOPE { return "component-scope"; }
            if id == DEVICE_TYPE { return "device type"; }
            if id == HARDWARE_REVISION { return "hardware revision"; }
            if id == FIRMWARE_VERSION { return "firmware version"; }
            if id == CAPABILITIES { return "capabilities"; }
            if id == ATTESTED_BY { return "attested-by"; }
            if id == DEVELOPMENT_ROOT { return "development root"; }
            "an unknown extension"
        }
    };
}

oids! {
    /// RFC 5280 §4.2.1.1.
    AUTHORITY_KEY_IDENTIFIER = "2.5.29.35", "authorityKeyIdentifier";
    /// RFC 5280 §4.2.1.2.
    SUBJECT_KEY_IDENTIFIER = "2.5.29.14", "subjectKeyIdentifier";
    /// RFC 5280 §4.2.1.3.
    KEY_USAGE = "2.5.29.15", "keyUsage";
    /// RFC 5280 §4.2.1.4.
    CERTIFICATE_POLICIES = "2.5.29.32", "certificatePolicies";
    /// RFC 5280 §4.2.1.5.
    POLICY_MAPPINGS = "2.5.29.33", "policyMappings";
    /// RFC 5280 §4.2.1.6.
    SUBJECT_ALT_NAME = "2.5.29.17", "subjectAltName";
    /// RFC 5280 §4.2.1.9.
    BASIC_CONSTRAINTS = "2.5.29.19", "basicConstraints";
    /// RFC 5280 §4.2.1.10.
    NAME_CONSTRAINTS = "2.5.29.30", "nameConstraints";
    /// RFC 5280 §4.2.1.11.
    POLICY_CONSTRAINTS = "2.5.29.36", "policyConstraints";
    /// RFC 5280 §4.2.1.12.
    EXTENDED_KEY_USAGE = "2.5.29.37", "extKeyUsage";
    /// RFC 5280 §4.2.1.13.
    CRL_DISTRIBUTION_POINTS = "2.5.29.31", "cRLDistributionPoints";
    /// RFC 5280 §4.2.1.14.
    INHIBIT_ANY_POLICY = "2.5.29.54", "inhibitAnyPolicy";
    /// RFC 9608 §2.
    NO_REV_AVAIL = "2.5.29.56", "noRevAvail";
    /// RFC 5280 §4.2.2.1.
    AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1", "authorityInfoAccess";
    /// RFC 5280 §5.2.3.
    CRL_NUMBER = "2.5.29.20", "cRLNumber";
    /// RFC 5280 §4.2.1.15.
    FRESHEST_CRL = "2.5.29.46", "freshestCRL";
    /// RFC 5280 §5.2.4.
    DELTA_CRL_INDICATOR = "2.5.29.27", "deltaCRLIndicator";
    /// RFC 5280 §5.2.5.
    ISSUING_DISTRIBUTION_POINT = "2.5.29.28", "issuingDistributionPoint";
    /// X.520: the serialNumber attribute of a distinguished name.
    SERIAL_NUMBER = "2.5.4.5", "serialNumber";
    /// RFC 5280 §4.2.1.12: id-kp-codeSigning.
    CODE_SIGNING = "1.3.6.1.5.5.7.3.3", "codeSigning";
    /// RFC 5280 §4.2.1.12: id-kp-clientAuth.
    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2", "clientAuth";
    /// RFC 5280 §4.2.1.12: id-kp-serverAuth.
    SERVER_AUTH = "1.3.6.1.5.5.7.3.1", "serverAuth";
    /// RFC 9336 §3: id-kp-documentSigning.
    DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36", "documentSigning";
    /// RFC 9809 §3: id-kp-configSigning.
    CONFIG_SIGNING = "1.3.6.1.5.5.7.3.41", "configSigning";
    /// RFC 9809 §3: id-kp-updatePackageSigning.
    UPDATE_PACKAGE_SIGNING = "1.3.6.1.5.5.7.3.43", "updatePackageSigning";
    /// TCG Credential Profiles 2.0 §3.2: tcg-kp-AIKCertificate.
    ATTESTATION_KEY = "2.23.133.8.3", "tcg-kp-AIKCertificate";
}

/// The name of an identifier with its dotted form, for messages about any identifier.
pub(crate) fn display(id: ObjectIdentifier) -> String {
    format!("{} ({id})", name(id))
}

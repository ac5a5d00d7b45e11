//! What can be wrong with one certificate, whoever presents it: a signer, or the host's own root file.

use crate::Code;

/// What is wrong with a certificate. Which certificate it is stands beside it in the error that carries it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The algorithm is not in the allow-list.
    #[error("it uses {what}, which is not permitted")]
    Algorithm {
        /// The algorithm, by name or object identifier.
        what: String,
    },
    /// RFC 5280 §4.1.1.2: signatureAlgorithm and the signed signature field differ.
    #[error("its two signature algorithm fields differ")]
    AlgorithmMismatch,
    /// RFC 5280 §4.1.2.4, §4.1.2.6.
    #[error("its {which} is empty")]
    EmptyName {
        /// "issuer" or "subject".
        which: &'static str,
    },
    /// The extended key usage is not that of its profile.
    #[error("its extended key usage is {found}; needed is {needed}")]
    ExtendedKeyUsage {
        /// What the profile asks for.
        needed: String,
        /// What the certificate has.
        found: String,
    },
    /// An extension has the wrong criticality.
    #[error("its extension {extension} must {}be critical", if *.must_be_critical { "" } else { "not " })]
    ExtensionCriticality {
        /// The extension.
        extension: &'static str,
        /// What the profile asks for.
        must_be_critical: bool,
    },
    /// An extension that this kind of certificate must not have.
    #[error("it has the extension {extension}, which a {profile} must not have")]
    ExtensionForbidden {
        /// The extension.
        extension: &'static str,
        /// The kind of certificate.
        profile: &'static str,
    },
    /// An extension's value cannot be read, or is not in its only permitted encoding.
    #[error("its extension {extension} is not well-formed DER")]
    ExtensionMalformed {
        /// The extension.
        extension: &'static str,
    },
    /// An extension that this kind of certificate must have.
    #[error("it lacks the extension {extension}, which a {profile} must have")]
    ExtensionMissing {
        /// The extension.
        extension: &'static str,
        /// The kind of certificate.
        profile: &'static str,
    },
    /// RFC 5280 §4.2: an extension occurs twice.
    #[error("its extension {extension} occurs twice")]
    ExtensionTwice {
        /// The extension and its identifier.
        extension: String,
    },
    /// RFC 5280 §4.2: a critical extension that is not understood.
    #[error("it has the critical extension {extension}, which is not understood")]
    ExtensionUnknown {
        /// The extension and its identifier.
        extension: String,
    },
    /// The device id is bad, double or contradicted.
    #[error("its device identity cannot be used: {reason}")]
    Identity {
        /// Why.
        reason: &'static str,
    },
    /// The public key is not a sound key of its kind.
    #[error("its public key cannot be used: {reason}")]
    Key {
        /// Why.
        reason: String,
    },
    /// RFC 5280 §4.2.1.1, §4.2.1.2: the key identifiers do not fit.
    #[error("its key identifiers do not fit: {reason}")]
    KeyIdentifier {
        /// Why.
        reason: &'static str,
    },
    /// RFC 5280 §4.2.1.3: a bit is missing or must not be set.
    #[error("its key usage {} {usage}", if *.missing { "lacks" } else { "must not include" })]
    KeyUsage {
        /// The bit.
        usage: &'static str,
        /// Missing, or set though it must not be.
        missing: bool,
    },
    /// A CA's certificate where a signer's is needed.
    #[error("it is a CA's certificate, which may sign certificates but nothing else")]
    LeafIsCa,
    /// RFC 5280 §4.2.1.9: an issuer that is not a CA.
    #[error("it is not a CA's certificate, but issued another one")]
    NotACa,
    /// Not the only permitted encoding of a certificate.
    #[error("it is not strict DER of an X.509 certificate")]
    NotDer,
    /// RFC 5280 §4.2.1.9: more CAs below it than it allows.
    #[error("it allows {allowed} CAs below itself, and there are {actual}")]
    PathLength {
        /// pathLenConstraint.
        allowed: u8,
        /// The number of CA certificates below it, the end entity's not counted.
        actual: usize,
    },
    /// A scope where none may be, or one wider than the one above it.
    #[error("its component-scope reaches beyond that of its issuer")]
    ScopeWidened,
    /// RFC 5280 §4.1.2.2.
    #[error("its serial number is zero, negative or longer than 20 octets")]
    Serial,
    /// Its signature does not verify under the key that should have made it.
    #[error("its signature does not verify under its issuer's key")]
    Signature,
    /// Larger than any certificate needs to be.
    #[error("it has {actual} bytes; at most {limit} are read")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// Its size in bytes.
        actual: u64,
    },
    /// RFC 5280 §4.1.2.8.
    #[error("it has unique identifiers, which must not be used")]
    UniqueIdentifier,
    /// The validity period is one that its kind must not have.
    #[error("its validity period cannot be used: {reason}")]
    Validity {
        /// Why.
        reason: &'static str,
    },
    /// RFC 5280 §4.1.2.1.
    #[error("it is not of X.509 version 3")]
    Version,
}

impl Fault {
    /// The code of a refusal for this fault.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Algorithm { .. } | Self::AlgorithmMismatch => Code::AlgorithmForbidden,
            Self::EmptyName { .. } | Self::NotDer | Self::UniqueIdentifier | Self::Version => {
                Code::CertificateMalformed
            }
            Self::ExtendedKeyUsage { .. } => Code::ExtendedKeyUsage,
            Self::ExtensionCriticality { .. }
            | Self::ExtensionForbidden { .. }
            | Self::ExtensionMalformed { .. }
            | Self::ExtensionMissing { .. }
            | Self::ExtensionTwice { .. }
            | Self::ExtensionUnknown { .. } => Code::CertificateExtension,
            Self::Identity { .. } => Code::DeviceIdentity,
            Self::Key { .. } => Code::KeyInvalid,
            Self::KeyIdentifier { .. } => Code::KeyIdentifier,
            Self::KeyUsage { .. } => Code::KeyUsage,
            Self::LeafIsCa | Self::NotACa => Code::NotACa,
            Self::PathLength { .. } => Code::ChainLength,
            Self::ScopeWidened => Code::SignerNotAuthorised,
            Self::Serial => Code::CertificateSerial,
            Self::Signature => Code::SignatureInvalid,
            Self::TooLarge { .. } => Code::LimitExceeded,
            Self::Validity { .. } => Code::ValidityPeriod,
        }
    }
}

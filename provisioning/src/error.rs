//! Why something was not issued.

use countersign_format::DeviceIdentity;
use countersign_trust_store::UnixTime;

/// Why a certificate, a revocation list or a request was refused. Nothing was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A structure could not be written or read as DER.
    #[error("{what} does not encode as DER: {source}")]
    Encoding {
        /// What was being written or read.
        what: &'static str,
        /// The DER library's reason.
        source: der::Error,
    },
    /// One of our own extensions cannot hold what it was given.
    #[error("an extension cannot be written: {source}")]
    Extension {
        /// The format's reason.
        source: countersign_format::FormatError,
    },
    /// The kind of hardware is not wanted here, or cannot hold the key.
    #[error("hardware of the key: {reason}")]
    Hardware {
        /// What is wrong with it.
        reason: String,
    },
    /// The request names another device than the operator.
    #[error(
        "the request is for device {requested}, but {given} was given: check that it is the right request"
    )]
    IdentityMismatch {
        /// The identity inside the request.
        requested: String,
        /// The identity the operator gave.
        given: DeviceIdentity,
    },
    /// The issuing certificate cannot issue this.
    #[error("{subject} cannot issue this: {reason}")]
    IssuerUnfit {
        /// The issuing certificate's subject.
        subject: String,
        /// What it lacks.
        reason: String,
    },
    /// A public key is not one a certificate may carry here.
    #[error("the public key is not accepted: {reason}; P-256 and Ed25519 keys are")]
    KeyUnsupported {
        /// What is wrong with it.
        reason: String,
    },
    /// What would have been signed is not what a host accepts as this kind of certificate: a fault of this program.
    #[error("the certificate was not signed, because hosts would refuse it: {source}")]
    Lint {
        /// The rule it breaks.
        source: countersign_trust_store::Fault,
    },
    /// A part of a name is empty, too long or has characters that a certificate must not hold.
    #[error("{field} {value:?} is not accepted: {reason}")]
    NameInvalid {
        /// Which part.
        field: &'static str,
        /// What was given.
        value: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The certificate would be valid when its issuer is not.
    #[error(
        "the certificate would be valid from {asked_from} to {asked_until}, \
         but its issuer only from {issuer_from} to {issuer_until}: ask for fewer days, or renew the issuer first"
    )]
    OutsideIssuerValidity {
        /// First second asked for.
        asked_from: UnixTime,
        /// Last second asked for.
        asked_until: UnixTime,
        /// The issuer's first second.
        issuer_from: UnixTime,
        /// The issuer's last second.
        issuer_until: UnixTime,
    },
    /// The request's own signature does not verify: the sender has not shown that he holds the key.
    #[error(
        "no proof of possession: the request's signature does not verify under the key it asks to certify"
    )]
    ProofOfPossession,
    /// Randomness could not be had.
    #[error("the random number generator failed: {reason}")]
    Random {
        /// The generator's reason.
        reason: String,
    },
    /// A host refuses the same certificate when a key that is thrown away has signed it: a fault of this program, or an
    /// issuer under which nothing can be valid.
    #[error("the certificate was not signed, because hosts would refuse it: {rejection}")]
    Refused {
        /// The host's verdict.
        rejection: Box<countersign_trust_store::Rejection>,
    },
    /// The request cannot be read.
    #[error("the certification request is not accepted: {reason}")]
    RequestInvalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The scope is missing, not wanted here, or wider than the issuer's.
    #[error("component scope: {reason}")]
    Scope {
        /// What is wrong with it.
        reason: String,
    },
    /// A serial number is zero, negative, too long or not a number.
    #[error("not a serial number: {reason}")]
    SerialInvalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The signing key failed.
    #[error("the authority's key did not sign: {source}")]
    Sign {
        /// The key's reason.
        source: countersign_keys::Error,
    },
    /// The certificate would be larger than devices have room for.
    #[error(
        "the certificate would be {actual} bytes, more than the {limit} that its kind may have: give fewer or shorter names, \
         capabilities or scopes"
    )]
    TooLarge {
        /// Its size in bytes.
        actual: usize,
        /// The largest size in bytes.
        limit: usize,
    },
    /// The period ends before it begins, lasts longer than its kind may, or passes the year 9999.
    #[error("no usable validity between {not_before} and {not_after}")]
    ValidityEmpty {
        /// First second.
        not_before: UnixTime,
        /// Last second.
        not_after: UnixTime,
    },
    /// The kind of certificate may not live that long.
    #[error("{what} is valid for at most {limit_days} days")]
    ValidityTooLong {
        /// Which kind.
        what: &'static str,
        /// The most days it may have.
        limit_days: u64,
    },
}

impl Error {
    /// For `map_err`: a DER failure while handling `what`.
    pub(crate) fn encoding(what: &'static str) -> impl FnOnce(der::Error) -> Self {
        move |source| Self::Encoding { what, source }
    }
}

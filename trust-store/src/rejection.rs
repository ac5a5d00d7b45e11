//! Refusals as values: which question was answered with no, and the facts of the case.

use countersign_format::{ComponentName, DeviceIdentity, Digest, FormatError};

use crate::{AnchorError, Check, Code, CrlNumber, TimeBasis, UnixTime, fault::Fault};

/// Why a component was refused.
///
/// A refusal is an answer, not a failure of the program: its [`Code`] is stable, its text says what and why, and
/// [`Code::next_step`] what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The algorithm that a signer states is not that of its certificate's key.
    #[error("signer {} states the algorithm {stated}, but its certificate's key is of another kind", nth(.signer))]
    AlgorithmMismatch {
        /// The signer, from 0.
        signer: usize,
        /// The algorithm stated.
        stated: &'static str,
    },
    /// The compiled-in roots cannot be used.
    #[error(transparent)]
    Anchors(#[from] AnchorError),
    /// The statement names devices or types that this machine cannot prove to be.
    #[error("it is meant for {wanted}, and this machine is {own}")]
    Audience {
        /// The devices and types named.
        wanted: String,
        /// What this machine can prove of itself.
        own: String,
    },
    /// The time up to which a bundle may be applied has passed.
    #[error("the bundle could be applied up to {not_after}, and it is {now}{basis}")]
    BundleEnded {
        /// Its end.
        not_after: UnixTime,
        /// The time of judging.
        now: UnixTime,
        /// Where that time comes from.
        basis: TimeBasis,
    },
    /// A bundle of another line than the one that is taken here.
    #[error("the bundle is of the line {found:?}, and {expected:?} is taken here")]
    BundleLine {
        /// The line in its index.
        found: String,
        /// The line that is taken.
        expected: String,
    },
    /// A bundle that is not newer than the last, or whose number leaps.
    #[error("the bundle has the number {number}; {seen} was applied here, and {reason}")]
    BundleNumber {
        /// Its number.
        number: u64,
        /// The highest that was applied, 0 if none was.
        seen: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody whose signature counts may sign what the bundle holds.
    #[error("the bundle holds {what}, and {counted} trusted signers of it may sign that: {needed} with the extended key usage {usage} are required{}", reasons(.uncounted))]
    BundleSigner {
        /// What it holds.
        what: &'static str,
        /// The extended key usage that its signer needs.
        usage: &'static str,
        /// How many signers are required.
        needed: u8,
        /// How many count.
        counted: usize,
        /// Why others do not.
        uncounted: Vec<String>,
    },
    /// A certificate breaks a rule.
    #[error("certificate {} of signer {} ({subject}): {fault}", nth(.depth), nth(.signer))]
    Certificate {
        /// The signer, from 0.
        signer: usize,
        /// The certificate's place in the chain: 0 is the signer's own.
        depth: usize,
        /// Its subject, if it can be read.
        subject: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The certificates of a signer are no unbroken chain.
    #[error("the chain of signer {} breaks at certificate {}: {reason}", nth(.signer), nth(.depth))]
    ChainOrder {
        /// The signer, from 0.
        signer: usize,
        /// The certificate after which it breaks.
        depth: usize,
        /// How.
        reason: &'static str,
    },
    /// A signer's chain has more certificates than any may have.
    #[error("the chain of signer {} has {actual} certificates; at most {limit} are allowed below the root", nth(.signer))]
    ChainTooLong {
        /// The signer, from 0.
        signer: usize,
        /// The limit.
        limit: u64,
        /// How many there are.
        actual: u64,
    },
    /// A revocation list cannot be used.
    #[error("the revocation list of {issuer} cannot be used: {reason}")]
    CrlInvalid {
        /// Its issuer, if it can be read.
        issuer: String,
        /// Why.
        reason: &'static str,
    },
    /// A revocation list older than one already seen.
    #[error("the revocation list of {issuer} has the number {number}, and {seen} was already seen")]
    CrlRollback {
        /// Its issuer.
        issuer: String,
        /// Its number.
        number: CrlNumber,
        /// The highest number seen.
        seen: CrlNumber,
    },
    /// A revocation list past its nextUpdate and grace, or from the future.
    #[error(
        "the revocation list of {issuer} was valid from {this_update} to {next_update}, and it is {now}"
    )]
    CrlStale {
        /// Its issuer.
        issuer: String,
        /// Made at this time.
        this_update: UnixTime,
        /// To be replaced at this time.
        next_update: UnixTime,
        /// The time of judging.
        now: UnixTime,
    },
    /// Guest data or an attestation that names another device than the certificate of the key that signed it.
    #[error("it says that it is from device {claimed}, and its certificate is that of {certified}")]
    DeviceMismatch {
        /// The device in the claims.
        claimed: DeviceIdentity,
        /// The device in the certificate; none if it names none.
        certified: String,
    },
    /// Precompiled code was compiled from another component.
    #[error("the code was compiled from the component {stated}, and this one is {actual}")]
    CodeOfAnother {
        /// The digest of the component in the statement about the code.
        stated: Digest,
        /// The digest of the component at hand.
        actual: Digest,
    },
    /// The component is not the one that was signed.
    #[error("its SHA-256 is {actual}, and {stated} was signed")]
    DigestMismatch {
        /// The digest in the statement.
        stated: Digest,
        /// The digest of the bytes at hand.
        actual: Digest,
    },
    /// What hardware says in an attestation does not hold, or does not go with what the device says.
    #[error("the attestation does not hold: {reason}")]
    EvidenceInvalid {
        /// Why.
        reason: &'static str,
    },
    /// An attestation that answers somebody else, or an earlier question.
    #[error("the attestation answers another nonce than the one that was asked with")]
    EvidenceNonce,
    /// An attestation that holds, and does not show what is expected.
    #[error("the attestation does not show what is expected: {reason}")]
    EvidencePolicy {
        /// What it shows or lacks.
        reason: String,
    },
    /// A certificate has expired.
    #[error("{subject} was valid up to {not_after}, and it is {now}{basis}")]
    Expired {
        /// The certificate.
        subject: String,
        /// Its notAfter.
        not_after: UnixTime,
        /// The time of judging.
        now: UnixTime,
        /// Where that time comes from.
        basis: TimeBasis,
    },
    /// The bytes are not those of a signed component.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// This host has no root.
    #[error("this host was built without a root, so it trusts no one")]
    NoRoot,
    /// This host has no root for precompiled code.
    #[error(
        "this host was built without a root for precompiled code, so it trusts no one with that"
    )]
    NoRootForCode,
    /// A certificate is not valid yet.
    #[error("{subject} is valid from {not_before}, and it is {now}{basis}")]
    NotYetValid {
        /// The certificate.
        subject: String,
        /// Its notBefore.
        not_before: UnixTime,
        /// The time of judging.
        now: UnixTime,
        /// Where that time comes from.
        basis: TimeBasis,
    },
    /// A part of a bundle is not the one that its index names.
    #[error("part {name:?} of the bundle is not the one that its index names: {reason}")]
    PartMismatch {
        /// The part.
        name: String,
        /// How it differs.
        reason: String,
    },
    /// The path was refused for a reason that has no name of its own.
    #[error("the chain of signer {} is not valid: {reason}", nth(.signer))]
    Path {
        /// The signer, from 0.
        signer: usize,
        /// What the path validator said.
        reason: String,
    },
    /// Nothing says whether a certificate was revoked.
    #[error("{subject}, issued by {issuer}: there is no revocation list of that issuer")]
    RevocationUnknown {
        /// The certificate.
        subject: String,
        /// Its issuer.
        issuer: String,
    },
    /// A certificate was revoked.
    #[error("{subject} (serial number {serial}) was revoked by {issuer}")]
    Revoked {
        /// The certificate.
        subject: String,
        /// Its serial number.
        serial: String,
        /// Its issuer.
        issuer: String,
        /// SHA-256 of the issuer's SubjectPublicKeyInfo, and the number of the list that says so.
        list: Box<(Digest, CrlNumber)>,
    },
    /// The component is older than one that proved healthy here.
    #[error("{name} has security version {version}, and {seen} already ran here")]
    Rollback {
        /// The component.
        name: ComponentName,
        /// Its security version.
        version: u64,
        /// The highest that ran here.
        seen: u64,
    },
    /// No certificate of the chain says what the signer may sign.
    #[error("signer {} ({subject}) has no scope: no certificate of its chain says what it may sign", nth(.signer))]
    ScopeMissing {
        /// The signer, from 0.
        signer: usize,
        /// Its certificate.
        subject: String,
    },
    /// The signature checks of one chain are spent.
    #[error("the chain of signer {} needs more than {limit} signature checks", nth(.signer))]
    SignatureChecks {
        /// The signer, from 0.
        signer: usize,
        /// The limit.
        limit: u32,
    },
    /// A signer's signature does not verify.
    #[error("the signature of signer {} ({subject}) does not verify", nth(.signer))]
    SignatureInvalid {
        /// The signer, from 0.
        signer: usize,
        /// Its certificate.
        subject: String,
    },
    /// The scope does not cover the component.
    #[error("signer {} ({subject}) may sign {scope}, not {component}", nth(.signer))]
    SignerNotAuthorised {
        /// The signer, from 0.
        signer: usize,
        /// Its certificate.
        subject: String,
        /// What it may sign.
        scope: String,
        /// What it signed.
        component: String,
    },
    /// The operator of this machine names others for a component of this name.
    #[error("{component} must be signed here by {wanted}, and was signed by {signers}")]
    SignerNotNamed {
        /// The component.
        component: ComponentName,
        /// Whom the operator names.
        wanted: String,
        /// Who signed.
        signers: String,
    },
    /// The signers are not those in the statement.
    #[error(
        "the statement lists {stated} signers, and those in the file are others, in another order, or with other chains"
    )]
    SignersMismatch {
        /// The number of signers in the statement.
        stated: usize,
    },
    /// Too few signers count.
    #[error("{counted} of the signers count, and {needed} are required{}", reasons(.uncounted))]
    SignersTooFew {
        /// How many are required.
        needed: u8,
        /// How many count: trusted, valid, and of different devices.
        counted: usize,
        /// Why the others do not.
        uncounted: Vec<String>,
    },
    /// The component's size is not the one that was signed.
    #[error("it has {actual} bytes, and {stated} were signed")]
    SizeMismatch {
        /// The size in the statement, in bytes.
        stated: u64,
        /// The size of the bytes at hand.
        actual: u64,
    },
    /// A signer's chain leads to no root of ours.
    #[error("signer {} ({subject}): its chain ends at the issuer {issuer}, which is no root of this host", nth(.signer))]
    UntrustedRoot {
        /// The signer, from 0.
        signer: usize,
        /// Its certificate.
        subject: String,
        /// The issuer that its chain ends with.
        issuer: String,
    },
    /// The security version is further ahead than one step may be.
    #[error(
        "{name} has security version {version}; from {seen} at most {limit} are possible in one step"
    )]
    VersionLeap {
        /// The component.
        name: ComponentName,
        /// Its security version.
        version: u64,
        /// The highest that ran here, 0 if none did.
        seen: u64,
        /// The largest step.
        limit: u64,
    },
    /// A bundle said that this version is not to run any more.
    #[error("{name} has security version {version}, and all below {least} were withdrawn")]
    Withdrawn {
        /// The component.
        name: ComponentName,
        /// Its security version.
        version: u64,
        /// The least that may run.
        least: u64,
    },
}

impl Rejection {
    /// Whether nothing but the present is against a chain: what was admitted before is judged as of then.
    pub(crate) const fn is_of_dates(&self) -> bool {
        matches!(
            self,
            Self::CrlStale { .. } | Self::Expired { .. } | Self::NotYetValid { .. }
        )
    }

    /// The list that revoked a certificate: what a host with state hands to
    /// [`TrustState::note_crl_number`](crate::TrustState::note_crl_number), so that it does not come back when that list is taken away.
    #[must_use]
    pub fn revoking_list(&self) -> Option<(Digest, CrlNumber)> {
        match self {
            Self::Revoked { list, .. } => Some(**list),
            _ => None,
        }
    }

    /// The stable code of this refusal.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::AlgorithmMismatch { .. } => Code::AlgorithmForbidden,
            Self::Anchors(_) => Code::RootUnusable,
            Self::Audience { .. } => Code::Audience,
            Self::BundleEnded { .. } => Code::BundleEnded,
            Self::BundleLine { .. } => Code::BundleLine,
            Self::BundleNumber { .. } => Code::BundleRollback,
            Self::BundleSigner { .. } => Code::BundleSigner,
            Self::Certificate { fault, .. } => fault.code(),
            Self::ChainOrder { .. } => Code::ChainOrder,
            Self::ChainTooLong { .. } => Code::ChainLength,
            Self::CrlInvalid { .. } => Code::CrlInvalid,
            Self::CrlRollback { .. } => Code::CrlRollback,
            Self::CrlStale { .. } => Code::CrlStale,
            Self::DeviceMismatch { .. } => Code::DeviceIdentity,
            Self::CodeOfAnother { .. }
            | Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. } => Code::DigestMismatch,
            Self::EvidenceInvalid { .. } => Code::EvidenceInvalid,
            Self::EvidenceNonce => Code::EvidenceNonce,
            Self::EvidencePolicy { .. } => Code::EvidencePolicy,
            Self::Expired { .. } => Code::Expired,
            Self::Format(error) => format_code(error),
            Self::NoRoot | Self::NoRootForCode => Code::NoRoot,
            Self::NotYetValid { .. } => Code::NotYetValid,
            Self::PartMismatch { .. } => Code::PartMismatch,
            Self::Path { .. } => Code::CertificateMalformed,
            Self::RevocationUnknown { .. } => Code::RevocationUnknown,
            Self::Revoked { .. } => Code::Revoked,
            Self::Rollback { .. } | Self::VersionLeap { .. } => Code::Rollback,
            Self::ScopeMissing { .. } | Self::SignerNotAuthorised { .. } => {
                Code::SignerNotAuthorised
            }
            Self::SignatureChecks { .. } => Code::LimitExceeded,
            Self::SignatureInvalid { .. } => Code::SignatureInvalid,
            Self::SignerNotNamed { .. } => Code::SignerNotNamed,
            Self::SignersMismatch { .. } => Code::SignersMismatch,
            Self::SignersTooFew { .. } => Code::SignersTooFew,
            Self::UntrustedRoot { .. } => Code::UntrustedRoot,
            Self::Withdrawn { .. } => Code::Withdrawn,
        }
    }
}

impl Rejection {
    /// The check that this refusal answers.
    #[must_use]
    pub const fn check(&self) -> Check {
        match self {
            Self::AlgorithmMismatch { .. } | Self::SignatureInvalid { .. } => Check::Signature,
            Self::Anchors(_)
            | Self::ChainOrder { .. }
            | Self::ChainTooLong { .. }
            | Self::NoRoot
            | Self::NoRootForCode
            | Self::Path { .. }
            | Self::SignatureChecks { .. }
            | Self::UntrustedRoot { .. } => Check::Path,
            Self::Audience { .. } | Self::BundleLine { .. } => Check::Audience,
            Self::BundleEnded { .. } => Check::Time,
            Self::BundleSigner { .. } => Check::Scope,
            Self::Certificate { .. } | Self::DeviceMismatch { .. } => Check::Profile,
            Self::CrlInvalid { .. }
            | Self::CrlRollback { .. }
            | Self::CrlStale { .. }
            | Self::RevocationUnknown { .. }
            | Self::Revoked { .. } => Check::Revocation,
            Self::CodeOfAnother { .. }
            | Self::DigestMismatch { .. }
            | Self::PartMismatch { .. }
            | Self::SizeMismatch { .. } => Check::Digest,
            Self::EvidenceInvalid { .. } => Check::Evidence,
            Self::EvidenceNonce => Check::Freshness,
            Self::EvidencePolicy { .. } => Check::EvidencePolicy,
            Self::Expired { .. } | Self::NotYetValid { .. } => Check::Time,
            Self::Format(_) => Check::Framing,
            Self::BundleNumber { .. }
            | Self::Rollback { .. }
            | Self::VersionLeap { .. }
            | Self::Withdrawn { .. } => Check::Rollback,
            Self::ScopeMissing { .. } | Self::SignerNotAuthorised { .. } => Check::Scope,
            Self::SignersMismatch { .. } => Check::Signers,
            Self::SignerNotNamed { .. } | Self::SignersTooFew { .. } => Check::Threshold,
        }
    }
}

const fn format_code(error: &FormatError) -> Code {
    match error {
        FormatError::AlgorithmForbidden { .. } => Code::AlgorithmForbidden,
        FormatError::LimitExceeded { .. } => Code::LimitExceeded,
        FormatError::Noncanonical { .. } => Code::Noncanonical,
        FormatError::NotABundle => Code::NotABundle,
        FormatError::NotAComponent { .. } => Code::NotAComponent,
        FormatError::Purpose { .. } => Code::Purpose,
        FormatError::SignatureDuplicate { .. } => Code::SignatureDuplicate,
        FormatError::SignatureMissing => Code::SignatureMissing,
        FormatError::SignaturePosition { .. } => Code::SignaturePosition,
        FormatError::TrailingBytes { .. } => Code::TrailingBytes,
        FormatError::VersionUnknown { .. } => Code::FormatVersion,
        _ => Code::Malformed,
    }
}

/// Places are counted from 0 in values and from 1 in words.
const fn nth(index: &usize) -> usize {
    index.saturating_add(1)
}

fn reasons(uncounted: &[String]) -> String {
    uncounted
        .iter()
        .map(|reason| format!("; {reason}"))
        .collect()
}

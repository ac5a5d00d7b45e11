//! What a chain that was judged good says: the proof that the rest of the program asks for.

use countersign_format::{AttestationHardware, Digest, Scope};
use countersign_keys::PublicKey;

use crate::{Anchor, Certificate, CertifiedDevice, Crl, CrlNumber, Rejection, UnixTime};

use super::{ChainVerifier, issuer_of, link::Link, validity::Judging};

/// A chain that leads to a trust anchor, and was valid and not revoked at the time of judging.
///
/// ```compile_fail,E0451
/// # use countersign_trust_store::{Certificate, VerifiedChain};
/// // There is no constructor but verification, and every field is private.
/// # fn tb21_no_chain_but_by_verification(chain: VerifiedChain, leaf: Certificate) -> VerifiedChain {
/// VerifiedChain { leaf, ..chain }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    leaf: Certificate,
    key: PublicKey,
    device: Option<CertifiedDevice>,
    device_type: Option<String>,
    attested_by: Option<AttestationHardware>,
    anchor_subject: String,
    anchor_spki_sha256: Digest,
    development: bool,
    scopes: Vec<Scope>,
    revocation: Vec<(Digest, CrlNumber)>,
    links: Vec<Link>,
    valid_until: UnixTime,
    admitted_at: Option<UnixTime>,
    judged_at_floor: Option<UnixTime>,
}

impl VerifiedChain {
    /// The end entity's certificate.
    #[must_use]
    pub const fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The end entity's key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The device that the end entity's certificate names, if it names one.
    #[must_use]
    pub const fn device(&self) -> Option<&CertifiedDevice> {
        self.device.as_ref()
    }

    /// The device's type, if its certificate states one.
    #[must_use]
    pub fn device_type(&self) -> Option<&str> {
        self.device_type.as_deref()
    }

    /// The kind of hardware that an attestation key's issuer found it in; none for a key in software, and for keys of other
    /// purposes.
    #[must_use]
    pub const fn attested_by(&self) -> Option<AttestationHardware> {
        self.attested_by
    }

    /// The root's subject.
    #[must_use]
    pub fn anchor_subject(&self) -> &str {
        &self.anchor_subject
    }

    /// SHA-256 of the root's SubjectPublicKeyInfo.
    #[must_use]
    pub const fn anchor_spki_sha256(&self) -> Digest {
        self.anchor_spki_sha256
    }

    /// Whether the root is for development only.
    #[must_use]
    pub const fn is_development(&self) -> bool {
        self.development
    }

    /// The scopes of the chain, from the root's down; empty if there is none.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The numbers of the verified lists that were consulted, each with the SHA-256 of its issuer's
    /// SubjectPublicKeyInfo: what a host with state hands to [`TrustState::note_crl_number`](crate::TrustState::note_crl_number).
    #[must_use]
    pub fn revocation(&self) -> &[(Digest, CrlNumber)] {
        &self.revocation
    }

    /// The chain's certificates as later lists name them, the end entity's first.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The time up to which every certificate of the chain is valid.
    #[must_use]
    pub const fn valid_until(&self) -> UnixTime {
        self.valid_until
    }

    /// The time as of which it was judged, where that is not the present but the time at which its file was admitted.
    #[must_use]
    pub const fn admitted_at(&self) -> Option<UnixTime> {
        self.admitted_at
    }

    /// The time as of which it was judged, where this machine's clock was not plausible: what expired since then is not noticed.
    #[must_use]
    pub const fn judged_at_floor(&self) -> Option<UnixTime> {
        self.judged_at_floor
    }
}

impl ChainVerifier<'_> {
    pub(super) fn assemble(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
        crls: &[Option<&Crl>],
        judging: Judging<'_>,
    ) -> Result<VerifiedChain, Rejection> {
        let Some(leaf) = chain.first() else {
            return Err(self.broken(0, "it has no certificate"));
        };
        let fault = |fault| self.fault(0, leaf, fault);
        Ok(VerifiedChain {
            key: leaf.public_key().map_err(fault)?,
            device: leaf.device().map_err(fault)?,
            device_type: leaf.device_type().map_err(fault)?,
            attested_by: leaf.attested_by().map_err(fault)?,
            anchor_subject: anchor.subject(),
            anchor_spki_sha256: anchor.spki_sha256(),
            development: anchor.is_development(),
            scopes: self.scopes(chain, anchor)?,
            revocation: crls
                .iter()
                .enumerate()
                .filter_map(|(depth, crl)| {
                    let issuer = issuer_of(chain, depth, anchor);
                    crl.map(|crl| (issuer.spki_sha256(), crl.number()))
                })
                .collect(),
            links: chain
                .iter()
                .enumerate()
                .map(|(depth, certificate)| Link::new(certificate, issuer_of(chain, depth, anchor)))
                .collect(),
            valid_until: chain
                .iter()
                .map(Certificate::not_after)
                .chain([anchor.not_after()])
                .min()
                .unwrap_or(UnixTime::from_secs(0)),
            admitted_at: judging.admitted.then_some(judging.at),
            judged_at_floor: judging.is_at_floor().then_some(judging.at),
            leaf: leaf.clone(),
        })
    }
}

//! From a list of certificates to a [`VerifiedChain`].
//!
//! Which root a chain leads to is found by following names and signatures ([`reach`]); then the profiles
//! ([`certificates`]), the dates ([`validity`]), the revocation lists ([`revocation`]) and webpki's path validation
//! ([`path`]) must all agree. webpki does not process everything that RFC 5280 asks (key usage, the root's own
//! constraints, key identifiers, serial numbers, whether there is a revocation list at all): what it leaves open is
//! decided here. Nothing that webpki refuses is accepted.

mod certificates;
mod link;
mod path;
mod reach;
mod revocation;
mod validity;
mod verified;

use const_oid::ObjectIdentifier;
use countersign_format::limits;

use crate::{
    Admission, Anchor, Anchors, Certificate, Check, Crl, Now, Rejection, TrustState,
    algorithm::Checks,
    fault::Fault,
    oid,
    profile::{self, Profile},
};
use reach::Reach;
use revocation::describe_revocation;
use validity::{Judging, describe_time};

pub use link::{Issuer, Link, LinkFormatError, LinkStatus};
pub use verified::VerifiedChain;

/// Signature checks that one signer may cost: those of its chain, and the component's own.
pub const MAX_SIGNATURE_CHECKS: u32 = CHAIN_SIGNATURE_CHECKS + 1;

/// Signature checks that one chain may cost: three links, three revocation lists, one to spare. The component's own is
/// not among them, so that forged lists cannot use it up and make the file look bad.
pub(crate) const CHAIN_SIGNATURE_CHECKS: u32 = 7;

/// The profiles of one kind of path.
#[derive(Clone, Copy, Debug)]
pub struct PathProfile {
    /// The end entity's.
    pub end_entity: &'static Profile,
    /// That of the CAs between it and the root.
    pub intermediate: &'static Profile,
    /// The extended key usage that the path is for.
    pub purpose: &'static ObjectIdentifier,
}

impl PathProfile {
    /// Paths of component signers.
    pub const COMPONENTS: Self = Self {
        end_entity: &profile::COMPONENT_SIGNER,
        intermediate: &profile::INTERMEDIATE,
        purpose: &oid::CODE_SIGNING,
    };

    /// Paths of devices that sign their guests' data.
    pub const GUEST_DATA: Self = Self {
        end_entity: &profile::GUEST_DATA,
        intermediate: &profile::INTERMEDIATE,
        purpose: &oid::DOCUMENT_SIGNING,
    };

    /// Paths of signers of bundles, but for the configuration in them.
    pub const BUNDLES: Self = Self {
        end_entity: &profile::BUNDLE_SIGNER,
        intermediate: &profile::INTERMEDIATE,
        purpose: &oid::UPDATE_PACKAGE_SIGNING,
    };

    /// Paths of signers of the configuration in bundles.
    pub const CONFIGURATIONS: Self = Self {
        end_entity: &profile::BUNDLE_SIGNER,
        intermediate: &profile::INTERMEDIATE,
        purpose: &oid::CONFIG_SIGNING,
    };

    /// Paths of keys that sign what a device says of itself.
    pub const ATTESTATION: Self = Self {
        end_entity: &profile::ATTESTATION,
        intermediate: &profile::INTERMEDIATE,
        purpose: &oid::ATTESTATION_KEY,
    };
}

impl Anchors {
    /// Verifies a chain of certificates, the end entity's first, the root not among them.
    ///
    /// # Errors
    /// The first [`Rejection`].
    pub fn verify_chain(
        &self,
        chain: &[Vec<u8>],
        profile: &PathProfile,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedChain, Rejection> {
        self.verify_chain_told(chain, profile, now, state, &mut |_, _| {})
    }

    /// As [`Self::verify_chain`]; `passed` is told of each check that passed.
    pub(crate) fn verify_chain_told(
        &self,
        chain: &[Vec<u8>],
        profile: &PathProfile,
        now: &Now,
        state: &TrustState,
        passed: &mut dyn FnMut(Check, String),
    ) -> Result<VerifiedChain, Rejection> {
        self.verify_chain_admitted(chain, profile, now, state, None, passed)
    }

    /// The same for the chain of what may have been admitted here before.
    pub(crate) fn verify_chain_admitted(
        &self,
        chain: &[Vec<u8>],
        profile: &PathProfile,
        now: &Now,
        state: &TrustState,
        admission: Option<&Admission>,
        passed: &mut dyn FnMut(Check, String),
    ) -> Result<VerifiedChain, Rejection> {
        let checks = Checks::new(CHAIN_SIGNATURE_CHECKS);
        let chain = parse(0, chain)?;
        let verifier = ChainVerifier {
            signer: 0,
            anchors: self,
            profile,
            now,
            state,
            admission,
            checks: &checks,
        };
        match verifier.verify(&chain, passed)? {
            Outcome::Verified(chain) => Ok(*chain),
            Outcome::Foreign(rejection) => Err(rejection),
        }
    }
}

/// Parses the certificates of a signer.
pub(crate) fn parse(signer: usize, chain: &[Vec<u8>]) -> Result<Vec<Certificate>, Rejection> {
    if chain.is_empty() {
        return Err(Rejection::ChainOrder {
            signer,
            depth: 0,
            reason: "it has no certificate",
        });
    }
    let actual = u64::try_from(chain.len()).unwrap_or(u64::MAX);
    if actual > limits::MAX_CHAIN_CERTIFICATES {
        return Err(Rejection::ChainTooLong {
            signer,
            limit: limits::MAX_CHAIN_CERTIFICATES,
            actual,
        });
    }
    let unreadable = |depth| {
        move |fault| Rejection::Certificate {
            signer,
            depth,
            subject: "unread".to_owned(),
            fault,
        }
    };
    chain
        .iter()
        .enumerate()
        .map(|(depth, der)| Certificate::parse(der).map_err(unreadable(depth)))
        .collect()
}

/// What became of a chain that was not refused.
pub(crate) enum Outcome {
    /// It leads to a root of ours, and is valid.
    Verified(Box<VerifiedChain>),
    /// It leads to no root of ours; why not.
    Foreign(Rejection),
}

pub(crate) struct ChainVerifier<'a> {
    pub(crate) signer: usize,
    pub(crate) anchors: &'a Anchors,
    pub(crate) profile: &'a PathProfile,
    pub(crate) now: &'a Now,
    pub(crate) state: &'a TrustState,
    /// That the file of this chain was admitted here before.
    pub(crate) admission: Option<&'a Admission>,
    pub(crate) checks: &'a Checks,
}

impl ChainVerifier<'_> {
    /// `passed` is told of each check that passed, with what was found.
    pub(crate) fn verify(
        &self,
        chain: &[Certificate],
        passed: &mut dyn FnMut(Check, String),
    ) -> Result<Outcome, Rejection> {
        let anchor = match self.reach(chain)? {
            Reach::Anchor(anchor) => anchor,
            Reach::Nothing(rejection) => return Ok(Outcome::Foreign(rejection)),
        };
        self.inspect(chain, anchor)?;
        passed(
            Check::Profile,
            format!(
                "{} certificates, each with what its kind needs and nothing that it must not have",
                chain.len()
            ),
        );

        // Told as soon as names and signatures lead there: whoever lacks a revocation list wants to know that the root
        // is not the trouble. Should webpki find fault with the path all the same, a refusal of this check follows.
        passed(
            Check::Path,
            format!("leads to the root {}", anchor.subject()),
        );
        let admitted = self
            .admission
            .and_then(|admission| admission.for_anchor(&anchor.spki_sha256()));
        let today = Judging::new(self.now, chain, anchor);
        let (judging, crls) = match (self.judge(chain, anchor, today, passed), admitted) {
            // What was valid when it was admitted is stopped by a list that names it, and by no date.
            (Err(rejection), Some(then)) if rejection.is_of_dates() => {
                let then = Judging::admitted(then, chain, anchor);
                (then, self.judge(chain, anchor, then, passed)?)
            }
            (judged, _) => (today, judged?),
        };
        self.validate_path(chain, anchor, judging.at)?;
        passed(Check::Revocation, describe_revocation(&crls));
        self.assemble(chain, anchor, &crls, judging)
            .map(|chain| Outcome::Verified(Box::new(chain)))
    }

    /// The dates of the chain and what the lists say of it: the lists that decide.
    fn judge<'c>(
        &'c self,
        chain: &[Certificate],
        anchor: &'c Anchor,
        judging: Judging<'_>,
        passed: &mut dyn FnMut(Check, String),
    ) -> Result<Vec<Option<&'c Crl>>, Rejection> {
        self.check_validity(chain, anchor, judging)?;
        passed(Check::Time, describe_time(chain, anchor, judging));
        self.choose_crls(chain, anchor, judging)
    }

    fn fault(&self, depth: usize, certificate: &Certificate, fault: Fault) -> Rejection {
        Rejection::Certificate {
            signer: self.signer,
            depth,
            subject: certificate.subject(),
            fault,
        }
    }

    const fn broken(&self, depth: usize, reason: &'static str) -> Rejection {
        Rejection::ChainOrder {
            signer: self.signer,
            depth,
            reason,
        }
    }

    const fn spent(&self) -> Rejection {
        Rejection::SignatureChecks {
            signer: self.signer,
            limit: CHAIN_SIGNATURE_CHECKS,
        }
    }
}

fn issuer_of<'a>(chain: &'a [Certificate], depth: usize, anchor: &'a Anchor) -> &'a Certificate {
    chain
        .get(depth.saturating_add(1))
        .unwrap_or_else(|| anchor.certificate())
}

//! From a list of certificates to a [`VerifiedChain`].
//!
//! Which root a chain leads to is found by following names and signatures; then the profiles, the dates, webpki's path
//! validation and the revocation lists must all agree. webpki does not process everything that RFC 5280 asks (key
//! usage, the root's own constraints, key identifiers, serial numbers, whether there is a revocation list at all):
//! what it leaves open is decided here. Nothing that webpki refuses is accepted.

use std::time::Duration;

use const_oid::ObjectIdentifier;
use countersign_format::{Digest, Scope, limits};
use countersign_keys::PublicKey;
use pki_types::CertificateDer;
use webpki::{EndEntityCert, KeyUsage, RevocationOptionsBuilder, UnknownStatusPolicy};
use x509_cert::ext::pkix::KeyUsages;

use crate::{
    Anchor, Anchors, Certificate, CertifiedDevice, Check, Crl, CrlNumber, Now, Rejection,
    TimeBasis, TrustState, UnixTime,
    algorithm::{Algorithms, Checks, VerifyError, verify_x509},
    fault::Fault,
    oid,
    profile::{self, Profile},
};

/// Signature checks that one chain may cost: three links, three revocation lists, the component's own, one to spare.
pub const MAX_SIGNATURE_CHECKS: u32 = 8;

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
}

/// A chain that leads to a trust anchor, and was valid and not revoked at the time of judging.
///
/// ```compile_fail
/// // There is no constructor but verification, and no field to fill.
/// let chain = countersign_trust_store::VerifiedChain { leaf: todo!() };
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    leaf: Certificate,
    key: PublicKey,
    device: Option<CertifiedDevice>,
    device_type: Option<String>,
    anchor_subject: String,
    anchor_spki_sha256: Digest,
    development: bool,
    scopes: Vec<Scope>,
    revocation: Vec<(Digest, CrlNumber)>,
    valid_until: UnixTime,
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
    /// SubjectPublicKeyInfo: what a host with state hands to [`TrustState::note_crl_number`].
    #[must_use]
    pub fn revocation(&self) -> &[(Digest, CrlNumber)] {
        &self.revocation
    }

    /// The time up to which every certificate of the chain is valid.
    #[must_use]
    pub const fn valid_until(&self) -> UnixTime {
        self.valid_until
    }
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
        let checks = Checks::new(MAX_SIGNATURE_CHECKS);
        let chain = parse(0, chain)?;
        let verifier = ChainVerifier {
            signer: 0,
            anchors: self,
            profile,
            now,
            state,
            checks: &checks,
        };
        match verifier.verify(&chain, &mut |_, _| {})? {
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
        let at = self.now.judging_time(latest_not_before(chain, anchor));
        self.check_validity(chain, anchor, at)?;
        passed(Check::Time, self.describe_time(chain, anchor, at));
        let crls = self.choose_crls(chain, anchor, at)?;
        self.validate_path(chain, anchor, at, &crls)?;
        passed(Check::Revocation, describe_revocation(&crls));
        self.assemble(chain, anchor, &crls)
            .map(|chain| Outcome::Verified(Box::new(chain)))
    }

    /// Follows names and signatures from the end entity up to a root of ours.
    fn reach(&self, chain: &[Certificate]) -> Result<Reach<'_>, Rejection> {
        for (depth, pair) in chain.windows(2).enumerate() {
            let [certificate, issuer] = pair else {
                continue;
            };
            if certificate.issuer_der() != issuer.subject_der() {
                return Ok(Reach::Nothing(
                    self.broken(depth, "the next certificate is not its issuer's"),
                ));
            }
            if !self.is_signed_by(certificate, issuer.spki())? {
                return Ok(Reach::Nothing(self.broken(
                    depth,
                    "its signature is not by the next certificate's key",
                )));
            }
        }
        let Some(last) = chain.last() else {
            return Ok(Reach::Nothing(self.broken(0, "it has no certificate")));
        };
        // Of several roots of one name, the one whose key identifier fits is tried first.
        let wanted = key_identifier_of_issuer(last);
        let mut anchors: Vec<_> = self
            .anchors
            .for_components()
            .filter(|anchor| anchor.certificate().subject_der() == last.issuer_der())
            .collect();
        anchors.sort_by_key(|anchor| own_key_identifier(anchor.certificate()) != wanted);
        for anchor in anchors {
            if self.is_signed_by(last, anchor.certificate().spki())? {
                return Ok(Reach::Anchor(anchor));
            }
        }
        let subject = chain.first().map(Certificate::subject).unwrap_or_default();
        Ok(Reach::Nothing(Rejection::UntrustedRoot {
            signer: self.signer,
            subject,
            issuer: last.issuer(),
        }))
    }

    fn is_signed_by(&self, certificate: &Certificate, spki: &[u8]) -> Result<bool, Rejection> {
        let Ok((message, signature)) = certificate.signed_parts() else {
            return Ok(false);
        };
        match verify_x509(
            self.checks,
            spki,
            certificate.signature_algorithm(),
            &message,
            signature,
        ) {
            Ok(()) => Ok(true),
            Err(VerifyError::Invalid) => Ok(false),
            Err(VerifyError::BudgetSpent) => Err(self.spent()),
        }
    }

    /// Each certificate by itself and beside its issuer.
    fn inspect(&self, chain: &[Certificate], anchor: &Anchor) -> Result<(), Rejection> {
        for (depth, certificate) in chain.iter().enumerate() {
            let profile = if depth == 0 {
                self.profile.end_entity
            } else {
                self.profile.intermediate
            };
            let fault = |fault| self.fault(depth, certificate, fault);
            profile
                .inspect(certificate, Some(*self.profile.purpose))
                .map_err(fault)?;
            // The root is not sent, and a CA's second certificate for its own name is no way around that.
            if certificate.is_self_issued() {
                return Err(self.broken(
                    depth,
                    "it is self-issued; roots are compiled in, never sent",
                ));
            }
            // Keys have one purpose: one that certifies others signs nothing else.
            let above = chain.iter().skip(depth.saturating_add(1));
            if above
                .chain([anchor.certificate()])
                .any(|above| above.spki() == certificate.spki())
            {
                return Err(fault(Fault::Key {
                    reason: "it is the key of a CA above it".to_owned(),
                }));
            }
            let issuer = issuer_of(chain, depth, anchor);
            check_key_identifiers(certificate, issuer).map_err(fault)?;
            check_path_length(certificate, depth).map_err(fault)?;
        }
        check_path_length(anchor.certificate(), chain.len())
            .map_err(|fault| self.fault(chain.len(), anchor.certificate(), fault))
    }

    /// RFC 5280 §6.1.3 (a)(2), for the root too: its dates bound what it can vouch for.
    fn check_validity(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
        at: UnixTime,
    ) -> Result<(), Rejection> {
        for certificate in chain.iter().chain([anchor.certificate()]) {
            if at < certificate.not_before() {
                let (subject, not_before) = (certificate.subject(), certificate.not_before());
                return Err(Rejection::NotYetValid {
                    subject,
                    not_before,
                    now: at,
                    basis: self.now.basis(),
                });
            }
            if at > certificate.not_after() {
                return Err(self.expired(certificate, at));
            }
        }
        Ok(())
    }

    /// A verified, current list for each certificate, or none for an end entity that says noRevAvail (RFC 9608 §4): that
    /// excuses the absence of a list, not what a list says.
    fn choose_crls<'c>(
        &'c self,
        chain: &[Certificate],
        anchor: &'c Anchor,
        at: UnixTime,
    ) -> Result<Vec<Option<&'c Crl>>, Rejection> {
        let mut chosen = Vec::with_capacity(chain.len());
        for (depth, certificate) in chain.iter().enumerate() {
            let issuer = issuer_of(chain, depth, anchor);
            let excused = depth == 0 && certificate.is_no_rev_avail();
            let crl = match self.choose_crl(certificate, issuer, anchor)? {
                Some(crl) => crl,
                None if excused => {
                    chosen.push(None);
                    continue;
                }
                None => {
                    return Err(Rejection::RevocationUnknown {
                        subject: certificate.subject(),
                        issuer: certificate.issuer(),
                    });
                }
            };
            self.check_not_revoked(depth, certificate, crl)?;
            if excused {
                chosen.push(None);
                continue;
            }
            self.check_crl(crl, issuer, anchor.crl_grace(), at)?;
            // Without a clock, a list's thisUpdate shows what time it must be for its own issuer's certificates.
            if self.now.clock().is_none() && crl.this_update() > certificate.not_after() {
                return Err(self.expired(certificate, crl.this_update()));
            }
            chosen.push(Some(crl));
        }
        Ok(chosen)
    }

    /// The issuer's list with the highest number whose signature verifies, if there is one.
    fn choose_crl<'c>(
        &'c self,
        certificate: &Certificate,
        issuer: &Certificate,
        anchor: &'c Anchor,
    ) -> Result<Option<&'c Crl>, Rejection> {
        let invalid = |reason| Rejection::CrlInvalid {
            issuer: issuer.subject(),
            reason,
        };
        let identifier = issuer.subject_key_identifier().ok().flatten();
        let identifier = identifier
            .as_ref()
            .map(|identifier| identifier.0.as_bytes())
            .unwrap_or_default();
        let candidates = self
            .state
            .crls_of(anchor.crls(), issuer.subject_der(), identifier);
        let mut chosen: Option<&Crl> = None;
        for crl in &candidates {
            // The highest number decides; what follows it is older.
            if chosen.is_some_and(|chosen| crl.number() < chosen.number()) {
                break;
            }
            match (crl.verify(self.checks, issuer.spki()), chosen) {
                (Ok(()), None) => chosen = Some(crl),
                (Ok(()), Some(chosen)) if chosen.der() != crl.der() => {
                    return Err(invalid(
                        "two different lists of it have the same number; get a newer one",
                    ));
                }
                (Ok(()), Some(_)) | (Err(VerifyError::Invalid), _) => {}
                (Err(VerifyError::BudgetSpent), _) => {
                    return Err(invalid(
                        "too many lists that claim to be its are not; take the forged ones away",
                    ));
                }
            }
        }
        if chosen.is_none() && !candidates.is_empty() && !certificate.is_no_rev_avail() {
            return Err(invalid(
                "its signature does not verify under its issuer's key",
            ));
        }
        Ok(chosen)
    }

    fn check_crl(
        &self,
        crl: &Crl,
        issuer: &Certificate,
        grace: Duration,
        at: UnixTime,
    ) -> Result<(), Rejection> {
        // RFC 5280 §6.3.3 (f). Stricter: absent key usage permits nothing.
        let usage = issuer.key_usage().ok().flatten();
        if !usage.is_some_and(|usage| usage.0.contains(KeyUsages::CRLSign)) {
            return Err(Rejection::CrlInvalid {
                issuer: issuer.subject(),
                reason: "its issuer's key usage lacks cRLSign",
            });
        }
        let number = crl.number();
        if let Some(seen) = self.state.seen_crl_number(&issuer.spki_sha256())
            && number < seen
        {
            return Err(Rejection::CrlRollback {
                issuer: issuer.subject(),
                number,
                seen,
            });
        }
        let from_the_future = self
            .now
            .clock()
            .is_some_and(|clock| crl.this_update() > clock);
        if from_the_future || at > crl.next_update().saturating_add(grace) {
            let (this_update, next_update) = (crl.this_update(), crl.next_update());
            return Err(Rejection::CrlStale {
                issuer: issuer.subject(),
                this_update,
                next_update,
                now: at,
            });
        }
        Ok(())
    }

    fn check_not_revoked(
        &self,
        depth: usize,
        certificate: &Certificate,
        crl: &Crl,
    ) -> Result<(), Rejection> {
        let der = CertificateDer::from(certificate.der());
        let parsed = EndEntityCert::try_from(&der)
            .map_err(|_| self.fault(depth, certificate, Fault::NotDer))?;
        match crl.webpki().map(|list| list.find_serial(parsed.serial())) {
            Some(Ok(None)) => Ok(()),
            Some(Ok(Some(_))) => Err(Rejection::Revoked {
                subject: certificate.subject(),
                serial: certificate.serial(),
                issuer: certificate.issuer(),
            }),
            None | Some(Err(_)) => Err(Rejection::CrlInvalid {
                issuer: crl.issuer().to_owned(),
                reason: "one of its entries is malformed",
            }),
        }
    }

    /// webpki's own validation, which must agree, and must take exactly this path.
    fn validate_path(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
        at: UnixTime,
        crls: &[Option<&Crl>],
    ) -> Result<(), Rejection> {
        let refused = |reason: String| Rejection::Path {
            signer: self.signer,
            reason,
        };
        let ders: Vec<_> = chain
            .iter()
            .map(|certificate| CertificateDer::from(certificate.der()))
            .collect();
        let Some((leaf, intermediates)) = ders.split_first() else {
            return Err(self.broken(0, "it has no certificate"));
        };
        let end_entity =
            EndEntityCert::try_from(leaf).map_err(|error| refused(error.to_string()))?;
        let lists: Vec<_> = crls
            .iter()
            .flatten()
            .filter_map(|crl| crl.webpki())
            .collect();
        // Unknown status is allowed here because `choose_crls` has demanded one for each; a list that is there counts.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_status_policy(UnknownStatusPolicy::Allow)
                .build()
        });
        let algorithms = Algorithms::new(self.checks);
        let anchors = [anchor.webpki().clone()];
        let path = end_entity
            .verify_for_usage(
                &algorithms.as_dyn(),
                &anchors,
                intermediates,
                pki_types::UnixTime::since_unix_epoch(Duration::from_secs(at.as_secs())),
                KeyUsage::required_if_present(self.profile.purpose.as_bytes()),
                revocation,
                None,
            )
            .map_err(|error| {
                if self.checks.is_spent() {
                    self.spent()
                } else {
                    refused(error.to_string())
                }
            })?;
        let taken = path.intermediate_certificates().map(webpki::Cert::der);
        if !taken.eq(intermediates.iter().cloned()) {
            return Err(self.broken(0, "not every certificate is needed, each by the one before"));
        }
        Ok(())
    }

    fn assemble(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
        crls: &[Option<&Crl>],
    ) -> Result<VerifiedChain, Rejection> {
        let Some(leaf) = chain.first() else {
            return Err(self.broken(0, "it has no certificate"));
        };
        let fault = |fault| self.fault(0, leaf, fault);
        Ok(VerifiedChain {
            key: leaf.public_key().map_err(fault)?,
            device: leaf.device().map_err(fault)?,
            device_type: leaf.device_type().map_err(fault)?,
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
            valid_until: chain
                .iter()
                .map(Certificate::not_after)
                .chain([anchor.not_after()])
                .min()
                .unwrap_or(UnixTime::from_secs(0)),
            leaf: leaf.clone(),
        })
    }

    /// The scopes from the root's down, each within the one above it.
    fn scopes(&self, chain: &[Certificate], anchor: &Anchor) -> Result<Vec<Scope>, Rejection> {
        let mut scopes: Vec<Scope> = anchor.scope().cloned().into_iter().collect();
        let below = chain.iter().enumerate().rev();
        for (depth, certificate) in [(chain.len(), anchor.certificate())]
            .into_iter()
            .chain(below)
        {
            let fault = |fault| self.fault(depth, certificate, fault);
            let Some(scope) = certificate.scope().map_err(fault)? else {
                continue;
            };
            if scopes.last().is_some_and(|above| !above.contains(&scope)) {
                return Err(fault(Fault::ScopeWidened));
            }
            scopes.push(scope);
        }
        Ok(scopes)
    }

    fn describe_time(&self, chain: &[Certificate], anchor: &Anchor, at: UnixTime) -> String {
        let until = chain
            .iter()
            .map(Certificate::not_after)
            .chain([anchor.not_after()])
            .min()
            .unwrap_or(at);
        match self.now.basis() {
            TimeBasis::Clock => format!("judged at {at} by the clock; all are valid until {until}"),
            TimeBasis::Given => format!("judged as of {at}; all are valid until {until}"),
            TimeBasis::Floor => format!(
                "this machine's clock is not plausible (it shows a time before {}), so judged at {at}: \
                 a certificate that expired since then is not noticed",
                self.now.floor()
            ),
        }
    }

    fn expired(&self, certificate: &Certificate, now: UnixTime) -> Rejection {
        Rejection::Expired {
            subject: certificate.subject(),
            not_after: certificate.not_after(),
            now,
            basis: self.now.basis(),
        }
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
            limit: MAX_SIGNATURE_CHECKS,
        }
    }
}

enum Reach<'a> {
    Anchor(&'a Anchor),
    Nothing(Rejection),
}

fn issuer_of<'a>(chain: &'a [Certificate], depth: usize, anchor: &'a Anchor) -> &'a Certificate {
    chain
        .get(depth.saturating_add(1))
        .unwrap_or_else(|| anchor.certificate())
}

fn latest_not_before(chain: &[Certificate], anchor: &Anchor) -> UnixTime {
    chain
        .iter()
        .map(Certificate::not_before)
        .fold(anchor.not_before(), UnixTime::max)
}

fn key_identifier_of_issuer(certificate: &Certificate) -> Option<Vec<u8>> {
    let identifier = certificate.authority_key_identifier().ok().flatten()?;
    Some(identifier.key_identifier?.as_bytes().to_vec())
}

fn own_key_identifier(certificate: &Certificate) -> Option<Vec<u8>> {
    let identifier = certificate.subject_key_identifier().ok().flatten()?;
    Some(identifier.0.as_bytes().to_vec())
}

/// RFC 5280 §4.2.1.1: the key identifier in a certificate is its issuer's subject key identifier.
fn check_key_identifiers(certificate: &Certificate, issuer: &Certificate) -> Result<(), Fault> {
    let authority = certificate
        .authority_key_identifier()?
        .and_then(|identifier| identifier.key_identifier);
    let subject = issuer
        .subject_key_identifier()?
        .map(|identifier| identifier.0);
    if authority.is_some() && authority == subject {
        return Ok(());
    }
    Err(Fault::KeyIdentifier {
        reason: "its authorityKeyIdentifier is not its issuer's subjectKeyIdentifier",
    })
}

/// RFC 5280 §4.2.1.9: pathLenConstraint bounds the CAs below. Stricter: self-issued ones do not occur at all.
fn check_path_length(certificate: &Certificate, depth: usize) -> Result<(), Fault> {
    let Some(allowed) = certificate
        .basic_constraints()?
        .and_then(|constraints| constraints.path_len_constraint)
    else {
        return Ok(());
    };
    let actual = depth.saturating_sub(1);
    if depth > 0 && actual > usize::from(allowed) {
        return Err(Fault::PathLength { allowed, actual });
    }
    Ok(())
}

fn describe_revocation(crls: &[Option<&Crl>]) -> String {
    let each: Vec<_> =
        crls.iter()
            .map(|crl| match crl {
                Some(crl) => format!(
                    "list {} of {} from {}",
                    crl.number(),
                    crl.issuer(),
                    crl.this_update()
                ),
                None => "the signer's certificate says that there is no list for it (noRevAvail)"
                    .to_owned(),
            })
            .collect();
    each.join("; ")
}

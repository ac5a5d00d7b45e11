//! `bytes -> UnverifiedComponent -> VerifiedComponent`: the verdict on a signed component.
//!
//! The steps are taken in the order of [`Check::ALL`], and the first that fails decides. The buffer that was read is
//! the buffer that was verified: it is owned by each type in turn and never read again from anywhere else.

use countersign_format::{Digest, Envelope, SignedFile, SignerEntry, SignerId, Statement};

use crate::{
    Admission, Anchors, Check, Now, Outcome, PathProfile, Policy, Rejection, Step, TrustState,
    UnixTime, VerifiedChain,
    algorithm::Checks,
    authorisation,
    chain::{self, CHAIN_SIGNATURE_CHECKS, ChainVerifier},
    signature,
};

/// The bytes of a signed component, well-formed but not believed.
///
/// What its statement says may be shown to people, as a claim; nothing else may be done with it.
#[derive(Debug)]
pub struct UnverifiedComponent {
    /// The file; of a component that was recognised, its signature section alone.
    bytes: Vec<u8>,
    body: Body,
    envelope: Envelope,
    statement: Statement,
}

/// What is there of the component itself.
#[derive(Clone, Copy, Debug)]
enum Body {
    /// All of it: the first so many of the bytes.
    Whole { size: usize },
    /// Not its bytes: they were seen, and are those whose digest this device has computed before, which the statement names.
    Recognised,
}

impl UnverifiedComponent {
    /// Parses a signed component: framing, then the only permitted form of envelope and statement.
    ///
    /// # Errors
    /// [`Rejection::Format`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Rejection> {
        Self::parse_explained(bytes, &mut |_| {})
    }

    /// The same, telling `report` of each check.
    ///
    /// # Errors
    /// [`Rejection::Format`].
    pub fn parse_explained(
        bytes: Vec<u8>,
        report: &mut dyn FnMut(Step),
    ) -> Result<Self, Rejection> {
        let (size, envelope, statement) = Self::read(&bytes, report)?;
        Ok(Self {
            body: Body::Whole { size },
            envelope,
            statement,
            bytes,
        })
    }

    /// A component that this device has noted with the digest and the size in `statement`.
    pub(crate) const fn recognised(
        section: Vec<u8>,
        envelope: Envelope,
        statement: Statement,
    ) -> Self {
        Self {
            bytes: section,
            body: Body::Recognised,
            envelope,
            statement,
        }
    }

    /// Where the component ends, and what follows it.
    fn read(
        bytes: &[u8],
        report: &mut dyn FnMut(Step),
    ) -> Result<(usize, Envelope, Statement), Rejection> {
        let mut reporter = Reporter(report);
        let refused =
            |check, error: countersign_format::FormatError, reporter: &mut Reporter<'_>| {
                let rejection = Rejection::from(error);
                reporter.refused(check, None, &rejection);
                rejection
            };
        let file = SignedFile::parse(bytes)
            .map_err(|error| refused(Check::Framing, error, &mut reporter))?;
        let component_size = file.component().len();
        reporter.passed(
            Check::Framing,
            None,
            format!("a component of {component_size} bytes, then one signature section"),
        );
        let parsed = Envelope::decode(file.signature()).and_then(|envelope| {
            Statement::decode(envelope.statement_bytes()).map(|statement| (envelope, statement))
        });
        let (envelope, statement) =
            parsed.map_err(|error| refused(Check::CanonicalForm, error, &mut reporter))?;
        let signers = envelope.signers().len();
        reporter.passed(
            Check::CanonicalForm,
            None,
            format!(
                "says: {} {}, security version {}, {signers} signer(s)",
                statement.name(),
                statement.version(),
                statement.security_version()
            ),
        );
        Ok((component_size, envelope, statement))
    }

    /// What the file claims. Not verified.
    #[must_use]
    pub const fn claimed_statement(&self) -> &Statement {
        &self.statement
    }

    /// The signatures and chains in the file. Not verified.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    fn component(&self) -> Option<&[u8]> {
        match self.body {
            Body::Whole { size } => self.bytes.get(..size),
            Body::Recognised => None,
        }
    }

    /// SHA-256 of the section with the signatures. The statement in it binds the rest of the file.
    fn signatures(&self) -> Digest {
        let start = match self.body {
            Body::Whole { size } => size,
            Body::Recognised => 0,
        };
        Digest::of(self.bytes.get(start..).unwrap_or_default())
    }
}

/// A component whose every byte was signed by devices that this host trusts, for this host, now.
///
/// ```compile_fail,E0451
/// # use countersign_format::Digest;
/// # use countersign_trust_store::{Admission, UnverifiedComponent, VerifiedComponent};
/// // There is no constructor but verification, and every field is private.
/// # fn tb21_no_constructor_but_verification(unverified: UnverifiedComponent, digest: Digest, admission: Admission) -> VerifiedComponent {
/// VerifiedComponent { unverified, digest, admission, signers: Vec::new(), uncounted: Vec::new() }
/// # }
/// ```
///
/// ```compile_fail,E0277
/// # use countersign_trust_store::{UnverifiedComponent, VerifiedComponent};
/// // What is not verified does not become so by conversion.
/// # fn tb21_no_conversion(unverified: UnverifiedComponent) -> VerifiedComponent {
/// unverified.into()
/// # }
/// ```
#[derive(Debug)]
pub struct VerifiedComponent {
    unverified: UnverifiedComponent,
    digest: Digest,
    admission: Admission,
    signers: Vec<VerifiedSigner>,
    uncounted: Vec<String>,
}

impl VerifiedComponent {
    /// The component as its compiler wrote it, without the signature; none of one that was recognised
    /// ([`Recogniser`](crate::Recogniser)).
    #[must_use]
    pub fn component(&self) -> Option<&[u8]> {
        self.unverified.component()
    }

    /// SHA-256 of the component, without the signature.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What was signed.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.unverified.statement
    }

    /// The signers that count: at least one.
    #[must_use]
    pub fn signers(&self) -> &[VerifiedSigner] {
        &self.signers
    }

    /// Why other signers of the file do not count, one sentence each.
    #[must_use]
    pub fn uncounted(&self) -> &[String] {
        &self.uncounted
    }

    /// What a host with state remembers, so that it may start again after its certificates have ended: the admission by which
    /// it verified, or else that of now. See [`TrustState::note_admission`].
    #[must_use]
    pub const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The time as of which its certificates count, where they are not valid now or their lists are stale: that of its
    /// admission.
    #[must_use]
    pub fn admitted_at(&self) -> Option<UnixTime> {
        let chains = self.signers.iter().map(|signer| &signer.chain);
        chains.filter_map(VerifiedChain::admitted_at).min()
    }

    /// The time as of which its certificates count, where this machine's clock was not plausible: what expired since then is not
    /// noticed.
    #[must_use]
    pub fn judged_at_floor(&self) -> Option<UnixTime> {
        let chains = self.signers.iter().map(|signer| &signer.chain);
        chains.filter_map(VerifiedChain::judged_at_floor).min()
    }

    /// Whether one of the roots is for development only.
    #[must_use]
    pub fn uses_development_root(&self) -> bool {
        self.signers
            .iter()
            .any(|signer| signer.chain.is_development())
    }
}

/// A signer whose chain leads to a root of this host and whose signature verified.
#[derive(Debug)]
pub struct VerifiedSigner {
    pub(crate) index: usize,
    pub(crate) chain: VerifiedChain,
}

impl VerifiedSigner {
    /// The signer's place in the file, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The signer's chain.
    #[must_use]
    pub const fn chain(&self) -> &VerifiedChain {
        &self.chain
    }
}

impl Anchors {
    /// Decides whether a component may be trusted.
    ///
    /// # Errors
    /// The first [`Rejection`], in the order of [`Check::ALL`].
    pub fn verify(
        &self,
        component: UnverifiedComponent,
        policy: &Policy,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedComponent, Rejection> {
        self.verify_explained(component, policy, now, state, &mut |_| {})
    }

    /// Parses and verifies the bytes of a signed component, and gives those of what it refuses back: a host that records which
    /// file it refused computes nothing over what it accepts.
    ///
    /// # Errors
    /// [`Refused`], with the first [`Rejection`], in the order of [`Check::ALL`].
    pub fn verify_bytes(
        &self,
        bytes: Vec<u8>,
        policy: &Policy,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedComponent, Refused> {
        let (size, envelope, statement) = match UnverifiedComponent::read(&bytes, &mut |_| {}) {
            Ok(read) => read,
            Err(rejection) => return Err(Refused { rejection, bytes }),
        };
        let component = UnverifiedComponent {
            body: Body::Whole { size },
            envelope,
            statement,
            bytes,
        };
        self.judge(component, policy, now, state, &mut |_| {})
            .map_err(|(rejection, component)| Refused {
                rejection,
                bytes: component.bytes,
            })
    }

    /// As [`Self::verify`], telling `report` of each check.
    ///
    /// # Errors
    /// The first [`Rejection`], in the order of [`Check::ALL`].
    pub fn verify_explained(
        &self,
        component: UnverifiedComponent,
        policy: &Policy,
        now: &Now,
        state: &TrustState,
        report: &mut dyn FnMut(Step),
    ) -> Result<VerifiedComponent, Rejection> {
        self.judge(component, policy, now, state, report)
            .map_err(|(rejection, _)| rejection)
    }

    fn judge(
        &self,
        component: UnverifiedComponent,
        policy: &Policy,
        now: &Now,
        state: &TrustState,
        report: &mut dyn FnMut(Step),
    ) -> Result<VerifiedComponent, (Rejection, Box<UnverifiedComponent>)> {
        let mut reporter = Reporter(report);
        let signatures = component.signatures();
        let admission = state.admission(&signatures);
        let verdict = Verification {
            anchors: self,
            component: &component,
            policy,
            now,
            state,
            admission,
        }
        .run(&mut reporter);
        match verdict {
            Ok(Verdict {
                digest,
                signers,
                uncounted,
            }) => Ok(VerifiedComponent {
                admission: Admission::of(
                    signatures,
                    signers.iter().map(VerifiedSigner::chain),
                    now,
                    admission,
                ),
                unverified: component,
                digest,
                signers,
                uncounted,
            }),
            Err((check, signer, rejection)) => {
                reporter.refused(check, signer, &rejection);
                Err((rejection, Box::new(component)))
            }
        }
    }
}

/// Bytes that were refused, and why.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub rejection: Rejection,
    /// All of the file.
    pub bytes: Vec<u8>,
}

struct Verdict {
    digest: Digest,
    signers: Vec<VerifiedSigner>,
    uncounted: Vec<String>,
}

/// Where it was refused, and why.
type RefusedAt = (Check, Option<usize>, Rejection);

struct Verification<'a> {
    anchors: &'a Anchors,
    component: &'a UnverifiedComponent,
    policy: &'a Policy,
    now: &'a Now,
    state: &'a TrustState,
    admission: Option<&'a Admission>,
}

impl Verification<'_> {
    fn run(&self, reporter: &mut Reporter<'_>) -> Result<Verdict, RefusedAt> {
        if self.anchors.is_empty() {
            return Err((Check::Path, None, Rejection::NoRoot));
        }
        let statement = &self.component.statement;
        let digest = self.check_digest(reporter)?;
        let entries = self.parse_signers(reporter)?;

        let mut signers = Vec::new();
        let mut foreign = Vec::new();
        for entry in &entries {
            match self.verify_chain(entry, reporter)? {
                chain::Outcome::Verified(chain) => signers.push(VerifiedSigner {
                    index: entry.index,
                    chain: *chain,
                }),
                chain::Outcome::Foreign(rejection) => foreign.push((entry.index, rejection)),
            }
        }
        for entry in &entries {
            self.check_signature(entry, reporter)?;
        }
        for signer in &signers {
            let passed = authorisation::check_scope(signer, statement)
                .map_err(|rejection| (Check::Scope, Some(signer.index), rejection))?;
            reporter.passed(Check::Scope, Some(signer.index), passed);
        }
        let passed = authorisation::check_audience(statement.audience(), self.policy)
            .map_err(|rejection| (Check::Audience, None, rejection))?;
        reporter.passed(Check::Audience, None, passed);

        // With no trusted signer at all, the reason why the first is not trusted says more than a count.
        let uncounted: Vec<_> = foreign
            .iter()
            .map(|(_, rejection)| rejection.to_string())
            .collect();
        if signers.is_empty()
            && let Some((index, rejection)) = foreign.into_iter().next()
        {
            return Err((Check::Path, Some(index), rejection));
        }
        let refused = |rejection| (Check::Threshold, None, rejection);
        let named =
            authorisation::check_rules(&signers, statement, self.policy).map_err(refused)?;
        let passed =
            authorisation::check_threshold(&named, self.policy, &uncounted).map_err(refused)?;
        reporter.passed(Check::Threshold, None, passed);
        self.check_rollback(&signers, reporter)?;
        Ok(Verdict {
            digest,
            signers,
            uncounted,
        })
    }

    fn check_digest(&self, reporter: &mut Reporter<'_>) -> Result<Digest, RefusedAt> {
        let statement = &self.component.statement;
        let refused = |rejection| (Check::Digest, None, rejection);
        let Some(component) = self.component.component() else {
            // Seen to the last byte, and noted by this device with this digest and size.
            let digest = *statement.component_digest();
            reporter.passed(Check::Digest, None, format!("SHA-256 {digest}, recognised"));
            return Ok(digest);
        };
        let actual = u64::try_from(component.len()).unwrap_or(u64::MAX);
        if actual != statement.component_size() {
            return Err(refused(Rejection::SizeMismatch {
                stated: statement.component_size(),
                actual,
            }));
        }
        let digest = Digest::of(component);
        if digest != *statement.component_digest() {
            return Err(refused(Rejection::DigestMismatch {
                stated: *statement.component_digest(),
                actual: digest,
            }));
        }
        reporter.passed(Check::Digest, None, format!("SHA-256 {digest}"));
        Ok(digest)
    }

    /// Parses every chain, and compares the signers with those in the statement: exactly these, in this order.
    fn parse_signers(&self, reporter: &mut Reporter<'_>) -> Result<Vec<Entry<'_>>, RefusedAt> {
        let mut entries = Vec::new();
        let mut present = Vec::new();
        for (index, signer) in self.component.envelope.signers().iter().enumerate() {
            let refused = |rejection| (Check::Profile, Some(index), rejection);
            let certificates = chain::parse(index, signer.chain()).map_err(refused)?;
            let Some(leaf) = certificates.first() else {
                continue;
            };
            // With the whole chain: a co-signer that is revoked must not swap its own for one that leads nowhere.
            present.push(SignerId::of(
                signer.algorithm(),
                leaf.spki_sha256(),
                signer.chain(),
            ));
            entries.push(Entry {
                index,
                signer,
                certificates,
                checks: Checks::new(CHAIN_SIGNATURE_CHECKS),
            });
        }
        let stated = self.component.statement.signers();
        if present != stated {
            return Err((
                Check::Signers,
                None,
                Rejection::SignersMismatch {
                    stated: stated.len(),
                },
            ));
        }
        reporter.passed(
            Check::Signers,
            None,
            format!("exactly the {} that the statement lists", stated.len()),
        );
        Ok(entries)
    }

    fn verify_chain(
        &self,
        entry: &Entry<'_>,
        reporter: &mut Reporter<'_>,
    ) -> Result<chain::Outcome, RefusedAt> {
        let signer = entry.index;
        let verifier = ChainVerifier {
            signer,
            anchors: self.anchors,
            profile: &PathProfile::COMPONENTS,
            now: self.now,
            state: self.state,
            admission: self.admission,
            checks: &entry.checks,
        };
        let outcome = verifier
            .verify(&entry.certificates, &mut |check, detail| {
                reporter.passed(check, Some(signer), detail)
            })
            .map_err(|rejection| (rejection.check(), Some(signer), rejection))?;
        if let chain::Outcome::Foreign(rejection) = &outcome {
            reporter.tell(
                Check::Path,
                Some(signer),
                Outcome::NotCounted,
                rejection.to_string(),
            );
        }
        Ok(outcome)
    }

    /// RFC 9052 §4.4. Also for signers that do not count: a file with a bad signature is refused, whoever's it is.
    fn check_signature(
        &self,
        entry: &Entry<'_>,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), RefusedAt> {
        let signer = entry.index;
        let refused = |rejection| (Check::Signature, Some(signer), rejection);
        let Some(leaf) = entry.certificates.first() else {
            return Err(refused(Rejection::ChainOrder {
                signer,
                depth: 0,
                reason: "it has no certificate",
            }));
        };
        let message = self.component.envelope.to_be_signed(signer);
        let message = message.unwrap_or_default();
        signature::check(signer, leaf, entry.signer, &message).map_err(refused)?;
        let algorithm = entry.signer.algorithm();
        reporter.passed(
            Check::Signature,
            Some(signer),
            format!("{} by {}", algorithm.name(), leaf.subject()),
        );
        Ok(())
    }

    fn check_rollback(
        &self,
        signers: &[VerifiedSigner],
        reporter: &mut Reporter<'_>,
    ) -> Result<(), RefusedAt> {
        let statement = &self.component.statement;
        for signer in signers {
            self.state
                .check_version(
                    signer.chain.anchor_spki_sha256(),
                    statement.name(),
                    statement.security_version(),
                )
                .map_err(|rejection| (Check::Rollback, Some(signer.index), rejection))?;
        }
        let detail = if self.state.remembers_versions() {
            format!(
                "security version {} is not below any that ran here",
                statement.security_version()
            )
        } else {
            "this program remembers no versions, so an older one is not noticed".to_owned()
        };
        reporter.passed(Check::Rollback, None, detail);
        Ok(())
    }
}

/// One signer of the file, its certificates parsed.
struct Entry<'a> {
    index: usize,
    signer: &'a SignerEntry,
    certificates: Vec<crate::Certificate>,
    checks: Checks,
}

struct Reporter<'a>(&'a mut dyn FnMut(Step));

impl Reporter<'_> {
    fn passed(&mut self, check: Check, signer: Option<usize>, detail: String) {
        self.tell(check, signer, Outcome::Passed, detail);
    }

    fn refused(&mut self, check: Check, signer: Option<usize>, rejection: &Rejection) {
        self.tell(
            check,
            signer,
            Outcome::Refused(Box::new(rejection.clone())),
            rejection.to_string(),
        );
    }

    fn tell(&mut self, check: Check, signer: Option<usize>, outcome: Outcome, detail: String) {
        (self.0)(Step {
            check,
            signer,
            outcome,
            detail,
        });
    }
}

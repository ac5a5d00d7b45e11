//! `bytes -> UnverifiedBundle -> VerifiedBundle`: the verdict on a bundle's index, and on each of its parts.
//!
//! Decides who signed it under the operator's anchors, whether they may sign what it holds, for whom it is meant, whether its
//! time has passed and whether it is newer than the last. What its parts say is for others: a component in it is believed for
//! its own signature under the roots that are compiled in, and for nothing else.

mod reader;

use countersign_format::{
    BundleEnvelope, BundleIndex, BundlePart, Digest, DigestWriter, PartKind, SignerId,
};

use crate::{
    Anchor, AnchorError, AnchorSource, Anchors, Now, PathProfile, Policy, Rejection, TrustState,
    UnixTime, VerifiedChain, VerifiedSigner,
    algorithm::Checks,
    authorisation,
    chain::{self, CHAIN_SIGNATURE_CHECKS, ChainVerifier},
    oid, signature,
};

pub use reader::{BundleReadError, BundleReader};

/// A bundle's number rises by at most this much in one step, so that one signed mistake cannot use up the numbers.
pub const MAX_NUMBER_STEP: u64 = 1_024;

/// The roots under which bundles are signed. A type of its own, so that they are never taken for roots of components.
#[derive(Clone, Debug)]
pub struct BundleAnchors(Anchors);

impl BundleAnchors {
    /// Checks the roots that an operator names, all or none; DER.
    ///
    /// # Errors
    /// [`AnchorError`], for the first that breaks a rule.
    pub fn new(certificates: Vec<Vec<u8>>) -> Result<Self, AnchorError> {
        Anchors::new(certificates.into_iter().map(AnchorSource::new).collect()).map(Self)
    }

    /// The roots.
    pub fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.0.iter()
    }

    /// Decides whether a bundle may be applied. `state` holds the revocation lists, those in the bundle among them, and the
    /// versions that its minimums are held against.
    ///
    /// # Errors
    /// The first [`Rejection`]: signers, their chains, signatures, what they may sign, audience, line, end, number, minimums.
    pub fn verify(
        &self,
        bundle: UnverifiedBundle,
        expected: &Expectation<'_>,
        policy: &Policy,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedBundle, Rejection> {
        if self.0.iter().next().is_none() {
            return Err(Rejection::NoRoot);
        }
        let signers = Signers::judge(self, &bundle, now, state)?;
        signers.check_purposes(&bundle.index, policy)?;
        let fields = bundle.index.fields();
        authorisation::check_audience(&fields.audience, policy)?;
        expected.check(&bundle, now)?;
        for minimum in &fields.minimums {
            state.check_minimum(&minimum.name, minimum.security_version)?;
        }
        Ok(VerifiedBundle {
            digest: bundle.digest(),
            index: bundle.index,
            signers: signers
                .packages
                .into_iter()
                .chain(signers.configurations)
                .collect(),
        })
    }
}

/// Which bundles are taken: those that follow the last of a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expectation<'a> {
    /// The line; any, where whoever judges has no opinion.
    pub line: Option<&'a str>,
    /// Number and index of the last that was applied: the same again is no step back.
    pub last: Option<(u64, Digest)>,
    /// Whether numbers are remembered here. A desk has none.
    pub remembers: bool,
}

impl Expectation<'_> {
    fn check(&self, bundle: &UnverifiedBundle, now: &Now) -> Result<(), Rejection> {
        let fields = bundle.index.fields();
        if let Some(expected) = self.line
            && expected != fields.line
        {
            return Err(Rejection::BundleLine {
                found: fields.line.clone(),
                expected: expected.to_owned(),
            });
        }
        let not_after = UnixTime::from_secs(fields.not_after);
        // Without a plausible clock, what has certainly passed decides.
        let at = now.clock().unwrap_or_else(|| now.floor());
        if at > not_after {
            return Err(Rejection::BundleEnded {
                not_after,
                now: at,
                basis: now.basis(),
            });
        }
        if !self.remembers {
            return Ok(());
        }
        let (seen, index) = self
            .last
            .map_or((0, None), |(seen, index)| (seen, Some(index)));
        let refused = |reason| {
            Err(Rejection::BundleNumber {
                number: fields.number,
                seen,
                reason,
            })
        };
        if fields.number < seen {
            return refused("numbers never fall");
        }
        if fields.number == seen && index != Some(bundle.digest()) {
            return refused("that was another bundle");
        }
        if fields.number.saturating_sub(seen) > MAX_NUMBER_STEP {
            return refused("one step is at most 1024");
        }
        Ok(())
    }
}

/// The envelope of a bundle, well-formed but not believed.
#[derive(Clone, Debug)]
pub struct UnverifiedBundle {
    envelope: BundleEnvelope,
    index: BundleIndex,
}

impl UnverifiedBundle {
    /// Parses the envelope of a bundle, which follows its preamble.
    ///
    /// # Errors
    /// [`Rejection::Format`].
    pub fn parse(envelope: &[u8]) -> Result<Self, Rejection> {
        let envelope = BundleEnvelope::decode(envelope)?;
        let index = BundleIndex::decode(envelope.index_bytes())?;
        Ok(Self { envelope, index })
    }

    /// What the bundle claims. Not verified.
    #[must_use]
    pub const fn claimed_index(&self) -> &BundleIndex {
        &self.index
    }

    /// The signatures and chains. Not verified.
    #[must_use]
    pub const fn envelope(&self) -> &BundleEnvelope {
        &self.envelope
    }

    /// SHA-256 of the encoded index: the bundle's name in records.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.envelope.index_bytes())
    }
}

/// A bundle whose index was signed by whom the operator trusts, for this machine, and is newer than the last.
///
/// ```compile_fail,E0451
/// # use countersign_trust_store::VerifiedBundle;
/// // There is no constructor but verification, and every field is private.
/// # fn tb21_no_bundle_but_by_verification(index: countersign_format::BundleIndex, other: VerifiedBundle) -> VerifiedBundle {
/// VerifiedBundle { index, ..other }
/// # }
/// ```
#[derive(Debug)]
pub struct VerifiedBundle {
    index: BundleIndex,
    digest: Digest,
    signers: Vec<VerifiedSigner>,
}

impl VerifiedBundle {
    /// What was signed.
    #[must_use]
    pub const fn index(&self) -> &BundleIndex {
        &self.index
    }

    /// SHA-256 of the encoded index.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The signers that count; one that may sign configurations and the rest stands here for each.
    #[must_use]
    pub fn signers(&self) -> &[VerifiedSigner] {
        &self.signers
    }
}

/// A part of a bundle as it is read: it is the one that the index names once [`PartCheck::finish`] says so, and not before.
#[derive(Debug)]
pub struct PartCheck<'a> {
    part: &'a BundlePart,
    digest: DigestWriter,
    size: u64,
}

impl<'a> PartCheck<'a> {
    /// Begins with a part.
    #[must_use]
    pub fn new(part: &'a BundlePart) -> Self {
        Self {
            part,
            digest: DigestWriter::new(),
            size: 0,
        }
    }

    /// How many bytes of it are still to come.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.part.size.saturating_sub(self.size)
    }

    /// The next bytes of it.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.size = self
            .size
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// Whether what came is the part.
    ///
    /// # Errors
    /// [`Rejection::PartMismatch`].
    pub fn finish(self) -> Result<(), Rejection> {
        let mismatch = |reason| Rejection::PartMismatch {
            name: self.part.name.clone(),
            reason,
        };
        if self.size != self.part.size {
            let (actual, stated) = (self.size, self.part.size);
            return Err(mismatch(format!(
                "it has {actual} bytes, and {stated} were signed"
            )));
        }
        let actual = self.digest.finish();
        if actual != self.part.digest {
            let stated = self.part.digest;
            return Err(mismatch(format!(
                "its SHA-256 is {actual}, and {stated} was signed"
            )));
        }
        Ok(())
    }
}

/// The signers whose chains lead to the operator's anchors, by what they may sign.
#[derive(Default)]
struct Signers {
    packages: Vec<VerifiedSigner>,
    configurations: Vec<VerifiedSigner>,
    /// Why the first of those that lead nowhere does not count, and all in words.
    foreign: Option<Rejection>,
    uncounted: Vec<String>,
}

impl Signers {
    fn judge(
        anchors: &BundleAnchors,
        bundle: &UnverifiedBundle,
        now: &Now,
        state: &TrustState,
    ) -> Result<Self, Rejection> {
        let envelope = &bundle.envelope;
        let mut chains = Vec::new();
        let mut present = Vec::new();
        for (index, signer) in envelope.signers().iter().enumerate() {
            let certificates = chain::parse(index, signer.chain())?;
            if let Some(leaf) = certificates.first() {
                let spki = leaf.spki_sha256();
                present.push(SignerId::of(signer.algorithm(), spki, signer.chain()));
            }
            chains.push(certificates);
        }
        // Exactly these, in this order, with these chains: none was removed, added or exchanged.
        let stated = &bundle.index.fields().signers;
        if present != *stated {
            return Err(Rejection::SignersMismatch {
                stated: stated.len(),
            });
        }
        let mut signers = Self::default();
        for (index, certificates) in chains.iter().enumerate() {
            let Some(leaf) = certificates.first() else {
                continue;
            };
            let usages = leaf.extended_key_usage().ok().flatten().unwrap_or_default();
            let configures = usages.contains(&oid::CONFIG_SIGNING);
            let packages = usages.contains(&oid::UPDATE_PACKAGE_SIGNING);
            let verify = |profile| {
                let checks = Checks::new(CHAIN_SIGNATURE_CHECKS);
                let verifier = ChainVerifier {
                    signer: index,
                    anchors: &anchors.0,
                    profile,
                    now,
                    state,
                    admission: None,
                    checks: &checks,
                };
                verifier.verify(certificates, &mut |_, _| {})
            };
            if configures {
                let outcome = verify(&PathProfile::CONFIGURATIONS)?;
                signers.take(index, outcome, |signers| &mut signers.configurations);
            }
            // One that has neither purpose is refused by this profile, in its words.
            if packages || !configures {
                let outcome = verify(&PathProfile::BUNDLES)?;
                signers.take(index, outcome, |signers| &mut signers.packages);
            }
        }
        // Also of those that do not count: a bundle with a bad signature is refused, whoever's it is.
        for (index, (signer, certificates)) in envelope.signers().iter().zip(&chains).enumerate() {
            let message = envelope.to_be_signed(index).unwrap_or_default();
            if let Some(leaf) = certificates.first() {
                signature::check(index, leaf, signer, &message)?;
            }
        }
        Ok(signers)
    }

    fn take(
        &mut self,
        index: usize,
        outcome: chain::Outcome,
        of: impl FnOnce(&mut Self) -> &mut Vec<VerifiedSigner>,
    ) {
        match outcome {
            chain::Outcome::Verified(chain) => {
                let chain: VerifiedChain = *chain;
                of(self).push(VerifiedSigner { index, chain });
            }
            chain::Outcome::Foreign(rejection) => {
                self.uncounted.push(rejection.to_string());
                self.foreign.get_or_insert(rejection);
            }
        }
    }

    /// Whether enough of them may sign what the bundle holds.
    fn check_purposes(&self, index: &BundleIndex, policy: &Policy) -> Result<(), Rejection> {
        // With no trusted signer at all, the reason why the first is not trusted says more than a count.
        if self.packages.is_empty()
            && self.configurations.is_empty()
            && let Some(rejection) = &self.foreign
        {
            return Err(rejection.clone());
        }
        let fields = index.fields();
        let is_configuration = |part: &BundlePart| part.kind == PartKind::Configuration;
        let configures = fields.parts.iter().any(is_configuration);
        let packages = !fields.minimums.is_empty() || !fields.parts.iter().all(is_configuration);
        let demands = [
            (
                configures,
                "a configuration",
                "configSigning",
                &self.configurations,
            ),
            (
                packages,
                "components, lists, documents or minimums",
                "updatePackageSigning",
                &self.packages,
            ),
        ];
        for (demanded, what, usage, signers) in demands {
            if !demanded {
                continue;
            }
            let counted = if policy.min_signers() == 1 {
                signers.len()
            } else {
                authorisation::different_devices(&signers.iter().collect::<Vec<_>>())?
            };
            if counted < usize::from(policy.min_signers()) {
                return Err(Rejection::BundleSigner {
                    what,
                    usage,
                    needed: policy.min_signers(),
                    counted,
                    uncounted: self.uncounted.clone(),
                });
            }
        }
        Ok(())
    }
}

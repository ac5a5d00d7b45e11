//! Trust anchors: the roots that a host was built with, each checked before it is trusted.
//!
//! webpki takes of an anchor only its name and key, so everything else about a root is checked here: at build, when
//! the roots are compiled in, and again at every start.

use std::time::Duration;

use countersign_format::{Digest, Scope};
use pki_types::TrustAnchor;

use crate::{
    Certificate, Crl, Issuer, Rejection, UnixTime, algorithm::Checks, algorithm::verify_x509,
    fault::Fault, oid, profile,
};

/// At most this many roots in one host: enough to hold old and new roots of a few owners, few enough to try them all.
pub const MAX_ANCHORS: usize = 16;

/// A development root lives at most this long.
pub const MAX_DEVELOPMENT_VALIDITY: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// What a root is trusted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Purpose {
    /// Component signers.
    Components,
    /// Signers of precompiled native code, which is trusted like the host itself.
    PrecompiledCode,
}

impl Purpose {
    /// The word that stands in `roots.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Components => "components",
            Self::PrecompiledCode => "precompiled-code",
        }
    }
}

/// A root as it is handed over, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorSource {
    /// The root certificate, DER.
    pub certificate: Vec<u8>,
    /// What it is trusted for.
    pub purpose: Purpose,
    /// What may be signed under it, where its certificates do not say.
    pub scope: Option<Scope>,
    /// How long after its nextUpdate a revocation list under this root is still used; whole seconds.
    pub crl_grace: Duration,
    /// Revocation lists to start from, DER.
    pub crls: Vec<Vec<u8>>,
}

impl AnchorSource {
    /// A root for components with nothing besides.
    #[must_use]
    pub const fn new(certificate: Vec<u8>) -> Self {
        Self {
            certificate,
            purpose: Purpose::Components,
            scope: None,
            crl_grace: Duration::ZERO,
            crls: Vec::new(),
        }
    }
}

/// A root was not accepted. Nothing is trusted then, not even the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The root certificate breaks a rule.
    #[error("root {index} ({subject}) cannot be trusted: {fault}")]
    Certificate {
        /// Its place in the list, from 0.
        index: usize,
        /// Its subject, if it can be read.
        subject: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A revocation list that comes with a root cannot be used.
    #[error("revocation list {crl} of root {index} cannot be used: {rejection}")]
    Crl {
        /// The root's place in the list, from 0.
        index: usize,
        /// The list's place under its root, from 0.
        crl: usize,
        /// Why.
        rejection: Box<Rejection>,
    },
    /// The bytes of the compiled-in section are damaged.
    #[error("the compiled-in roots are damaged: {what}")]
    Damaged {
        /// What cannot be read.
        what: &'static str,
    },
    /// The same root key stands in the list twice: a key has one purpose.
    #[error(
        "root {index} ({subject}) has the same key as another root of the list; each purpose needs a key of its own"
    )]
    Duplicate {
        /// Its place in the list, from 0.
        index: usize,
        /// Its subject.
        subject: String,
    },
    /// The root is not valid at the time that was asked about.
    #[error("root {subject} is not valid at {at}: it is valid from {not_before} to {not_after}")]
    NotValid {
        /// Its subject.
        subject: String,
        /// The time asked about.
        at: UnixTime,
        /// Valid from this time on.
        not_before: UnixTime,
        /// Valid up to this time.
        not_after: UnixTime,
    },
    /// More roots than [`MAX_ANCHORS`].
    #[error("there are {actual} roots; at most {MAX_ANCHORS} are trusted")]
    TooMany {
        /// Their number.
        actual: usize,
    },
}

/// One checked root.
#[derive(Clone, Debug)]
pub struct Anchor {
    certificate: Certificate,
    purpose: Purpose,
    scope: Option<Scope>,
    crl_grace: Duration,
    crls: Vec<Crl>,
    webpki: TrustAnchor<'static>,
}

impl Anchor {
    fn check(index: usize, source: AnchorSource) -> Result<Self, AnchorError> {
        let unreadable = |fault| AnchorError::Certificate {
            index,
            subject: "unreadable".to_owned(),
            fault,
        };
        let certificate = Certificate::parse(&source.certificate).map_err(unreadable)?;
        let subject = certificate.subject();
        check_root(&certificate, source.purpose).map_err(|fault| AnchorError::Certificate {
            index,
            subject: subject.clone(),
            fault,
        })?;
        if let (Some(beside), Ok(Some(inside))) = (&source.scope, certificate.scope())
            && !beside.contains(&inside)
        {
            return Err(AnchorError::Certificate {
                index,
                subject,
                fault: Fault::ScopeWidened,
            });
        }
        let der = pki_types::CertificateDer::from(certificate.der());
        let webpki = webpki::anchor_from_trusted_cert(&der)
            .map_err(|_| unreadable(Fault::NotDer))?
            .to_owned();
        let crls = source
            .crls
            .iter()
            .enumerate()
            .map(|(crl, der)| {
                Crl::parse(der).map_err(|rejection| AnchorError::Crl {
                    index,
                    crl,
                    rejection: Box::new(rejection),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            certificate,
            purpose: source.purpose,
            scope: source.scope,
            crl_grace: source.crl_grace,
            crls,
            webpki,
        })
    }

    /// The root certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The root's subject, as RFC 4514 text safe to print.
    #[must_use]
    pub fn subject(&self) -> String {
        self.certificate.subject()
    }

    /// SHA-256 of the root's SubjectPublicKeyInfo: the root's name in records.
    #[must_use]
    pub fn spki_sha256(&self) -> Digest {
        self.certificate.spki_sha256()
    }

    /// Valid from this time on.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.certificate.not_before()
    }

    /// Valid up to this time, itself included.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.certificate.not_after()
    }

    /// Whether this root is for development only.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.certificate.is_development_root()
    }

    /// What the root is trusted for.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// What may be signed under it, where that was given beside the certificate.
    #[must_use]
    pub const fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// How long after its nextUpdate a revocation list under this root is still used.
    #[must_use]
    pub const fn crl_grace(&self) -> Duration {
        self.crl_grace
    }

    /// It, as the issuer of lists.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        Issuer::of(&self.certificate)
    }

    pub(crate) fn crls(&self) -> &[Crl] {
        &self.crls
    }

    pub(crate) const fn webpki(&self) -> &TrustAnchor<'static> {
        &self.webpki
    }
}

/// The roots that a host trusts. Every one of them passed the checks; there is no way to add one without.
#[derive(Clone, Debug)]
pub struct Anchors(Vec<Anchor>);

impl Anchors {
    /// Checks roots and trusts them, all or none.
    ///
    /// Validity in time is judged when a component is, so that a host whose root has expired still starts and says so;
    /// whoever builds a host asks [`Anchors::require_valid_at`] besides.
    ///
    /// # Errors
    /// [`AnchorError`], for the first root that breaks a rule.
    ///
    /// ```compile_fail
    /// // The list of anchors cannot be made from anything but checked sources.
    /// let anchors = countersign_trust_store::Anchors(Vec::new());
    /// ```
    pub fn new(sources: Vec<AnchorSource>) -> Result<Self, AnchorError> {
        if sources.len() > MAX_ANCHORS {
            return Err(AnchorError::TooMany {
                actual: sources.len(),
            });
        }
        let mut anchors: Vec<Anchor> = Vec::with_capacity(sources.len());
        for (index, source) in sources.into_iter().enumerate() {
            let anchor = Anchor::check(index, source)?;
            // For two purposes as well: whoever may sign components under it could vouch for native code, too.
            let twice = anchors
                .iter()
                .any(|other| other.certificate.spki() == anchor.certificate.spki());
            if twice {
                return Err(AnchorError::Duplicate {
                    index,
                    subject: anchor.subject(),
                });
            }
            anchors.push(anchor);
        }
        Ok(Self(anchors))
    }

    /// No roots: trusts nothing, and refuses with the code `no-root`.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether there is no root for components.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.for_components().next().is_none()
    }

    /// The roots.
    pub fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.0.iter()
    }

    /// Demands that every root is valid at `at`.
    ///
    /// # Errors
    /// [`AnchorError::NotValid`], for the first that is not.
    pub fn require_valid_at(&self, at: UnixTime) -> Result<(), AnchorError> {
        let invalid = self
            .0
            .iter()
            .find(|anchor| at < anchor.not_before() || at > anchor.not_after());
        match invalid {
            Some(anchor) => Err(AnchorError::NotValid {
                subject: anchor.subject(),
                at,
                not_before: anchor.not_before(),
                not_after: anchor.not_after(),
            }),
            None => Ok(()),
        }
    }

    /// The roots for precompiled code, as those under which its signers' chains are judged.
    pub(crate) fn for_precompiled_code(&self) -> Self {
        let roots = self.0.iter();
        Self(
            roots
                .filter(|anchor| anchor.purpose == Purpose::PrecompiledCode)
                .map(|anchor| Anchor {
                    purpose: Purpose::Components,
                    ..anchor.clone()
                })
                .collect(),
        )
    }

    pub(crate) fn for_components(&self) -> impl Iterator<Item = &Anchor> {
        self.0
            .iter()
            .filter(|anchor| anchor.purpose == Purpose::Components)
    }
}

fn check_root(certificate: &Certificate, purpose: Purpose) -> Result<(), Fault> {
    let path_purpose = match purpose {
        // Native code is signed with the same purpose, but under roots of its own.
        Purpose::Components | Purpose::PrecompiledCode => oid::CODE_SIGNING,
    };
    profile::ROOT.inspect(certificate, Some(path_purpose))?;
    // RFC 5280 §3.2: self-signed, so that whoever hands over the certificate also holds the key.
    if !certificate.is_self_issued() {
        return Err(Fault::Signature);
    }
    let (message, signature) = certificate.signed_parts()?;
    verify_x509(
        &Checks::new(1),
        certificate.spki(),
        certificate.signature_algorithm(),
        &message,
        signature,
    )
    .map_err(|_| Fault::Signature)?;
    check_own_key_identifier(certificate)?;
    let validity = certificate
        .not_after()
        .saturating_since(certificate.not_before());
    if certificate.is_development_root() && validity > MAX_DEVELOPMENT_VALIDITY {
        return Err(Fault::Validity {
            reason: "a development root lives at most 31 days",
        });
    }
    Ok(())
}

/// RFC 5280 §4.2.1.1: a self-signed certificate's authority key identifier, if any, is its own.
fn check_own_key_identifier(certificate: &Certificate) -> Result<(), Fault> {
    let authority = certificate
        .authority_key_identifier()?
        .and_then(|identifier| identifier.key_identifier);
    let own = certificate
        .subject_key_identifier()?
        .map(|identifier| identifier.0);
    match authority {
        Some(_) if authority != own => Err(Fault::KeyIdentifier {
            reason: "a root's authorityKeyIdentifier must be its own",
        }),
        _ => Ok(()),
    }
}

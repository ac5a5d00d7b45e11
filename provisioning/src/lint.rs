//! What hosts would say of somebody else's chain, and what to ask its owner for.
//!
//! The rules are the trust store's: its profiles find the faults of each certificate, its roots those of the root, and its
//! verdict on the whole chain the rest. This module only walks through them all instead of stopping at the first, and
//! says in words that an operator of another PKI can act upon which extension or value would do.

use countersign_format::{limits, oid as ours};
use countersign_trust_store::{
    AnchorError, AnchorSource, Anchors, Certificate, Code, Fault, Now, PathProfile, Rejection,
    TrustState, UnixTime, oid, profile,
};
use der::Decode;
use x509_cert::ext::pkix::BasicConstraints;

use crate::Profile;

/// A chain of another PKI.
#[derive(Clone, Debug)]
pub struct ForeignChain {
    certificates: Vec<Vec<u8>>,
    root: Option<AnchorSource>,
    revocation_lists: Vec<Vec<u8>>,
    profile: Option<Profile>,
}

/// What stands in a chain for its first certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Authority,
    Device(Profile),
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Linted {
    /// The certificates, the end entity's or lowest authority's first, the root last if it was there.
    pub certificates: Vec<Described>,
    /// The rules that are broken: hosts refuse the chain for any of them.
    pub findings: Vec<Finding>,
    /// What breaks no rule of the chain, but has to be brought or written beside it.
    pub notes: Vec<Finding>,
}

/// One certificate in words.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its subject, or `unread`.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// What it was judged as, such as `CA certificate`.
    pub kind: &'static str,
    /// The last second of its validity.
    pub not_after: Option<UnixTime>,
}

/// One broken rule.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The certificate, counted from 0 in [`Linted::certificates`]; none if it is about the chain.
    pub certificate: Option<usize>,
    /// The code under which hosts refuse it.
    pub code: Code,
    /// What is wrong.
    pub rule: String,
    /// What to ask the PKI's owner for, or to do oneself.
    pub ask: String,
}

impl ForeignChain {
    /// The certificates of a chain in DER, the lowest first, each followed by its issuer's. A self-signed one at the end is
    /// taken as the root, unless another is given.
    #[must_use]
    pub fn new(mut certificates: Vec<Vec<u8>>) -> Self {
        let is_root = |der: &Vec<u8>| {
            Certificate::parse(der)
                .is_ok_and(|certificate| certificate.subject() == certificate.issuer())
        };
        let root = certificates.pop_if(|last| is_root(last));
        Self {
            certificates,
            root: root.map(AnchorSource::new),
            revocation_lists: Vec::new(),
            profile: None,
        }
    }

    /// Judges under this root, with the scope that stands beside it.
    #[must_use]
    pub fn with_root(self, root: AnchorSource) -> Self {
        Self {
            root: Some(root),
            ..self
        }
    }

    /// Judges revocation by these lists in DER too.
    #[must_use]
    pub fn with_revocation_lists(self, lists: Vec<Vec<u8>>) -> Self {
        Self {
            revocation_lists: lists,
            ..self
        }
    }

    /// Judges the end entity as one of this kind, instead of the kind that its extended key usage says.
    #[must_use]
    pub fn with_profile(self, profile: Profile) -> Self {
        Self {
            profile: Some(profile),
            ..self
        }
    }

    /// The chain below the root, DER.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// The root, if there is one.
    #[must_use]
    pub fn root(&self) -> Option<&AnchorSource> {
        self.root.as_ref()
    }

    /// Everything that hosts would find fault with at the time `at`.
    #[must_use]
    pub fn lint(&self, at: UnixTime) -> Linted {
        let mut linted = Linted {
            certificates: Vec::new(),
            findings: Vec::new(),
            notes: Vec::new(),
        };
        let first = self.first();
        for (index, der) in self.certificates.iter().enumerate() {
            let kind = match (index, first) {
                (0, First::Device(profile)) => profile.rules().kind,
                _ => &profile::INTERMEDIATE,
            };
            linted.certificate(index, der, kind, first.purpose());
        }
        match &self.root {
            Some(root) => self.lint_whole(first, root, at, &mut linted),
            None => linted.findings.push(Finding {
                certificate: None,
                code: Code::UntrustedRoot,
                rule: "there is no root: neither does the chain end in a self-signed certificate, nor was one given"
                    .to_owned(),
                ask: "ask for the root certificate; hosts have it compiled in, and it is not sent with signatures".to_owned(),
            }),
        }
        linted
    }

    /// The root, and the chain under it.
    fn lint_whole(&self, first: First, root: &AnchorSource, at: UnixTime, linted: &mut Linted) {
        let place = linted.certificates.len();
        linted
            .certificates
            .push(describe(&root.certificate, profile::ROOT.name));
        let mut source = root.clone();
        source.crls.extend(self.revocation_lists.iter().cloned());
        let anchors = match Anchors::new(vec![source]) {
            Ok(anchors) => anchors,
            Err(AnchorError::Certificate { fault, .. }) => {
                linted.fault(Some(place), &fault, true);
                return;
            }
            Err(error) => {
                linted.rejection(&Rejection::from(error), place);
                return;
            }
        };
        if self.certificates.is_empty() {
            return;
        }
        let end_entity = match first {
            First::Authority => &profile::INTERMEDIATE,
            First::Device(profile) => profile.rules().kind,
        };
        let path = PathProfile {
            end_entity,
            intermediate: &profile::INTERMEDIATE,
            purpose: first.purpose_of_path(),
        };
        let verdict = anchors.verify_chain(
            &self.certificates,
            &path,
            &Now::at(at),
            &TrustState::stateless(),
        );
        match verdict {
            Ok(_) => {}
            // A path that ends in an authority is none for webpki, which is asked last; what lies below is judged then.
            Err(Rejection::Path { .. }) if first == First::Authority => {}
            // Told below, with the device that is to come counted.
            Err(
                Rejection::ChainTooLong { .. }
                | Rejection::Certificate {
                    fault: Fault::PathLength { .. },
                    ..
                },
            ) if first == First::Authority => {}
            Err(rejection) => linted.rejection(&rejection, place),
        }
        if first == First::Authority {
            self.lint_depth(root, place, linted);
        }
        if matches!(
            first,
            First::Authority | First::Device(Profile::ComponentSigner)
        ) {
            self.lint_scope(root, place, linted);
        }
    }

    /// An authority's chain does not show the device below it: one more certificate, below which every length of path counts
    /// one authority more (RFC 5280 §4.2.1.9).
    fn lint_depth(&self, root: &AnchorSource, place: usize, linted: &mut Linted) {
        let actual = u64::try_from(self.certificates.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let limit = limits::MAX_CHAIN_CERTIFICATES;
        if actual > limit {
            let rejection = Rejection::ChainTooLong {
                signer: 0,
                limit,
                actual,
            };
            linted.rejection(&rejection, place);
        }
        let upwards = self.certificates.iter().chain([&root.certificate]);
        for (authorities, der) in upwards.enumerate() {
            let allowed = constraints(der).and_then(|constraints| constraints.path_len_constraint);
            if let Some(allowed) = allowed
                && authorities > usize::from(allowed)
            {
                let fault = Fault::PathLength {
                    allowed,
                    actual: authorities,
                };
                linted.fault(Some(authorities), &fault, true);
            }
        }
    }

    /// Each scope lies within the one above it, and a signer of components needs one.
    fn lint_scope(&self, root: &AnchorSource, place: usize, linted: &mut Linted) {
        let mut above = root.scope.clone();
        let downwards = [(place, &root.certificate)]
            .into_iter()
            .chain(self.certificates.iter().enumerate().rev());
        for (index, der) in downwards {
            let read = Certificate::parse(der).and_then(|certificate| certificate.scope());
            // What cannot be read is among the faults of its certificate.
            let Ok(Some(scope)) = read else { continue };
            if above.as_ref().is_some_and(|above| !above.contains(&scope)) {
                linted.fault(Some(index), &Fault::ScopeWidened, false);
            }
            above = Some(scope);
        }
        if above.is_none() {
            linted.notes.push(Finding {
                certificate: None,
                code: Code::SignerNotAuthorised,
                rule: "nothing says which components may be signed under this root, so hosts run none".to_owned(),
                ask: format!(
                    "put the scope beside the root in roots.toml (scope = [\"NAMESPACE:*\"]), which needs nothing from the PKI's \
                     owner; or ask for the extension component-scope ({}), not critical, in the authority's or the signer's certificate",
                    ours::COMPONENT_SCOPE
                ),
            });
        }
    }

    /// What the first certificate is.
    fn first(&self) -> First {
        if let Some(profile) = self.profile {
            return First::Device(profile);
        }
        let Some(der) = self.certificates.first() else {
            return First::Authority;
        };
        if is_authority(der) {
            return First::Authority;
        }
        let certificate = Certificate::parse(der).ok();
        let fits = |profile: &Profile| {
            let fault = |certificate: &Certificate| {
                let faults = profile.rules().kind.faults(certificate, None);
                faults
                    .iter()
                    .any(|fault| matches!(fault, Fault::ExtendedKeyUsage { .. }))
            };
            certificate
                .as_ref()
                .is_some_and(|certificate| !fault(certificate))
        };
        // An IDevID has no purpose; who lacks one by mistake was to sign components.
        let found = Profile::ALL
            .into_iter()
            .filter(|profile| *profile != Profile::IDevId)
            .find(fits);
        First::Device(found.unwrap_or(Profile::ComponentSigner))
    }
}

impl First {
    /// The extended key usage that certificates above must include, if they have any.
    fn purpose(self) -> Option<der::asn1::ObjectIdentifier> {
        Some(*self.purpose_of_path())
    }

    fn purpose_of_path(self) -> &'static der::asn1::ObjectIdentifier {
        let usages = match self {
            Self::Authority => Profile::ComponentSigner.rules().extended_key_usage,
            Self::Device(profile) => profile.rules().extended_key_usage,
        };
        usages.first().unwrap_or(&oid::CLIENT_AUTH)
    }
}

impl Linted {
    fn certificate(
        &mut self,
        index: usize,
        der: &[u8],
        kind: &'static profile::Profile,
        purpose: Option<der::asn1::ObjectIdentifier>,
    ) {
        self.certificates.push(describe(der, kind.name));
        let authority = kind.position != profile::Position::EndEntity;
        match Certificate::parse(der) {
            Ok(certificate) => {
                for fault in kind.faults(&certificate, purpose) {
                    self.fault(Some(index), &fault, authority);
                }
            }
            Err(fault) => self.fault(Some(index), &fault, authority),
        }
    }

    fn fault(&mut self, certificate: Option<usize>, fault: &Fault, authority: bool) {
        let finding = Finding {
            certificate,
            code: fault.code(),
            rule: fault.to_string(),
            ask: ask(fault, authority),
        };
        let known = self
            .findings
            .iter()
            .any(|other| other.certificate == finding.certificate && other.rule == finding.rule);
        if !known {
            self.findings.push(finding);
        }
    }

    /// A verdict on the whole chain.
    fn rejection(&mut self, rejection: &Rejection, root: usize) {
        let (certificate, ask) = match rejection {
            Rejection::Certificate { depth, fault, .. } => {
                let authority = *depth > 0;
                return self.fault(Some(*depth), fault, authority || *depth == root);
            }
            Rejection::RevocationUnknown { issuer, .. } => {
                self.notes.push(Finding {
                    certificate: None,
                    code: rejection.code(),
                    rule: rejection.to_string(),
                    ask: format!(
                        "ask for the current revocation list of {issuer}: a full one with cRLNumber (2.5.29.20) and nextUpdate, which \
                         hosts are given as a file; judge it with --crl. A signer's own certificate may instead say noRevAvail ({})",
                        oid::NO_REV_AVAIL
                    ),
                });
                return;
            }
            Rejection::ChainOrder { depth, .. } => (
                Some(*depth),
                "put the certificates in order, the lowest first and each followed by its issuer's, without the root; ask for \
                 the one that is missing"
                    .to_owned(),
            ),
            Rejection::ChainTooLong { limit, .. } => (
                None,
                format!("ask for an authority that is fewer steps below the root: at most {limit} certificates are sent"),
            ),
            Rejection::UntrustedRoot { .. } => (
                None,
                "ask for the root that signed the last certificate, or for the authority's certificate between the two".to_owned(),
            ),
            Rejection::Expired { .. } | Rejection::NotYetValid { .. } => (
                None,
                "ask for a certificate that is valid now, or look at this machine's clock".to_owned(),
            ),
            Rejection::CrlStale { .. } | Rejection::CrlInvalid { .. } => (
                None,
                "ask for a current, full revocation list of version 2 with cRLNumber, authorityKeyIdentifier and nextUpdate, signed \
                 by the authority itself, without issuingDistributionPoint or deltaCRLIndicator"
                    .to_owned(),
            ),
            other => (None, other.code().next_step().to_owned()),
        };
        self.findings.push(Finding {
            certificate,
            code: rejection.code(),
            rule: rejection.to_string(),
            ask,
        });
    }
}

/// Whether it has basicConstraints with cA: which rows apply, not whether they hold.
fn is_authority(der: &[u8]) -> bool {
    constraints(der).is_some_and(|constraints| constraints.ca)
}

/// basicConstraints, as far as they can be read.
fn constraints(der: &[u8]) -> Option<BasicConstraints> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let found = certificate.tbs_certificate().get_extension();
    found.ok()?.map(|(_, constraints)| constraints)
}

fn describe(der: &[u8], kind: &'static str) -> Described {
    match Certificate::parse(der) {
        Ok(certificate) => Described {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            kind,
            not_after: Some(certificate.not_after()),
        },
        Err(_) => Described {
            subject: "unread".to_owned(),
            issuer: "unread".to_owned(),
            kind,
            not_after: None,
        },
    }
}

/// What would mend a fault, as its issuer has to be told.
fn ask(fault: &Fault, authority: bool) -> String {
    match fault {
        Fault::Algorithm { .. } if authority => {
            "ask for an authority with a P-256, P-384 or Ed25519 key, whose own issuer signs with such a key too (ecdsa-with-SHA256 \
             for P-256, ecdsa-with-SHA384 for P-384); RSA is not accepted anywhere in a chain"
                .to_owned()
        }
        Fault::Algorithm { .. } => {
            "ask for a certificate over a P-256 or Ed25519 key, signed by an authority with a P-256, P-384 or Ed25519 key".to_owned()
        }
        Fault::ExtendedKeyUsage { needed, .. } if authority => format!(
            "ask for an authority without extKeyUsage ({}), or with {needed} in it",
            oid::EXTENDED_KEY_USAGE
        ),
        Fault::ExtendedKeyUsage { needed, .. } => format!(
            "ask for extKeyUsage ({}) with exactly this: {needed}",
            oid::EXTENDED_KEY_USAGE
        ),
        Fault::ExtensionCriticality {
            extension,
            must_be_critical,
        } => format!(
            "ask for the same with {extension} marked {}",
            if *must_be_critical { "critical" } else { "not critical" }
        ),
        Fault::ExtensionForbidden { extension, .. } => {
            format!("ask for the same without {extension}")
        }
        Fault::ExtensionMissing { extension, .. } => format!(
            "ask for the same with {}",
            extension_words(extension)
        ),
        Fault::ExtensionUnknown { extension } => {
            format!("ask for the same without {extension}, or with it marked not critical")
        }
        Fault::Identity { .. } => format!(
            "ask for the device's id, 1 to 64 letters, digits and the characters . _ : -, once, as serialNumber ({}) in the subject, \
             and the same in hardwareModuleName if subjectAltName has one",
            oid::SERIAL_NUMBER
        ),
        Fault::Key { .. } => "make a new key, and ask for a certificate over it".to_owned(),
        Fault::KeyIdentifier { .. } => format!(
            "ask for authorityKeyIdentifier ({}) with keyIdentifier alone, equal to the issuer's subjectKeyIdentifier ({})",
            oid::AUTHORITY_KEY_IDENTIFIER,
            oid::SUBJECT_KEY_IDENTIFIER
        ),
        Fault::KeyUsage { usage, missing } => format!(
            "ask for keyUsage ({}), critical, {} {usage}",
            oid::KEY_USAGE,
            if *missing { "with" } else { "without" }
        ),
        Fault::LeafIsCa => {
            "ask for an end entity's certificate: without basicConstraints, or with cA FALSE".to_owned()
        }
        Fault::NotACa => format!(
            "ask for {}",
            extension_words("basicConstraints")
        ),
        Fault::PathLength { .. } => {
            "ask for a higher pathLenConstraint in that certificate, or for fewer authorities below it".to_owned()
        }
        Fault::ScopeWidened => {
            "ask for a component-scope that lies within the one above it, or widen that one".to_owned()
        }
        Fault::Signature => {
            "ask for the certificate again: this one was changed, or is not by the authority that it names".to_owned()
        }
        Fault::TooLarge { limit, .. } => {
            format!("ask for a certificate of at most {limit} bytes: fewer names and policies")
        }
        Fault::Validity { .. } => "ask for a notAfter that is a date, after notBefore".to_owned(),
        _ => "ask for the certificate again, as X.509 version 3 in DER with a positive serial number of at most 20 octets, names that \
              are not empty, the same algorithm in both places, and each extension once"
            .to_owned(),
    }
}

/// An extension with the value it needs.
fn extension_words(extension: &str) -> String {
    match extension {
        "authorityKeyIdentifier" => format!(
            "authorityKeyIdentifier ({}), not critical, keyIdentifier alone: the issuer's subjectKeyIdentifier",
            oid::AUTHORITY_KEY_IDENTIFIER
        ),
        "subjectKeyIdentifier" => format!(
            "subjectKeyIdentifier ({}), not critical",
            oid::SUBJECT_KEY_IDENTIFIER
        ),
        "basicConstraints" => format!(
            "basicConstraints ({}), critical, cA TRUE and pathLenConstraint 0 for an authority that issues to devices",
            oid::BASIC_CONSTRAINTS
        ),
        other => format!("the extension {other}"),
    }
}

//! `lint-chain`: which rule another PKI's chain breaks, and what to ask its owner for. Needs no directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_provisioning::{Finding, ForeignChain, Linted, Profile};
use countersign_trust_store::{UnixTime, pem};
use serde::Serialize;

use super::{Context, read_certificates};
use crate::arguments::LintChain;
use crate::bounded;

/// The largest revocation list that is read, in bytes, as hosts read it.
const MAX_LIST_BYTES: u64 = 4 * 1024 * 1024;

/// Hosts would refuse the chain.
#[derive(Debug, thiserror::Error)]
#[error("hosts would refuse this chain: it breaks {count} {}", if *.count == 1 { "rule" } else { "rules" })]
pub(crate) struct Refused {
    count: usize,
    /// The exit status that a host ends with for the first.
    pub(crate) status: u8,
}

impl Refused {
    pub(crate) fn new(linted: &Linted) -> Self {
        Self {
            count: linted.findings.len(),
            status: linted
                .findings
                .first()
                .map_or(112, |finding| finding.code.exit_status()),
        }
    }
}

#[derive(Serialize)]
struct Report {
    version: u32,
    accepted: bool,
    certificates: Vec<CertificateReport>,
    findings: Vec<FindingReport>,
    notes: Vec<FindingReport>,
}

#[derive(Serialize)]
struct CertificateReport {
    subject: String,
    issuer: String,
    kind: &'static str,
    not_after: Option<u64>,
}

#[derive(Serialize)]
struct FindingReport {
    certificate: Option<usize>,
    code: &'static str,
    rule: String,
    ask: String,
}

pub(crate) fn run(context: &Context<'_>, arguments: &LintChain) -> anyhow::Result<()> {
    let chain = read(
        &arguments.files,
        arguments.roots.as_deref(),
        &arguments.crls,
        arguments.profile,
        context.now,
    )?;
    let linted = chain.lint(context.now);
    let finding = |finding: &Finding| FindingReport {
        certificate: finding.certificate,
        code: finding.code.as_str(),
        rule: finding.rule.clone(),
        ask: finding.ask.clone(),
    };
    let certificates = linted.certificates.iter();
    context.console.result(
        &describe(&linted),
        &Report {
            version: 1,
            accepted: linted.findings.is_empty(),
            certificates: certificates
                .map(|certificate| CertificateReport {
                    subject: certificate.subject.clone(),
                    issuer: certificate.issuer.clone(),
                    kind: certificate.kind,
                    not_after: certificate.not_after.map(|time| time.as_secs()),
                })
                .collect(),
            findings: linted.findings.iter().map(finding).collect(),
            notes: linted.notes.iter().map(finding).collect(),
        },
    )?;
    if linted.findings.is_empty() {
        return Ok(());
    }
    Err(Refused::new(&linted).into())
}

/// The chain in `files`, under the root of `roots` that suits it best, or that stands at its end.
pub(crate) fn read(
    files: &[PathBuf],
    roots: Option<&Path>,
    lists: &[PathBuf],
    profile: Option<Profile>,
    now: UnixTime,
) -> anyhow::Result<ForeignChain> {
    let mut certificates = Vec::new();
    for file in files {
        certificates.extend(read_certificates(file)?);
    }
    let mut found = Vec::new();
    for path in lists {
        let failed = || format!("{} could not be read", path.display());
        let bytes = bounded::read(path, MAX_LIST_BYTES)?;
        found.extend(pem::crls(&bytes).with_context(failed)?);
    }
    let mut chain = ForeignChain::new(certificates).with_revocation_lists(found);
    if let Some(profile) = profile {
        chain = chain.with_profile(profile);
    }
    match roots {
        Some(path) => under(chain, path, now),
        None => Ok(chain),
    }
}

/// The chain under one of the roots in a file: of those that its last certificate names, which may be several of one name, the one under
/// which the fewest rules are broken; if none is named, the verdict says so under the first.
fn under(chain: ForeignChain, roots: &Path, now: UnixTime) -> anyhow::Result<ForeignChain> {
    let names = |der: &[u8]| {
        let certificate = countersign_trust_store::Certificate::parse(der).ok()?;
        Some((certificate.subject(), certificate.issuer()))
    };
    let sources = countersign_roots_file::parse(roots)?;
    let wanted = chain.certificates().last().and_then(|der| names(der));
    let wanted = wanted.map(|(_, issuer)| issuer);
    let is_named =
        |certificate: &[u8]| names(certificate).is_some_and(|(subject, _)| Some(subject) == wanted);
    let named = sources
        .iter()
        .filter(|source| is_named(&source.certificate))
        .map(|source| chain.clone().with_root(source.clone()))
        .min_by_key(|chain| chain.lint(now).findings.len());
    match (named, sources.into_iter().next()) {
        (Some(chain), _) => Ok(chain),
        (None, Some(first)) => Ok(chain.with_root(first)),
        (None, None) => anyhow::bail!("{} holds no root", roots.display()),
    }
}

/// What was found, for people.
pub(crate) fn describe(linted: &Linted) -> String {
    let mut text = String::new();
    for (index, certificate) in linted.certificates.iter().enumerate() {
        let _ = writeln!(
            text,
            "{index}  {}, a {}",
            certificate.subject, certificate.kind
        );
    }
    for finding in &linted.findings {
        let place = finding.certificate.map_or_else(
            || "the chain".to_owned(),
            |index| format!("certificate {index}"),
        );
        let _ = writeln!(
            text,
            "\n{place}: {} [{}]",
            finding.rule,
            finding.code.as_str()
        );
        let _ = writeln!(text, "  {}", finding.ask);
    }
    for note in &linted.notes {
        let _ = writeln!(text, "\nnote: {}", note.rule);
        let _ = writeln!(text, "  {}", note.ask);
    }
    if linted.findings.is_empty() {
        text.push_str("\nno rule is broken\n");
    }
    text
}

//! `intermediate import-chain`: the certificate that another PKI issued, with what stands above it.
//!
//! It is taken in only if its key is that of the request, hosts would accept the chain, and the authority could issue.

use std::path::Path;

use anyhow::Context as _;
use countersign_provisioning::Issuer;
use countersign_trust_store::Certificate;
use serde::Serialize;

use super::Context;
use super::lint_chain::{self, Refused};
use crate::arguments::ImportChain;
use crate::authority;
use crate::directory::CaDirectory;
use crate::records::{self, VERSION};

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    id: &'a str,
    subject: String,
    external_issuer: String,
    serial: String,
    spki_sha256: &'a str,
    not_after: u64,
    certificates_above: usize,
}

pub(crate) fn run(
    context: &Context<'_>,
    dir: &Path,
    arguments: &ImportChain,
) -> anyhow::Result<()> {
    let directory = CaDirectory::open(dir)?;
    let (path, request) = directory.request(&arguments.id)?;
    let chain = lint_chain::read(
        &arguments.files,
        arguments.roots.as_deref(),
        &[],
        None,
        context.now,
    )?;
    let Some((own, above)) = chain.certificates().split_first() else {
        anyhow::bail!("the chain holds a root alone: the authority's own certificate comes first")
    };
    let certificate = Certificate::parse(own).context(
        "the first certificate of the chain cannot be read, and has to be the authority's own",
    )?;
    anyhow::ensure!(
        certificate.spki_sha256().to_string() == request.spki_sha256,
        "the first certificate of the chain, {}, is over another key than the request {:?}: bring the one that was issued for that \
         request",
        certificate.subject(),
        request.id
    );
    let linted = chain.lint(context.now);
    if !linted.findings.is_empty() {
        context
            .console
            .note(lint_chain::describe(&linted).trim_end());
        return Err(Refused::new(&linted).into());
    }
    let key = authority::open_key(
        &path,
        &request.id,
        request.key.as_deref(),
        &request.spki_sha256,
        &context.passphrase,
    )?;
    let issuer = Issuer::new(&key, own)?;
    let serial = certificate.serial().replace(':', "").to_lowercase();
    let record = records::Authority {
        version: VERSION,
        id: request.id.clone(),
        issuer: None,
        organization: request.organization.clone(),
        country: request.country.clone(),
        common_name: request.common_name.clone(),
        serial: serial.clone(),
        spki_sha256: request.spki_sha256.clone(),
        key: request.key.clone(),
        not_before: issuer.validity().not_before().as_secs(),
        not_after: issuer.validity().not_after().as_secs(),
        path_length: issuer.path_length().unwrap_or_default(),
        development: false,
        replaces: None,
        external_issuer: Some(certificate.issuer()),
    };
    directory.reserve_authority_key(&request.spki_sha256)?;
    let authority = directory.adopt(&path, &record, own, above)?;
    for note in &linted.notes {
        context
            .console
            .note(&format!("{}; {}", note.rule, note.ask));
    }
    let record = &authority.record;
    context.console.result(
        &format!(
            "authority    {}: {}\nissued by    {}, which is not in this directory\nserial       {}\nkey          sha256:{}\nvalid until  {}\n",
            record.id,
            certificate.subject(),
            certificate.issuer(),
            record.serial,
            record.spki_sha256,
            issuer.validity().not_after(),
        ),
        &Report {
            version: 1,
            id: &record.id,
            subject: certificate.subject(),
            external_issuer: certificate.issuer(),
            serial,
            spki_sha256: &record.spki_sha256,
            not_after: record.not_after,
            certificates_above: above.len(),
        },
    )
}

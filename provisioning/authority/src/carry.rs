//! A registry's records, as lines of JSON in a file: for another registry, a site that takes over another's devices, a look by other
//! programs.
//!
//! Decided here: that what is written is whole and closed to others, and what the audit log says of an import. What a line may say is
//! decided by the registry. Leaves of the audit log and keys of privacy tokens are in no export.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use countersign_durable::{Access, Existing, Unfinished};
use countersign_format::Digest;
use countersign_provisioning::Serial;
use countersign_registry::{Imported, Registry};
use countersign_trust_store::Certificate;

use crate::config::Config;
use crate::desk::leaf;
use crate::serve;

/// Who says so, in the log.
const BY: &str = "operator, by the program import";

/// The most bytes of a file that is imported. A larger one can be cut, if each device's certificates come with it.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Writes every record of the registry into a new file; how many there are.
///
/// # Errors
/// A file that is there already; a registry that does not answer.
pub async fn export(config: &Path, file: &Path) -> anyhow::Result<u64> {
    let config = Config::read(config)?;
    let mut draft = Unfinished::create(file, Access::Owner, Existing::Refuse)?;
    let registry = Registry::open(&config.registry.database).await?;
    let mut count = 0_u64;
    let mut out = BufWriter::new(draft.file());
    let wrote = registry
        .export(|line| {
            count = count.saturating_add(1);
            out.write_all(line.as_bytes())?;
            out.write_all(b"\n")
        })
        .await;
    registry.close().await;
    let failed = || format!("{} could not be written", file.display());
    wrote.with_context(failed)?;
    out.flush().with_context(failed)?;
    drop(out);
    draft.place()?;
    Ok(count)
}

/// Takes over what another registry exported, all of it or nothing.
///
/// # Errors
/// The first line that contradicts what is here, and why; a registry that does not answer.
pub async fn import(config: &Path, file: &Path) -> anyhow::Result<Imported> {
    let config = Config::read(config)?;
    let failed = || format!("{} could not be read as text", file.display());
    let size = fs::metadata(file).with_context(failed)?.len();
    anyhow::ensure!(
        size <= MAX_BYTES,
        "{} has more than {MAX_BYTES} bytes: cut it in pieces at the ends of lines, each device in one piece with all of its certificates and behind the orders",
        file.display()
    );
    let mut text = String::new();
    let opened = File::open(file).with_context(failed)?;
    opened
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .with_context(failed)?;
    let chain = serve::chain(&config.issuer.chain)?;
    let certificate = chain.first().context("[issuer] chain has no certificate")?;
    let own = Certificate::parse(certificate)
        .context("the issuer's certificate")?
        .spki_sha256();
    let registry = Registry::open(&config.registry.database).await?;
    let now = serve::now().as_secs();
    let digest = Digest::of(text.as_bytes()).to_string();
    let told = |imported: &Imported| {
        let added = imported.added.to_string();
        let facts = [
            ("by", BY),
            ("records", added.as_str()),
            ("sha256", digest.as_str()),
        ];
        leaf("imported", now, &facts)
    };
    let revoked = |serial: &Serial, reason| countersign_issuing::revoked(now, serial, reason, BY);
    let imported = registry
        .import(text.lines(), own.as_bytes(), now, told, revoked)
        .await
        .with_context(|| format!("{}: nothing was taken over", file.display()))?;
    registry.close().await;
    Ok(imported)
}

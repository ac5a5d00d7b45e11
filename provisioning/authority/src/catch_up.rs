//! An authority whose registry was put back from an old copy, and what an operator says of its audit log: that the registry
//! shall learn from it what it issued and revoked since, or that it is lost.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use countersign_audit_log::{LogDirectory, LogKey, Origin};
use countersign_issuing::{catch_up, go_on_without_the_log};
use countersign_registry::Registry;
use countersign_trust_store::Certificate;

use crate::config::Config;
use crate::{issuer, keys, serve};

/// Who says so, in the log.
const BY: &str = "operator, by the program audit catch-up";

/// What the operator says.
#[derive(Debug)]
pub struct Word {
    /// The configuration.
    pub config: PathBuf,
    /// The log is lost, and a new one begins.
    pub log_is_lost: bool,
}

/// Lets an authority issue again that refuses it because its log knew more than its registry; while it does not run.
///
/// # Errors
/// Why not; nothing is issued then.
pub async fn go_on(word: &Word) -> anyhow::Result<()> {
    let config = Config::read(&word.config)?;
    let registry = Registry::open(&config.registry.database).await?;
    let key = keys::open(&config.audit.key, None).context("the key in [audit]")?;
    let now = serve::now().as_secs();
    if word.log_is_lost {
        let folder = &config.audit.folder;
        if folder.exists() {
            bail!(
                "{} is there: leave out --log-is-lost, so that the registry learns from it, or move it away if it cannot be read",
                folder.display()
            );
        }
        LogDirectory::create(
            folder,
            LogKey::new(Origin::new(&config.audit.origin)?, key)?,
        )
        .with_context(|| format!("a new audit log in {}", folder.display()))?;
        go_on_without_the_log(&registry, BY, now).await?;
        println!(
            "a new audit log begins; revoke again what was revoked since the registry's copy was made"
        );
    } else {
        let chain = serve::chain(&config.issuer.chain)?;
        let certificate = chain.first().context("[issuer] chain has no certificate")?;
        let issuer = Certificate::parse(certificate)
            .context("the issuer's certificate")?
            .spki_sha256();
        let log = issuer::open_log(&config.audit, key)?;
        let count = catch_up(&registry, &log, issuer.as_bytes(), BY, now).await?;
        println!("{count} entries of the audit log were taken up");
    }
    registry.close().await;
    Ok(())
}

//! From a configuration to a running server.
//!
//! Everything that can be wrong is found before the first connection is accepted, but for hardware that is absent.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use countersign_registry::Registry;
use countersign_tls::TlsIdentity;
use countersign_trust_store::{
    AnchorSource, Anchors, Certificate, TrustState, UnixTime, pem as pem_files,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::attestation::Expectations;
use crate::clients::Clients;
use crate::config::Config;
use crate::desk::{Desk, Parts};
use crate::factory::Factories;
use crate::http::challenge::Challenges;
use crate::http::limit::RateLimit;
use crate::http::{self, App, Metrics, server};
use crate::issuer::{FLOOR, Issuer};
use crate::keys;
use crate::page::Login;
use crate::privacy::PrivacyTokens;
use crate::tokens::TokenFolder;

/// How often newer revocation lists are taken for judging clients.
const LISTS_EVERY: Duration = Duration::from_secs(5);

/// The present by this machine's clock, and never before what has certainly passed: by a clock that fell back, what has ended
/// long ago would not have.
#[must_use]
pub fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::from_secs(since.map_or(0, |since| since.as_secs()).max(FLOOR))
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting.
pub async fn serve(path: &Path, clock_is_right: bool) -> anyhow::Result<()> {
    leave_no_memory()?;
    let config = Config::read(path)?;
    let chain = chain(&config.issuer.chain)?;
    let issuer = chain.first().context("[issuer] chain has no certificate")?;
    let issuer = Certificate::parse(issuer)
        .with_context(|| format!("{} is not accepted", config.issuer.chain.display()))?;

    let tls_key = keys::open(&config.tls.key, None).context("the key in [tls]")?;
    let audit_key = keys::open(&config.audit.key, None).context("the key in [audit]")?;
    keys::check_apart(&[
        ("[issuer]", issuer.spki()),
        ("[tls]", &tls_key.public_key().to_spki_der()),
        ("[audit]", &audit_key.public_key().to_spki_der()),
    ])?;
    let tls_chain = pem_files::certificates(&keys::read(&config.tls.chain)?)
        .with_context(|| format!("{} is not accepted", config.tls.chain.display()))?;
    let identity = TlsIdentity::new(Arc::new(tls_key), &tls_chain)
        .with_context(|| format!("{} cannot be this server's", config.tls.chain.display()))?;

    let registry = Registry::open(&config.registry.database)
        .await?
        // So that a request learns of it, and is asked to come again, before its time is over.
        .waiting(Duration::from_secs(config.limits.request_seconds / 2));
    let metrics = Arc::new(Metrics::default());
    let issuer_desk = Issuer::start(
        &config,
        registry.clone(),
        &chain,
        audit_key,
        clock_is_right,
        metrics.steps(),
    )
    .await?;
    let privacy = PrivacyTokens::open(&config, &registry).await?.map(Arc::new);
    let desk = Desk::new(Parts {
        registry,
        issuer: issuer_desk,
        tokens: TokenFolder::open(&config.tokens)?,
        factories: Factories::new(&config.factory)?,
        chain: chain.clone(),
        issuer_id: *issuer.spki_sha256().as_bytes(),
        places: config.limits.waiting,
        metrics: Arc::clone(&metrics),
        clock: now,
    });
    let lists = Lists::read(&config)?;
    let provider = rustls::crypto::ring::default_provider();
    let clients = Arc::new(Clients::new(
        anchors(&chain)?,
        intermediates(&chain),
        lists.state(desk.crl().await.ok().flatten().map(|list| list.der))?,
        &provider,
        now,
    ));
    let login = config
        .page
        .as_ref()
        .map(|page| Login::new(&page.password))
        .transpose()?;
    let app = Arc::new(App {
        desk,
        clients: Arc::clone(&clients),
        operators: config.operators.clone(),
        rate: RateLimit::new(config.limits.requests_per_minute),
        challenges: Challenges::new()?,
        expectations: Expectations::new(&config.attestation)?,
        metrics,
        login,
        privacy: privacy.clone(),
        clock: now,
    });
    let router = http::router(Arc::clone(&app), &config.limits, &config.cors_origins)?;
    let tls = server::tls(identity, Arc::clone(&clients), provider)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", config.listen))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving");

    let (told, failure) = (stop()?, Arc::new(OnceLock::new()));
    let stopping = {
        let (app, failure) = (Arc::clone(&app), Arc::clone(&failure));
        async move {
            tokio::select! {
                () = told => {}
                failed = app.desk.failed() => {
                    let _ = failure.set(failed);
                }
            }
        }
    };
    let counter = privacy
        .clone()
        .map(|privacy| tokio::spawn(privacy.record_hourly()));
    let refresher = tokio::spawn(refresh(Arc::clone(&app), config.clone()));
    server::serve(
        listener,
        tls,
        clients,
        router,
        config.limits.clone(),
        stopping,
    )
    .await?;
    refresher.abort();
    let _ = refresher.await;
    if let Some(counter) = counter {
        counter.abort();
        let _ = counter.await;
    }
    if let Some(privacy) = privacy {
        privacy.record().await;
    }
    // Requests are finished; what they hold is let go of with them.
    if let Some(app) = Arc::into_inner(app) {
        app.desk.close().await;
    }
    if let Some(failure) = failure.get() {
        anyhow::bail!("{failure}; look at its disk, then start again");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Has a core dump of this process leave out all memory: keys in files are in it, and so are tokens (core(5)).
///
/// # Errors
/// When the system does not take it.
pub fn leave_no_memory() -> anyhow::Result<()> {
    std::fs::write("/proc/self/coredump_filter", "0").context(
        "core dumps of this process would hold its keys, and the system did not take that they must not: \
         let it write /proc/self/coredump_filter",
    )
}

/// Done when the process is told to stop.
fn stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Judges clients by the newest lists: the issuer's own, and those of the authorities above as their files are now. While one
/// cannot be had, those that were taken before it go on deciding, until they are stale.
async fn refresh(app: Arc<App>, config: Config) {
    let mut held = None;
    loop {
        tokio::time::sleep(LISTS_EVERY).await;
        let Ok(own) = app.desk.crl().await else {
            continue;
        };
        let own = own.map(|list| list.der);
        let taken = Lists::read(&config).and_then(|lists| {
            let found = Some((lists.0.clone(), own.clone()));
            if held != found {
                app.clients.set_state(lists.state(own)?);
                held = found;
            }
            Ok(())
        });
        if let Err(error) = taken {
            tracing::error!(
                error = format!("{error:#}"),
                "the newest lists were not taken"
            );
        }
    }
}

/// The lists of the authorities above.
pub(crate) struct Lists(pub(crate) Vec<Vec<u8>>);

impl Lists {
    /// Those that the configuration names, from their files.
    pub(crate) fn read(config: &Config) -> anyhow::Result<Self> {
        let mut lists = Vec::new();
        for path in &config.issuer.crls {
            let found = pem_files::crls(&keys::read(path)?)
                .with_context(|| format!("{} is not a revocation list", path.display()))?;
            lists.extend(found);
        }
        Ok(Self(lists))
    }

    /// With the issuer's own.
    fn state(&self, own: Option<Vec<u8>>) -> anyhow::Result<TrustState> {
        let mut state = TrustState::stateless();
        for list in self.0.iter().chain(&own) {
            state.add_crl(list).map_err(|rejection| {
                anyhow::anyhow!("a revocation list is not accepted: {rejection}")
            })?;
        }
        Ok(state)
    }
}

/// The issuer's certificates, from its own to the root.
pub(crate) fn chain(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    pem_files::certificates(&keys::read(path)?)
        .with_context(|| format!("{} is not accepted", path.display()))
}

/// The root at the end of the chain, checked.
fn anchors(chain: &[Vec<u8>]) -> anyhow::Result<Anchors> {
    let root = chain.last().context("[issuer] chain has no certificate")?;
    Anchors::new(vec![AnchorSource::new(root.clone())])
        .context("the last certificate of [issuer] chain is not a root")
}

/// What stands between devices and the root.
pub(crate) fn intermediates(chain: &[Vec<u8>]) -> Vec<Vec<u8>> {
    chain
        .split_last()
        .map_or_else(Vec::new, |(_, rest)| rest.to_vec())
}

//! The issuing key, and what issues with it, as long as the key is there.
//!
//! Decided here: what happens when the key's hardware is absent at the start (the authority runs, refuses to issue, and
//! looks again now and then; a wrong PIN is not tried twice), what goes into the certificates of whom, when a new
//! revocation list is signed, and which answer each refusal is over HTTP.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use countersign_audit_log::{LogDirectory, LogKey, Origin};
use countersign_format::{DeviceMetadata, Scope};
use countersign_issuing::{
    Ask, Authority, Clock, Contents, Error as IssuingError, Issuing, Proof, Sequencer, Steps,
};
use countersign_keys::{Error as KeyError, ErrorKind, SigningKey};
use countersign_provisioning::{Error as ProvisioningError, ForeignChain, Profile, Reason, Serial};
use countersign_registry::{Certificate, Device, Lead, Refusal, Registry, StoredCrl};
use countersign_trust_store::Certificate as Parsed;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::{Audit, Config};
use crate::desk::Wish;
use crate::keys;
use crate::problem::{Code, Problem};
use crate::serve::Lists;
use crate::time_servers::Comparing;

/// How often absent hardware is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A time that has certainly passed when this was written: a clock below it is wrong.
pub(crate) const FLOOR: u64 = 1_764_000_000;

/// Why a certificate was not issued.
#[derive(Debug)]
pub struct NotIssued {
    /// What whoever asked is told.
    pub problem: Problem,
    /// The registry's reason, if it was that.
    pub refusal: Option<Refusal>,
}

impl From<Problem> for NotIssued {
    fn from(problem: Problem) -> Self {
        let refusal = None;
        Self { problem, refusal }
    }
}

/// What issues, when it can.
pub struct Issuer {
    shared: Arc<Shared>,
    sequencer: Sequencer,
    upkeep: JoinHandle<()>,
}

struct Shared {
    config: Config,
    registry: Registry,
    /// The issuer's certificate and those above it.
    chain: Vec<Vec<u8>>,
    spki: Vec<u8>,
    scope: Option<Scope>,
    open: RwLock<Option<Issuing>>,
    /// An operator may have said that it is right.
    clock: Clock,
    /// Who is told of each step.
    steps: Steps,
    /// Told when the registry's disk has failed.
    failed: Notify,
}

impl Issuer {
    /// Opens the issuing key, or begins to look for it, and begins to order the leaves of the audit log. `steps` is told of each
    /// step of issuing.
    ///
    /// # Errors
    /// What no waiting cures: a key that is not the certificate's, a file that others may read, a log that is not sound.
    pub async fn start(
        config: &Config,
        registry: Registry,
        chain: &[Vec<u8>],
        audit_key: SigningKey,
        clock_is_right: bool,
        steps: Steps,
    ) -> anyhow::Result<Self> {
        let certificate = chain.first().context("[issuer] chain has no certificate")?;
        let parsed = Parsed::parse(certificate).context("the issuer's certificate")?;
        let log = open_log(&config.audit, audit_key)?;
        let sequencer = Sequencer::start(registry.clone(), log).await?;
        let shared = Arc::new(Shared {
            scope: component_scope(&config.issuing.component_scope)?,
            config: config.clone(),
            registry,
            spki: parsed.spki().to_vec(),
            chain: chain.to_vec(),
            open: RwLock::new(None),
            clock: clock(clock_is_right),
            steps,
            failed: Notify::new(),
        });
        let mut look_again = true;
        if let Err(error) = shared.open().await {
            let uri = &shared.config.issuer.key;
            match error.downcast_ref::<KeyError>() {
                Some(key) if keys::may_come_back(uri, key) => {
                    look_again =
                        !matches!(key.kind(), ErrorKind::Passphrase | ErrorKind::LockedOut);
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the issuing key is not to be had: nothing is issued"
                    );
                }
                _ => return Err(error.context("the key in [issuer]")),
            }
        }
        let mut comparing = Comparing::new(config.clock.servers.clone());
        comparing.compare(&shared.clock, &shared.registry).await;
        // Whom this serves is judged by its list: there is one before the first connection.
        shared.list_if_due_or_told().await;
        let upkeep = tokio::spawn(upkeep(Arc::clone(&shared), comparing, look_again));
        Ok(Self {
            shared,
            sequencer,
            upkeep,
        })
    }

    /// Whether the key is open, and nothing has stopped what issues with it.
    #[must_use]
    pub fn key_is_open(&self) -> bool {
        let issuing = self.shared.issuing();
        issuing.is_some_and(|issuing| issuing.stopped().is_none())
    }

    /// What keeps this from issuing, in words for anybody; none when it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if self.sequencer.has_ended() {
            return Some(
                "the audit log cannot be written: see what the authority logged".to_owned(),
            );
        }
        let Some(issuing) = self.shared.issuing() else {
            return Some(
                "the issuing key is not to be had: see what the authority logged".to_owned(),
            );
        };
        match issuing.stopped() {
            Some(IssuingError::Disk { .. }) => {
                Some("the registry's disk failed: see what the authority logged".to_owned())
            }
            Some(error) => Some(error.to_string()),
            None => issuing.forbidden().map(|error| error.to_string()),
        }
    }

    /// Done when the registry's disk has failed, or the audit log cannot be written; says which. Nobody knows then what they
    /// have, and only another process can find out.
    pub async fn failed(&self) -> String {
        tokio::select! {
            () = self.shared.failed.notified() => "the registry's disk failed".to_owned(),
            () = self.sequencer.ended() => {
                let reason = self.sequencer.failure().unwrap_or_default();
                format!("the audit log cannot be written ({reason})")
            }
        }
    }

    /// Issues.
    ///
    /// # Errors
    /// Why not.
    pub async fn issue(&self, wish: Wish, device: &Device) -> Result<Certificate, NotIssued> {
        let issuing = self
            .shared
            .issuing()
            .ok_or_else(|| Problem::new(Code::Unavailable))?;
        let scoped = wish.profile == Profile::ComponentSigner;
        let contents = Contents {
            days: self.shared.config.issuing.days,
            organization: self.shared.config.issuing.organization.clone(),
            metadata: metadata(device)?,
            scope: self.shared.scope.clone().filter(|_| scoped),
            dns_names: wish.dns_names,
            ..Contents::default()
        };
        let ask = Ask {
            proof: Proof::Seen(wish.public_key),
            device: Some(wish.device),
            profile: wish.profile,
            contents,
            renews: wish.renews,
            request: wish.request,
            manufacturer: None,
        };
        issuing
            .issue_for(ask, Some(wish.requester))
            .await
            .map_err(|error| match error {
                IssuingError::Refused(Refusal::RequestReused) if wish.one_time => {
                    Problem::new(Code::TokenUsed).into()
                }
                IssuingError::Refused(refusal) => NotIssued {
                    problem: refused(&refusal),
                    refusal: Some(refusal),
                },
                error => problem(error).into(),
            })
    }

    /// Revokes, and has it on a list soon.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn revoke(
        &self,
        serial: &Serial,
        reason: Reason,
        requester: &str,
    ) -> Result<Option<Certificate>, Problem> {
        // The registry remembers; only the list needs the key, and is signed when that is there.
        let outcome = match self.shared.issuing() {
            Some(issuing) => issuing.revoke(serial, reason, requester).await,
            None => {
                let Shared {
                    registry, clock, ..
                } = &*self.shared;
                countersign_issuing::revoke(registry, clock, serial, reason, requester).await
            }
        };
        outcome.map_err(problem)
    }

    /// The audit log's newest checkpoint.
    #[must_use]
    pub fn audit_head(&self) -> String {
        self.sequencer.head().as_str().to_owned()
    }

    /// Finishes what waits, and stops.
    pub async fn close(self) {
        self.upkeep.abort();
        let open = self.shared.issuing();
        if let Some(issuing) = open {
            issuing.drain().await;
        }
        self.sequencer.stop().await;
    }
}

impl Shared {
    fn issuing(&self) -> Option<Issuing> {
        self.open
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Opens the key, and begins to issue with it.
    async fn open(&self) -> anyhow::Result<()> {
        let issuer = self.config.issuer.clone();
        let spki = self.spki.clone();
        // Hardware blocks.
        let key = tokio::task::spawn_blocking(move || {
            keys::open_issuer(&issuer.key, issuer.passphrase_file.as_deref(), &spki)
        })
        .await
        .context("opening the key was interrupted")??;
        let authority = Authority {
            key: Arc::new(key),
            certificate: self
                .chain
                .first()
                .context("[issuer] chain has no certificate")?
                .clone(),
        };
        let (registry, clock) = (self.registry.clone(), self.clock.clone());
        let issuing = Issuing::start_with(registry, authority, clock, self.steps.clone()).await?;
        // It issues nothing before it was judged. What hosts say may change while this runs; that there is no verdict at
        // all is no reason to go on.
        match judged(&issuing, &self.config, &self.chain) {
            Err(error @ IssuingError::Authority { .. }) => {
                tracing::error!(%error, "nothing is issued");
            }
            outcome => outcome?,
        }
        *self
            .open
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(issuing);
        Ok(())
    }

    /// Looks whether issuing goes on: its disk, and what hosts say of the issuer by the newest lists of those above it.
    fn look(&self) {
        let Some(issuing) = self.issuing() else {
            return;
        };
        if let Some(error @ IssuingError::Disk { .. }) = issuing.stopped() {
            tracing::error!(%error, "stopping");
            self.failed.notify_one();
        }
        judge(&issuing, &self.config, &self.chain);
    }

    /// As `list_if_due`; why none was signed is for the log.
    async fn list_if_due_or_told(&self) {
        if let Err(error) = self.list_if_due().await {
            tracing::error!(
                error = format!("{error:#}"),
                "no revocation list could be signed"
            );
        }
    }

    /// Signs a list when there is none, when the newest is old, or when something was revoked since, or for another reason.
    async fn list_if_due(&self) -> anyhow::Result<()> {
        let Some(issuing) = self.issuing() else {
            return Ok(());
        };
        // One of several replicas looks; another does when that one is gone.
        if !self.registry.leads(Lead::RevocationLists).await? {
            return Ok(());
        }
        let now = crate::serve::now().as_secs();
        let newest = self.registry.crl(issuing.issuer()).await?;
        let revoked = self.registry.revocations(issuing.issuer(), now).await?;
        if is_due(newest.as_ref(), &revoked, &self.config, now) {
            issuing.sign_list(self.config.issuing.crl_days).await?;
        }
        Ok(())
    }
}

/// Whether a list is to be signed.
fn is_due(
    newest: Option<&StoredCrl>,
    revoked: &[countersign_provisioning::Revocation],
    config: &Config,
    now: u64,
) -> bool {
    let Some(newest) = newest else {
        return true;
    };
    let Ok(list) = countersign_trust_store::Crl::parse(&newest.der) else {
        return true;
    };
    let age = now.saturating_sub(list.this_update().as_secs());
    age >= config.issuing.crl_hours.saturating_mul(3600)
        || !countersign_provisioning::says(&newest.der, revoked)
}

/// What is done beside requests.
async fn upkeep(shared: Arc<Shared>, mut comparing: Comparing, look_again: bool) {
    loop {
        comparing.compare(&shared.clock, &shared.registry).await;
        if look_again && shared.issuing().is_none() {
            match shared.open().await {
                Ok(()) => tracing::info!("the issuing key is there again"),
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the issuing key is still not to be had"
                ),
            }
        }
        shared.look();
        shared.list_if_due_or_told().await;
        let pause = if shared.issuing().is_some() {
            Duration::from_secs(shared.config.issuing.crl_check_seconds)
        } else {
            LOOK_EVERY
        };
        tokio::time::sleep(pause).await;
    }
}

/// The machine's clock, of which an operator may have said that it is right.
pub(crate) fn clock(is_right: bool) -> Clock {
    let clock = Clock::system(FLOOR);
    if is_right { clock.confirmed() } else { clock }
}

/// Has the issuer's certificate judged as hosts judge it, by the files of lists as they are now. As long as hosts would refuse
/// it, nothing is issued; why is for the log.
fn judge(issuing: &Issuing, config: &Config, chain: &[Vec<u8>]) {
    if let Err(error) = judged(issuing, config, chain) {
        tracing::error!(%error, "nothing is issued");
    }
}

/// The same, and the verdict. Lists that cannot be read are none, so that nobody knows whether the issuer is revoked.
pub(crate) fn judged(
    issuing: &Issuing,
    config: &Config,
    chain: &[Vec<u8>],
) -> Result<(), IssuingError> {
    let lists = Lists::read(config).unwrap_or_else(|error| {
        tracing::error!(
            error = format!("{error:#}"),
            "the lists of the authorities above could not be read"
        );
        Lists(Vec::new())
    });
    issuing.judge(&ForeignChain::new(chain.to_vec()).with_revocation_lists(lists.0))
}

/// Opens the audit log with its own key, or makes one in an empty folder.
pub(crate) fn open_log(audit: &Audit, key: SigningKey) -> anyhow::Result<LogDirectory> {
    let key = LogKey::new(Origin::new(&audit.origin)?, key)?;
    let (log, recovery) = LogDirectory::open(&audit.folder, key)
        .with_context(|| format!("the audit log in {}", audit.folder.display()))?;
    tracing::info!(replayed = recovery.replayed, "the audit log is open");
    Ok(log)
}

/// What component signers may sign.
pub(crate) fn component_scope(patterns: &[String]) -> anyhow::Result<Option<Scope>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let patterns = patterns
        .iter()
        .map(|pattern| pattern.parse())
        .collect::<Result<Vec<_>, _>>()
        .context("issuing.component_scope")?;
    Ok(Some(
        Scope::new(patterns, countersign_format::Audience::default())
            .context("issuing.component_scope")?,
    ))
}

/// What a certificate says of a device: what the registry has.
fn metadata(device: &Device) -> Result<DeviceMetadata, Problem> {
    let refused = |error: countersign_format::FormatError| {
        Problem::new(Code::Refused).detail(format!(
            "what is recorded of the device is not accepted: {error}"
        ))
    };
    let mut metadata = DeviceMetadata::default();
    if !device.device_type.is_empty() {
        metadata = metadata
            .with_device_type(&device.device_type)
            .map_err(refused)?;
    }
    if !device.revision.is_empty() {
        metadata = metadata
            .with_hardware_revision(&device.revision)
            .map_err(refused)?;
    }
    if !device.firmware.is_empty() {
        metadata = metadata
            .with_firmware_version(&device.firmware)
            .map_err(refused)?;
    }
    Ok(metadata)
}

/// What a refusal is over HTTP. Faults keep their causes for the log.
fn problem(error: IssuingError) -> Problem {
    match error {
        IssuingError::Refused(refusal) => refused(&refusal),
        IssuingError::Request {
            without_possession: true,
            ..
        } => Problem::new(Code::ProofOfPossession),
        IssuingError::Request { reason, .. } => Problem::new(Code::Refused).detail(reason),
        IssuingError::Busy => Problem::new(Code::Unavailable).retry_after(1),
        error => {
            tracing::error!(%error, "nothing was issued");
            Problem::new(Code::Unavailable)
        }
    }
}

fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::AlreadyIssued { .. } | Refusal::NotCurrent { .. } => {
            Problem::new(Code::AlreadyIssued).detail(refusal.to_string())
        }
        Refusal::InProgress { .. } => Problem::new(Code::AlreadyIssued)
            .detail(refusal.to_string())
            .retry_after(1),
        Refusal::KeyKnown { .. } => Problem::new(Code::KeyKnown),
        Refusal::KeyRevoked { .. } => Problem::new(Code::KeyKnown).detail(refusal.to_string()),
        Refusal::NotApproved { .. } => Problem::new(Code::NotApproved),
        Refusal::QuotaExhausted { .. } => Problem::new(Code::Forbidden)
            .detail("the order has had certificates for all of its devices"),
        Refusal::RequestReused => Problem::new(Code::IdempotencyConflict),
        Refusal::AnswerRevoked { .. } => {
            Problem::new(Code::IdempotencyConflict).detail(refusal.to_string())
        }
        refusal => {
            tracing::error!(%refusal, "nothing was issued");
            Problem::new(Code::Unavailable)
        }
    }
}

impl From<ProvisioningError> for Problem {
    fn from(error: ProvisioningError) -> Self {
        let code = match &error {
            ProvisioningError::ProofOfPossession => Code::ProofOfPossession,
            ProvisioningError::IdentityMismatch { .. } => Code::Forbidden,
            ProvisioningError::RequestInvalid { .. } => Code::BadRequest,
            ProvisioningError::KeyUnsupported { .. }
            | ProvisioningError::NameInvalid { .. }
            | ProvisioningError::OutsideIssuerValidity { .. }
            | ProvisioningError::Scope { .. }
            | ProvisioningError::Hardware { .. }
            | ProvisioningError::TooLarge { .. }
            | ProvisioningError::ValidityTooLong { .. } => Code::Refused,
            _ => {
                tracing::error!(%error, "nothing was issued");
                return Self::new(Code::Unavailable);
            }
        };
        Self::new(code).detail(error.to_string())
    }
}

//! What handlers ask for, in one place: issuing, looking up, tokens.
//!
//! Decided here: what a registry's answers mean to whoever asks over HTTP, and how many may wait to be issued. Faults
//! are logged with their causes, and answered without them.

mod hours;
mod recent;

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_format::{DeviceIdentity, Digest};
use countersign_keys::PublicKey;
use countersign_provisioning::{Profile, Reason, Serial};
use countersign_registry::{
    Certificate, CertificateState, Device, DeviceState, Page, Refusal, Registry, Statistics,
    StoredCrl,
};
use countersign_trust_store::UnixTime;
use tokio::sync::Semaphore;

use crate::clients::Client;
use crate::factory::Factories;
use crate::http::Metrics;
use crate::issuer::Issuer;
use crate::problem::{Code, Problem};
use crate::tokens::{Scope, TokenFolder, TokenHash};

use recent::Recent;

pub use hours::{Hour, Hours};

/// How long an answer of the registry about its health holds.
const HEALTH_LIFE: Duration = Duration::from_secs(1);

/// How long after a renewal it is nothing unusual that a device shows the certificate that was renewed, in seconds.
const RENEWAL_SECONDS: u64 = 24 * 3600;

/// A certificate that somebody who may have it wants.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Whose it is.
    pub device: DeviceIdentity,
    /// Its kind.
    pub profile: Profile,
    /// The key; its possession was proven.
    pub public_key: PublicKey,
    /// Host names, for a server's certificate.
    pub dns_names: Vec<String>,
    /// The certificate in whose place it comes.
    pub renews: Option<Serial>,
    /// The order that the device must belong to.
    pub order: Option<String>,
    /// The request's name, by which a second one gets the same answer.
    pub request: Option<String>,
    /// Whether that name is a token, which is used up by the request.
    pub one_time: bool,
    /// Who asks, for the audit log.
    pub requester: String,
}

/// The desk.
pub struct Desk {
    registry: Registry,
    issuer: Issuer,
    tokens: TokenFolder,
    factories: Factories,
    /// Whether the registry answered, when it was asked last.
    answered: Recent<bool>,
    /// From the issuer to the root, DER.
    chain: Vec<Vec<u8>>,
    issuer_id: [u8; 32],
    waiting: Arc<Semaphore>,
    places: usize,
    hours: Hours,
    metrics: Arc<Metrics>,
    clock: fn() -> UnixTime,
}

/// What a desk is made of.
pub struct Parts {
    /// The registry.
    pub registry: Registry,
    /// What issues.
    pub issuer: Issuer,
    /// The tokens.
    pub tokens: TokenFolder,
    /// Whose factory identities are believed.
    pub factories: Factories,
    /// From the issuer to the root, DER.
    pub chain: Vec<Vec<u8>>,
    /// SHA-256 of the issuer's SubjectPublicKeyInfo.
    pub issuer_id: [u8; 32],
    /// How many may wait to be issued.
    pub places: usize,
    /// Where issuances are counted.
    pub metrics: Arc<Metrics>,
    /// The present.
    pub clock: fn() -> UnixTime,
}

impl Desk {
    /// Opens the desk.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            registry: parts.registry,
            tokens: parts.tokens,
            factories: parts.factories,
            answered: Recent::new(HEALTH_LIFE),
            chain: parts.chain,
            issuer: parts.issuer,
            issuer_id: parts.issuer_id,
            waiting: Arc::new(Semaphore::new(parts.places)),
            places: parts.places,
            hours: Hours::default(),
            metrics: parts.metrics,
            clock: parts.clock,
        }
    }

    /// Issues, or gives what the same request got before. What comes back is recorded.
    ///
    /// # Errors
    /// Why not.
    pub async fn issue(&self, wish: Wish) -> Result<Certificate, Problem> {
        let began = Instant::now();
        let profile = wish.profile;
        let outcome = self.issue_uncounted(wish).await;
        let refused = outcome.as_ref().err().map(Problem::code);
        self.metrics
            .issued(profile.as_str(), refused, began.elapsed());
        self.hours
            .count((self.clock)().as_secs(), refused.is_none());
        outcome
    }

    async fn issue_uncounted(&self, wish: Wish) -> Result<Certificate, Problem> {
        // A queue without an end would only make everybody late.
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| Problem::new(Code::Unavailable).retry_after(1))?;
        // Who may have it on this order alone is told the same of a device that is elsewhere and of none.
        let device = self.device(&wish.device).await?;
        let order = device.as_ref().and_then(|device| device.order.as_deref());
        if wish.order.is_some() && wish.order.as_deref() != order {
            return Err(Problem::new(Code::NotApproved));
        }
        let device = device.ok_or_else(|| Problem::new(Code::NotApproved))?;
        let key = *Digest::of(&wish.public_key.to_spki_der()).as_bytes();
        let outcome = self.issuer.issue(wish, &device).await;
        if let Err(not_issued) = &outcome
            && let Some(refusal) = &not_issued.refusal
            && let Some(what) = self.unusual_wish(refusal, &key).await
        {
            self.metrics.unusual(what, &device.id);
        }
        outcome.map_err(|not_issued| not_issued.problem)
    }

    /// What is unusual in what was refused, if anything. Who lost an answer asks again over the same key.
    async fn unusual_wish(&self, refusal: &Refusal, key: &[u8; 32]) -> Option<&'static str> {
        match refusal {
            Refusal::KeyKnown { serves: None, .. } => Some("key-known"),
            Refusal::KeyRevoked { .. } => Some("key-revoked"),
            Refusal::AlreadyIssued { serial, .. } => {
                let current = self.registry.certificate(serial).await.ok().flatten()?;
                (current.key != *key).then_some("already-issued")
            }
            _ => None,
        }
    }

    /// What is unusual in showing this certificate, if anything. Who lost the answer to a renewal shows what was renewed.
    async fn unusual_certificate(&self, found: &Certificate) -> Option<&'static str> {
        match found.state {
            CertificateState::Issued => None,
            CertificateState::Superseded => {
                let renewed_at = self.registry.renewed_at(found).await.ok()?;
                let now = (self.clock)().as_secs();
                renewed_at
                    .is_none_or(|at| now.saturating_sub(at) > RENEWAL_SECONDS)
                    .then_some("superseded-certificate")
            }
            _ => Some("revoked-certificate"),
        }
    }

    /// From the issuer to the root, DER.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// How many are being issued.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.saturating_sub(self.waiting.available_permits())
    }

    /// What was revoked with this certificate, or is it, and is on no list of this authority, since others issued it.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn revoked_of_others(
        &self,
        certificate: &Certificate,
    ) -> Result<Vec<Certificate>, Problem> {
        self.registry
            .revoked_of_others(certificate, &self.issuer_id, (self.clock)().as_secs())
            .await
            .map_err(unavailable)
    }

    /// Whether a client's certificate stands: the registry has it for this device and this key, and it is not revoked.
    /// What another authority below the root issued, which may name any device, stands only as a factory identity, and only
    /// if the configuration names that authority for the device.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn stands(&self, client: &Client) -> Result<bool, Problem> {
        let Ok(serial) = client.serial.parse::<Serial>() else {
            return Ok(false);
        };
        let Some(found) = self.certificate(&serial).await? else {
            return Ok(self.factories.of(client).is_some());
        };
        // Two authorities may have issued the same serial number, and records of others were perhaps imported.
        let is_it = found.device == client.device
            && found.issuer == *client.issuer.as_bytes()
            && found.key == *Digest::of(&client.spki).as_bytes();
        let unusual = match is_it {
            true => self.unusual_certificate(&found).await,
            false => Some("other-certificate"),
        };
        if let Some(what) = unusual {
            self.metrics.unusual(what, &client.device);
        }
        Ok(is_it
            && matches!(
                found.state,
                CertificateState::Issued | CertificateState::Superseded
            ))
    }

    /// The order that a device must belong to when the issuer of its factory identity is named for one alone.
    #[must_use]
    pub fn factory_order(&self, client: &Client) -> Option<String> {
        self.factories.of(client)?.order.clone()
    }

    /// The scope of a token that is accepted now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn token(&self, hash: &TokenHash) -> Result<Option<Scope>, Problem> {
        let tokens = self.tokens.clone();
        let (hash, now) = (*hash, (self.clock)());
        tokio::task::spawn_blocking(move || tokens.find(&hash, now))
            .await
            .map_err(|_| Problem::new(Code::Internal))?
            .map_err(|error| {
                tracing::error!(error = format!("{error:#}"), "a token could not be read");
                Problem::new(Code::Unavailable)
            })
    }

    /// The certificate of this serial number.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn certificate(&self, serial: &Serial) -> Result<Option<Certificate>, Problem> {
        self.registry.certificate(serial).await.map_err(unavailable)
    }

    /// Every certificate of a device.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn certificates(&self, device: &DeviceIdentity) -> Result<Vec<Certificate>, Problem> {
        self.registry
            .certificates(device)
            .await
            .map_err(unavailable)
    }

    /// A device.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn device(&self, device: &DeviceIdentity) -> Result<Option<Device>, Problem> {
        self.registry.device(device).await.map_err(unavailable)
    }

    /// Devices by identity.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn devices(
        &self,
        family: Option<&str>,
        after: Option<&str>,
        most: u64,
    ) -> Result<Page<Device>, Problem> {
        // None is recorded with one, and PostgreSQL takes no NUL.
        if family.is_some_and(|family| family.chars().any(char::is_control)) {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        }
        self.registry
            .devices(family, after, most)
            .await
            .map_err(unavailable)
    }

    /// Records a device that may have certificates, or lets one have them that was only registered.
    ///
    /// # Errors
    /// [`Code::Refused`] for an order that is not there; [`Code::Forbidden`] for a device of another order, and for
    /// one that was retired; when the registry does not answer.
    pub async fn approve(&self, device: Device, requester: &str) -> Result<(), Problem> {
        if let Some(order) = &device.order {
            let orders = self.registry.orders().await.map_err(unavailable)?;
            if !orders.iter().any(|known| known.id == *order) {
                return Err(Problem::new(Code::Refused).detail("there is no such order"));
            }
        }
        let now = (self.clock)().as_secs();
        let (id, order) = (device.id.clone(), device.order.clone());
        let approved = |device: &str| {
            leaf(
                "approve",
                now,
                &[("device", device), ("requester", requester)],
            )
        };
        let known_before = self
            .registry
            .approve(&[device], now, approved)
            .await
            .map_err(unavailable)?;
        if !known_before.is_empty() {
            let known = self.device(&id).await?;
            if known.is_none_or(|known| known.order != order || known.state == DeviceState::Retired)
            {
                return Err(Problem::new(Code::Forbidden));
            }
            self.registry
                .set_device_told(&id, DeviceState::Approved, None, &[&approved(id.as_str())])
                .await
                .map_err(unavailable)?;
        }
        Ok(())
    }

    /// Revokes; what was recorded first comes back. None for what was never handed out.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn revoke(
        &self,
        serial: &Serial,
        reason: Reason,
        requester: &str,
    ) -> Result<Option<Certificate>, Problem> {
        self.issuer.revoke(serial, reason, requester).await
    }

    /// Current certificates that end by then.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn expiring(&self, until: u64) -> Result<Vec<Certificate>, Problem> {
        self.registry
            .expiring(until, 1_000)
            .await
            .map_err(unavailable)
    }

    /// Counts.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn statistics(&self) -> Result<Statistics, Problem> {
        self.registry.statistics().await.map_err(unavailable)
    }

    /// The newest revocation list.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn crl(&self) -> Result<Option<StoredCrl>, Problem> {
        self.registry
            .crl(&self.issuer_id)
            .await
            .map_err(unavailable)
    }

    /// Whether the registry answers. It is asked once a second however many want to know: anybody may.
    pub async fn registry_answers(&self) -> bool {
        let ask = async || self.registry.leaf_counts().await.is_ok();
        self.answered.get(ask).await
    }

    /// Whether the issuing key is open.
    #[must_use]
    pub fn key_is_open(&self) -> bool {
        self.issuer.key_is_open()
    }

    /// What keeps this from issuing, in words for anybody; none when it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.issuer.trouble()
    }

    /// Done when the registry's disk has failed, or the audit log cannot be written; says which.
    pub async fn failed(&self) -> String {
        self.issuer.failed().await
    }

    /// The newest checkpoint of the audit log, as text.
    #[must_use]
    pub fn audit_head(&self) -> String {
        self.issuer.audit_head()
    }

    /// Finishes what waits, and lets go of registry and log.
    pub async fn close(self) {
        self.issuer.close().await;
    }

    /// Issued and refused by hour.
    #[must_use]
    pub fn hours(&self, now: u64) -> Vec<Hour> {
        self.hours.last_day(now)
    }
}

/// A fault of the registry: its cause for the log, and none for who asks.
fn unavailable(error: countersign_registry::Error) -> Problem {
    tracing::error!(%error, "the registry failed");
    Problem::new(Code::Unavailable)
}

/// A leaf of the audit log: one line of JSON.
pub(crate) fn leaf(event: &str, at: u64, facts: &[(&str, &str)]) -> Vec<u8> {
    let mut line = serde_json::Map::new();
    line.insert("event".to_owned(), event.into());
    line.insert("at".to_owned(), at.into());
    for (name, value) in facts {
        line.insert((*name).to_owned(), (*value).into());
    }
    serde_json::Value::Object(line).to_string().into_bytes()
}

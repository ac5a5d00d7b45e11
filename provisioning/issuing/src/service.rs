//! The service: what it is made of, and what it is asked.

use std::sync::Arc;

use countersign_format::Digest;
use countersign_keys::SigningKey;
use countersign_provisioning::{ForeignChain, Issuer, Reason, Revocation, Serial, Validity};
use countersign_registry::{Certificate, Listed, Registry};
use countersign_trust_store::{Code, UnixTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::stages::{self, Waiting};
use crate::step::Step;
use crate::stop::Stop;
use crate::threads::{Threads, guarded};
use crate::{Ask, Clock, Error, Steps, record};

/// How many requests may wait at once. Each holds some kilobytes.
const MAX_WAITING: u32 = 8192;

/// Of how many leaves, the last ones, one must say when it was recorded.
const LAST: u64 = 16;

/// Who issues: a key, and its certificate.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The key.
    pub key: Arc<SigningKey>,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
}

/// Issues certificates. Clones are the same service.
#[derive(Clone, Debug)]
pub struct Issuing {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    pub(crate) threads: Threads,
    /// SHA-256 of the issuing key's SubjectPublicKeyInfo.
    pub(crate) issuer: [u8; 32],
    /// The authority's certificate, DER, and its period.
    certificate: Vec<u8>,
    validity: Validity,
    pub(crate) steps: Steps,
    pub(crate) stop: Stop,
    verified: mpsc::UnboundedSender<Waiting>,
    places: Arc<Semaphore>,
}

impl Issuing {
    /// Starts issuing on the running tokio runtime. What an earlier process reserved and never committed is closed
    /// first, with a leaf for each.
    ///
    /// # Errors
    /// [`Error::Clock`]; [`Error::Request`] when key and certificate do not fit; [`Error::Unavailable`].
    pub async fn start(
        registry: Registry,
        authority: Authority,
        clock: Clock,
    ) -> Result<Self, Error> {
        Self::start_with(registry, authority, clock, Steps::default()).await
    }

    /// The same, and `steps` is told of each step.
    ///
    /// # Errors
    /// As [`Issuing::start`].
    pub async fn start_with(
        registry: Registry,
        authority: Authority,
        clock: Clock,
        steps: Steps,
    ) -> Result<Self, Error> {
        let validity = Issuer::new(&authority.key, &authority.certificate)?.validity();
        let now = clock.start(last_recorded(&registry).await?)?;
        let orphans: Vec<_> = record::closings(now, registry.orphans().await?).collect();
        registry.abandon(&orphans).await?;

        let threads = Threads::start(&authority.key, &authority.certificate)?;
        let issuer = *Digest::of(&authority.key.public_key().to_spki_der()).as_bytes();
        let (verified, incoming) = mpsc::unbounded_channel();
        let (ended, outgoing) = mpsc::unbounded_channel();
        let stop = Stop::default();
        tokio::spawn(stages::reserve(
            incoming,
            stages::Reserving {
                registry: registry.clone(),
                clock: clock.clone(),
                threads: threads.clone(),
                issuer,
                steps: steps.clone(),
                stop: stop.clone(),
                ended,
            },
        ));
        tokio::spawn(stages::commit(
            outgoing,
            stages::Committing {
                registry: registry.clone(),
                clock: clock.clone(),
                issuer,
                steps: steps.clone(),
                stop: stop.clone(),
            },
        ));
        Ok(Self {
            inner: Arc::new(Inner {
                registry,
                clock,
                threads,
                issuer,
                certificate: authority.certificate,
                validity,
                steps,
                stop,
                verified,
                places: Arc::new(Semaphore::new(
                    usize::try_from(MAX_WAITING).unwrap_or(usize::MAX),
                )),
            }),
        })
    }

    /// Issues one certificate. When this returns, it is on record, and so is its leaf.
    ///
    /// # Errors
    /// [`Error`]; nothing was handed out. After [`Error::Disk`] this process issues nothing more.
    pub async fn issue(&self, ask: Ask) -> Result<Certificate, Error> {
        self.issue_for(ask, None).await
    }

    /// The same; `by` says who asked, for the audit log. Who asks again under the same name gets what the first got.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub async fn issue_for(&self, ask: Ask, by: Option<String>) -> Result<Certificate, Error> {
        let permit = self.enter()?;
        let now = self.inner.clock.now()?;
        self.check_authority(now)?;
        self.inner.steps.at(Step::Asked);
        let (reply, answer) = oneshot::channel();
        let (verified, steps) = (self.inner.verified.clone(), self.inner.steps.clone());
        let span = tracing::Span::current();
        self.inner.threads.run(move |issuer| {
            let made = guarded(|| {
                let mut asked = ask.verify(now, issuer.validity())?;
                asked.by = by;
                Ok((asked, stages::serial()?))
            });
            match made {
                Ok((asked, serial)) => {
                    steps.at(Step::Verified);
                    let waiting = Waiting {
                        asked,
                        serial,
                        at: now,
                        reply,
                        span,
                        _permit: permit,
                    };
                    // If nobody receives, the reply's end is dropped, which tells who asked.
                    let _ = verified.send(waiting);
                }
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            }
        });
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    /// Revokes a certificate; `by` says who did, for the audit log. A second time gives the same answer; none for a serial
    /// that was never handed out. Where its key may be in other hands, whatever else was issued over that key is revoked with it.
    ///
    /// # Errors
    /// [`Error::Clock`], [`Error::Unavailable`].
    pub async fn revoke(
        &self,
        serial: &Serial,
        reason: Reason,
        by: &str,
    ) -> Result<Option<Certificate>, Error> {
        let now = self.inner.clock.alone()?;
        let leaf = |serial: &Serial| record::revoked(now, serial, reason, by);
        let stop = &self.inner.stop;
        stop.check_disk()?;
        stop.heed(self.inner.registry.revoke(serial, reason, now, leaf).await)
    }

    /// Judges the authority's own certificate as hosts do: `chain` leads from it to the root, with the lists of those
    /// above. As long as hosts would refuse it (revoked, its status unknown or stale, expired) nothing is issued; the next
    /// call decides anew. Call it at the start, and whenever there is a new list.
    ///
    /// # Errors
    /// [`Error::Authority`] says why nothing is issued; [`Error::Request`] for another certificate's chain, which changes
    /// nothing; [`Error::Clock`].
    pub fn judge(&self, chain: &ForeignChain) -> Result<(), Error> {
        let root = chain.root().map(|root| &root.certificate);
        if chain.certificates().first().or(root) != Some(&self.inner.certificate) {
            return Err(Error::Request {
                reason: "this chain does not begin with the authority's certificate: give that one, then those above it"
                    .to_owned(),
                without_possession: false,
            });
        }
        let linted = chain.lint(UnixTime::from_secs(self.inner.clock.alone()?));
        // Who only describes a chain may leave its lists away; who issues may not.
        let unknown = linted.notes.into_iter();
        let unknown = unknown.filter(|note| note.code == Code::RevocationUnknown);
        let reason = linted.findings.into_iter().chain(unknown).next().map(|finding| {
            format!(
                "hosts refuse its certificate ({}); give current revocation lists of those above it, or have it renewed",
                finding.rule
            )
        });
        self.inner.stop.set_authority(reason);
        self.inner.stop.check_authority()
    }

    /// Why the authority's certificate allows nothing at present, if so: it is not valid now, or hosts refused it when they
    /// were last asked.
    #[must_use]
    pub fn forbidden(&self) -> Option<Error> {
        let now = self.inner.clock.now();
        now.and_then(|now| self.check_authority(now)).err()
    }

    /// SHA-256 of the issuing key's SubjectPublicKeyInfo, by which its certificates and lists are recorded.
    #[must_use]
    pub fn issuer(&self) -> &[u8; 32] {
        &self.inner.issuer
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Whether nothing more is taken: it is drained, or the registry's disk failed. After a failed write nobody knows
    /// what the disk has; the process must start again.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped().is_some()
    }

    /// Why nothing more is taken: [`Error::Stopped`] or [`Error::Disk`].
    #[must_use]
    pub fn stopped(&self) -> Option<Error> {
        self.inner.stop.check().err()
    }

    /// Takes nothing more, and returns when everything that waited has its answer.
    pub async fn drain(&self) {
        self.inner.stop.drain();
        // All places are free when nobody waits.
        let _ = self.inner.places.acquire_many(MAX_WAITING).await;
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.inner.stop.check()?;
        Arc::clone(&self.inner.places)
            .try_acquire_owned()
            .map_err(|_| Error::Busy)
    }

    /// Whether the authority's certificate is valid now, and hosts did not refuse it when they were last asked.
    fn check_authority(&self, now: u64) -> Result<(), Error> {
        let (now, validity) = (UnixTime::from_secs(now), self.inner.validity);
        if now < validity.not_before() || now > validity.not_after() {
            return Err(Error::Authority {
                reason: format!(
                    "its certificate is valid from {} to {}, and it is {now}: renew it, or set the clock",
                    validity.not_before(),
                    validity.not_after()
                ),
            });
        }
        self.inner.stop.check_authority()
    }
}

/// Revokes as [`Issuing::revoke`] does, where the issuing key is not to be had. The certificate is on the next list that is
/// signed.
///
/// # Errors
/// As there.
pub async fn revoke(
    registry: &Registry,
    clock: &Clock,
    serial: &Serial,
    reason: Reason,
    by: &str,
) -> Result<Option<Certificate>, Error> {
    let now = clock.alone()?;
    let leaf = |serial: &Serial| record::revoked(now, serial, reason, by);
    Ok(registry.revoke(serial, reason, now, leaf).await?)
}

/// Revokes a serial of `issuer` (SHA-256 of its key's SubjectPublicKeyInfo) that the registry need not know, on the word of `by`:
/// after a copy was put back, for a certificate that somebody has in hand.
///
/// # Errors
/// [`Error::Clock`], [`Error::Unavailable`].
pub async fn revoke_unrecorded(
    registry: &Registry,
    clock: &Clock,
    issuer: &[u8; 32],
    serial: &Serial,
    reason: Reason,
    by: &str,
) -> Result<Listed, Error> {
    let now = clock.alone()?;
    let what = Revocation {
        serial: serial.clone(),
        at: UnixTime::from_secs(now),
        reason,
    };
    let leaf = record::revoked(now, serial, reason, by);
    Ok(registry.revoke_listed(issuer, &what, &leaf).await?)
}

/// When the last thing was recorded, in seconds since 1970. The order of the leaves tells which is the last, so that a
/// clock that was ahead leaves nothing behind once something was recorded by a right one.
async fn last_recorded(registry: &Registry) -> Result<Option<u64>, Error> {
    let (placed, _) = registry.leaf_counts().await?;
    let leaves = registry.leaves(placed.saturating_sub(LAST), LAST).await?;
    let last = leaves
        .iter()
        .rev()
        .find_map(|leaf| record::time(&leaf.bytes));
    match last {
        Some(last) => Ok(Some(last)),
        // No leaf has a place before the log is begun.
        None => Ok(registry.last_written().await?),
    }
}

//! The service: what it is made of, and what it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_format::Digest;
use countersign_keys::SigningKey;
use countersign_provisioning::{Reason, Serial};
use countersign_registry::{Certificate, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::stages::{self, Waiting};
use crate::step::Step;
use crate::threads::Threads;
use crate::{Ask, Clock, Error, Steps, record};

/// How many requests may wait at once. Each holds some kilobytes.
const MAX_WAITING: u32 = 8192;

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
    pub(crate) steps: Steps,
    verified: mpsc::UnboundedSender<Waiting>,
    places: Arc<Semaphore>,
    is_stopping: Arc<AtomicBool>,
}

/// What makes the service take nothing more.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn now(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
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
        if let Some(last) = registry.last_written().await? {
            clock.raise(last);
        }
        let now = clock.now()?;
        let orphans: Vec<(Serial, Vec<u8>)> = registry
            .orphans()
            .await?
            .into_iter()
            .map(|orphan| {
                let leaf = record::abandoned(now, &orphan);
                (orphan.serial, leaf)
            })
            .collect();
        registry.abandon(&orphans).await?;

        let threads = Threads::start(&authority.key, &authority.certificate)?;
        let issuer = *Digest::of(&authority.key.public_key().to_spki_der()).as_bytes();
        let (verified, incoming) = mpsc::unbounded_channel();
        let (signed, outgoing) = mpsc::unbounded_channel();
        let is_stopping = Arc::new(AtomicBool::new(false));
        tokio::spawn(stages::reserve(
            incoming,
            stages::Reserving {
                registry: registry.clone(),
                clock: clock.clone(),
                threads: threads.clone(),
                issuer,
                steps: steps.clone(),
                signed,
            },
        ));
        tokio::spawn(stages::commit(
            outgoing,
            stages::Committing {
                registry: registry.clone(),
                clock: clock.clone(),
                issuer,
                steps: steps.clone(),
                stop: Stop(Arc::clone(&is_stopping)),
            },
        ));
        Ok(Self {
            inner: Arc::new(Inner {
                registry,
                clock,
                threads,
                issuer,
                steps,
                verified,
                places: Arc::new(Semaphore::new(
                    usize::try_from(MAX_WAITING).unwrap_or(usize::MAX),
                )),
                is_stopping,
            }),
        })
    }

    /// Issues one certificate. When this returns, it is on record, and so is its leaf.
    ///
    /// # Errors
    /// [`Error`]; nothing was handed out.
    pub async fn issue(&self, ask: Ask) -> Result<Certificate, Error> {
        let permit = self.enter()?;
        let now = self.inner.clock.now()?;
        self.inner.steps.at(Step::Asked);
        let (reply, answer) = oneshot::channel();
        let (verified, steps) = (self.inner.verified.clone(), self.inner.steps.clone());
        self.inner.threads.run(move |_| {
            let made = ask
                .verify(now)
                .and_then(|asked| Ok((asked, stages::serial()?)));
            match made {
                Ok((asked, serial)) => {
                    steps.at(Step::Verified);
                    let waiting = Waiting {
                        asked,
                        serial,
                        at: now,
                        reply,
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
    /// that was never handed out.
    ///
    /// # Errors
    /// [`Error::Clock`], [`Error::Unavailable`].
    pub async fn revoke(
        &self,
        serial: &Serial,
        reason: Reason,
        by: &str,
    ) -> Result<Option<Certificate>, Error> {
        let now = self.inner.clock.now()?;
        let leaf = record::revoked(now, serial, reason, by);
        Ok(self
            .inner
            .registry
            .revoke(serial, reason, now, &leaf)
            .await?)
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
        self.inner.is_stopping.load(Ordering::SeqCst)
    }

    /// Takes nothing more, and returns when everything that waited has its answer.
    pub async fn drain(&self) {
        self.inner.is_stopping.store(true, Ordering::SeqCst);
        // All places are free when nobody waits.
        let _ = self.inner.places.acquire_many(MAX_WAITING).await;
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        if self.is_stopped() {
            return Err(Error::Stopped);
        }
        Arc::clone(&self.inner.places)
            .try_acquire_owned()
            .map_err(|_| Error::Busy)
    }
}

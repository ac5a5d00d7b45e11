//! The two tasks that write: one reserves for all that waits, the other commits all that is signed. While one waits for
//! the disk, the threads verify and sign what comes next.

use std::time::Duration;

use countersign_provisioning::{Issued, Serial};
use countersign_registry::{
    Certificate, CertificateState, Commit, Error as RegistryError, Registry, Reservation, Reserved,
};
use countersign_trust_store::UnixTime;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use crate::ask::Verified;
use crate::step::Step;
use crate::stop::Stop;
use crate::threads::{Threads, guarded};
use crate::{Clock, Error, Steps, record};

/// The most in one transaction.
const BATCH: usize = 256;

/// How long to wait before closing again what could not be closed.
const RETRY: Duration = Duration::from_secs(1);

/// How often reservations of processes that died are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// A request on its way, and who waits for it.
pub(crate) struct Waiting {
    pub(crate) asked: Verified,
    pub(crate) serial: Serial,
    /// When it came, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) reply: oneshot::Sender<Result<Certificate, Error>>,
    /// What the steps below are shown under to whoever follows requests.
    pub(crate) span: Span,
    /// Its place among those that may wait.
    pub(crate) _permit: OwnedSemaphorePermit,
}

impl Waiting {
    /// A step that begins now, and ends where this is dropped. It says nothing but its name.
    fn step(&self, name: &'static str) -> Span {
        if self.span.is_none() {
            return Span::none();
        }
        tracing::info_span!(parent: &self.span, "step", otel.name = name)
    }

    fn answer(self, outcome: Result<Certificate, Error>) {
        // Who went away learns it by asking again.
        let _ = self.reply.send(outcome);
    }
}

/// A request whose certificate was signed, or was not.
pub(crate) struct Ended {
    waiting: Waiting,
    outcome: Outcome,
}

/// What came of a reservation.
enum Outcome {
    Signed(Issued),
    NotSigned(Error),
    /// Nobody knows whether it was made: the answer was lost, perhaps before the database was done.
    Unknown(Error),
}

/// What the first task needs.
pub(crate) struct Reserving {
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    pub(crate) threads: Threads,
    pub(crate) issuer: [u8; 32],
    pub(crate) steps: Steps,
    pub(crate) stop: Stop,
    pub(crate) ended: mpsc::UnboundedSender<Ended>,
}

/// What the second one needs.
pub(crate) struct Committing {
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    pub(crate) issuer: [u8; 32],
    pub(crate) steps: Steps,
    pub(crate) stop: Stop,
}

/// A serial number that nobody can foresee.
pub(crate) fn serial() -> Result<Serial, Error> {
    Ok(Serial::generate(&mut getrandom::SysRng)?)
}

/// Reserves for whatever waits, and has it signed.
pub(crate) async fn reserve(mut incoming: mpsc::UnboundedReceiver<Waiting>, with: Reserving) {
    let mut batch = Vec::new();
    while incoming.recv_many(&mut batch, BATCH).await > 0 {
        with.reserve_all(std::mem::take(&mut batch)).await;
    }
}

impl Reserving {
    async fn reserve_all(&self, batch: Vec<Waiting>) {
        let now = match self.stop.check_disk().and_then(|()| self.clock.now()) {
            Ok(now) => now,
            Err(error) => {
                for waiting in batch {
                    waiting.answer(Err(error.clone()));
                }
                return;
            }
        };
        let reservations: Vec<Reservation> = batch
            .iter()
            .map(|waiting| self.reservation(waiting))
            .collect();
        self.steps.at(Step::Reserving);
        let spans: Vec<Span> = batch
            .iter()
            .map(|waiting| waiting.step("reserve"))
            .collect();
        let outcomes = self
            .stop
            .heed(self.registry.reserve(&reservations, now).await);
        drop(spans);
        match outcomes {
            Ok(outcomes) => {
                self.steps.at(Step::Reserved);
                for (waiting, outcome) in batch.into_iter().zip(outcomes) {
                    match outcome {
                        Ok(Reserved::New) => self.sign(waiting),
                        Ok(Reserved::Answered(certificate)) => waiting.answer(Ok(*certificate)),
                        Err(refusal) => waiting.answer(Err(refusal.into())),
                    }
                }
            }
            Err(error) => {
                for waiting in batch {
                    let outcome = Outcome::Unknown(error.clone());
                    // Who would close them is there as long as this is.
                    let _ = self.ended.send(Ended { waiting, outcome });
                }
            }
        }
    }

    fn reservation(&self, waiting: &Waiting) -> Reservation {
        let asked = &waiting.asked;
        let validity = asked.end_entity.validity;
        let not_after = if asked.profile.is_without_expiry() {
            UnixTime::NO_EXPIRY
        } else {
            validity.not_after()
        };
        Reservation {
            serial: waiting.serial.clone(),
            device: asked.device.clone(),
            profile: asked.profile,
            issuer: self.issuer,
            key: asked.key_hash,
            not_before: validity.not_before().as_secs(),
            not_after: not_after.as_secs(),
            renews: asked.renews.clone(),
            request: asked.request.clone(),
            manufacturer: asked.manufacturer.clone(),
        }
    }

    fn sign(&self, waiting: Waiting) {
        let (ended, steps) = (self.ended.clone(), self.steps.clone());
        self.threads.run(move |issuer| {
            let asked = &waiting.asked;
            let span = waiting.step("sign");
            let signed = guarded(|| {
                steps.at(Step::Signing);
                let issued = issuer.end_entity_numbered(
                    waiting.serial.clone(),
                    asked.profile,
                    &asked.public_key,
                    &asked.end_entity,
                    &mut getrandom::SysRng,
                )?;
                steps.at(Step::Signed);
                Ok(issued)
            });
            drop(span);
            let outcome = match signed {
                Ok(issued) => Outcome::Signed(issued),
                Err(error) => Outcome::NotSigned(error),
            };
            let _ = ended.send(Ended { waiting, outcome });
        });
    }
}

/// Reservations that came to nothing, until that is on record.
#[derive(Default)]
struct Unclosed {
    serials: Vec<(Serial, Vec<u8>)>,
    /// Those that may come about only now: they are closed once more at the next sweep.
    again: Vec<(Serial, Vec<u8>)>,
}

/// Commits whatever is signed, and hands it out; closes what came to nothing, here and in processes that died.
pub(crate) async fn commit(mut incoming: mpsc::UnboundedReceiver<Ended>, with: Committing) {
    let mut batch = Vec::new();
    let mut unclosed = Unclosed::default();
    let mut sweep_at = Instant::now() + SWEEP;
    loop {
        let wake = if unclosed.serials.is_empty() {
            sweep_at
        } else {
            sweep_at.min(Instant::now() + RETRY)
        };
        if let Ok(0) = timeout_at(wake, incoming.recv_many(&mut batch, BATCH)).await {
            return;
        }
        let mut made = Vec::new();
        for Ended { waiting, outcome } in batch.drain(..) {
            let error = match outcome {
                Outcome::Signed(issued) => {
                    made.push((waiting, issued));
                    continue;
                }
                Outcome::NotSigned(error) => error,
                Outcome::Unknown(error) => {
                    unclosed.again.push(with.closing(&waiting));
                    error
                }
            };
            unclosed.serials.push(with.closing(&waiting));
            waiting.answer(Err(error));
        }
        with.commit_all(made, &mut unclosed.serials).await;
        if Instant::now() >= sweep_at {
            with.sweep(&mut unclosed).await;
            sweep_at = Instant::now() + SWEEP;
        }
        with.close(&mut unclosed.serials).await;
    }
}

impl Committing {
    async fn commit_all(
        &self,
        mut made: Vec<(Waiting, Issued)>,
        unclosed: &mut Vec<(Serial, Vec<u8>)>,
    ) {
        while !made.is_empty() {
            let commits: Vec<Commit> = made
                .iter()
                .map(|(waiting, issued)| self.record(waiting, issued))
                .collect();
            self.steps.at(Step::Committing);
            let spans: Vec<Span> = made
                .iter()
                .map(|(waiting, _)| waiting.step("commit"))
                .collect();
            let outcome = match self.stop.check_disk().and_then(|()| self.clock.now()) {
                Ok(now) => self.registry.commit(&commits, now).await,
                Err(error) => {
                    self.give_up(made, &error, unclosed);
                    return;
                }
            };
            drop(spans);
            match outcome {
                Ok(()) => {
                    self.steps.at(Step::Committed);
                    for ((waiting, issued), commit) in made.into_iter().zip(commits) {
                        self.steps.at(Step::Released);
                        let certificate = self.certificate(&waiting, &issued, commit.der);
                        waiting.answer(Ok(certificate));
                    }
                    return;
                }
                // One was taken for abandoned; the others are not worse for it.
                Err(RegistryError::NotReserved { serial }) => {
                    let before = made.len();
                    let (gone, left): (Vec<_>, Vec<_>) = made
                        .into_iter()
                        .partition(|(waiting, _)| waiting.serial == serial);
                    made = left;
                    let error = Error::from(RegistryError::NotReserved { serial });
                    for (waiting, _) in gone {
                        waiting.answer(Err(error.clone()));
                    }
                    if made.len() == before {
                        self.give_up(made, &error, unclosed);
                        return;
                    }
                }
                // What one of them stood on has changed since it was reserved.
                Err(RegistryError::Refused { serial, refusal }) => {
                    let before = made.len();
                    let (gone, left): (Vec<_>, Vec<_>) = made
                        .into_iter()
                        .partition(|(waiting, _)| waiting.serial == serial);
                    made = left;
                    let error = Error::Refused(*refusal);
                    let is_known = made.len() < before;
                    self.give_up(gone, &error, unclosed);
                    if !is_known {
                        self.give_up(made, &error, unclosed);
                        return;
                    }
                }
                Err(error) => {
                    self.give_up(made, &self.stop.at(error), unclosed);
                    return;
                }
            }
        }
    }

    fn give_up(
        &self,
        made: Vec<(Waiting, Issued)>,
        error: &Error,
        unclosed: &mut Vec<(Serial, Vec<u8>)>,
    ) {
        for (waiting, _) in made {
            unclosed.push(self.closing(&waiting));
            waiting.answer(Err(error.clone()));
        }
    }

    /// What closes a reservation; it does nothing to one that was committed after all.
    fn closing(&self, waiting: &Waiting) -> (Serial, Vec<u8>) {
        let orphan = self.row(waiting);
        (
            waiting.serial.clone(),
            record::abandoned(waiting.at, &orphan),
        )
    }

    /// After a failure of the disk nothing is written any more: the next process closes what is open.
    async fn close(&self, unclosed: &mut Vec<(Serial, Vec<u8>)>) {
        if !unclosed.is_empty()
            && self.stop.check_disk().is_ok()
            && self
                .stop
                .heed(self.registry.abandon(unclosed).await)
                .is_ok()
        {
            unclosed.clear();
        }
    }

    /// What processes reserved that died, and what came about after it was closed. It is looked for again later when the
    /// registry does not answer.
    async fn sweep(&self, unclosed: &mut Unclosed) {
        unclosed.serials.append(&mut unclosed.again);
        if self.stop.check_disk().is_err() {
            return;
        }
        let Ok(now) = self.clock.alone() else { return };
        if let Ok(orphans) = self.stop.heed(self.registry.orphans().await) {
            unclosed.serials.extend(record::closings(now, orphans));
        }
    }

    fn record(&self, waiting: &Waiting, issued: &Issued) -> Commit {
        Commit {
            serial: waiting.serial.clone(),
            der: issued.certificate.clone(),
            leaf: record::issued(
                waiting.at,
                &self.issuer,
                &waiting.asked,
                &waiting.serial,
                &issued.certificate,
                issued.validity.not_after().as_secs(),
            ),
        }
    }

    fn row(&self, waiting: &Waiting) -> Certificate {
        let validity = waiting.asked.end_entity.validity;
        Certificate {
            serial: waiting.serial.clone(),
            device: waiting.asked.device.clone(),
            profile: waiting.asked.profile,
            issuer: self.issuer,
            key: waiting.asked.key_hash,
            not_before: validity.not_before().as_secs(),
            not_after: validity.not_after().as_secs(),
            state: CertificateState::Reserved,
            revoked: None,
            der: None,
            reserved_at: waiting.at,
        }
    }

    fn certificate(&self, waiting: &Waiting, issued: &Issued, der: Vec<u8>) -> Certificate {
        Certificate {
            not_before: issued.validity.not_before().as_secs(),
            not_after: issued.validity.not_after().as_secs(),
            state: CertificateState::Issued,
            der: Some(der),
            ..self.row(waiting)
        }
    }
}

//! The two tasks that write: one reserves for all that waits, the other commits all that is signed. While one waits for
//! the disk, the threads verify and sign what comes next.

use std::time::Duration;

use countersign_provisioning::{Issued, Serial};
use countersign_registry::{
    Certificate, CertificateState, Commit, Error as RegistryError, Registry, Reservation, Reserved,
};
use countersign_trust_store::UnixTime;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::ask::Verified;
use crate::service::Stop;
use crate::step::Step;
use crate::threads::Threads;
use crate::{Clock, Error, Steps, record};

/// The most in one transaction.
const BATCH: usize = 256;

/// How long to wait before closing again what could not be closed.
const RETRY: Duration = Duration::from_secs(1);

/// A request on its way, and who waits for it.
pub(crate) struct Waiting {
    pub(crate) asked: Verified,
    pub(crate) serial: Serial,
    /// When it came, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) reply: oneshot::Sender<Result<Certificate, Error>>,
    /// Its place among those that may wait.
    pub(crate) _permit: OwnedSemaphorePermit,
}

impl Waiting {
    fn answer(self, outcome: Result<Certificate, Error>) {
        // Who went away learns it by asking again.
        let _ = self.reply.send(outcome);
    }
}

/// A request whose certificate was signed, or was not.
pub(crate) struct Signed {
    waiting: Waiting,
    outcome: Result<Issued, Error>,
}

/// What the first task needs.
pub(crate) struct Reserving {
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    pub(crate) threads: Threads,
    pub(crate) issuer: [u8; 32],
    pub(crate) steps: Steps,
    pub(crate) signed: mpsc::UnboundedSender<Signed>,
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
        let waiting = std::mem::take(&mut batch);
        let reservations: Vec<Reservation> = waiting
            .iter()
            .map(|waiting| with.reservation(waiting))
            .collect();
        with.steps.at(Step::Reserving);
        let outcomes = match with.clock.now() {
            Ok(now) => with
                .registry
                .reserve(&reservations, now)
                .await
                .map_err(Error::from),
            Err(error) => Err(error),
        };
        match outcomes {
            Ok(outcomes) => {
                with.steps.at(Step::Reserved);
                for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
                    match outcome {
                        Ok(Reserved::New) => with.sign(waiting),
                        Ok(Reserved::Answered(certificate)) => waiting.answer(Ok(*certificate)),
                        Err(refusal) => waiting.answer(Err(refusal.into())),
                    }
                }
            }
            Err(error) => {
                for waiting in waiting {
                    waiting.answer(Err(error.clone()));
                }
            }
        }
    }
}

impl Reserving {
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
        let (signed, steps) = (self.signed.clone(), self.steps.clone());
        self.threads.run(move |issuer| {
            steps.at(Step::Signing);
            let asked = &waiting.asked;
            let outcome = issuer
                .end_entity_numbered(
                    waiting.serial.clone(),
                    asked.profile,
                    &asked.public_key,
                    &asked.end_entity,
                    &mut getrandom::SysRng,
                )
                .map_err(Error::from);
            if outcome.is_ok() {
                steps.at(Step::Signed);
            }
            let _ = signed.send(Signed { waiting, outcome });
        });
    }
}

/// Commits whatever is signed, and hands it out.
pub(crate) async fn commit(mut incoming: mpsc::UnboundedReceiver<Signed>, with: Committing) {
    let mut batch = Vec::new();
    // Reservations that came to nothing, until that is on record.
    let mut unclosed: Vec<(Serial, Vec<u8>)> = Vec::new();
    loop {
        let received = if unclosed.is_empty() {
            incoming.recv_many(&mut batch, BATCH).await
        } else {
            match tokio::time::timeout(RETRY, incoming.recv_many(&mut batch, BATCH)).await {
                Ok(received) => received,
                Err(_) => {
                    with.close(&mut unclosed).await;
                    continue;
                }
            }
        };
        if received == 0 {
            return;
        }
        let mut made = Vec::new();
        for Signed { waiting, outcome } in batch.drain(..) {
            match outcome {
                Ok(issued) => made.push((waiting, issued)),
                Err(error) => {
                    unclosed.push(with.closing(&waiting));
                    waiting.answer(Err(error));
                }
            }
        }
        with.commit_all(made, &mut unclosed).await;
        with.close(&mut unclosed).await;
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
            let outcome = match self.clock.now() {
                Ok(now) => self.registry.commit(&commits, now).await,
                Err(error) => {
                    for (waiting, _) in made {
                        unclosed.push(self.closing(&waiting));
                        waiting.answer(Err(error.clone()));
                    }
                    return;
                }
            };
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
                Err(error) => {
                    if error.is_disk_failure() {
                        self.stop.now();
                    }
                    self.give_up(made, &error.into(), unclosed);
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

    async fn close(&self, unclosed: &mut Vec<(Serial, Vec<u8>)>) {
        if !unclosed.is_empty() && self.registry.abandon(unclosed).await.is_ok() {
            unclosed.clear();
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

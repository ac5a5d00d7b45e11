//! How a component is put to work: the one thing in which kinds of services differ.
//!
//! Decides what of it runs, what its end is called, and that nothing of it runs any more afterwards. Admission, restarts,
//! exchange and what is told of it are the same for all kinds.

use std::pin::Pin;
use std::sync::Arc;

use countersign_runtime::{GuestContext, LoadError, ReadyGuest, RunError};
use countersign_trust_store::Code;
use tokio::task::JoinHandle;

use crate::admission::{Admitted, Host, Refusal};
use crate::config::{Service, Work};
use crate::http::{Placed, Serving};
use crate::messages::{Messages, Worker};

/// How a component ended: with a status of its own, or otherwise.
pub(super) type Ended = Result<u8, Failure>;

/// Why a component did not end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// What this code names.
    Named(Code),
    /// What no code is for.
    Unnamed,
    /// It has not begun, because this machine lacks its address, or the key for that: no fault of the component's.
    NoAddress,
}

impl Failure {
    /// For what must not run any more.
    pub(super) fn forbidden(refusal: &Refusal) -> Self {
        let mut codes = Code::ALL.iter();
        let code = codes.find(|code| refusal.code == Some(code.as_str()));
        Self {
            kind: code.map_or(FailureKind::Unnamed, |code| FailureKind::Named(*code)),
            why: refusal.why.clone(),
        }
    }

    fn named(code: Code, why: &impl ToString) -> Self {
        Self {
            kind: FailureKind::Named(code),
            why: why.to_string(),
        }
    }

    pub(super) const fn code(&self) -> Option<Code> {
        match self.kind {
            FailureKind::Named(code) => Some(code),
            FailureKind::Unnamed | FailureKind::NoAddress => None,
        }
    }

    /// The verdict of a span.
    pub(super) fn verdict(&self) -> &'static str {
        self.code().map_or("cannot be used", Code::as_str)
    }

    pub(super) fn has_no_address(&self) -> bool {
        self.kind == FailureKind::NoAddress
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::named(error.code(), &error)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::named(error.code(), &error)
    }
}

/// A component at work. Dropped, it ends at once.
pub(super) enum AtWork {
    /// It answers requests, for as long as nobody ends it.
    Answering(Placed),
    /// It runs.
    Running(Run),
}

impl AtWork {
    /// Puts a component to work as a service. What of it is no end is recorded. One that answers requests takes the place of the
    /// one before, once its address is protected as it is to be, for which hardware is waited for. Dropped before, it does not
    /// begin.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub(super) async fn begin(
        service: &Service,
        admitted: &Admitted,
        host: &Host,
    ) -> Result<Self, Failure> {
        let ready = admitted.ready.clone();
        let task = match (&service.work, &admitted.post) {
            (Work::Http(http), _) => {
                let serving = Serving::new(&service.name, http, &ready, &host.http)?;
                let placed = host.http.place(serving).await;
                return placed.map(Self::Answering).map_err(|error| Failure {
                    kind: FailureKind::NoAddress,
                    why: format!("{error:#}"),
                });
            }
            (Work::Messages(messages), Some(post)) => {
                let worker = Worker {
                    name: service.name.clone(),
                    messages: Messages::clone(messages),
                    ready,
                    post: post.clone(),
                    records: Arc::clone(&host.records),
                };
                tokio::spawn(async { Err(worker.run().await.into()) })
            }
            // Without its post a component is a command that does not export one, and is told so.
            (Work::Command | Work::Schedule(_) | Work::Messages(_), _) => {
                tokio::spawn(async { Ok(ready.run_command().await?) })
            }
        };
        Ok(Self::Running(Run(task)))
    }

    /// How it ended, once it has ended by itself.
    pub(super) async fn ended(&mut self) -> Ended {
        match self {
            Self::Answering(_) => std::future::pending().await,
            Self::Running(run) => (&mut run.0).await.unwrap_or_else(|error| {
                let message = error.to_string();
                Err(RunError::HostPanicked { message }.into())
            }),
        }
    }

    /// Whether the next one begins before this one ends, so that nobody who asks finds nobody there. One that does not answer has
    /// nothing to take over, and may begin much later.
    pub(super) fn hands_over_to(&self, next: &Service) -> bool {
        matches!(self, Self::Answering(_)) && matches!(next.work, Work::Http(_))
    }

    /// Ends a run, and waits until it is gone.
    pub(super) async fn stop(&mut self) {
        if let Self::Running(run) = self {
            run.0.abort();
            // Of one that has ended nothing is left to wait for.
            if !run.0.is_finished() {
                let _ = (&mut run.0).await;
            }
        }
    }

    /// Ends it, and waits until it is gone: requests under way have their time, and folders are free for the next one.
    pub(super) async fn end(mut self) {
        self.stop().await;
        if let Self::Answering(placed) = self {
            placed.drain().await;
        }
    }
}

/// Whether a component is fit to be put to work, as it says itself where it is configured to be asked.
///
/// # Errors
/// What it said instead.
pub(super) async fn probe(
    service: &Service,
    ready: &ReadyGuest<GuestContext>,
    host: &Host,
) -> Result<(), Failure> {
    match &service.work {
        Work::Command | Work::Messages(_) | Work::Schedule(_) => Ok(()),
        Work::Http(http) => {
            let serving = Serving::new(&service.name, http, ready, &host.http)?;
            serving.probe().await.map_err(|why| Failure {
                kind: FailureKind::Unnamed,
                why: format!("it is not healthy: {why}"),
            })
        }
    }
}

/// A question whether a component is healthy, while others are heard. Dropped, nobody waits for the answer.
#[derive(Default)]
pub(super) struct Asked(Option<Pin<Box<dyn Future<Output = Answer> + Send>>>);

/// Whether it is.
type Answer = Result<(), Failure>;

impl Asked {
    /// The answer is what this comes to.
    pub(super) fn by(probed: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self(Some(Box::pin(probed)))
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// The answer, once; never, where nothing was asked.
    pub(super) async fn answer(&mut self) -> Answer {
        let Some(asked) = &mut self.0 else {
            return std::future::pending().await;
        };
        let answer = asked.await;
        self.0 = None;
        answer
    }
}

/// A run that ends when nobody watches it any more.
pub(super) struct Run(JoinHandle<Ended>);

#[cfg(test)]
impl Run {
    pub(super) fn of(task: JoinHandle<Ended>) -> Self {
        Self(task)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.abort();
    }
}

//! What a name means, for guests: the system is asked, and cannot be told to stop.
//!
//! Decides how many lookups there are at the same time, of one component and of all. A guest that gives up soon waits for no
//! answer, but the thread that waits for it does: its place is free when the answer is there, and not before.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

/// Lookups at the same time of all guests of a process, each of which keeps a thread: the first of a component, and others beside
/// that. So few components that ask much do not keep the rest from asking at all.
const FIRST: usize = 48;
const MORE: usize = 16;

/// Lookups of one component at the same time, beside its first.
const MORE_OF_ONE: usize = 3;

static FIRST_PLACES: Semaphore = Semaphore::const_new(FIRST);
static MORE_PLACES: Semaphore = Semaphore::const_new(MORE);

/// The lookups of one component. Copies are the same.
#[derive(Clone)]
pub(crate) struct Lookups {
    first: Arc<Semaphore>,
    more: Arc<Semaphore>,
}

/// A turn to ask, and a place for it.
struct Turn {
    _own: OwnedSemaphorePermit,
    _place: SemaphorePermit<'static>,
}

impl Lookups {
    pub(crate) fn new() -> Self {
        Self {
            first: Arc::new(Semaphore::new(1)),
            more: Arc::new(Semaphore::new(MORE_OF_ONE)),
        }
    }

    /// The addresses that a name means now, when it is this component's turn to ask.
    ///
    /// # Errors
    /// If the name means nothing, or nobody answers for it.
    pub(crate) async fn addresses(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = name.to_owned();
        self.ask(move || Ok((name.as_str(), port).to_socket_addrs()?.collect()))
            .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        // Whoever is gone by then waits no more, and asks nothing.
        let turn = tokio::select! {
            biased;
            first = turn(&self.first, &FIRST_PLACES) => first,
            more = turn(&self.more, &MORE_PLACES) => more,
        };
        let turn = turn.map_err(io::Error::other)?;
        let asked = spawn_blocking(move || {
            let _until_then = turn;
            question()
        });
        asked.await.map_err(io::Error::other)?
    }
}

async fn turn(own: &Arc<Semaphore>, of_all: &'static Semaphore) -> Result<Turn, AcquireError> {
    Ok(Turn {
        _own: Arc::clone(own).acquire_owned().await?,
        _place: of_all.acquire().await?,
    })
}

/// A lookup by a guest, which it asks for the addresses one by one.
pub(crate) enum Lookup {
    UnderWay(AbortOnDropJoinHandle<Result<Vec<IpAddr>, ErrorCode>>),
    Done(Result<std::vec::IntoIter<IpAddr>, ErrorCode>),
}

impl Lookup {
    /// Begins one. An address means itself.
    pub(crate) fn begin(lookups: &Lookups, name: String) -> Self {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Self::Done(Ok(vec![address].into_iter()));
        }
        let lookups = lookups.clone();
        Self::UnderWay(spawn(async move {
            let found = lookups.addresses(&name, 0).await;
            // Why is between this machine and its name servers.
            let found = found.map_err(|_| ErrorCode::NameUnresolvable)?;
            Ok(found
                .iter()
                .map(|found| found.ip().to_canonical())
                .collect())
        }))
    }

    /// The next address, or none after the last.
    ///
    /// # Errors
    /// That it is under way still, or that the name means nothing.
    pub(crate) fn next(&mut self) -> Result<Option<IpAddr>, ErrorCode> {
        if let Self::UnderWay(asked) = self {
            // A guest may ask without having waited.
            let mut now = Context::from_waker(Waker::noop());
            if let Poll::Ready(found) = Pin::new(asked).poll(&mut now) {
                *self = Self::Done(found.map(Vec::into_iter));
            }
        }
        match self {
            Self::UnderWay(_) => Err(ErrorCode::WouldBlock),
            Self::Done(found) => Ok(found.as_mut().map_err(|code| *code)?.next()),
        }
    }
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Self::UnderWay(asked) = self {
            let found = asked.await;
            *self = Self::Done(found.map(Vec::into_iter));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn th14_who_gives_up_at_once_does_not_ask_again_before_the_answer() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let (answer, answers) = mpsc::channel::<()>();
        let answers = Arc::new(std::sync::Mutex::new(answers));
        let one = Lookups::new();
        let impatient = async |lookups: &Lookups, times: usize| {
            for _ in 0..times {
                let answers = Arc::clone(&answers);
                let question = move || {
                    ASKED.fetch_add(1, SeqCst);
                    let _ = answers.lock().map(|answers| answers.recv());
                    Ok(())
                };
                let given_up = timeout(Duration::from_nanos(1), lookups.ask(question)).await;
                assert!(given_up.is_err());
            }
        };
        let settled = async |first: usize, more: usize| {
            for _ in 0..1_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let asked = ASKED.load(SeqCst) == first + more;
                let left = FIRST_PLACES.available_permits() + first >= FIRST;
                if asked && left && MORE_PLACES.available_permits() + more >= MORE {
                    return;
                }
            }
            let asked = ASKED.load(SeqCst);
            panic!("{asked} asked, {first} and {more} were to");
        };
        impatient(&one, 50).await;
        settled(1, MORE_OF_ONE).await;
        // Others that ask as much do not keep one that asks for the first time from it.
        for _ in 0..20 {
            impatient(&Lookups::new(), 10).await;
        }
        settled(21, MORE).await;
        // The others of the process are bounded together.
        for _ in 0..40 {
            impatient(&Lookups::new(), 2).await;
        }
        settled(FIRST, MORE).await;
        // When the answers are there, it is somebody's turn again.
        drop(answer);
        let asked = timeout(Duration::from_secs(10), one.ask(|| Ok(7))).await;
        assert_eq!(asked.expect("a turn").expect("an answer"), 7);
    }
}

//! What a name means, for guests: the system is asked, and cannot be told to stop.
//!
//! Decides how many lookups there are at the same time, of one component and of all. A guest that gives up soon waits for no
//! answer, but the thread that waits for it does: its place is free when the answer is there, and not before.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

/// Lookups at the same time of all guests of a process, and of one component. Each keeps a thread.
const AT_ONCE: usize = 16;
const OF_ONE: usize = 4;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// The lookups of one component. Copies are the same.
#[derive(Clone)]
pub(crate) struct Lookups(Arc<Semaphore>);

impl Lookups {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(OF_ONE)))
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
        let own = Arc::clone(&self.0).acquire_owned().await;
        let own = own.map_err(io::Error::other)?;
        let place = PLACES.acquire().await.map_err(io::Error::other)?;
        let asked = spawn_blocking(move || {
            let _until_then = (own, place);
            question()
        });
        asked.await.map_err(io::Error::other)?
    }
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
        let settled = async |most: usize| {
            for _ in 0..1_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                if ASKED.load(SeqCst) == most && PLACES.available_permits() + most >= AT_ONCE {
                    return;
                }
            }
            panic!("{} asked, {most} were to", ASKED.load(SeqCst));
        };
        impatient(&one, 50).await;
        settled(OF_ONE).await;
        // The others of the process are bounded together.
        for _ in 0..20 {
            impatient(&Lookups::new(), 2).await;
        }
        settled(AT_ONCE).await;
        // When the answers are there, it is somebody's turn again.
        drop(answer);
        let asked = timeout(Duration::from_secs(10), one.ask(|| Ok(7))).await;
        assert_eq!(asked.expect("a turn").expect("an answer"), 7);
    }
}

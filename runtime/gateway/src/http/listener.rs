//! An address on which requests come in: opened, bounded in its connections, closed when what is on them is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use super::addresses::Addresses;
use super::connection;
use super::routes::Routes;
use super::tls::Protection;
use crate::config::HttpServer;

/// How long nothing is accepted after the system had no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(50);

/// An open address. Dropped, it closes, and its connections with it.
pub(super) struct Listener {
    scope: Arc<Scope>,
    closing: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

/// What all connections of an address share.
pub(super) struct Scope {
    pub(super) routes: Routes,
    pub(super) settings: HttpServer,
    protection: watch::Sender<Protection>,
}

impl Scope {
    pub(super) fn new(settings: HttpServer, protection: Protection) -> Self {
        Self {
            routes: Routes::default(),
            settings,
            protection: watch::Sender::new(protection),
        }
    }

    /// What protects the next connection; it hears when that changes.
    pub(super) fn protection(&self) -> watch::Receiver<Protection> {
        self.protection.subscribe()
    }

    /// Protects the next connections so. Those of other rules hear of it.
    pub(super) fn protect(&self, protection: Protection) {
        self.protection.send_if_modified(|before| {
            let is_other = !before.is_as(&protection);
            *before = protection;
            is_other
        });
    }
}

impl Listener {
    /// Opens an address.
    ///
    /// # Errors
    /// If another program has it, or this one may not have it.
    pub(super) fn open(
        address: SocketAddr,
        protection: Protection,
        settings: HttpServer,
    ) -> anyhow::Result<Self> {
        let socket = std::net::TcpListener::bind(address)
            .and_then(|socket| {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket)
            })
            .with_context(|| format!("{address} cannot be listened on"))?;
        let scope = Arc::new(Scope::new(settings, protection));
        let (closing, closed) = watch::channel(None);
        let task = tokio::spawn(accept(socket, Arc::clone(&scope), closed));
        Ok(Self {
            scope,
            closing,
            task,
        })
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.scope.routes
    }

    /// Protects its next connections so. Those of other rules end when they have their answers.
    pub(super) fn protect(&self, protection: Protection) {
        self.scope.protect(protection);
    }

    /// Takes no more connections, and waits until those that are open have their answers, until `by` at most.
    pub(super) async fn close(mut self, by: Instant) {
        self.closing.send_replace(Some(by));
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    socket: TcpListener,
    scope: Arc<Scope>,
    mut closing: watch::Receiver<Option<Instant>>,
) {
    let settings = scope.settings;
    let addresses = Addresses::new(settings.connections, settings.connections_per_address);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = closing.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, from)) => {
                    // Closed at once where there are too many.
                    let Some(counted) = addresses.enter(from.ip()) else { continue };
                    let served = connection::serve(stream, Arc::clone(&scope), closing.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(counted);
                    });
                }
                Err(_) => sleep(NO_ROOM).await,
            },
        }
    }
    drop(socket);
    let by = (*closing.borrow()).unwrap_or_else(Instant::now);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = timeout_at(by, all).await;
}

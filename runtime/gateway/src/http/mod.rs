//! Requests over HTTP: from a connection to the component that answers, and back.
//!
//! Decides who is let in (listeners, connections, TLS), which component a request is for (routes), and what a request without
//! an answer is told. What a component may do while it answers is decided in `countersign-runtime`.

mod addresses;
mod answer;
mod authorities;
mod connection;
mod failures;
mod listener;
mod paced;
mod routes;
mod serving;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Context as _;
use countersign_hosting::AuditLog;
use countersign_runtime::audit::Record;
use countersign_runtime::{Builder, Runtime};
use rustls::ServerConfig;
use tokio::sync::Semaphore;

use crate::config::{HttpServer, Listeners, Tls};
pub(crate) use authorities::Authorities;
use listener::Listener;
pub(crate) use serving::{Placed, Serving};

/// What all components that answer requests share.
pub(crate) struct Server {
    settings: HttpServer,
    /// How each address is to be protected, and with what it is, once it was opened.
    wanted: Mutex<Listeners>,
    tls: Mutex<TlsOf>,
    open: Mutex<BTreeMap<SocketAddr, Listener>>,
    /// Requests at the same time, of all components.
    room: Arc<Semaphore>,
    records: Arc<AuditLog>,
    build: Box<dyn Fn() -> anyhow::Result<Runtime> + Send + Sync>,
    runtime: OnceLock<Runtime>,
}

/// What protects each address: none where nothing does.
type TlsOf = BTreeMap<SocketAddr, Option<Arc<ServerConfig>>>;

impl Server {
    /// Nothing is open yet. `equip` begins to build a runtime as this gateway's others are.
    pub(crate) fn new(
        settings: HttpServer,
        records: Arc<AuditLog>,
        equip: impl Fn() -> anyhow::Result<Builder> + Send + Sync + 'static,
    ) -> Self {
        let sink = Arc::clone(&records);
        let build = move || {
            let sink = Arc::clone(&sink);
            equip()?
                .for_serving(settings.requests)
                .audit(move |record: &Record| sink.write(record))
                .build()
                .context("the runtime for requests cannot be built")
        };
        let room = usize::try_from(settings.requests).unwrap_or(usize::MAX);
        Self {
            settings,
            wanted: Mutex::default(),
            tls: Mutex::default(),
            open: Mutex::default(),
            room: Arc::new(Semaphore::new(room)),
            records,
            build: Box::new(build),
            runtime: OnceLock::new(),
        }
    }

    /// The runtime whose memory is laid out for requests; made when it is first asked for, since it costs some.
    ///
    /// # Errors
    /// If this machine has no room for it.
    pub(crate) fn runtime(&self) -> anyhow::Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let made = (self.build)()?;
        // Where another thread was first, its own is the one.
        Ok(self.runtime.get_or_init(|| made))
    }

    /// Has addresses protected so when they are opened.
    pub(crate) fn want(&self, listeners: &Listeners) {
        lock(&self.wanted).clone_from(listeners);
    }

    /// Opens the keys of all addresses anew, reads their certificates, and protects the next connections with them.
    ///
    /// # Errors
    /// If one of them cannot be used; nothing is changed then.
    pub(crate) fn renew(&self, listeners: &Listeners) -> anyhow::Result<()> {
        let made = tokio::task::block_in_place(|| {
            let all = listeners.iter();
            all.map(|(address, tls)| Ok((*address, made(*address, tls.as_ref())?)))
                .collect::<anyhow::Result<TlsOf>>()
        })?;
        for (address, listener) in lock(&self.open).iter() {
            if let Some(protection) = made.get(address) {
                listener.protect(protection.clone());
            }
        }
        *lock(&self.tls) = made;
        self.want(listeners);
        Ok(())
    }

    /// What protects an address. A key that is not there yet is tried again by whoever asks again.
    fn protection(&self, address: SocketAddr) -> anyhow::Result<Option<Arc<ServerConfig>>> {
        if let Some(tls) = lock(&self.tls).get(&address) {
            return Ok(tls.clone());
        }
        let wanted = lock(&self.wanted).get(&address).cloned();
        let wanted = wanted.with_context(|| format!("nobody wants {address}"))?;
        let made = tokio::task::block_in_place(|| made(address, wanted.as_ref()))?;
        lock(&self.tls).insert(address, made.clone());
        Ok(made)
    }
}

fn made(address: SocketAddr, tls: Option<&Tls>) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    let made = tls.map(tls::server).transpose();
    made.with_context(|| format!("TLS on {address}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept under these locks is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

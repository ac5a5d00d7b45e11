//! Requests over HTTP: from a connection to the component that answers, and back.
//!
//! Decides who is let in (listeners, connections, TLS), which component a request is for (routes), and what a request without
//! an answer is told. What a component may do while it answers is decided in `countersign-runtime`.

mod addresses;
mod answer;
mod authorities;
mod connection;
pub(crate) mod figures;
mod lingering;
mod listener;
mod paced;
mod routes;
mod serving;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context as _, anyhow};
use countersign_hosting::AuditLog;
use countersign_runtime::audit::Record;
use countersign_runtime::http::MAX_PLACES;
use countersign_runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use crate::config::{HttpServer, Listeners, Tls};
use crate::opening::{Opening, Wanted};
pub(crate) use authorities::Authorities;
use listener::Listener;
pub(crate) use serving::{Placed, Serving};
use tls::Protection;

/// What all components that answer requests share.
pub(crate) struct Server {
    settings: HttpServer,
    /// How each address is to be protected, and with what it is, once it was opened.
    wanted: Mutex<Listeners>,
    protection: Mutex<Protections>,
    open: Mutex<BTreeMap<SocketAddr, Listener>>,
    /// Requests at the same time, of all components; a component with many memories or tables counts as several.
    room: Arc<Semaphore>,
    /// Beside those, so that no flood of requests makes a component look ill: questions about health.
    probing: Arc<Semaphore>,
    records: Arc<AuditLog>,
    opening: Arc<Opening>,
    build: Box<dyn Fn() -> anyhow::Result<Runtime> + Send + Sync>,
    runtime: OnceLock<Runtime>,
}

/// What protects each address.
type Protections = BTreeMap<SocketAddr, Protection>;

impl Server {
    /// Nothing is open yet. Keys are opened by `opening`; `equip` begins to build a runtime as this gateway's others are.
    pub(crate) fn new(
        settings: HttpServer,
        records: Arc<AuditLog>,
        opening: Arc<Opening>,
        equip: impl Fn() -> Builder + Send + Sync + 'static,
    ) -> Self {
        let sink = Arc::clone(&records);
        // One of any kind fits, however few requests there may be; and one that is asked about its health beside them.
        let guests = settings.requests.max(MAX_PLACES).saturating_add(MAX_PLACES);
        let build = move || {
            let sink = Arc::clone(&sink);
            equip()
                .for_serving(guests)
                .audit(move |record: &Record| {
                    // Acceptances are recorded by whoever starts them.
                    if !record.is_accepted() {
                        sink.write(record);
                    }
                })
                .build()
                .context("the runtime for requests cannot be built")
        };
        let semaphore = |places| Semaphore::new(usize::try_from(places).unwrap_or(usize::MAX));
        Self {
            settings,
            wanted: Mutex::default(),
            protection: Mutex::default(),
            open: Mutex::default(),
            room: Arc::new(semaphore(settings.requests)),
            probing: Arc::new(semaphore(MAX_PLACES)),
            records,
            opening,
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

    /// Opens the keys of all addresses anew, reads their certificates, and protects the next connections with them. Hardware is
    /// waited for, for a bounded time.
    ///
    /// # Errors
    /// If one of them cannot be used; nothing is changed then.
    pub(crate) async fn renew(&self, listeners: &Listeners) -> anyhow::Result<()> {
        let made = made(&self.opening, listeners.clone()).await?;
        let made = made.into_iter().map(|(address, made)| Ok((address, made?)));
        let made: Protections = made.collect::<anyhow::Result<_>>()?;
        {
            // Both at once: whoever makes one meanwhile finds this one, or that another is wanted.
            let mut current = lock(&self.protection);
            current.clone_from(&made);
            self.want(listeners);
        }
        // After that: what is opened from now on has the new one by itself.
        for (address, listener) in lock(&self.open).iter() {
            if let Some(protection) = made.get(address) {
                listener.protect(protection.clone());
            }
        }
        Ok(())
    }

    /// The same on the way back to what was before: each address whose key can be had is protected so, and the others are closed.
    ///
    /// # Errors
    /// Why some could not be made.
    pub(crate) async fn restore(&self, listeners: &Listeners) -> anyhow::Result<()> {
        let (mut there, mut failed) = (Protections::new(), None);
        match made(&self.opening, listeners.clone()).await {
            Ok(made) => {
                for (address, made) in made {
                    match made {
                        Ok(made) => _ = there.insert(address, made),
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
            }
            Err(error) => failed = Some(error),
        }
        self.protect_or_close(listeners, there);
        failed.map_or(Ok(()), Err)
    }

    /// Has addresses protected so where that could not be made: those that are protected otherwise are reached by nobody until it is.
    pub(crate) fn close_others(&self, listeners: &Listeners) {
        self.protect_or_close(listeners, Protections::new());
    }

    /// Has addresses protected so, of which these could be made; the others are closed unless they are protected so already.
    fn protect_or_close(&self, listeners: &Listeners, made: Protections) {
        let open = lock(&self.open);
        let mut current = lock(&self.protection);
        let mut wanted = lock(&self.wanted);
        let is_as_before = |address: &SocketAddr| wanted.get(address) == listeners.get(address);
        current.retain(|address, _| is_as_before(address));
        for (address, listener) in open.iter() {
            match made.get(address) {
                Some(made) => listener.protect(made.clone()),
                None if is_as_before(address) => {}
                None => listener.protect(Protection::closed()),
            }
        }
        current.extend(made);
        wanted.clone_from(listeners);
    }

    /// What protects an address. A key that is not there yet is tried again by whoever asks again.
    async fn protection(&self, address: SocketAddr) -> anyhow::Result<Protection> {
        self.protection_by(address, |wanted| async move {
            let mut made = made(&self.opening, Listeners::from([(address, wanted)])).await?;
            made.remove(&address).context("it was made")?
        })
        .await
    }

    async fn protection_by<F: Future<Output = anyhow::Result<Protection>>>(
        &self,
        address: SocketAddr,
        make: impl Fn(Option<Tls>) -> F,
    ) -> anyhow::Result<Protection> {
        loop {
            if let Some(protection) = lock(&self.protection).get(&address) {
                return Ok(protection.clone());
            }
            let wanted = lock(&self.wanted).get(&address).cloned();
            let wanted = wanted.with_context(|| format!("nobody wants {address}"))?;
            let made = make(wanted.clone()).await;
            let mut current = lock(&self.protection);
            let made = match (made, current.get(&address)) {
                // Others were served before, and protected it.
                (Err(_), Some(current)) => return Ok(current.clone()),
                (made, _) => made?,
            };
            // It took its time. What was renewed by then is newer than this.
            let is_wanted = lock(&self.wanted).get(&address) == Some(&wanted);
            if is_wanted && !current.contains_key(&address) {
                current.insert(address, made.clone());
                return Ok(made);
            }
        }
    }

    /// What protects an address that is about to be opened, whoever made it last; nothing where that is to be made anew.
    fn newest(&self, address: SocketAddr) -> Option<Protection> {
        lock(&self.protection).get(&address).cloned()
    }
}

/// What protects each of these addresses as it is wanted. Their keys are opened on a thread for what blocks.
async fn made(
    opening: &Arc<Opening>,
    listeners: Listeners,
) -> anyhow::Result<BTreeMap<SocketAddr, anyhow::Result<Protection>>> {
    let opening = Arc::clone(opening);
    let made = tokio::task::spawn_blocking(move || {
        let keys = listeners.iter().filter_map(|(address, tls)| {
            let source = &tls.as_ref()?.key.source;
            let key = source.clone();
            Some((*address, Wanted::new(source, move || key.open())))
        });
        let mut keys = opening.open(keys.collect());
        let mut protection = |address: &SocketAddr, tls: &Option<Tls>| match tls {
            Some(tls) => {
                let key = keys.remove(address).context("its key was not opened")?;
                Protection::by(tls, key.map_err(|reason| anyhow!("{reason}"))?)
            }
            None => Ok(Protection::none()),
        };
        let all = listeners.iter().map(|(address, tls)| {
            let made = protection(address, tls).with_context(|| format!("TLS on {address}"));
            (*address, made)
        });
        all.collect()
    });
    Ok(made.await?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept under these locks is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use countersign_hosting::lending::{KeySource, SecretSource};
    use countersign_trust_store::Anchors;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::config::{Key, Purpose};

    fn server(opening: Opening) -> Server {
        let settings = HttpServer {
            requests: 1,
            connections: 1,
            connections_per_address: 1,
            head: Duration::from_secs(1),
            pause: Duration::from_secs(1),
        };
        let records = Arc::new(AuditLog::open(None).expect("nowhere"));
        Server::new(settings, records, Arc::new(opening), || {
            Runtime::builder(Anchors::none())
        })
    }

    /// With a key that takes its time.
    fn tls(folder: &Path) -> Tls {
        let program = folder.join("hangs");
        std::fs::write(&program, "exec sleep 8").expect("ours");
        let uri = format!("exec:sh {}", program.display());
        let source = KeySource {
            name: "tls".to_owned(),
            uri: uri.parse().expect("a key"),
            chain: folder.join("none"),
            secret: SecretSource::Unnamed { how: String::new() },
        };
        let key = Key {
            source,
            purpose: Purpose::Tls,
            registers: Vec::new(),
        };
        Tls { key, clients: None }
    }

    #[tokio::test]
    async fn tf05_an_address_whose_key_does_not_answer_holds_up_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let tls = tls(folder.path());
        let address: SocketAddr = "127.0.0.1:8443".parse().expect("an address");
        let listeners = Listeners::from([(address, Some(tls))]);
        let server = server(Opening::within(Duration::from_secs(1)));
        let renewed = server.renew(&listeners);
        let mut renewed = std::pin::pin!(renewed);
        // This runtime has one thread: others are heard on it meanwhile.
        tokio::select! {
            biased;
            renewed = &mut renewed => panic!("{renewed:?} before it was time"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        // And it is given up.
        let error = tokio::time::timeout(Duration::from_secs(6), renewed).await;
        let error = error.expect("in time").expect_err("no key");
        let why = format!("{error:#}");
        assert!(
            why.contains("127.0.0.1:8443") && why.contains("did not answer"),
            "{why}"
        );
        // Nothing is shown on it in the clear instead.
        server.want(&listeners);
        assert!(server.protection(address).await.is_err() && lock(&server.protection).is_empty());
    }

    #[tokio::test]
    async fn tf05_who_goes_back_to_a_key_that_does_not_answer_shows_nothing_in_the_clear() {
        let server = server(Opening::within(Duration::from_secs(1)));
        let settings = server.settings;
        let address = SocketAddr::from(([127, 0, 0, 1], countersign_testing::free_port()));
        let plain = Listeners::from([(address, None)]);
        server.renew(&plain).await.expect("no key");
        let listener = Listener::open(address, Protection::none(), settings).expect("free");
        lock(&server.open).insert(address, listener);
        let asks = async || {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let request = b"GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(request).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        assert!(asks().await.starts_with(b"HTTP/1.1 404"));
        // What is as it was is not touched.
        server.close_others(&plain);
        assert!(asks().await.starts_with(b"HTTP/1.1 404"));
        let folder = tempfile::tempdir().expect("a folder");
        let other: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let before = Listeners::from([(address, Some(tls(folder.path()))), (other, None)]);
        let restored = server.restore(&before).await.expect_err("no key");
        assert!(format!("{restored:#}").contains(&address.to_string()));
        assert_eq!(asks().await, b"");
        // Nor by who found it protected by nothing before.
        assert!(server.newest(address).is_none() && server.newest(other).is_some());
        // Until somebody wants it so, beside others whose keys cannot be had either.
        let mut before = plain.clone();
        before.insert(other, Some(tls(folder.path())));
        server.restore(&before).await.expect_err("no key");
        assert!(asks().await.starts_with(b"HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn what_was_renewed_while_another_was_made_is_not_overwritten() {
        let server = server(Opening::default());
        let address: SocketAddr = "127.0.0.1:8443".parse().expect("an address");
        server.want(&Listeners::from([(address, None)]));
        let newer = || Protection::in_words("newer");
        let taken = server.protection_by(address, |_| async {
            lock(&server.protection).insert(address, newer());
            Ok(Protection::in_words("older"))
        });
        assert!(taken.await.expect("made").is_as(&newer()));
        let opened = server.newest(address).expect("it was made");
        assert!(opened.is_as(&newer()));
        // Nor is it missed where it was not made again.
        let others = server.protection_by(address, |_| async { anyhow::bail!("late") });
        assert!(others.await.expect("made before").is_as(&newer()));
        lock(&server.protection).clear();
        let late = server.protection_by(address, |_| async {
            lock(&server.protection).insert(address, newer());
            anyhow::bail!("late")
        });
        assert!(late.await.expect("made meanwhile").is_as(&newer()));
        // What nobody wants any more by then is not made.
        lock(&server.protection).clear();
        let gone = server.protection_by(address, |_| async {
            server.want(&Listeners::new());
            Ok(newer())
        });
        assert!(gone.await.is_err() && lock(&server.protection).is_empty());
    }
}

//! Connections: accepted, bounded, encrypted, and drained when the authority is told to stop.
//!
//! TLS 1.3 and HTTP/1.1 alone. HTTP/2 multiplexes, which enrolment does not need, and has frames that cost a server
//! more than a client. Sessions are not resumed: each connection shows its certificate anew, so that what was revoked
//! a minute ago is not let in by a ticket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use countersign_tls::TlsIdentity;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::clients::{Client, Clients};
use crate::config::Limits;
use crate::http::addresses::Addresses;
use crate::http::lingering::Lingering;

/// The most header fields that are parsed. Fewer are taken; between the two, who asks is told so in the form of every
/// refusal, and beyond this by a bare 431, because no request came about.
const MAX_HEADERS: usize = 256;

/// The most bytes of a request's line and headers together. hyper reads no less than this at once.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// How long the loop rests when the system has no descriptor left for a connection.
const REST: Duration = Duration::from_millis(50);

/// Who is at the other end of a connection. Handlers find it among a request's extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The device whose certificate was accepted, if it showed one.
    pub client: Option<Arc<Client>>,
}

/// TLS as it is spoken here.
///
/// # Errors
/// When the provider has no TLS 1.3, which ring has.
pub fn tls(
    identity: TlsIdentity,
    clients: Arc<Clients>,
    provider: CryptoProvider,
) -> anyhow::Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("TLS 1.3 is not to be had")?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Serves until `stop` is done, then lets what has begun finish.
///
/// # Errors
/// When the system cannot accept connections at all.
pub async fn serve(
    listener: TcpListener,
    tls: ServerConfig,
    clients: Arc<Clients>,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::new(limits.connections_per_address);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_seconds))
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(true);
    tokio::pin!(stop);
    loop {
        // A place first: who finds none waits in the system's own queue, which is bounded too.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.context("the server was closed")?,
            () = &mut stop => break,
        };
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // Before the handshake, which costs more than hanging up.
        let Some(counted) = addresses.enter(address.ip()) else {
            tracing::debug!(%address, "the address has as many connections as it may");
            continue;
        };
        let connection = Connection {
            acceptor: acceptor.clone(),
            clients: Arc::clone(&clients),
            router: router.clone(),
            http: http.clone(),
            handshake: Duration::from_secs(limits.header_seconds),
            life: Duration::from_secs(limits.connection_seconds),
            request: Duration::from_secs(
                limits.header_seconds.saturating_add(limits.request_seconds),
            ),
        };
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let (_place, _counted) = (place, counted);
            if let Err(error) = connection.serve(stream, address, watcher).await {
                tracing::debug!(%address, error = format!("{error:#}"), "connection ended");
            }
        });
    }
    drop(listener);
    tracing::info!("stopping: what has begun is finished");
    if timeout(
        Duration::from_secs(limits.drain_seconds),
        graceful.shutdown(),
    )
    .await
    .is_err()
    {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    Ok(())
}

/// One connection and what it needs.
struct Connection {
    acceptor: TlsAcceptor,
    clients: Arc<Clients>,
    router: Router,
    http: hyper::server::conn::http1::Builder,
    handshake: Duration,
    /// How long it takes requests.
    life: Duration,
    /// How long one may take with its headers.
    request: Duration,
}

impl Connection {
    async fn serve(
        self,
        stream: TcpStream,
        address: SocketAddr,
        watcher: hyper_util::server::graceful::Watcher,
    ) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let stream = timeout(self.handshake, self.acceptor.accept(stream))
            .await
            .context("the handshake took too long")??;
        let shown: Option<Vec<Vec<u8>>> = stream.get_ref().1.peer_certificates().map(|chain| {
            chain
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect()
        });
        let client = match shown {
            Some(chain) => Some(Arc::new(self.clients.judge(&chain)?)),
            None => None,
        };
        let peer = Peer { address, client };
        let (began, life) = (Instant::now(), self.life);
        let service = self
            .router
            .map_request(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer.address));
                request.extensions_mut().insert(peer.clone());
                request.map(axum::body::Body::new)
            })
            // The client learns that this was the last one, and connects anew.
            .map_response(move |mut answer: axum::response::Response| {
                if began.elapsed() >= life {
                    answer
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            });
        let connection = self.http.serve_connection(
            TokioIo::new(Lingering::new(stream)),
            TowerToHyperService::new(service),
        );
        // Who takes its answers slowly, or says nothing, holds a place no longer than that.
        timeout(
            self.life.saturating_add(self.request),
            watcher.watch(connection),
        )
        .await
        .context("the connection was open for too long")??;
        Ok(())
    }
}

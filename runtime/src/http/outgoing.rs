//! Requests that a guest sends: to the hosts that were granted, at an address that was checked, and not many at once.
//!
//! A host is granted as in the statement: `HOST`, which means the scheme's own port, or `HOST:PORT`. What the name means is
//! looked up once; the connection goes to an address that passed, not to the name. One that is not public passes only if it is
//! granted as an address beside the name. Redirects are answers, which the guest may follow to where it is allowed.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::uri::{self, Authority};
use hyper::{Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::address::is_public;
use super::body::Bounded;
use crate::grants::Granted;

/// Most requests that one guest has under way at the same time.
const AT_ONCE: usize = 16;

/// The longest that a connection may take, a first byte, and the next ones. A guest can ask for less.
const CONNECTING: Duration = Duration::from_secs(10);
const FIRST_BYTE: Duration = Duration::from_secs(60);
const BETWEEN_BYTES: Duration = Duration::from_secs(60);

/// Most bytes of the head of an answer (64 KiB).
const HEAD_BYTES: usize = 64 << 10;

/// A connection over which a request can go.
pub trait Connected: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connected for S {}

/// What [`Secure::secure`] returns.
pub type SecureFuture<'a> =
    Pin<Box<dyn Future<Output = std::io::Result<Box<dyn Connected>>> + Send + 'a>>;

/// TLS, as the host has it: whom it trusts is its own decision, and the public web's authorities are nobody's default.
pub trait Secure: Send + Sync {
    /// Makes a connection a secure one with a server that proves to be `server`: a name, or an address without brackets.
    fn secure<'a>(&'a self, server: &'a str, stream: TcpStream) -> SecureFuture<'a>;
}

/// What one guest may send, and has under way.
pub(crate) struct Outgoing {
    granted: Arc<Granted>,
    /// Made when it first sends one.
    room: OnceLock<Arc<Semaphore>>,
}

impl Outgoing {
    pub(crate) fn new(granted: &Arc<Granted>) -> Self {
        Self {
            granted: Arc::clone(granted),
            room: OnceLock::new(),
        }
    }
}

type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Rest), Error>> + Send> {
        let granted = Arc::clone(&self.granted);
        let room = self.room.get_or_init(|| Arc::new(Semaphore::new(AT_ONCE)));
        let room = Arc::clone(room);
        Box::new(async move {
            let place = room
                .try_acquire_owned()
                .map_err(|_| Error::ConnectionLimitReached)?;
            let (response, connection) = send(&granted, request, options).await?;
            let rest: Rest = Box::new(async move {
                // Until the answer's body is read, or the guest gone.
                let ended = connection.await;
                drop(place);
                ended.map_err(Error::from)
            });
            Ok((response, rest))
        })
    }
}

type Connection = AbortOnDropJoinHandle<hyper::Result<()>>;

async fn send(
    granted: &Granted,
    mut request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<(Response<WasiBody>, Connection), Error> {
    let limit = |asked: Option<Duration>, most: Duration| asked.map_or(most, |time| time.min(most));
    let asked = |of: fn(&RequestOptions) -> Option<Duration>| options.as_ref().and_then(of);
    let connecting = Instant::now() + limit(asked(|o| o.connect_timeout), CONNECTING);
    let first_byte = limit(asked(|o| o.first_byte_timeout), FIRST_BYTE);
    let between_bytes = limit(asked(|o| o.between_bytes_timeout), BETWEEN_BYTES);

    let target = Target::of(request.uri())?;
    let hosts = granted.http_outgoing().unwrap_or_default();
    if !hosts.iter().any(|entry| target.is(entry)) {
        return Err(Error::HttpRequestDenied);
    }
    let stream = timeout_at(connecting, connect(&target, hosts, granted))
        .await
        .map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    let connection = spawn(connection);

    // What is sent to a server, and not to a proxy, names the path alone (RFC 9112 §3.2.1).
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let response = timeout(first_byte, sender.send_request(request))
        .await
        .map_err(|_| Error::HttpResponseTimeout)??;
    let bounded = |body: Incoming| {
        // Its size is the guest's matter, which reads what it wants of it.
        let unbounded = || Error::HttpResponseBodySize(None);
        Bounded::new(body, u64::MAX, between_bytes, unbounded).boxed_unsync()
    };
    Ok((response.map(bounded), connection))
}

/// Where a request is to go.
struct Target {
    host: String,
    port: u16,
    secure: bool,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        // RFC 9110 §4.2.4: names and passwords do not belong there.
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let secure = uri.scheme() == Some(&uri::Scheme::HTTPS);
        Ok(Self {
            host: authority.host().to_ascii_lowercase(),
            port: port(authority)?.unwrap_or(default_port(secure)),
            secure,
        })
    }

    /// Whether an entry of a grant is this host with this port.
    fn is(&self, entry: &str) -> bool {
        let (host, port) = split(entry);
        host == self.host && port.unwrap_or(default_port(self.secure)) == self.port
    }

    /// The host, if it is an address.
    fn address(&self) -> Option<IpAddr> {
        bare(&self.host).parse().ok()
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn port(authority: &Authority) -> Result<Option<u16>, Error> {
    let text = authority.as_str().strip_prefix(authority.host());
    match text.and_then(|rest| rest.strip_prefix(':')) {
        None => Ok(None),
        Some(port) => port
            .parse()
            .map(Some)
            .map_err(|_| Error::HttpRequestUriInvalid),
    }
}

/// Host and port of an entry, which was checked when the statement was made.
fn split(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (entry, None),
    }
}

/// An address without the brackets that it has in a URI.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Connects to the first address that passes and answers.
async fn connect(
    target: &Target,
    hosts: &[String],
    granted: &Granted,
) -> Result<Box<dyn Connected>, Error> {
    let found: Vec<SocketAddr> = match target.address() {
        // It was granted as such.
        Some(address) => vec![SocketAddr::new(address, target.port)],
        None => {
            let all = granted.lookups.addresses(&target.host, target.port).await;
            let all = all.map_err(|_| Error::DnsError {
                rcode: None,
                info_code: None,
            })?;
            all.into_iter()
                .filter(|found| passes(found, hosts, target.secure))
                .collect()
        }
    };
    let mut failed = Error::DestinationIpProhibited;
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => return secured(target, stream, granted).await,
            Err(error) => failed = Error::Connect(error),
        }
    }
    Err(failed)
}

/// Whether a name may lead to this address: it is public, or granted as an address with this port.
fn passes(found: &SocketAddr, hosts: &[String], secure: bool) -> bool {
    is_public(found.ip())
        || hosts.iter().any(|entry| {
            let (host, port) = split(entry);
            let address = bare(host).parse::<IpAddr>();
            address.is_ok_and(|address| address.to_canonical() == found.ip().to_canonical())
                && port.unwrap_or(default_port(secure)) == found.port()
        })
}

async fn secured(
    target: &Target,
    stream: TcpStream,
    granted: &Granted,
) -> Result<Box<dyn Connected>, Error> {
    if !target.secure {
        return Ok(Box::new(stream));
    }
    // Without anybody whom the operator trusts there is no TLS.
    let tls = granted.tls().ok_or(Error::TlsCertificateError)?;
    tls.secure(bare(&target.host), stream)
        .await
        .map_err(Error::Tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Result<Target, Error> {
        Target::of(&uri.parse().expect("a URI"))
    }

    #[test]
    fn te17_a_host_is_granted_with_its_port_and_by_its_whole_name() {
        let is = |uri: &str, entry: &str| target(uri).is_ok_and(|target| target.is(entry));
        assert!(is("http://plant.example/a", "plant.example"));
        assert!(is("http://Plant.Example/a", "plant.example"));
        assert!(is("https://plant.example/", "plant.example:443"));
        assert!(is("http://plant.example:81/", "plant.example:81"));
        assert!(is("http://[::1]:81/", "[::1]:81"));
        assert!(is("http://[::1]/", "[::1]"));
        for (uri, entry) in [
            ("http://plant.example:81/", "plant.example"),
            ("http://plant.example/", "plant.example:443"),
            ("http://a.plant.example/", "plant.example"),
            ("http://plant.example.org/", "plant.example"),
            ("http://plant.example./", "plant.example"),
            ("http://plant.example@other.example/", "plant.example"),
            ("http://plant.example:@other.example/", "plant.example"),
            ("http://u:p@plant.example/", "plant.example"),
            ("http://[::1]:81/", "[::1]"),
        ] {
            assert!(!is(uri, entry), "{uri} {entry}");
        }
    }

    #[test]
    fn te17_a_name_leads_to_a_near_address_only_if_that_is_granted_too() {
        let hosts = ["plant.example:81", "10.0.0.5:81", "[fd00::1]"].map(str::to_owned);
        let may = |address: &str| passes(&address.parse().expect("an address"), &hosts, false);
        assert!(may("9.9.9.9:81") && may("10.0.0.5:81") && may("[fd00::1]:80"));
        assert!(may("[::ffff:10.0.0.5]:81"));
        for near in ["10.0.0.6:81", "10.0.0.5:80", "127.0.0.1:81", "[::1]:80"] {
            assert!(!may(near), "{near}");
        }
    }
}

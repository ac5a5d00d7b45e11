//! `[[http]]`: which requests a component answers, and what they may bring. What the values of its TLS are good for is decided
//! when the listener is opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_format::Grants;
use countersign_hosting::{Read, read};
use countersign_trust_store::pem;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::file::{GrantsPart, LimitsPart, Purpose, Size, Time};
use super::keys::Key;
use super::text::Wrong;

/// The longest file of certificates, in bytes (128 KiB).
const MAX_CERTIFICATES: u64 = 128 << 10;

/// The longest that requests under way may keep a stop waiting.
const MAX_DRAIN: Duration = Duration::from_secs(60);

/// Most bytes of memory of a component that answers requests: what is laid out for each.
const MAX_MEMORY: u64 = 64 << 20;

/// A component that answers HTTP requests: it exports `wasi:http/incoming-handler` of WASI 0.2. Each request has an instance of
/// its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct HttpPart {
    /// What the operator calls it: letters, digits and hyphens.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// The signed file.
    #[schemars(with = "String")]
    pub(super) component: Spanned<PathBuf>,
    /// The component's name in its signed statement, `namespace:name`; a file that says another is refused.
    #[schemars(with = "String")]
    pub(super) signed_as: Spanned<String>,
    /// Address and port on which requests come in, such as "127.0.0.1:8080". Several components may share one.
    #[schemars(with = "String")]
    listen: Spanned<SocketAddr>,
    /// TLS on this address, the same for all components that share it; without it, requests come unprotected.
    #[schemars(with = "Option<TlsPart>")]
    tls: Option<Spanned<TlsPart>>,
    /// The hosts that it answers for; for all if not given.
    #[serde(default)]
    hosts: Vec<String>,
    /// How the paths begin that it answers for. Of several components the longest decides.
    #[serde(default = "root")]
    #[schemars(with = "String")]
    path: Spanned<String>,
    /// A path that must answer with a status from 200 to 299 before the component takes its place, and again before it counts
    /// as healthy.
    #[schemars(with = "Option<String>")]
    health: Option<Spanned<String>>,
    /// After so long in its place it counts as healthy, and its version may not fall any more.
    #[serde(default = "half_a_minute")]
    pub(super) healthy_after: Time,
    /// How long requests under way may take when it is exchanged or stopped; one minute at most.
    #[serde(default = "five_seconds")]
    #[schemars(with = "Time")]
    drain: Spanned<Time>,
    /// How many requests it answers at the same time. More wait for a second, and are told to come again.
    #[serde(default = "concurrent")]
    #[schemars(with = "u32")]
    concurrent: Spanned<u32>,
    /// The largest body of a request.
    #[serde(default = "body")]
    body: Size,
    /// What it may touch at most. It gets of this what its statement asks for.
    #[serde(default)]
    pub(super) grants: GrantsPart,
    /// How much one request may use at most: 30 s of time and 10 s of a processor if not given.
    #[serde(default)]
    pub(super) limits: LimitsPart,
}

fn root() -> Spanned<String> {
    Spanned::new(0..0, "/".to_owned())
}

fn half_a_minute() -> Time {
    Time(Duration::from_secs(30))
}

fn five_seconds() -> Spanned<Time> {
    Spanned::new(0..0, Time(Duration::from_secs(5)))
}

fn concurrent() -> Spanned<u32> {
    Spanned::new(0..0, 32)
}

fn body() -> Size {
    Size(1 << 20)
}

/// TLS with a key of this device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TlsPart {
    /// The name of a `[[key]]` whose purpose is `tls`.
    key: String,
    /// The file with the authorities whose certificates clients must have, PEM. Without it, clients stay unknown.
    #[schemars(with = "Option<String>")]
    clients: Option<PathBuf>,
}

/// What concerns all requests over HTTP.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ServerPart {
    /// Requests at the same time, of all components together. Memory is laid out for so many.
    #[schemars(with = "u32", range(min = 1, max = 10000))]
    requests: Spanned<u32>,
    /// Connections on one address of this machine at the same time.
    #[schemars(with = "u32", range(min = 1))]
    connections: Spanned<u32>,
    /// Of these, connections from one address (from one network of 64 bits, where they are IPv6).
    #[schemars(with = "u32", range(min = 1))]
    connections_per_address: Spanned<u32>,
    /// How long a request's head, or a handshake, may take, and how long a connection may be idle.
    head: Time,
    /// How long a body may bring nothing, and whoever reads an answer take nothing.
    pause: Time,
}

impl Default for ServerPart {
    fn default() -> Self {
        Self {
            requests: Spanned::new(0..0, 128),
            connections: Spanned::new(0..0, 256),
            connections_per_address: Spanned::new(0..0, 64),
            head: Time(Duration::from_secs(10)),
            pause: Time(Duration::from_secs(10)),
        }
    }
}

/// What concerns all requests over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HttpServer {
    pub(crate) requests: u32,
    pub(crate) connections: usize,
    pub(crate) connections_per_address: usize,
    pub(crate) head: Duration,
    pub(crate) pause: Duration,
}

impl HttpServer {
    pub(super) fn new(part: &ServerPart) -> Result<Self, Wrong> {
        let number = |value: &Spanned<u32>, what: &str, most: u32| match *value.get_ref() {
            number if (1..=most).contains(&number) => Ok(number),
            _ => {
                let message = format!("{what}: write a number from 1 to {most}");
                Err(Wrong::at(value.span(), message))
            }
        };
        let size = |value| usize::try_from(value).unwrap_or(usize::MAX);
        let connections = number(&part.connections, "connections", 100_000)?;
        let of_one = number(
            &part.connections_per_address,
            "connections-per-address",
            100_000,
        )?;
        Ok(Self {
            requests: number(&part.requests, "requests", 10_000)?,
            connections: size(connections),
            connections_per_address: size(of_one),
            head: part.head.0,
            pause: part.pause.0,
        })
    }
}

/// Which requests a component answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    /// In lower case; empty for all.
    pub(crate) hosts: Vec<String>,
    /// Begins with a slash.
    pub(crate) path: String,
    pub(crate) health: Option<String>,
    pub(crate) drain: Duration,
    pub(crate) concurrent: u32,
    pub(crate) body: u64,
}

/// TLS on one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) key: Key,
    /// The authorities of clients, if clients must have certificates.
    pub(crate) clients: Option<Certificates>,
}

/// Certificates, DER, and the file in which they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificates {
    pub(crate) file: PathBuf,
    pub(crate) all: Vec<Vec<u8>>,
}

/// The addresses on which requests come in.
pub(crate) type Listeners = BTreeMap<SocketAddr, Option<Tls>>;

impl Http {
    pub(super) fn new(
        part: &HttpPart,
        folder: &Path,
        keys: &BTreeMap<String, Key>,
        listeners: &mut Listeners,
    ) -> Result<Self, Wrong> {
        let listen = *part.listen.get_ref();
        let tls = match &part.tls {
            None => None,
            Some(tls) => {
                let read = Tls::read(tls.get_ref(), folder, keys);
                Some(read.map_err(|message| Wrong::at(tls.span(), format!("tls: {message}")))?)
            }
        };
        match listeners.get(&listen) {
            None => {
                listeners.insert(listen, tls);
            }
            Some(other) if *other == tls => {}
            Some(_) => {
                let message = format!("another component has {listen} with another tls");
                return Err(Wrong::at(part.listen.span(), message));
            }
        }
        let path = |value: &Spanned<String>, what: &str| {
            let path = value.get_ref();
            let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
            if path.starts_with('/') && plain && !path.contains(['?', '#']) {
                Ok(path.clone())
            } else {
                let message = format!("{what}: write a path that begins with /");
                Err(Wrong::at(value.span(), message))
            }
        };
        let drain = part.drain.get_ref().0;
        if drain > MAX_DRAIN {
            let message = format!("drain: at most {MAX_DRAIN:?}");
            return Err(Wrong::at(part.drain.span(), message));
        }
        let concurrent = *part.concurrent.get_ref();
        if !(1..=10_000).contains(&concurrent) {
            let message = "concurrent: write a number from 1 to 10000".to_owned();
            return Err(Wrong::at(part.concurrent.span(), message));
        }
        if part.limits.memory.is_some_and(|size| size.0 > MAX_MEMORY) {
            let message = "limits: a component that answers requests has at most 64MiB of memory";
            return Err(Wrong::at(part.name.span(), message.to_owned()));
        }
        let hosts = part.hosts.iter();
        Ok(Self {
            listen,
            hosts: hosts.map(|host| host.to_ascii_lowercase()).collect(),
            path: path(&part.path, "path")?,
            health: part
                .health
                .as_ref()
                .map(|health| path(health, "health"))
                .transpose()?,
            drain,
            concurrent,
            body: part.body.0,
        })
    }
}

impl Http {
    /// Whether a request could be for either with equal right.
    pub(super) fn collides(&self, other: &Self) -> bool {
        let of_all = self.hosts.is_empty() && other.hosts.is_empty();
        let named = self.hosts.iter().any(|host| other.hosts.contains(host));
        self.listen == other.listen && self.path == other.path && (of_all || named)
    }
}

impl Tls {
    fn read(part: &TlsPart, folder: &Path, keys: &BTreeMap<String, Key>) -> Result<Self, String> {
        let name = &part.key;
        let key = keys.get(name);
        let key = key
            .filter(|key| key.purpose == Purpose::Tls)
            .ok_or_else(|| format!("{name:?} is no [[key]] of this file with purpose = \"tls\""))?;
        let clients = part.clients.as_ref();
        Ok(Self {
            key: key.clone(),
            clients: clients
                .map(|path| Certificates::read(folder.join(path)))
                .transpose()?,
        })
    }
}

impl Certificates {
    pub(super) fn read(file: PathBuf) -> Result<Self, String> {
        let path = file.display();
        match read(&file, MAX_CERTIFICATES).map_err(|error| format!("{error:#}"))? {
            Read::Whole(bytes) => match pem::certificates(&bytes) {
                Ok(all) => Ok(Self { file, all }),
                Err(error) => Err(format!("{path} cannot be used: {error}")),
            },
            Read::TooLarge { .. } => Err(format!(
                "{path} has more than {MAX_CERTIFICATES} bytes; it should hold certificates alone"
            )),
        }
    }
}

/// Hosts to which a component may send requests, spelled as in a statement.
pub(super) fn outgoing(hosts: Option<&Spanned<Vec<String>>>) -> Result<Option<Vec<String>>, Wrong> {
    let Some(hosts) = hosts else { return Ok(None) };
    let mut grants = Grants {
        http_outgoing: Some(hosts.get_ref().clone()),
        ..Grants::default()
    };
    grants
        .normalise()
        .map_err(|error| Wrong::at(hosts.span(), format!("http-outgoing: {error}")))?;
    Ok(grants.http_outgoing)
}

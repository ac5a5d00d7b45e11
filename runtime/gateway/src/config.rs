//! What the operator wants: one TOML file, read whole, with the line and key of what is wrong in it.
//!
//! Decides that every value has a meaning. Whether components verify under it is decided when they are admitted.

mod bundles;
mod file;
mod grants;
mod http;
mod keys;
mod messages;
mod schedule;
mod service;
mod signers;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_format::{Digest, limits as format_limits};
use countersign_hosting::LogPlace;
use countersign_keys::CounterUri;
use countersign_trust_store::Policy;

use crate::messages::Broker;
pub(crate) use bundles::{Bundles, Download, is_missing};
use file::{ConfigFile, ConfineMode, StatusPart};
pub(crate) use file::{Purpose, When};
pub(crate) use http::{Http, HttpServer, Listeners, Tls};
pub(crate) use keys::Key;
pub(crate) use service::{Place, Restart, Service, Work};
pub(crate) use text::ConfigError;
use text::{Wrong, place, read_owned};

/// Most services. Each has threads and memory of its own only while it runs, but all are looked after by one process.
pub(crate) const MAX_SERVICES: usize = 1_000;

/// Most services that are handed messages: each has a connection, and a thread for it.
const MAX_CONNECTIONS: usize = 64;

/// What a disk did not give when a configuration was put together with what is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lacks {
    Nothing,
    /// The bundle that was applied, which may be read later.
    Bundle,
    /// What is remembered itself could not be read, for this reason: nothing may run by this.
    Memory(String),
}

/// What the operator wants.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The folder that its file lies in.
    pub(crate) folder: PathBuf,
    pub(crate) confine: Confine,
    pub(crate) status: Option<StatusPage>,
    /// The collector to which spans go.
    pub(crate) traces: Option<String>,
    pub(crate) state: PathBuf,
    pub(crate) control: PathBuf,
    /// The folder of the records.
    pub(crate) audit: PathBuf,
    /// By which a memory that was put back is noticed.
    pub(crate) counter: Option<CounterUri>,
    pub(crate) lists: Vec<PathBuf>,
    /// SHA-256 of the file with the revocation lists that bundles have brought, in the state's folder.
    pub(crate) carried: Option<Digest>,
    /// The folder of the parts of the bundle from which components and configuration come.
    pub(crate) bundle: Option<PathBuf>,
    /// What of what is remembered is not in here.
    pub(crate) lacks: Lacks,
    pub(crate) policy: Policy,
    pub(crate) compile: Compile,
    pub(crate) bundles: Option<Bundles>,
    pub(crate) http: HttpServer,
    /// The addresses on which requests over HTTP come in.
    pub(crate) listeners: Listeners,
    /// In the order of the file, kind by kind; no two of one name.
    pub(crate) services: Vec<Service>,
    /// What services speak of by name.
    pub(crate) known: Known,
}

/// What services speak of by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The device's keys.
    pub(crate) keys: BTreeMap<String, Key>,
    /// Brokers of messages.
    brokers: BTreeMap<String, Broker>,
}

/// What the process takes from itself, and what it keeps beside what else is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confine {
    pub(crate) required: bool,
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
}

/// Where the status page is served, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusPage {
    pub(crate) listen: SocketAddr,
    pub(crate) open_to_others: bool,
}

/// What compiling a component may take, and keeping what was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compile {
    /// Address space, in bytes.
    pub(crate) memory: u64,
    pub(crate) cpu: Duration,
    pub(crate) time: Duration,
    /// The most code that is kept, in bytes.
    pub(crate) cache: u64,
    pub(crate) interpreted: bool,
}

impl Config {
    /// That this was put together with what is remembered.
    ///
    /// # Errors
    /// If that could not be read then. Whoever can read it by now starts anew.
    pub(crate) fn is_whole(&self) -> anyhow::Result<()> {
        match &self.lacks {
            Lacks::Nothing | Lacks::Bundle => Ok(()),
            Lacks::Memory(why) => anyhow::bail!(
                "what this gateway remembers could not be read at first: {why}; check the disk, and start it again"
            ),
        }
    }

    /// Reads the file at `path`. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing of a file that is wrong anywhere is used.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |message: String| ConfigError {
            file: path.to_owned(),
            place: None,
            message,
        };
        let text = read_owned(path).map_err(wrong)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Self::parse(&text, folder).map_err(|wrong| ConfigError {
            file: path.to_owned(),
            place: wrong.place.map(|span| place(&text, span)),
            message: wrong.message,
        })
    }

    /// The files of certificates that are read with it.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Path> {
        let clients = self.listeners.values().flatten();
        let clients = clients.filter_map(|tls| tls.clients.as_ref());
        let services = self.services.iter();
        let authorities = services.filter_map(|service| service.grants.http_authorities.as_ref());
        clients
            .chain(authorities)
            .map(|certificates| certificates.file.as_path())
    }

    /// Where the records lie, and the key that signs their checkpoints.
    pub(crate) fn records(&self) -> LogPlace {
        LogPlace {
            folder: self.audit.clone(),
            key: self.state.join("audit.key"),
        }
    }

    /// What differs that a running gateway cannot change.
    pub(crate) fn beyond_reload(&self, next: &Self) -> Option<&'static str> {
        let same_policy = self.policy.min_signers() == next.policy.min_signers();
        let same_rules = self.policy.rules() == next.policy.rules();
        [
            (self.state == next.state, "[gateway] state"),
            (self.control == next.control, "[gateway] control"),
            (self.audit == next.audit, "[gateway] audit"),
            (self.counter == next.counter, "[gateway] counter"),
            (same_policy, "[gateway] signers"),
            (same_rules, "[[signer]]"),
            (self.confine == next.confine, "[confine]"),
            (self.status == next.status, "[status]"),
            (self.traces == next.traces, "[traces]"),
            (self.compile == next.compile, "[gateway.compile]"),
            (self.http == next.http, "[gateway.http]"),
        ]
        .into_iter()
        .find_map(|(same, what)| (!same).then_some(what))
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, Wrong> {
        Self::parse_with(text, folder, &Known::default())
    }

    /// The same, for a text that says nothing of the device's keys and of brokers, and speaks of these.
    fn parse_with(text: &str, folder: &Path, known: &Known) -> Result<Self, Wrong> {
        let file: ConfigFile = toml::from_str(text).map_err(|error| Wrong {
            place: error.span(),
            message: error.message().trim_end().replace('\n', "; "),
        })?;
        let gateway = file.gateway;
        let state = folder.join(gateway.state);
        let counter = match &gateway.counter {
            None => None,
            Some(text) => {
                let counter = text.get_ref().parse::<CounterUri>();
                Some(counter.map_err(|error| Wrong::at(text.span(), format!("counter: {error}")))?)
            }
        };
        let policy = Policy::default()
            .with_min_signers(*gateway.signers.get_ref())
            .map_err(|error| Wrong::at(gateway.signers.span(), format!("signers: {error}")))?;
        let bundles = match file.bundles {
            Some(part) => Some(Bundles::new(part, folder)?),
            None => None,
        };
        let policy = policy.with_rules(signers::rules(file.signer)?);
        let number =
            file.service.len() + file.http.len() + file.schedule.len() + file.on_message.len();
        // What runs may come in a bundle.
        if number == 0 && bundles.is_none() {
            return Err(Wrong {
                place: None,
                message: "it has no [[service]], [[http]], [[schedule]] or [[on-message]], so there is nothing to run"
                    .to_owned(),
            });
        }
        if number > MAX_SERVICES {
            return Err(Wrong {
                place: None,
                message: format!("it has more than {MAX_SERVICES} services"),
            });
        }
        let mut keys = keys::keys(file.key, folder)?;
        keys.extend(known.keys.clone());
        let mut brokers = messages::brokers(file.broker, folder, &keys)?;
        brokers.extend(known.brokers.clone());
        let mut parts: Vec<_> = file
            .service
            .into_iter()
            .map(|part| (part, Work::Command))
            .collect();
        for part in file.schedule {
            let (part, schedule) = part.split()?;
            parts.push((part, Work::Schedule(Box::new(schedule))));
        }
        if file.on_message.len() > MAX_CONNECTIONS {
            return Err(Wrong {
                place: None,
                message: format!("it has more than {MAX_CONNECTIONS} [[on-message]]"),
            });
        }
        for part in file.on_message {
            let (part, messages) = part.split(&brokers)?;
            parts.push((part, Work::Messages(Box::new(messages))));
        }
        let mut all = Vec::with_capacity(number);
        for (part, work) in parts {
            let span = part.name.span();
            let mut service = Service::new(part, folder, &state, &keys)?;
            if let Work::Schedule(_) = work {
                service.restart = Restart::when_due();
            }
            service.work = work;
            all.push((span, service));
        }
        let mut listeners = Listeners::new();
        let mut placed: Vec<Http> = Vec::new();
        for part in file.http {
            let span = part.name.span();
            let service = Service::of_http(part, folder, &state, &keys, &mut listeners)?;
            if let Work::Http(http) = &service.work {
                if placed.iter().any(|other| other.collides(http)) {
                    let message = format!("another component answers for {} there", http.path);
                    return Err(Wrong::at(span, message));
                }
                placed.push(http.clone());
            }
            all.push((span, service));
        }
        let mut names = BTreeSet::new();
        let mut services = Vec::with_capacity(number);
        for (span, service) in all {
            if !names.insert(service.name.clone()) {
                return Err(Wrong::at(
                    span,
                    format!("two services are called {:?}", service.name),
                ));
            }
            services.push(service);
        }
        let status = file.status.map(status_page).transpose()?;
        let traces = match file.traces.map(|part| part.endpoint) {
            None => None,
            Some(endpoint) => {
                let checked = countersign_telemetry::check(endpoint.get_ref());
                checked.map_err(|error| Wrong::at(endpoint.span(), error.to_string()))?;
                Some(endpoint.into_inner())
            }
        };
        let within =
            |paths: Vec<PathBuf>| paths.into_iter().map(|path| folder.join(path)).collect();
        Ok(Self {
            folder: folder.to_owned(),
            confine: Confine {
                required: file.confine.mode == ConfineMode::Require,
                read: within(file.confine.read),
                write: within(file.confine.write),
            },
            status,
            traces,
            control: gateway
                .control
                .map_or_else(|| state.join("control.sock"), |path| folder.join(path)),
            counter,
            audit: gateway
                .audit
                .map_or_else(|| state.join("audit"), |path| folder.join(path)),
            lists: gateway
                .lists
                .into_iter()
                .map(|path| folder.join(path))
                .collect(),
            carried: None,
            bundle: None,
            lacks: Lacks::Nothing,
            compile: Compile {
                memory: gateway.compile.memory.0,
                cpu: gateway.compile.cpu.0,
                time: gateway.compile.time.0,
                cache: gateway.compile.cache.0,
                interpreted: gateway.compile.interpreted,
            },
            http: HttpServer::new(&gateway.http)?,
            listeners,
            state,
            policy,
            bundles,
            services,
            known: Known { keys, brokers },
        })
    }
}

/// The JSON schema of the file, for editors.
pub(crate) fn schema() -> String {
    let schema = schemars::schema_for!(ConfigFile);
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

fn status_page(part: StatusPart) -> Result<StatusPage, Wrong> {
    let listen = *part.listen.get_ref();
    if !listen.ip().is_loopback() && !part.open_to_others {
        let message = format!(
            "others could look at {listen}, where nothing asks who they are; listen on 127.0.0.1 or ::1, or say open-to-others = true"
        );
        return Err(Wrong::at(part.listen.span(), message));
    }
    Ok(StatusPage {
        listen,
        open_to_others: part.open_to_others,
    })
}

/// So that a change of one does not leave the other behind.
const _: () = assert!(format_limits::MAX_SIGNERS == 4, "the schema says 1 to 4");

#[cfg(test)]
mod tests;

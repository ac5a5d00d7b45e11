//! What the operator wants: one TOML file, read whole, with the line and key of what is wrong in it.
//!
//! Decides that every value has a meaning. Whether components verify under it is decided when they are admitted.

mod bundles;
mod file;
mod http;
mod keys;
mod messages;
mod schedule;
mod signers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_format::{ComponentName, Digest, limits as format_limits};
use countersign_keys::CounterUri;
use countersign_runtime::messaging::PRODUCER;
use countersign_runtime::{Access, Ceiling, Limits, LineSink, LoadError, Output};
use countersign_trust_store::Policy;
use toml::Spanned;

use crate::http::Authorities;
use crate::messages::{Broker, Messages};
use crate::schedule::Schedule;
pub(crate) use bundles::{Bundles, Download, is_missing};
use file::{ConfigFile, ConfineMode, GrantsPart, LimitsPart, RestartPart, ServicePart, StatusPart};
pub(crate) use file::{DirectoryPart, OutputPart, Purpose, When};
use http::HttpPart;
pub(crate) use http::{Certificates, Http, HttpServer, Listeners, Tls};
pub(crate) use keys::{Key, KeyGrant};

/// The largest configuration that is read, in bytes (1 MiB).
const MAX_BYTES: u64 = 1 << 20;

/// Most services. Each has threads and memory of its own only while it runs, but all are looked after by one process.
pub(crate) const MAX_SERVICES: usize = 1_000;

/// Most services that are handed messages: each has a connection, and a thread for it.
const MAX_CONNECTIONS: usize = 64;

/// The longest name of a service, in characters.
const MAX_NAME: usize = 64;

/// How long a request may take, and occupy a processor, where the operator does not say.
const REQUEST_TIME: Duration = Duration::from_secs(30);
const REQUEST_CPU: Duration = Duration::from_secs(10);

/// What the operator wants.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The folder that its file lies in.
    pub(crate) folder: PathBuf,
    pub(crate) confine: Confine,
    pub(crate) status: Option<StatusPage>,
    pub(crate) state: PathBuf,
    pub(crate) control: PathBuf,
    pub(crate) audit: PathBuf,
    /// By which a memory that was put back is noticed.
    pub(crate) counter: Option<CounterUri>,
    pub(crate) lists: Vec<PathBuf>,
    /// SHA-256 of the file with the revocation lists that bundles have brought, in the state's folder.
    pub(crate) carried: Option<Digest>,
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

/// A service, as the operator wants it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) component: PathBuf,
    pub(crate) signed_as: ComponentName,
    pub(crate) work: Work,
    pub(crate) restart: Restart,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
}

/// What a service's component is there for. All else is the same for every kind of service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// `[[service]]`: a command that runs for as long as the gateway does.
    Command,
    /// `[[http]]`: it answers requests.
    Http(Http),
    /// `[[on-message]]`: it is handed messages.
    Messages(Box<Messages>),
    /// `[[schedule]]`: a command that runs when it is due.
    Schedule(Box<Schedule>),
}

/// When a service is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) when: When,
    pub(crate) first: Duration,
    pub(crate) most: Duration,
    pub(crate) healthy_after: Duration,
}

/// What a service may touch at most.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grants {
    args: Option<Vec<String>>,
    env: Vec<(String, String)>,
    output: OutputPart,
    directories: Vec<DirectoryPart>,
    sockets: Option<Vec<String>>,
    http_outgoing: Option<Vec<String>>,
    http_authorities: Option<Certificates>,
    wall_clock: bool,
    pub(crate) keys: Vec<KeyGrant>,
}

impl Config {
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
            control: gateway
                .control
                .map_or_else(|| state.join("control.sock"), |path| folder.join(path)),
            counter,
            audit: gateway
                .audit
                .map_or_else(|| state.join("audit.jsonl"), |path| folder.join(path)),
            lists: gateway
                .lists
                .into_iter()
                .map(|path| folder.join(path))
                .collect(),
            carried: None,
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

impl Service {
    fn new(
        part: ServicePart,
        folder: &Path,
        state: &Path,
        keys: &BTreeMap<String, Key>,
    ) -> Result<Self, Wrong> {
        check_name(&part.name)?;
        Ok(Self {
            component: bundles::place(&part.component, folder)?,
            signed_as: component_name(&part.signed_as)?,
            work: Work::Command,
            restart: restart(&part.restart)
                .map_err(|message| Wrong::at(part.name.span(), message))?,
            grants: grants(part.grants, folder, state, keys)?,
            limits: limits(&part.limits, Duration::MAX, Duration::MAX),
            name: part.name.into_inner(),
        })
    }

    fn of_http(
        part: HttpPart,
        folder: &Path,
        state: &Path,
        keys: &BTreeMap<String, Key>,
        listeners: &mut Listeners,
    ) -> Result<Self, Wrong> {
        check_name(&part.name)?;
        Ok(Self {
            component: bundles::place(&part.component, folder)?,
            signed_as: component_name(&part.signed_as)?,
            work: Work::Http(Http::new(&part, folder, keys, listeners)?),
            restart: Restart {
                healthy_after: part.healthy_after.0,
                ..Restart::default()
            },
            grants: grants(part.grants, folder, state, keys)?,
            limits: limits(&part.limits, REQUEST_TIME, REQUEST_CPU),
            name: part.name.into_inner(),
        })
    }

    /// The folders of this machine that it may touch, and whether it may write there.
    pub(crate) fn folders(&self) -> impl Iterator<Item = (&Path, bool)> {
        let all = self.grants.directories.iter();
        all.map(|directory| (directory.host.as_path(), directory.writable))
    }

    /// What the runtime is to allow. `log` takes each line that the component writes.
    ///
    /// # Errors
    /// [`LoadError::GrantInvalid`] if a folder cannot be opened.
    pub(crate) fn ceiling(&self, log: LineSink) -> Result<Ceiling, LoadError> {
        let output = match self.grants.output {
            OutputPart::Log => Output::Lines(log),
            OutputPart::Discard => Output::Discard,
        };
        let mut ceiling = Ceiling::new()
            .limits(self.limits)
            .stdout(output.clone())
            .stderr(output);
        if let Some(args) = &self.grants.args {
            // By custom the first argument is the program's name.
            let name = std::iter::once(&self.name);
            ceiling = ceiling.args(name.chain(args).cloned());
        }
        for (name, value) in &self.grants.env {
            ceiling = ceiling.env(name, value);
        }
        for directory in &self.grants.directories {
            let access = if directory.writable {
                Access::ReadWrite
            } else {
                Access::Read
            };
            ceiling = ceiling.directory(&directory.host, &directory.guest, access)?;
        }
        if let Some(sockets) = &self.grants.sockets {
            ceiling = ceiling.sockets(sockets.iter().cloned());
        }
        if self.grants.wall_clock {
            ceiling = ceiling.wall_clock();
        }
        if let Work::Messages(_) = self.work {
            ceiling = ceiling.interface(PRODUCER);
        }
        for grant in &self.grants.keys {
            ceiling = ceiling.key(grant.name(), grant.bounds());
        }
        if let Work::Http(_) = self.work {
            ceiling = ceiling.http_incoming();
        }
        if let Some(hosts) = &self.grants.http_outgoing {
            ceiling = ceiling.http_outgoing(hosts.iter().cloned());
        }
        if let Some(authorities) = &self.grants.http_authorities {
            let authorities =
                Authorities::new(&authorities.all).map_err(|reason| LoadError::GrantInvalid {
                    grant: "http-authorities".to_owned(),
                    reason,
                })?;
            ceiling = ceiling.http_tls(Arc::new(authorities));
        }
        Ok(ceiling)
    }
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

fn check_name(name: &Spanned<String>) -> Result<(), Wrong> {
    let text = name.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(plain) {
        return Err(Wrong::at(
            name.span(),
            format!("{text:?} is no name: use 1 to {MAX_NAME} letters, digits and hyphens"),
        ));
    }
    Ok(())
}

fn component_name(name: &Spanned<String>) -> Result<ComponentName, Wrong> {
    ComponentName::parse(name.get_ref())
        .map_err(|error| Wrong::at(name.span(), format!("signed-as: {error}")))
}

impl Default for Restart {
    fn default() -> Self {
        let part = RestartPart::default();
        Self {
            when: part.when,
            first: part.first.0,
            most: part.most.0,
            healthy_after: part.healthy_after.0,
        }
    }
}

fn restart(part: &RestartPart) -> Result<Restart, String> {
    let restart = Restart {
        when: part.when,
        first: part.first.0,
        most: part.most.0,
        healthy_after: part.healthy_after.0,
    };
    if restart.first > restart.most {
        return Err(format!(
            "restart: the first wait, {:?}, is longer than the longest, {:?}",
            restart.first, restart.most
        ));
    }
    Ok(restart)
}

fn grants(
    part: GrantsPart,
    folder: &Path,
    state: &Path,
    keys: &BTreeMap<String, Key>,
) -> Result<Grants, Wrong> {
    let mut guests = BTreeSet::new();
    let mut directories = Vec::with_capacity(part.directories.len());
    for entry in part.directories {
        let span = entry.span();
        let directory = entry.into_inner();
        if !directory.guest.starts_with('/') {
            let guest = &directory.guest;
            let message = format!("the component's path {guest:?} must start with /");
            return Err(Wrong::at(span, message));
        }
        if !guests.insert(directory.guest.clone()) {
            let guest = &directory.guest;
            return Err(Wrong::at(
                span,
                format!("the path {guest:?} is given twice"),
            ));
        }
        let host = folder.join(&directory.host);
        // By what they are, where they are there already.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (given, ours) = (real(&host), real(state));
        if given.starts_with(&ours) || ours.starts_with(&given) {
            let message = format!(
                "{} holds what the gateway remembers, or lies in it; no component may have it",
                host.display()
            );
            return Err(Wrong::at(span, message));
        }
        directories.push(DirectoryPart { host, ..directory });
    }
    let http_authorities = match &part.http_authorities {
        None => None,
        Some(path) => {
            let read = Certificates::read(folder.join(path.get_ref()));
            let wrong = |message| Wrong::at(path.span(), format!("http-authorities: {message}"));
            Some(read.map_err(wrong)?)
        }
    };
    Ok(Grants {
        http_outgoing: http::outgoing(part.http_outgoing.as_ref())?,
        http_authorities,
        args: part.args,
        env: part.env.into_iter().collect(),
        output: part.output,
        directories,
        sockets: part.sockets,
        wall_clock: part.wall_clock,
        keys: keys::grants(part.keys, keys)?,
    })
}

fn limits(part: &LimitsPart, run: Duration, cpu: Duration) -> Limits {
    let mut limits = Limits::default();
    limits.run = part.run.map_or(run, |time| time.0);
    limits.cpu = part.cpu.map_or(cpu, |time| time.0);
    // Over years, whatever number it is, is reached by an honest component: what is logged is bounded by its rate.
    limits.log_bytes = u64::MAX;
    if let Some(memory) = part.memory {
        limits.memory_bytes = memory.0;
    }
    if let Some(elements) = part.table_elements {
        limits.table_elements = elements;
    }
    if let Some(handles) = part.handles {
        limits.handles = handles;
    }
    if let Some(hostcall) = part.hostcall {
        limits.hostcall_bytes = hostcall.0;
    }
    limits
}

/// The text of the file. Whoever may write it decides what components may touch: its owner must be this user or root, and
/// alone. What is asked is the file that was opened, whatever has its name by then.
fn read_owned(path: &Path) -> Result<String, String> {
    let unreadable =
        |error: std::io::Error| format!("it cannot be read: {error}; name the file with --config");
    // A FIFO would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let ours = std::fs::metadata("/proc/self").map_err(unreadable)?.uid();
    if ![0, ours].contains(&metadata.uid()) {
        return Err(format!(
            "it belongs to user {}, and may only be root's or that of the gateway's user",
            metadata.uid()
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "others than its owner may write it (mode {:o}); take that away with chmod go-w",
            metadata.mode() & 0o777
        ));
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

/// What is wrong, and where in the text.
#[derive(Debug)]
struct Wrong {
    place: Option<Range<usize>>,
    message: String,
}

impl Wrong {
    fn at(span: Range<usize>, message: String) -> Self {
        Self {
            place: Some(span),
            message,
        }
    }
}

/// Line and column of a place in a text, both from 1; columns are characters.
fn place(text: &str, span: Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The configuration cannot be used.
#[derive(Debug)]
pub(crate) struct ConfigError {
    file: PathBuf,
    place: Option<(usize, usize)>,
    message: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// So that a change of one does not leave the other behind.
const _: () = assert!(format_limits::MAX_SIGNERS == 4, "the schema says 1 to 4");

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [gateway]
        state = "/state"
        lists = ["lists.pem"]

        [[service]]
        name = "pump"
        component = "pump.wasm"
        signed-as = "acme:pump"

        [service.grants]
        env = { LANG = "C" }
        directories = [{ host = "data", guest = "/data", writable = true }]

        [service.limits]
        memory = "64MiB"
    "#;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/countersign")).map_err(|wrong| {
            let place = wrong.place.map(|span| place(text, span));
            format!("{place:?} {}", wrong.message)
        })
    }

    #[test]
    fn a_service_gets_what_is_written_and_sensible_rest() {
        let config = parse(GOOD).expect("good");
        let [service] = &config.services[..] else {
            panic!("{config:?}")
        };
        assert_eq!(service.component, Path::new("/etc/countersign/pump.wasm"));
        assert_eq!(service.limits.memory_bytes, 64 << 20);
        assert_eq!(service.limits.run, Duration::MAX);
        assert_eq!(service.restart.when, When::Always);
        assert_eq!(
            service.grants.directories[0].host,
            Path::new("/etc/countersign/data")
        );
        assert_eq!(config.control, Path::new("/state/control.sock"));
        assert_eq!(config.lists, [Path::new("/etc/countersign/lists.pem")]);
        assert_eq!(config.policy.min_signers(), 1);
    }

    #[test]
    fn th06_what_is_wrong_is_named_with_its_line() {
        let changed = |from: &str, to: &str| {
            assert!(GOOD.contains(from), "{from}");
            parse(&GOOD.replace(from, to)).expect_err(to)
        };
        let cases = [
            (
                changed("lists =", "list ="),
                "Some((4, 9))",
                "unknown field `list`",
            ),
            (
                changed("name =", "nmae ="),
                "Some((7, 9))",
                "unknown field `nmae`",
            ),
            (
                changed("\"64MiB\"", "\"64MB\""),
                "Some((16, 18))",
                "KiB, MiB or GiB",
            ),
            (changed("\"64MiB\"", "0"), "Some((16, 18))", "some memory"),
            (
                changed(
                    "[[service]]",
                    "[status]\nlisten = \"0.0.0.0:80\"\n[[service]]",
                ),
                "Some((7, 10))",
                "open-to-others",
            ),
            (
                changed("\"acme:pump\"", "\"pump\""),
                "Some((9, 21))",
                "signed-as: ",
            ),
            (
                changed("\"acme:pump\"", "7"),
                "Some((9, 21))",
                "invalid type",
            ),
            (
                changed("\"pump\"", "\"../pump\""),
                "Some((7, 16))",
                "is no name",
            ),
            (
                changed("\"/data\"", "\"data\""),
                "Some((13, 24))",
                "must start with /",
            ),
            (
                changed("host = \"data\"", "host = \"/\""),
                "Some((13, 24))",
                "what the gateway remembers",
            ),
            (
                changed("lists =", "signers = 5\n        lists ="),
                "Some((4, 19))",
                "between 1 and 4",
            ),
            (
                changed("lists =", "lists = []\n        lists ="),
                "Some((5, 9))",
                "duplicate key",
            ),
        ];
        for (error, place, message) in cases {
            assert!(
                error.starts_with(place) && error.contains(message),
                "{error}"
            );
        }
        let with_keys = |keys: &str, grant: &str| {
            parse(&format!(
                "{}\n[[service.grants.keys]]\n{grant}\n{keys}",
                GOOD.trim_end()
            ))
        };
        let key = "[[key]]\nname = \"k\"\nuri = \"tpm:k\"\nchain = \"k.pem\"\n";
        let config = with_keys(key, "name = \"k\"").expect("good");
        let grant = &config.services[0].grants.keys[0];
        let chain = &grant.key.source.chain;
        assert_eq!(
            (grant.name(), &**chain),
            ("k", Path::new("/etc/countersign/k.pem"))
        );
        for (keys, grant, message) in [
            (key, "name = \"j\"", "no [[key]] called \"j\""),
            (&*key.repeat(2), "name = \"k\"", "two keys are called"),
            (
                &*format!("{key}purpose = \"tls\"\n"),
                "name = \"k\"",
                "not lent to components",
            ),
            (
                &*format!("{key}registers = [0]\n"),
                "name = \"k\"",
                "whose purpose is attestation",
            ),
            (
                &*format!("{key}purpose = \"attestation\"\nregisters = [24]\n"),
                "name = \"k\"",
                "0 to 23",
            ),
            (&*key.replace("tpm:k", "usb:k"), "name = \"k\"", "uri: "),
            (
                &*key.replace("\"k\"", "\"a b\""),
                "name = \"k\"",
                "no key's name",
            ),
        ] {
            let error = with_keys(keys, grant).expect_err(message);
            assert!(error.contains(message), "{error}");
        }
        let twice = format!("{GOOD}{}", &GOOD[GOOD.find("[[service]]").expect("one")..]);
        assert!(parse(&twice).expect_err("twice").contains("two services"));
        assert!(parse("").expect_err("empty").contains("nothing to run"));
    }

    #[test]
    fn th06_schedules_messages_and_rules_are_read_strictly() {
        let common = "name = \"report\"\ncomponent = \"r.wasm\"\nsigned-as = \"acme:report\"\n";
        let schedule = |more: &str| parse(&format!("{GOOD}\n[[schedule]]\n{common}{more}"));
        let config = schedule("cron = \"0 6 * * *\"\n").expect("good");
        let service = &config.services[1];
        assert!(matches!(service.work, Work::Schedule(_)));
        assert_eq!(service.limits.run, Duration::from_secs(3_600));
        for (more, message) in [
            ("", "either cron or every"),
            (
                "cron = \"0 6 * * *\"\nevery = \"1m\"",
                "either cron or every",
            ),
            ("every = \"10ms\"", "the shortest interval"),
            ("cron = \"0 6 * *\"", "such as"),
            ("cron = \"0 6 * * *\"\nutc-offset = \"CET\"", "no offset"),
            ("every = \"1m\"\nmissed = \"all\"", "unknown variant"),
        ] {
            let error = schedule(more).expect_err(message);
            assert!(error.contains(message), "{more}: {error}");
        }
        let key = "[[key]]\nname = \"t\"\npurpose = \"tls\"\nuri = \"tpm:t\"\nchain = \"t.pem\"\n";
        let messages = |address: &str, broker: &str, more: &str| {
            parse(&format!(
                "{GOOD}\n{key}[[broker]]\nname = \"b\"\nclient = \"c\"\naddress = {address:?}\n{broker}\n\
                 [[on-message]]\n{common}broker = \"b\"\n{more}"
            ))
        };
        let (over_tls, secure) = ("mqtts://b.example", "key = \"t\"\nroots = \"r.pem\"");
        let topics = "topics = [\"a/#\"]";
        let config = messages(over_tls, secure, topics).expect("good");
        let Work::Messages(work) = &config.services[1].work else {
            panic!("{:?}", config.services[1])
        };
        assert_eq!(
            (work.broker.port, work.tries, work.max_bytes),
            (8_883, 3, 64 << 10)
        );
        messages("mqtt://127.0.0.1:1884", "", topics).expect("good");
        for (address, broker, more, message) in [
            ("mqtt://192.0.2.1", "", topics, "on this machine"),
            ("mqtt://localhost", "", topics, "on this machine"),
            ("http://127.0.0.1", "", topics, "mqtts://HOST:PORT"),
            ("mqtts://b.example:99999", secure, topics, "its port"),
            ("mqtts://user@b.example", secure, topics, "its host"),
            (over_tls, "", topics, "needs key and roots"),
            (
                over_tls,
                "key = \"x\"\nroots = \"r.pem\"",
                topics,
                "of the purpose tls",
            ),
            ("mqtt://127.0.0.1", secure, topics, "are for mqtts://"),
            (over_tls, secure, "", "names no topics"),
            (over_tls, secure, "topics = [\"a/#/b\"]", "no filter"),
            (
                over_tls,
                secure,
                "topics = [\"a\"]\ntries = 0",
                "from 1 to 100",
            ),
            (
                over_tls,
                secure,
                "topics = [\"a\"]\nmax-message = \"17MiB\"",
                "16MiB",
            ),
        ] {
            let error = messages(address, broker, more).expect_err(message);
            assert!(error.contains(message), "{address} {more}: {error}");
        }
    }

    #[test]
    fn th06_a_file_that_others_may_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, GOOD).expect("a file");
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode(0o666)).expect("ours");
        let error = Config::load(&path).expect_err("open to all").to_string();
        assert!(error.contains("chmod go-w"), "{error}");
        std::fs::set_permissions(&path, mode(0o644)).expect("ours");
        Config::load(&path).expect("good");
    }
}

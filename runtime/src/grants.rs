//! What a guest may touch: the operator's [`Ceiling`], and [`Granted`], its intersection with the signed statement.
//!
//! Both are empty by default. Decides too which imports may be there at all; that they exist is the linker's matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use countersign_format::{Grants, Statement};

use crate::error::LoadError;
use crate::host::{self, Device, GrantedKey, KeyCeiling};
use crate::http::Secure;
use crate::imports::{Import, ImportKind};
use crate::limits::Limits;
use crate::lookup::Lookups;
use crate::usage::Usage;
use crate::wasi::Quota;
use crate::wasi::names::{self, Wasi};

/// What the operator of this host allows a component at most, and what is behind it.
///
/// Nothing by default: no arguments, environment, directories, network or date; standard streams closed.
#[derive(Clone, Default)]
pub struct Ceiling {
    pub(crate) args: Option<Vec<String>>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) directories: Vec<Directory>,
    pub(crate) http_outgoing: Option<Vec<String>>,
    pub(crate) http_incoming: bool,
    pub(crate) tls: Option<Arc<dyn Secure>>,
    pub(crate) sockets: Option<Vec<String>>,
    pub(crate) wall_clock: bool,
    pub(crate) interfaces: BTreeSet<String>,
    pub(crate) device: Option<Device>,
    pub(crate) keys: BTreeMap<String, KeyCeiling>,
    pub(crate) limits: Limits,
}

impl Ceiling {
    /// A ceiling that allows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows arguments and sets them; the first is by custom the program's name.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Allows one environment variable and sets it. A later value for the same name replaces an earlier one.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.env.retain(|(existing, _)| *existing != name);
        self.env.push((name, value.into()));
        self
    }

    /// What standard input reads.
    #[must_use]
    pub fn stdin(mut self, input: Input) -> Self {
        self.stdin = input;
        self
    }

    /// Where standard output goes.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Where standard error goes.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Allows a directory of the host, opened now: renaming or replacing the path later moves nothing.
    ///
    /// `guest` is the path that the statement asks for, e.g. `/data`.
    ///
    /// # Errors
    /// [`LoadError::GrantInvalid`] if `host` is not a directory that can be opened, or `guest` was given before.
    pub fn directory(
        self,
        host: impl AsRef<Path>,
        guest: impl Into<String>,
        access: Access,
    ) -> Result<Self, LoadError> {
        let (host, guest) = (host.as_ref(), guest.into());
        let dir = Dir::open_ambient_dir(host, ambient_authority()).map_err(|error| {
            LoadError::GrantInvalid {
                grant: guest.clone(),
                reason: format!(
                    "{} cannot be opened as a directory: {error}",
                    host.display()
                ),
            }
        })?;
        self.open_directory(dir, guest, access)
    }

    /// Allows a directory that the host has opened itself.
    ///
    /// # Errors
    /// [`LoadError::GrantInvalid`] if `guest` was given before.
    pub fn open_directory(
        mut self,
        dir: Dir,
        guest: impl Into<String>,
        access: Access,
    ) -> Result<Self, LoadError> {
        let guest = guest.into();
        if self
            .directories
            .iter()
            .any(|directory| directory.guest == guest)
        {
            return Err(LoadError::GrantInvalid {
                grant: guest,
                reason: "the guest path is given twice".to_owned(),
            });
        }
        self.directories.push(Directory {
            guest,
            access,
            dir: Arc::new(dir),
            quota: None,
        });
        Ok(self)
    }

    /// Bounds what the directory with this guest path may hold, in bytes: its files in blocks of 4 KiB, a block for each folder and
    /// link, and whatever was there before. A write beyond it fails as on a full disk; the file system's own bounds hold beside it.
    ///
    /// A directory has one count for all guests of this process that are lent it with a bound, each of which is held to its own.
    /// Nothing is moved or linked between a directory that has one and another, as between file systems. What lies in more than 64 folders
    /// in each other cannot be measured, and counts as full.
    ///
    /// # Errors
    /// [`LoadError::GrantInvalid`] if no directory was given for this path, or the system does not say which it is.
    pub fn directory_quota(mut self, guest: &str, bytes: u64) -> Result<Self, LoadError> {
        let mut directories = self.directories.iter_mut();
        let Some(directory) = directories.find(|directory| directory.guest == guest) else {
            return Err(LoadError::GrantInvalid {
                grant: guest.to_owned(),
                reason: "a bound was given, and no directory".to_owned(),
            });
        };
        let quota = Quota::new(&directory.dir, bytes).map_err(|error| LoadError::GrantInvalid {
            grant: guest.to_owned(),
            reason: format!("it cannot be counted: {error}"),
        })?;
        directory.quota = Some(quota);
        Ok(self)
    }

    /// Allows outgoing HTTP to these hosts, spelled as in the statement: `plant.example` for the scheme's own port,
    /// `plant.example:8080` for another.
    ///
    /// A name that leads to a loopback, link-local or private address leads nowhere, unless that address is among the hosts
    /// too. HTTPS needs [`Self::http_tls`].
    #[must_use]
    pub fn http_outgoing<S: Into<String>>(mut self, hosts: impl IntoIterator<Item = S>) -> Self {
        self.http_outgoing = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// How outgoing HTTPS proves whom it reached. Without it there is no HTTPS.
    #[must_use]
    pub fn http_tls(mut self, tls: Arc<dyn Secure>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Allows a component that serves HTTP, as [`ReadyGuest::http_handler`](crate::ReadyGuest::http_handler) has it do.
    #[must_use]
    pub fn http_incoming(mut self) -> Self {
        self.http_incoming = true;
        self
    }

    /// Allows sockets to these peers, spelled as in the statement, e.g. `tcp:192.0.2.7:502`.
    ///
    /// With an empty list the interfaces are there and every call is denied.
    #[must_use]
    pub fn sockets<S: Into<String>>(mut self, peers: impl IntoIterator<Item = S>) -> Self {
        self.sockets = Some(peers.into_iter().map(Into::into).collect());
        self
    }

    /// Allows the date. Without it the wall clock stands at 1970-01-01; durations can always be measured.
    #[must_use]
    pub fn wall_clock(mut self) -> Self {
        self.wall_clock = true;
        self
    }

    /// Lends a device. What a component may do with it is said key by key, with [`Self::key`].
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Allows the use of one of the device's keys, named as in the component's statement, under these bounds.
    #[must_use]
    pub fn key(mut self, name: impl Into<String>, bounds: KeyCeiling) -> Self {
        self.keys.insert(name.into(), bounds);
        self
    }

    /// Allows an interface or function that the host's own linker defines, named without a version, e.g.
    /// `acme:plant/valves` (any version), or with one, e.g. `acme:plant/valves@1.2.0` (exactly this one).
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interfaces.insert(name.into());
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

impl fmt::Debug for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of arguments and environment may be secrets.
        f.debug_struct("Ceiling")
            .field("args", &self.args.as_ref().map(Vec::len))
            .field(
                "env",
                &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            )
            .field("directories", &self.directories)
            .field("http_outgoing", &self.http_outgoing)
            .field("http_incoming", &self.http_incoming)
            .field("sockets", &self.sockets)
            .field("wall_clock", &self.wall_clock)
            .field("interfaces", &self.interfaces)
            .field("device", &self.device)
            .field("keys", &self.keys)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Whether a guest may change what is in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading, writing, creating and deleting; only where the statement asks for it, too.
    ReadWrite,
}

/// A directory that the operator offers.
#[derive(Clone)]
pub(crate) struct Directory {
    pub(crate) guest: String,
    pub(crate) access: Access,
    pub(crate) dir: Arc<Dir>,
    pub(crate) quota: Option<Quota>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.guest, self.access)?;
        match &self.quota {
            Some(quota) => write!(f, " of {} bytes", quota.most()),
            None => Ok(()),
        }
    }
}

/// What standard input reads.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Input {
    /// These bytes, then its end.
    Bytes(Vec<u8>),
    /// Nothing: at its end from the start.
    #[default]
    Closed,
    /// This process's standard input.
    Inherit,
}

/// Where standard output or error goes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Output {
    /// Into memory; the same buffer for every guest that starts under this ceiling.
    Capture(Captured),
    /// Nowhere.
    #[default]
    Discard,
    /// To the host, line by line.
    Lines(LineSink),
    /// This process's standard error.
    Stderr,
    /// This process's standard output.
    Stdout,
}

/// Where the lines of guests go: a function of the host's, which should return soon.
///
/// A line comes without its end. One that is longer than [`LineSink::MAX_BYTES`] comes in parts, and the last comes when the
/// guest ends, however it ended. What is no UTF-8 is replaced. The text is a stranger's: it may hold what a terminal would obey.
#[derive(Clone)]
pub struct LineSink(Arc<dyn Fn(&str) + Send + Sync>);

impl LineSink {
    /// The longest line that is passed on as one, in bytes (8 KiB).
    pub const MAX_BYTES: usize = 8 << 10;

    /// Calls `sink` with each line.
    #[must_use]
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    pub(crate) fn line(&self, bytes: &[u8]) {
        (self.0)(&String::from_utf8_lossy(bytes));
    }
}

impl fmt::Debug for LineSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LineSink")
    }
}

/// What guests wrote, kept in memory. Bounded by [`Limits::log_bytes`].
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of what was written so far.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        self.lock().clone()
    }

    pub(crate) fn push(&self, bytes: &[u8]) {
        self.lock().extend_from_slice(bytes);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        // A panic elsewhere cannot leave a half-written vector behind.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What one component gets: what its statement asks for and the operator allows.
pub struct Granted {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) directories: Vec<Directory>,
    pub(crate) sockets: Option<Vec<String>>,
    pub(crate) wall_clock: bool,
    http_outgoing: Option<Vec<String>>,
    http_incoming: bool,
    tls: Option<Arc<dyn Secure>>,
    limits: Limits,
    keys: Vec<GrantedKey>,
    pub(crate) lookups: Lookups,
    withheld: Vec<String>,
    pub(crate) usage: Arc<Usage>,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of arguments and environment may be secrets.
        f.debug_struct("Granted")
            .field("args", &self.args.len())
            .field(
                "env",
                &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            )
            .field("directories", &self.directories)
            .field("http_outgoing", &self.http_outgoing)
            .field("http_incoming", &self.http_incoming)
            .field("sockets", &self.sockets)
            .field("wall_clock", &self.wall_clock)
            .field("limits", &self.limits)
            .field("withheld", &self.withheld)
            .finish_non_exhaustive()
    }
}

impl Granted {
    /// The intersection of `statement` and `ceiling`.
    pub(crate) fn new(statement: &Statement, ceiling: &Ceiling) -> Self {
        let asked = statement.grants();
        let mut withheld = Vec::new();
        let env = intersect_env(asked, ceiling, &mut withheld);
        let directories = intersect_directories(asked, ceiling, &mut withheld);
        let http_outgoing = intersect_lists(
            "http-outgoing",
            asked.http_outgoing.as_deref(),
            ceiling.http_outgoing.as_deref(),
            &mut withheld,
        );
        let sockets = intersect_lists(
            "sockets",
            asked.sockets.as_deref(),
            ceiling.sockets.as_deref(),
            &mut withheld,
        );
        let keys = intersect_keys(statement, ceiling, &mut withheld);
        let mut both = |what: &str, asked: bool, allowed: bool| {
            if asked != allowed {
                withheld.push(one_sided(what, asked));
            }
            asked && allowed
        };
        let args = both("args", asked.args, ceiling.args.is_some());
        let wall_clock = both("wall-clock", asked.wall_clock, ceiling.wall_clock);
        let http_incoming = both("http-incoming", asked.http_incoming, ceiling.http_incoming);
        let stdin = both(
            "stdin",
            asked.stdio.stdin,
            !matches!(ceiling.stdin, Input::Closed),
        );
        let stdout = both(
            "stdout",
            asked.stdio.stdout,
            !matches!(ceiling.stdout, Output::Discard),
        );
        let stderr = both(
            "stderr",
            asked.stdio.stderr,
            !matches!(ceiling.stderr, Output::Discard),
        );
        Self {
            args: if args {
                ceiling.args.clone().unwrap_or_default()
            } else {
                Vec::new()
            },
            env,
            stdin: if stdin {
                ceiling.stdin.clone()
            } else {
                Input::Closed
            },
            stdout: if stdout {
                ceiling.stdout.clone()
            } else {
                Output::Discard
            },
            stderr: if stderr {
                ceiling.stderr.clone()
            } else {
                Output::Discard
            },
            directories,
            sockets,
            wall_clock,
            http_outgoing,
            http_incoming,
            tls: ceiling.tls.clone(),
            limits: ceiling.limits.lowered_by(statement.limits()),
            keys,
            lookups: Lookups::new(),
            withheld,
            usage: Arc::default(),
        }
    }

    /// What it has used so far, over all its instances.
    #[must_use]
    pub fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// The limits that hold: the lower of both sides.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Hosts to which it may send HTTP requests. `None`: `wasi:http/outgoing-handler` is not linked at all.
    #[must_use]
    pub fn http_outgoing(&self) -> Option<&[String]> {
        self.http_outgoing.as_deref()
    }

    /// Whether the component may serve HTTP.
    #[must_use]
    pub fn http_incoming(&self) -> bool {
        self.http_incoming
    }

    pub(crate) fn tls(&self) -> Option<&dyn Secure> {
        self.tls.as_deref()
    }

    /// Whether the component was granted a key of the device.
    #[must_use]
    pub fn has_device(&self) -> bool {
        !self.keys.is_empty()
    }

    /// What only one side wanted, a line for each, for the operator to read. Nothing of it was given.
    #[must_use]
    pub fn withheld(&self) -> &[String] {
        &self.withheld
    }

    /// Refuses the first import that is not covered.
    pub(crate) fn check_imports(
        &self,
        imports: &[Import],
        ceiling: &Ceiling,
    ) -> Result<(), LoadError> {
        imports.iter().try_for_each(|import| {
            self.check_import(import, ceiling)
                .map_err(|reason| LoadError::ImportDenied {
                    name: import.name.clone(),
                    kind: import.kind,
                    reason,
                })
        })
    }

    fn check_import(&self, import: &Import, ceiling: &Ceiling) -> Result<(), &'static str> {
        match import.kind {
            ImportKind::Types => return Ok(()),
            ImportKind::Module | ImportKind::Component => {
                return Err(
                    "code that is not in the signed file cannot be brought in; compose first, then sign",
                );
            }
            ImportKind::Value => return Err("this host offers no values to import"),
            ImportKind::Function | ImportKind::Interface => {}
        }
        match names::classify(&import.name) {
            Wasi::Inert => Ok(()),
            Wasi::Sockets => require(
                self.sockets.is_some(),
                "ask for `sockets` under [grants] in component.toml, sign again, and allow it on this host",
            ),
            Wasi::HttpOutgoing => require(
                self.http_outgoing.is_some(),
                "ask for `http-outgoing` under [grants] in component.toml, sign again, and allow it on this host",
            ),
            Wasi::HttpTypes => require(
                self.http_outgoing.is_some() || self.http_incoming,
                "ask for `http-outgoing` or `http-incoming` under [grants] in component.toml, sign again, and \
                 allow it on this host",
            ),
            Wasi::OtherVersion => Err("this host offers WASI 0.2 only; build the component for it"),
            Wasi::Not if is_of_device(&import.name) => require(
                self.has_device() && host::INTERFACES.contains(&import.name.as_str()),
                "ask for a key under [grants] in component.toml, sign again, and lend that key on this host; the \
                 interfaces are those of countersign:device@0.1.0",
            ),
            Wasi::Not => require(
                names_match(&ceiling.interfaces, &import.name),
                "this host neither offers nor allows it; an embedder defines it in the linker and names it in the \
                 ceiling",
            ),
        }
    }
}

/// Whether an import is of the package by which devices are lent. The host's linker cannot bring its own.
fn is_of_device(import: &str) -> bool {
    import
        .strip_prefix(host::PACKAGE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '@']))
}

fn require(granted: bool, reason: &'static str) -> Result<(), &'static str> {
    if granted { Ok(()) } else { Err(reason) }
}

/// Whether `allowed` holds `import` as it stands, or without its version.
fn names_match(allowed: &BTreeSet<String>, import: &str) -> bool {
    let bare = import
        .split_once('@')
        .map_or(import, |(bare, _version)| bare);
    allowed.contains(import) || allowed.contains(bare)
}

fn one_sided(what: &str, asked: bool) -> String {
    if asked {
        format!("{what}: the component asks for it, this host does not allow it")
    } else {
        format!("{what}: this host allows it, the component does not ask for it")
    }
}

/// Keys that both sides want and the device has.
fn intersect_keys(
    statement: &Statement,
    ceiling: &Ceiling,
    withheld: &mut Vec<String>,
) -> Vec<GrantedKey> {
    let keys = match ceiling.device {
        Some(_) => GrantedKey::intersection(statement, ceiling),
        None => Vec::new(),
    };
    let given = |name: &str| keys.iter().any(|key| key.name == name);
    let asked = &statement.grants().keys;
    withheld.extend(
        asked
            .iter()
            .filter(|key| !given(&key.name))
            .map(|key| one_sided(&format!("key {}", key.name), true)),
    );
    withheld.extend(
        ceiling
            .keys
            .keys()
            .filter(|name| !given(name) && !asked.iter().any(|key| key.name == **name))
            .map(|name| one_sided(&format!("key {name}"), false)),
    );
    keys
}

fn intersect_env(
    asked: &Grants,
    ceiling: &Ceiling,
    withheld: &mut Vec<String>,
) -> Vec<(String, String)> {
    let (given, kept): (Vec<_>, Vec<_>) = ceiling
        .env
        .iter()
        .cloned()
        .partition(|(name, _)| asked.env.contains(name));
    withheld.extend(
        kept.iter()
            .map(|(name, _)| one_sided(&format!("env {name}"), false)),
    );
    let missing = asked
        .env
        .iter()
        .filter(|name| !given.iter().any(|(known, _)| known == *name));
    withheld.extend(missing.map(|name| one_sided(&format!("env {name}"), true)));
    given
}

fn intersect_directories(
    asked: &Grants,
    ceiling: &Ceiling,
    withheld: &mut Vec<String>,
) -> Vec<Directory> {
    let mut given = Vec::new();
    for offer in &ceiling.directories {
        let Some(request) = asked
            .directories
            .iter()
            .find(|request| request.guest == offer.guest)
        else {
            withheld.push(one_sided(&format!("directory {}", offer.guest), false));
            continue;
        };
        let access = match (request.writable, offer.access) {
            (true, Access::ReadWrite) => Access::ReadWrite,
            (false, Access::Read) => Access::Read,
            (writable, _) => {
                withheld.push(one_sided(
                    &format!("writing to directory {}", offer.guest),
                    writable,
                ));
                Access::Read
            }
        };
        given.push(Directory {
            access,
            ..offer.clone()
        });
    }
    let missing = asked.directories.iter().filter(|request| {
        !ceiling
            .directories
            .iter()
            .any(|offer| offer.guest == request.guest)
    });
    withheld
        .extend(missing.map(|request| one_sided(&format!("directory {}", request.guest), true)));
    given
}

fn intersect_lists(
    what: &str,
    asked: Option<&[String]>,
    allowed: Option<&[String]>,
    withheld: &mut Vec<String>,
) -> Option<Vec<String>> {
    match (asked, allowed) {
        (None, None) => None,
        (Some(_), None) => {
            withheld.push(one_sided(what, true));
            None
        }
        (None, Some(_)) => {
            withheld.push(one_sided(what, false));
            None
        }
        (Some(asked), Some(allowed)) => {
            let (given, missing): (Vec<_>, Vec<_>) = asked
                .iter()
                .cloned()
                .partition(|entry| allowed.contains(entry));
            withheld.extend(
                missing
                    .iter()
                    .map(|entry| one_sided(&format!("{what} {entry}"), true)),
            );
            Some(given)
        }
    }
}

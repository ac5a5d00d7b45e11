//! A service, of whichever kind, as the operator wants it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_format::ComponentName;
use countersign_runtime::messaging::PRODUCER;
use countersign_runtime::{Access, Ceiling, Limits, LineSink, LoadError, Output};
use toml::Spanned;

use super::bundles;
use super::file::{LimitsPart, OutputPart, RestartPart, ServicePart, When};
use super::grants::{Grants, grants};
use super::http::{Http, HttpPart, Listeners};
use super::keys::Key;
use super::text::Wrong;
use crate::http::Authorities;
use crate::messages::Messages;
use crate::schedule::Schedule;

/// The longest name of a service, in characters.
const MAX_NAME: usize = 64;

/// How long a request may take, and occupy a processor, where the operator does not say.
const REQUEST_TIME: Duration = Duration::from_secs(30);
const REQUEST_CPU: Duration = Duration::from_secs(10);

/// Where a signed file lies. Code for it may lie beside it, and among other files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) component: PathBuf,
    pub(crate) code: Vec<PathBuf>,
}

impl Place {
    /// A file with no code but what lies beside it.
    pub(crate) fn alone(component: PathBuf) -> Self {
        let code = Vec::new();
        Self { component, code }
    }
}

/// A service, as the operator wants it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) signed_as: ComponentName,
    pub(crate) work: Work,
    pub(crate) restart: Restart,
    /// Whether what is new proves healthy beside what runs, before that ends.
    pub(crate) beside: bool,
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

impl Service {
    pub(super) fn new(
        part: ServicePart,
        folder: &Path,
        state: &Path,
        keys: &BTreeMap<String, Key>,
    ) -> Result<Self, Wrong> {
        check_name(&part.name)?;
        Ok(Self {
            place: Place::alone(bundles::place(&part.component, folder)?),
            signed_as: component_name(&part.signed_as)?,
            work: Work::Command,
            restart: restart(&part.restart)
                .map_err(|message| Wrong::at(part.name.span(), message))?,
            beside: part.beside,
            grants: grants(part.grants, folder, state, keys)?,
            limits: limits(&part.limits, Duration::MAX, Duration::MAX),
            name: part.name.into_inner(),
        })
    }

    pub(super) fn of_http(
        part: HttpPart,
        folder: &Path,
        state: &Path,
        keys: &BTreeMap<String, Key>,
        listeners: &mut Listeners,
    ) -> Result<Self, Wrong> {
        check_name(&part.name)?;
        Ok(Self {
            place: Place::alone(bundles::place(&part.component, folder)?),
            signed_as: component_name(&part.signed_as)?,
            work: Work::Http(Http::new(&part, folder, keys, listeners)?),
            restart: Restart {
                healthy_after: part.healthy_after.0,
                ..Restart::default()
            },
            beside: false,
            grants: grants(part.grants, folder, state, keys)?,
            limits: limits(&part.limits, REQUEST_TIME, REQUEST_CPU),
            name: part.name.into_inner(),
        })
    }

    /// Whether it differs in nothing but where its file lies.
    pub(crate) fn is_but_for_its_place(&self, other: &Self) -> bool {
        let there = Self {
            place: self.place.clone(),
            ..other.clone()
        };
        *self == there
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
            if let Some(most) = directory.most {
                ceiling = ceiling.directory_quota(&directory.guest, most.0)?;
            }
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

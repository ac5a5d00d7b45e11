//! `check` and `verify`: what a start would say, without one.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use countersign_format::ComponentName;
use countersign_hosting::{AuditLog, MAX_FILE_BYTES, Read, read};
use countersign_runtime::Runtime;
use countersign_trust_store::UnverifiedComponent;
use serde::Serialize;

use crate::admission::{Facts, Host, Refusal};
use crate::bundle::{self, Hold};
use crate::clock::Clock;
use crate::config::{Config, Place, Service};
use crate::gateway::{NotStarted, roots};
use crate::http::Server;
use crate::identity::Identity;
use crate::keys::Keys;
use crate::lists::{Given, Lists};
use crate::overview;
use crate::service::Leaving;
use crate::state::{self, Guard, Memory};

/// The verdict on one service.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) facts: Option<Facts>,
    pub(crate) refused: Option<Refusal>,
}

impl Verdict {
    fn of(name: &str, verified: Result<Facts, Refusal>) -> Self {
        let (facts, refused) = match verified {
            Ok(facts) => (Some(facts), None),
            Err(refusal) => (None, Some(refusal)),
        };
        Self {
            name: name.to_owned(),
            facts,
            refused,
        }
    }
}

/// Verifies every component of a configuration by this machine's clock and what its gateway remembers, and prints the verdicts.
/// What they may touch is held against their statements when they are started. Makes no record.
///
/// Returns the exit status: that of the first refusal.
pub(crate) fn check(path: &Path, json: bool) -> Result<u8, NotStarted> {
    let verdicts = verdicts(&bundle::configured(path)?)?;
    overview::print_check(&verdicts, json);
    let first = verdicts.iter().find_map(|verdict| verdict.refused.as_ref());
    Ok(first.map_or(0, Refusal::exit_status))
}

/// The verdict on every component of a configuration.
///
/// # Errors
/// If there is nothing by which they could be judged.
pub(crate) fn verdicts(config: &Config) -> Result<Vec<Verdict>, NotStarted> {
    let (host, memory) = host(config)?;
    let judge = |service: &Service| {
        let verified = host.verify(service, &service.place, &memory);
        Verdict::of(&service.name, verified.map(|verified| verified.facts))
    };
    Ok(config.services.iter().map(judge).collect())
}

/// Verifies a file by this machine's clock and lists and what its gateway remembers, as every service whose component it claims to
/// be; and where there is none, as what it says it is. Makes no record.
///
/// Returns the exit status: that of the first refusal.
pub(crate) fn verify(path: &Path, file: &Path, json: bool) -> Result<u8, NotStarted> {
    let config = bundle::configured(path)?;
    let (host, memory) = host(&config)?;
    let place = Place::alone(file.to_owned());
    let claimed = claimed(file)?;
    let expecting = config.services.iter().filter(|service| {
        claimed
            .as_ref()
            .is_none_or(|name| service.signed_as == *name)
    });
    let mut verdicts: Vec<_> = expecting
        .map(|service| {
            let verified = host.verify(service, &place, &memory);
            Verdict::of(&service.name, verified.map(|verified| verified.facts))
        })
        .collect();
    if claimed.is_none() {
        // No service would make more of it.
        verdicts.truncate(1);
    }
    if verdicts.is_empty() {
        let verdict = host
            .verify_any(&place, &memory)
            .map(|verified| verified.facts);
        verdicts.push(Verdict::of("no service", verdict));
    }
    overview::print_check(&verdicts, json);
    let first = verdicts.iter().find_map(|verdict| verdict.refused.as_ref());
    Ok(first.map_or(0, Refusal::exit_status))
}

/// A judge of components who makes no record, and what the gateway remembers.
fn host(config: &Config) -> Result<(Host, Memory), NotStarted> {
    let anchors = roots()?;
    let counter = config.counter.as_ref().map(Guard::open).transpose()?;
    let memory = state::peek(&config.state, counter.as_ref()).map_err(NotStarted::of_state)?;
    config.is_whole()?;
    let lists = Lists::default();
    lists.exchange(Given::by(config)?);
    // Whether the keys are there shows when they are opened, at a start.
    let keys = config.known.keys.values();
    let chains: Vec<_> = keys
        .filter_map(|key| key.source.certificates().ok())
        .collect();
    let identity = Identity::remembered(memory.identity(), &chains, lists.now().all());
    let records = Arc::new(AuditLog::open(None)?);
    let host = Host {
        // Nothing is loaded here.
        http: Arc::new(Server::new(
            config.http,
            Arc::clone(&records),
            Arc::default(),
            {
                let anchors = anchors.clone();
                move || Runtime::builder(anchors.clone())
            },
        )),
        runtime: Runtime::builder(anchors)
            .policy(config.policy.clone())
            .build()
            .context("the runtime cannot be built")?,
        identity,
        keys: Keys::new(Arc::clone(&records), Arc::default()),
        records,
        clock: Clock::start(memory.floor()),
        lists,
        compile: config.compile,
        hold: Hold::default(),
        leaving: Leaving::default(),
    };
    Ok((host, memory))
}

/// The name of the component that a file claims to be, which decides nothing but who is asked about it. None where it claims
/// nothing that can be read.
fn claimed(file: &Path) -> anyhow::Result<Option<ComponentName>> {
    Ok(match read(file, MAX_FILE_BYTES)? {
        Read::Whole(bytes) => UnverifiedComponent::parse(bytes)
            .ok()
            .map(|unverified| unverified.claimed_statement().name().clone()),
        Read::TooLarge { .. } => None,
    })
}

//! `check`: what a start would say, without one.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use countersign_hosting::AuditLog;
use countersign_runtime::Runtime;
use serde::Serialize;

use crate::admission::{Facts, Host, Lists, Refusal};
use crate::clock::Clock;
use crate::config::Config;
use crate::gateway::{NotStarted, roots};
use crate::overview;
use crate::state;

/// The verdict on one service.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) facts: Option<Facts>,
    pub(crate) refused: Option<Refusal>,
}

/// Verifies every component of a configuration by this machine's clock and what its gateway remembers, and prints the verdicts.
/// What they may touch is held against their statements when they are started. Makes no record.
///
/// Returns the exit status: that of the first refusal.
pub(crate) fn check(path: &Path, json: bool) -> Result<u8, NotStarted> {
    let config = Config::load(path)?;
    let anchors = roots()?;
    let memory = state::peek(&config.state)?;
    let lists = Lists::default();
    lists.exchange(Lists::read(&config.lists)?);
    let host = Host {
        runtime: Runtime::builder(anchors)
            .policy(config.policy.clone())
            .build()
            .context("the runtime cannot be built")?,
        records: Arc::new(AuditLog::open(None)?),
        clock: Clock::start(memory.floor()),
        lists,
        accepting: Mutex::new(()),
    };
    let verdicts: Vec<_> = config
        .services
        .iter()
        .map(|service| {
            let verified = host.verify(service, &service.component, &memory);
            let (facts, refused) = match verified {
                Ok(verified) => (Some(verified.facts), None),
                Err(refusal) => (None, Some(refusal)),
            };
            Verdict {
                name: service.name.clone(),
                facts,
                refused,
            }
        })
        .collect();
    overview::print_check(&verdicts, json);
    let first = verdicts.iter().find_map(|verdict| verdict.refused.as_ref());
    Ok(first.map_or(0, Refusal::exit_status))
}

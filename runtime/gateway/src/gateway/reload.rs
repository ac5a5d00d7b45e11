//! What a reload changes, and in which order.
//!
//! Decides that lists count before anything that may take its time or fail: what they name is stopped first. Then each service
//! is judged; what has to be compiled for it is compiled while the gateway goes on. A later reload takes the place of an earlier
//! one that is still under way.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{By, Gateway, Way};
use crate::admission::Refusal;
use crate::bundle;
use crate::config::Config;
use crate::keys::Try;
use crate::lists::Given;
use crate::own;
use crate::refusals;
use crate::say::{complain, say, warn};
use crate::service::Running;

/// What a reload did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Reloaded {
    pub(super) started: Vec<String>,
    /// What has taken the place of what ran.
    pub(super) exchanged: Vec<String>,
    pub(super) stopped: Vec<String>,
    pub(super) unchanged: Vec<String>,
    /// Services whose component was refused. What they ran before runs on, unless it was revoked.
    pub(super) refused: BTreeMap<String, Refusal>,
    /// Services whose component was admitted and did not take the place of what ran, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) stayed: BTreeMap<String, String>,
}

impl Gateway {
    /// Reads the configuration again, and the lists and files that it names, and begins to change what has changed.
    pub(super) async fn reload(&mut self, by: By) -> anyhow::Result<()> {
        let config = Config::load(&self.path)?;
        if self.trial.is_some() {
            self.count_lists(&config).await?;
            bail!("a bundle is on trial, so that only its lists count; reload when it has ended");
        }
        let changed = match bundle::remembered(config.clone(), &self.state.memory()) {
            Ok(next) => self.change_to(next, Way::On, by).await,
            Err(error) => Err(error),
        };
        let Err(error) = changed else {
            return Ok(());
        };
        // Whom a newer list names waits for nothing that may fail.
        if let Err(other) = self.count_lists(&config).await {
            complain("", &format!("{other:#}"));
        }
        Err(error)
    }

    /// Has the lists of another configuration count beside those that do, and stops what they name.
    async fn count_lists(&mut self, config: &Config) -> anyhow::Result<()> {
        let config = bundle::with_lists(config.clone(), &self.state.memory())?;
        let lists = Given::by(&config)?.and(Given::by(&self.config)?);
        self.host.lists.exchange(lists);
        self.stop_what_was_revoked().await
    }

    /// Has another configuration count, and begins to change what it changes: the configuration before.
    pub(super) async fn change_to(
        &mut self,
        mut config: Config,
        way: Way,
        by: By,
    ) -> anyhow::Result<Config> {
        if let Some(what) = self.config.beyond_reload(&config) {
            bail!("{what} was changed; that needs a restart");
        }
        if let Some(path) = self.confinement.beyond(&config)? {
            bail!(
                "{} lies outside what this process has left itself when it started; that needs a restart",
                path.display()
            );
        }
        self.host.lists.exchange(Given::by(&config)?);
        let queued = self.supersede();
        if let Err(error) = self.prepare(&mut config, way).await {
            // What an earlier one wants is judged on.
            self.queue = queued;
            return Err(error);
        }
        self.lacking.is_another_configuration();
        let services = config.services.iter().cloned();
        self.queue = services.map(|service| (service, by)).collect();
        Ok(std::mem::replace(&mut self.config, config))
    }

    /// Stops what is not to run under another configuration, and opens what that needs.
    async fn prepare(&mut self, config: &mut Config, way: Way) -> anyhow::Result<()> {
        // Before anything takes its time, or fails.
        self.stop_what_was_revoked().await?;
        match way {
            Way::On => {
                own::demand_named(config)?;
                self.host.http.renew(&config.listeners).await?;
            }
            Way::Back => {
                if let Err(error) = self.host.http.restore(&config.listeners).await {
                    complain(
                        "",
                        &format!(
                            "keys of addresses cannot be had: {error:#}; an address that was protected otherwise meanwhile takes no connections; reload when the key is there"
                        ),
                    );
                }
            }
        }
        let done = &self.done;
        self.refused
            .retain(|name, _| done.refused.contains_key(name));
        // For a bounded time: keys whose hardware does not answer are not there, which concerns those alone that need them.
        let opened = self.open_keys(config.known.keys.clone(), Try::All).await;
        opened.context("the device's keys were not opened")?;
        let is_kept = |name: &String| config.services.iter().any(|service| service.name == *name);
        let leaving: Vec<_> = self
            .running
            .keys()
            .filter(|name| !is_kept(name))
            .cloned()
            .collect();
        self.part(&leaving, Running::stop).await;
        self.host.keys.certify(&mut config.services);
        // What was to run otherwise is given up before it can.
        self.loading
            .retain(|_, loading| config.services.contains(loading.service()));
        Ok(())
    }

    /// Stops every component whose signers' certificates the lists name, whatever file is in its place by now.
    async fn stop_what_was_revoked(&mut self) -> anyhow::Result<()> {
        let lists = &self.host.lists;
        let mut numbers = Vec::new();
        let mut revoked = Vec::new();
        for (name, running) in &self.running {
            let said = lists.status(&running.status().links);
            if said.iter().any(|status| status.revoked) {
                revoked.push(name.clone());
            }
            numbers.extend(said);
        }
        self.host.leaving.end(|one| lists.names(&one.links));
        for name in &revoked {
            let refusal = Refusal::revoked(name);
            warn(name, &format!("stopped: {}", refusal.why));
            refusals::note(name, &refusal);
            self.refused.insert(name.clone(), refusal.clone());
            self.done.refused.insert(name.clone(), refusal);
        }
        // Remembered before it is waited for: who stops this meanwhile, or takes its power, does not bring anything back.
        self.withdraw();
        let remembered = tokio::task::block_in_place(|| {
            self.state.remember(|memory| {
                for said in numbers {
                    memory.raise_list(said.issuer_spki_sha256, said.number);
                }
            })
        });
        self.part(&revoked, Running::stop_at_once).await;
        remembered
    }

    /// Takes back the admission of whatever the lists name, whether it runs or not: it must not come back when a list is short
    /// of it again.
    pub(super) fn withdraw(&self) {
        let lists = self.host.lists.now();
        let mut withdrawn = Vec::new();
        let remembered = tokio::task::block_in_place(|| {
            self.state
                .remember(|memory| withdrawn = memory.withdraw(lists.all()))
        });
        for component in withdrawn {
            say(
                "",
                &format!(
                    "an admission of {component} was taken back: a signer's certificate was revoked"
                ),
            );
        }
        if let Err(error) = remembered {
            say(
                "",
                &format!("what was revoked could not be remembered: {error:#}"),
            );
        }
        // A list may name this device's own certificate. No hardware is asked for that.
        if let Err(error) = tokio::task::block_in_place(|| self.host.identify(&self.state)) {
            complain(
                "",
                &format!("which device this is was not remembered: {error:#}"),
            );
        }
    }

    /// Has services go, all at the same time. What answers requests may finish them, or has to give them up, beside what is done
    /// next; commands are gone afterwards, and what they touch is free.
    pub(super) async fn part<F>(&mut self, names: &[String], stop: fn(Running) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut soon = JoinSet::new();
        for name in names {
            let Some(running) = self.running.remove(name) else {
                continue;
            };
            let those = match running.may_answer() {
                true => &mut self.parting,
                false => &mut soon,
            };
            those.spawn(stop(running));
            self.done.stopped.push(name.clone());
        }
        self.show();
        while soon.join_next().await.is_some() {}
    }
}

//! Going back to the version before, because an operator says so.
//!
//! Decides that nothing comes back that what is remembered forbids: the copy is verified like any other file. The file that it
//! takes the place of is held back, at later starts too, until another is in its place.

use serde::Serialize;

use super::Gateway;
use super::answers::Said;
use super::loading::Attempt;
use crate::admission::{Facts, Refusal};
use crate::config::Service;
use crate::kept::names;
use crate::say::complain;

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RolledBack {
    version: u32,
    service: String,
    /// What runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<Facts>,
    /// Why nothing was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refusal>,
}

impl RolledBack {
    pub(super) fn of(service: &str, outcome: Result<Facts, Refusal>) -> Self {
        let (runs, refused) = match outcome {
            Ok(facts) => (Some(facts), None),
            Err(refusal) => (None, Some(refusal)),
        };
        Self {
            version: 1,
            service: service.to_owned(),
            runs,
            refused,
        }
    }

    /// Why a version that was admitted does not run.
    pub(super) fn stayed(why: &str) -> Refusal {
        Refusal::without_code(
            why.to_owned(),
            "Put the signed file that should run in its place, and reload.",
        )
    }
}

impl Gateway {
    /// Begins to have the version before run in the place of the one that runs.
    pub(super) async fn roll_back(&mut self, name: &str) -> Said {
        let outcome = match self
            .config
            .services
            .iter()
            .find(|service| service.name == name)
        {
            Some(service) => self.back(&service.clone()).await,
            None => Err(Refusal::without_code(
                format!("no service is called {name:?}"),
                "`countersign-gateway status` lists them.",
            )),
        };
        let service = name.to_owned();
        match outcome {
            Ok(facts) => Said::RolledBack {
                service,
                facts: Box::new(facts),
            },
            Err(refusal) => {
                let said = RolledBack::of(name, Err(refusal));
                Said::This(serde_json::to_value(said).unwrap_or_default())
            }
        }
    }

    async fn back(&mut self, service: &Service) -> Result<Facts, Refusal> {
        let name = &service.name;
        if let Some(why) = self.lacking.forbids() {
            let next = "Have everything run as configured first: `countersign-gateway reload`.";
            return Err(Refusal::without_code(why.to_owned(), next));
        }
        // What is to be judged again by itself is judged by whom it was gone back from.
        self.queue.retain(|(queued, _)| queued.name != *name);
        let running = self.running.get(name).map(|running| running.status().facts);
        let current = running.flatten().map(|facts| facts.file_sha256);
        let mut last = Refusal::without_code(
            "no version of it that proved healthy is kept but the one that runs".to_owned(),
            "Put the signed file that should run in its place, and reload.",
        );
        // The last that proved healthy; where that is what runs, the one before.
        for copy in self.kept.copies(name) {
            let verified = match self.verified(service, &copy).await {
                Ok(verified) => verified,
                Err(refusal) => {
                    refusal.tell_of_copy(name);
                    // That one could not be read weighs more than what is wrong with an older one.
                    if !last.is_of_lack {
                        last = refusal;
                    }
                    continue;
                }
            };
            if Some(&verified.facts.file_sha256) == current.as_ref() {
                continue;
            }
            let facts = verified.facts.clone();
            if let Some(current) = &current {
                // First, so that a power cut does not bring it back. Nor what lies in its place and was not good enough: as
                // another file it would end this.
                let in_place = self.verified(service, &service.place).await;
                let in_place = in_place.map(|verified| verified.facts.file_sha256);
                let other = in_place
                    .ok()
                    .filter(|file| file != current && *file != facts.file_sha256);
                let held: Vec<_> = std::iter::once(current)
                    .chain(&other)
                    .map(String::as_str)
                    .collect();
                self.kept.hold(name, &held)?;
            }
            self.take_up(service, verified, Attempt::RollBack);
            return Ok(facts);
        }
        Err(last)
    }

    /// What an operator wanted to go back from runs on, as what was to take its place did not: it is held back no longer.
    pub(super) fn let_go(&self, name: &str) {
        let runs = self
            .running
            .get(name)
            .and_then(|running| running.status().facts);
        if runs.is_some_and(|facts| self.kept.is_held(name, &facts.file_sha256))
            && let Err(error) = self.kept.release(name)
        {
            complain(name, &format!("{error:#}"));
        }
    }

    /// Why a file that verified is not to run: an operator went back from it. Another file in its place ends that.
    pub(super) fn held_back(
        &self,
        service: &Service,
        facts: &Facts,
    ) -> Result<Option<Refusal>, Refusal> {
        let Some(held) = self.kept.held(&service.name)? else {
            return Ok(None);
        };
        if !names(&held, &facts.file_sha256) {
            // What a bundle brings on trial may not stay.
            if !self.host.hold.is_on() {
                self.kept.release(&service.name)?;
            }
            return Ok(None);
        }
        let why = format!(
            "{} {} was rolled back by an operator",
            facts.component, facts.version
        );
        Ok(Some(Refusal::without_code(
            why,
            "Put another version in its place, and reload.",
        )))
    }
}

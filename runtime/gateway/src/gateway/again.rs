//! What is tried again by itself: what was refused because this machine lacked something that may come back.
//!
//! Decides that nothing is judged less for that, that nothing is judged while revocation lists are missing or the way back from a
//! bundle is not complete, and that what goes on lacking is tried ever more seldom.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{By, Gateway, Try, blocking};
use crate::admission::Refusal;
use crate::bundle;
use crate::config::{Config, Lacks};
use crate::lists::Given;
use crate::say::{complain, say};

/// What a machine lacks for now.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// Services that are to be judged again.
    services: BTreeSet<String>,
    lists: ListsAre,
    /// What was configured before a bundle that failed, where not all of it could be gone back to.
    back: Option<Config>,
    /// How often it was time to try since something began to lack.
    times: u32,
}

/// How it is with the revocation lists that a start needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ListsAre {
    #[default]
    Read,
    /// One could not be read, and nothing was started.
    Missing { may_come: bool },
}

impl Lacking {
    /// Has a service judged again.
    pub(super) fn note(&mut self, service: &str) {
        self.services.insert(service.to_owned());
    }

    /// That nothing was started for want of a list.
    pub(super) fn lists_are_missing(&mut self, may_come: bool) {
        self.lists = ListsAre::Missing { may_come };
    }

    /// That not all of what was before a bundle runs again.
    pub(super) fn did_not_go_back(&mut self, to: Config) {
        self.back = Some(to);
    }

    /// That all is as another configuration wants it.
    pub(super) fn is_another_configuration(&mut self) {
        *self = Self::default();
    }

    /// Whether what was before a bundle is still to be gone back to: what is configured meanwhile is no state to come back to.
    pub(super) fn is_on_the_way_back(&self) -> bool {
        self.back.is_some()
    }

    /// Why nothing may be judged now.
    pub(super) fn forbids(&self) -> Option<&'static str> {
        match (&self.back, self.lists) {
            (Some(_), _) => Some("not all of what was before a bundle that failed runs again yet"),
            (None, ListsAre::Missing { .. }) => Some("a revocation list is missing"),
            (None, ListsAre::Read) => None,
        }
    }

    /// Whether it is tried this time: the first, the second, the fourth, and every thirtieth in the end.
    fn is_due(&mut self) -> bool {
        self.times = self.times.saturating_add(1);
        self.times.is_power_of_two() || self.times.is_multiple_of(30)
    }
}

impl Gateway {
    /// Tries again what lacked something.
    pub(super) async fn try_again(&mut self) {
        let forbidden = self.lacking.forbids().is_some();
        if !forbidden {
            self.try_hardware_again();
        }
        // What a bundle on trial brings is judged by that trial.
        if self.trial.is_some() {
            return;
        }
        if !forbidden && self.lacking.services.is_empty() && self.config.lacks != Lacks::Bundle {
            // What is on its way may lack the same again.
            if self.queue.is_empty() && self.loading.is_empty() {
                self.lacking.times = 0;
            }
            return;
        }
        if !self.lacking.is_due() {
            return;
        }
        if let Some(before) = self.lacking.back.take() {
            return self.restore(before).await;
        }
        if let ListsAre::Missing { may_come } = self.lacking.lists {
            if may_come {
                self.start_with_lists().await;
            }
            return;
        }
        if self.config.lacks == Lacks::Bundle {
            self.take_bundle_up().await;
        }
        let lacking = std::mem::take(&mut self.lacking.services);
        for service in &self.config.services {
            let name = &service.name;
            let is_queued = self.queue.iter().any(|(queued, _)| queued.name == *name);
            if lacking.contains(name) && !is_queued && !self.loading.contains_key(name) {
                self.queue.push_back((service.clone(), By::Itself));
            }
        }
    }

    /// Starts what was not started for want of a list, if all can be read.
    async fn start_with_lists(&mut self) {
        let config = self.config.clone();
        let readable = blocking(move || Ok(Given::by(&config).map(drop)?));
        if readable.await.is_ok() {
            say("", "the revocation lists can be read again");
            self.lacking.lists = ListsAre::Read;
            self.refused.clear();
            self.start();
        }
    }

    /// Takes up the bundle that was applied and could not be read, if it can be.
    async fn take_bundle_up(&mut self) {
        let (path, state) = (self.path.clone(), Arc::clone(&self.state));
        let readable = blocking(move || {
            let config = Config::load(&path).map_err(anyhow::Error::new)?;
            bundle::remembered(config, &state.memory())?;
            Ok(())
        });
        if readable.await.is_err() {
            return;
        }
        say("", "the bundle that was applied can be read again");
        if let Err(error) = self.reload(By::Itself).await {
            let next = "start the gateway again to have what it brings run";
            complain(
                "",
                &format!("not all of it was taken up: {error:#}; {next}"),
            );
            self.config.lacks = Lacks::Nothing;
        }
    }

    /// Tries again what was refused because hardware was missing: it may have come to itself, or been put in.
    fn try_hardware_again(&mut self) {
        let again = self.config.services.iter().any(|service| {
            let refused = self.refused.get(&service.name);
            refused.is_some_and(|refused| self.waits_for_hardware(refused))
        });
        if again && !self.opening {
            self.open_keys_meanwhile(Try::Hardware);
        }
    }

    /// Whether hardware that comes to itself may change a refusal: keys are missing, or what they would prove, which device this is.
    fn waits_for_hardware(&self, refused: &Refusal) -> bool {
        let has_keys = !self.config.known.keys.is_empty();
        let is_unknown = has_keys && !self.host.identity.is_proved();
        refused.is_of_hardware() || is_unknown && refused.is_of_audience()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th04_what_goes_on_lacking_is_tried_ever_more_seldom_and_never_given_up() {
        let mut lacking = Lacking::default();
        let due: Vec<u32> = (1..=120).filter(|_| lacking.is_due()).collect();
        assert_eq!(due, [1, 2, 4, 8, 16, 30, 32, 60, 64, 90, 120]);
        lacking.is_another_configuration();
        assert!(lacking.is_due());
    }

    #[test]
    fn td12_nothing_is_judged_while_a_list_is_missing_whether_it_may_come_or_not() {
        for may_come in [true, false] {
            let mut lacking = Lacking::default();
            assert_eq!(lacking.forbids(), None);
            lacking.lists_are_missing(may_come);
            assert!(lacking.forbids().is_some());
            lacking.is_another_configuration();
            assert_eq!(lacking.forbids(), None);
        }
    }
}

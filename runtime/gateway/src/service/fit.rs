//! Whether something takes the place of what runs.
//!
//! Decides that what says itself that it is not healthy, or must not run any more by then, does not where nothing else was to change; and
//! that whoever says otherwise meanwhile is heard.

use std::sync::Arc;

use super::work::{Failure, probe};
use super::{Command, Next, Stayed, Supervision};
use crate::admission::Refusal;
use crate::config::Service;
use crate::say::say;

/// Whether something takes the place of what runs.
pub(super) enum Fit {
    Takes(Box<Next>),
    /// What runs stays.
    Stays,
    /// What runs stays so far, and this was wanted meanwhile.
    Told(Option<Command>),
}

impl Supervision {
    /// Whether something is to take the place of what runs. Where it says itself that it is not healthy, or must not run any more by
    /// then, and nothing else was to change, what runs stays. Whoever says otherwise meanwhile is heard.
    pub(super) async fn fit(&mut self, next: Box<Next>) -> Fit {
        // A bundle's components lie in a folder of its own.
        let as_configured = Service {
            place: self.service.place.clone(),
            ..next.service.clone()
        };
        if as_configured != self.service {
            return Fit::Takes(next);
        }
        let (host, ready) = (Arc::clone(&self.host), next.admitted.ready.clone());
        let service = next.service.clone();
        let probed = async move { probe(&service, &ready, &host).await };
        self.fit_by(next, probed).await
    }

    /// The same of what was to change alone, by what it says itself.
    pub(super) async fn fit_by(
        &mut self,
        next: Box<Next>,
        probed: impl Future<Output = Result<(), Failure>>,
    ) -> Fit {
        if let Some(refusal) = self.must_not_take_it(&next) {
            self.stays(*next, &refusal.why);
            return Fit::Stays;
        }
        let probed = tokio::select! {
            probed = probed => probed,
            command = self.commands.recv() => {
                self.stays(*next, "something else was wanted before it proved healthy");
                return Fit::Told(command);
            }
        };
        if let Err(failure) = probed {
            let record = next.admitted.ready.record();
            self.put_down(&record.stopped(failure.code(), &failure.why));
            self.stays(*next, &failure.why);
            return Fit::Stays;
        }
        // That took its time.
        if let Some(refusal) = self.must_not_take_it(&next) {
            self.put_down_as_forbidden(&next, &refusal);
            self.stays(*next, &refusal.why);
            return Fit::Stays;
        }
        Fit::Takes(next)
    }

    /// Records that something was admitted and must not run any more.
    pub(super) fn put_down_as_forbidden(&self, next: &Next, refusal: &Refusal) {
        let failure = Failure::forbidden(refusal);
        let accepted = next.admitted.ready.record();
        self.put_down(&accepted.stopped(failure.code(), &failure.why));
    }

    /// Why something must not take the place of what runs: a list or a bundle speaks against it since it was admitted, be the bundle on
    /// trial.
    pub(super) fn must_not_take_it(&self, next: &Next) -> Option<Refusal> {
        let withdrawn = || Refusal::withdrawn(&self.service.name);
        self.is_forbidden(&next.admitted)
            .or_else(|| self.is_withdrawn(next).then(withdrawn))
    }

    /// Says that something does not take the place of what runs.
    pub(super) fn stays(&self, next: Next, why: &str) {
        let (facts, now) = (&next.admitted.facts, &self.current.facts);
        let why = format!(
            "{} {} did not take its place: {why}; {} runs on",
            facts.component, facts.version, now.version
        );
        say(&self.service.name, &why);
        self.told
            .send_modify(|status| status.newer = Some(why.clone()));
        // Nobody may wait.
        let _ = next.told.send(Err(Stayed(why)));
    }
}

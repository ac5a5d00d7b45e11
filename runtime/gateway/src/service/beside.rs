//! A command that proves healthy beside the one that runs, before that ends.
//!
//! Decides that what ran is not touched until the new one has run for as long as it must, and goes on if it has not. For commands
//! whose operator wants that: two of them run at the same time, which not everything bears that a command may touch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::work::{AtWork, Ended};
use super::{Command, Event, Next, Supervision, warn};
use crate::admission::{Facts, Refusal};
use crate::config::{When, Work};

/// What became of it.
pub(super) enum After {
    /// What ran before runs on.
    Before,
    /// The next one has its place, and is asked in so long whether it is healthy.
    Next { at_work: AtWork, wait: Duration },
    /// Neither: this has happened.
    Event(Event),
}

/// What follows one try.
enum Step {
    After(After),
    /// Another is to take the place.
    Other(Box<Next>),
}

/// What ended the time in which both run.
enum Both {
    /// The new one ended by itself.
    NewEnded(Ended),
    /// What ran before ended by itself.
    OldEnded(Ended),
    /// The new one has run for as long as it must.
    Healthy,
    Told(Option<Command>),
}

impl Supervision {
    /// Whether this is to prove healthy beside what runs. Where anything else was to change, that holds at once.
    pub(super) fn goes_beside(&self, next: &Next) -> bool {
        let is_command = matches!(self.service.work, Work::Command);
        is_command && next.service.beside && self.service.is_but_for_its_place(&next.service)
    }

    /// Has the next one run beside what runs, until it is known which of the two stays.
    pub(super) async fn beside(&mut self, old: &mut AtWork, next: Box<Next>) -> After {
        let mut next = *next;
        let after = loop {
            self.show_both(&next);
            match self.both(old, next).await {
                Step::After(after) => break after,
                // Which may go beside what runs itself.
                Step::Other(other) if self.goes_beside(&other) => next = *other,
                Step::Other(other) => break After::Event(Event::Exchange(other)),
            }
        };
        self.told
            .send_modify(|status| status.links = Arc::clone(&self.current.links));
        after
    }

    fn show_both(&self, next: &Next) {
        // Both are there for whoever looks whether one was revoked.
        let links = self.current.links.iter().chain(next.admitted.links.iter());
        let links: Arc<[_]> = links.cloned().collect();
        let newer = format!(
            "{} {} runs beside it, and takes its place once it has proved healthy",
            next.admitted.facts.component, next.admitted.facts.version
        );
        self.told.send_modify(|status| {
            status.links = links;
            status.newer = Some(newer);
        });
    }

    async fn both(&mut self, old: &mut AtWork, next: Next) -> Step {
        // As before every start: what is exchanged meanwhile is seen by one of the two.
        if let Some(refusal) = self.must_not_take_it(&next) {
            self.stays(next, &refusal.why);
            return Step::After(After::Before);
        }
        let begun = AtWork::begin(&next.service, &next.admitted, &self.host).await;
        let mut new = match begun {
            Ok(new) => new,
            Err(failure) => {
                let how = self.record(&next.admitted, &Err(failure));
                self.stays(next, &how);
                return Step::After(After::Before);
            }
        };
        self.told
            .send_modify(|status| status.starts = status.starts.saturating_add(1));
        let (began, must) = (Instant::now(), next.service.restart.healthy_after);
        let both = tokio::select! {
            // What has ended is not healthy, where both are seen at once.
            biased;
            ended = new.ended() => Both::NewEnded(ended),
            ended = old.ended() => Both::OldEnded(ended),
            () = sleep(must) => Both::Healthy,
            command = self.commands.recv() => Both::Told(command),
        };
        // That took its time.
        let forbidden = match &both {
            Both::NewEnded(Ok(0)) | Both::OldEnded(_) | Both::Healthy => {
                self.must_not_take_it(&next)
            }
            Both::NewEnded(_) | Both::Told(_) => None,
        };
        match both {
            Both::NewEnded(Ok(0)) if let Some(refusal) = forbidden => {
                self.put_down_as_forbidden(&next, &refusal);
                self.stays(next, &refusal.why);
                Step::After(After::Before)
            }
            Both::NewEnded(Ok(0)) if next.service.restart.when != When::Always => {
                // It has done what it is there for.
                self.gives_way(&next.admitted.facts);
                old.stop().await;
                self.exchange(next);
                Step::After(After::Event(Event::Ended(Ok(0))))
            }
            Both::NewEnded(ended) => {
                let how = self.record(&next.admitted, &ended);
                let failed = &next.admitted;
                let remembered =
                    tokio::task::block_in_place(|| self.host.failed(failed, &self.state));
                if let Err(error) = remembered {
                    let why = format!("that it failed could not be remembered: {error:#}");
                    warn(&self.service.name, &why);
                }
                self.stays(next, &format!("it {how} before it proved healthy"));
                Step::After(After::Before)
            }
            Both::OldEnded(ended) if let Some(refusal) = forbidden => {
                self.give_up(&mut new, next, &refusal).await;
                Step::After(After::Event(Event::Ended(ended)))
            }
            Both::Healthy if let Some(refusal) = forbidden => {
                self.give_up(&mut new, next, &refusal).await;
                Step::After(After::Before)
            }
            Both::OldEnded(ended) => {
                let how = self.record(&self.current, &ended);
                let why = format!("its component {how}; the next one is there already");
                super::say(&self.service.name, &why);
                self.exchange(next);
                let wait = must.saturating_sub(began.elapsed());
                Step::After(After::Next { at_work: new, wait })
            }
            Both::Healthy => {
                self.gives_way(&next.admitted.facts);
                old.stop().await;
                self.exchange(next);
                let wait = Duration::ZERO;
                Step::After(After::Next { at_work: new, wait })
            }
            Both::Told(command) => {
                let stopped = next.admitted.ready.record();
                let why = "it was told to stop before it proved healthy";
                self.put_down(&stopped.stopped(None, why));
                new.stop().await;
                self.stays(next, why);
                match command {
                    Some(Command::Exchange(other)) => Step::Other(other),
                    Some(Command::StopAtOnce) | None => Step::After(After::Event(Event::Stop)),
                }
            }
        }
    }

    /// Whether a bundle has withdrawn the version of what is to take the place, since that was admitted.
    pub(super) fn is_withdrawn(&self, next: &Next) -> bool {
        let facts = &next.admitted.facts;
        let memory = self.host.hold.over(self.state.memory());
        memory.is_withdrawn(&facts.component, facts.security_version)
    }

    /// Ends what must not take the place any more.
    async fn give_up(&self, new: &mut AtWork, next: Next, refusal: &Refusal) {
        self.put_down_as_forbidden(&next, refusal);
        new.stop().await;
        self.stays(next, &refusal.why);
    }

    /// Records that what runs gives its place to another.
    fn gives_way(&mut self, next: &Facts) {
        self.remember_before(next);
        let accepted = self.current.ready.record();
        self.put_down(&accepted.stopped(None, "another component takes its place"));
    }
}

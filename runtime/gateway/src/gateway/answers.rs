//! Who waits for what was begun: an order is answered when what it began has ended, whatever became of it.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::Span;

use super::reload::Reloaded;
use super::roll_back::RolledBack;
use super::{By, Gateway};
use crate::admission::Facts;
use crate::config::Service;
use crate::manager::Manager;
use crate::say::say;
use crate::view::Phase;

/// How long anybody waits (nine minutes): who asks waits for ten.
const PATIENCE: Duration = Duration::from_secs(540);

/// What is answered.
pub(super) enum Said {
    /// What was done.
    Done,
    /// That a service went back to this.
    RolledBack { service: String, facts: Box<Facts> },
    /// This.
    This(Value),
}

/// Somebody who waits.
pub(super) struct Waiting {
    said: Said,
    answer: oneshot::Sender<Value>,
    until: Instant,
}

impl Waiting {
    /// Tells why there is no answer.
    pub(super) fn refuse(self, why: &str) {
        // Who asked may have gone.
        let _ = self.answer.send(serde_json::json!({ "error": why }));
    }
}

/// The moment up to which somebody waits.
pub(super) async fn until(waiting: Option<&Waiting>) {
    match waiting {
        Some(waiting) => sleep_until(waiting.until).await,
        None => std::future::pending().await,
    }
}

impl Gateway {
    /// Whether all has ended that was begun.
    fn is_settled(&self) -> bool {
        let have_begun = self.beginning.is_empty() && self.exchanging.is_empty();
        !self.is_loading() && have_begun && self.parting.is_empty() && !self.opening
    }

    /// Whether something has still to be judged or loaded.
    pub(super) fn is_loading(&self) -> bool {
        !(self.queue.is_empty() && self.loading.is_empty())
    }

    /// Whether it is not known yet what becomes of a service.
    pub(super) fn is_under_way(&self, name: &str) -> bool {
        let queued = self.queue.iter().any(|(service, _)| service.name == name);
        queued || self.loading.contains_key(name) || self.exchanging.contains_key(name)
    }

    /// Answers an order: at once, or when what it began has ended.
    pub(super) fn answer(
        &mut self,
        said: Said,
        answer: Option<oneshot::Sender<Value>>,
        wait: bool,
    ) {
        let Some(answer) = answer else {
            return;
        };
        if wait {
            let until = Instant::now() + PATIENCE;
            self.waiting.push(Waiting {
                said,
                answer,
                until,
            });
        } else {
            let _ = answer.send(self.in_json(said));
        }
    }

    /// If all has ended, says so to whoever waits.
    pub(super) fn settle(&mut self, manager: &mut Manager) {
        if !self.is_settled() {
            return;
        }
        if manager.is_busy() {
            self.view.enter(Phase::Running);
            let words = self.in_words();
            say("", &words);
            manager.ready(&words);
            // What got it here is not needed again soon. Nobody misses it who does not look.
            let _ = self.program.give_back();
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let said = self.in_json(waiting.said);
            let _ = waiting.answer.send(said);
        }
        self.done = Reloaded::default();
        self.cause = Span::none();
    }

    /// Answers who has waited for too long, with what is known.
    pub(super) fn answer_late(&mut self) {
        let (late, on): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.until <= Instant::now());
        self.waiting = on;
        for waiting in late {
            let said = self.in_json(waiting.said);
            let _ = waiting.answer.send(said);
        }
    }

    /// What was under way is not wanted any more, as whoever waits for it is told: what was still to be judged.
    pub(super) fn supersede(&mut self) -> VecDeque<(Service, By)> {
        let (over, on): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| matches!(waiting.said, Said::Done));
        self.waiting = on;
        for waiting in over {
            waiting.refuse("another reload took the place of this one; ask for the status");
        }
        self.done = Reloaded::default();
        std::mem::take(&mut self.queue)
    }

    fn in_json(&self, said: Said) -> Value {
        let value = match said {
            Said::This(value) => return value,
            Said::Done => {
                let pending = self.queue.iter().map(|(service, _)| &service.name);
                let pending = pending
                    .chain(self.loading.keys())
                    .chain(self.beginning.keys())
                    .chain(self.exchanging.keys());
                let mut value = serde_json::to_value(&self.done).unwrap_or_default();
                let pending: Vec<_> = pending.cloned().map(Value::from).collect();
                if let (false, Some(fields)) = (pending.is_empty(), value.as_object_mut()) {
                    fields.insert("pending".to_owned(), pending.into());
                }
                return value;
            }
            Said::RolledBack { service, facts } => {
                let refused = self.done.refused.get(&service).cloned();
                let stayed = self.done.stayed.get(&service);
                let refused = refused.or_else(|| stayed.map(|why| RolledBack::stayed(why)));
                serde_json::to_value(RolledBack::of(&service, refused.map_or(Ok(*facts), Err)))
            }
        };
        value.unwrap_or_default()
    }
}

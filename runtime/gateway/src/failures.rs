//! What strangers have a component fail at, as records: whoever sends requests or messages decides how many there are, and must
//! not fill the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_hosting::AuditLog;
use countersign_runtime::audit::Record;
use countersign_trust_store::Code;

use crate::say::say;

/// Records at once, and then one each so long.
const AT_ONCE: u32 = 10;
const EVERY: Duration = Duration::from_secs(60);

/// The failures of one component.
pub(crate) struct Failures {
    name: String,
    accepted: Record,
    records: Arc<AuditLog>,
    told: Paced,
}

/// What is told ten times at once, and then once a minute, with how often it was not.
pub(crate) struct Paced(Mutex<Rate>);

impl Paced {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Rate::new(Instant::now())))
    }

    /// What is told of something that happened now, if it is told.
    pub(crate) fn tell(&self, what: &str) -> Option<String> {
        let mut rate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match rate.take(Instant::now())? {
            0 => what.to_owned(),
            omitted => format!("{what}; {omitted} more before it were not told of"),
        })
    }
}

struct Rate {
    room: u32,
    at: Instant,
    omitted: u64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            room: AT_ONCE,
            at: now,
            omitted: 0,
        }
    }

    /// How many were left out before this one, if this one is recorded.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let filled = now.saturating_duration_since(self.at).as_secs() / EVERY.as_secs();
        if let Ok(filled @ 1..) = u32::try_from(filled) {
            self.room = self.room.saturating_add(filled).min(AT_ONCE);
            self.at = now;
        }
        match self.room.checked_sub(1) {
            Some(room) => {
                self.room = room;
                Some(std::mem::take(&mut self.omitted))
            }
            None => {
                self.omitted = self.omitted.saturating_add(1);
                None
            }
        }
    }
}

impl Failures {
    pub(crate) fn new(name: &str, accepted: &Record, records: &Arc<AuditLog>) -> Self {
        Self {
            name: name.to_owned(),
            accepted: accepted.clone(),
            records: Arc::clone(records),
            told: Paced::new(),
        }
    }

    /// Records and says that something ended so.
    pub(crate) fn note(&self, code: Option<Code>, what: &str) {
        let Some(why) = self.told.tell(what) else {
            return;
        };
        say(&self.name, &why);
        self.records.write(&self.accepted.stopped(code, &why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te29_failures_beyond_a_rate_are_counted_and_not_recorded() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let recorded = (0..1_000).filter(|_| rate.take(start).is_some()).count();
        assert_eq!(recorded, 10);
        assert_eq!(rate.take(start + EVERY), Some(990));
        assert_eq!(rate.take(start + EVERY), None);
        assert_eq!(rate.take(start + EVERY * 3), Some(1));
    }
}

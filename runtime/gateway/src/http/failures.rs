//! Requests that a component failed, as records: whoever sends requests decides how many, and must not fill the log.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign_hosting::AuditLog;
use countersign_runtime::RunError;
use countersign_runtime::audit::Record;

use super::lock;
use crate::say::say;

/// Records at once, and then one each so long.
const AT_ONCE: u32 = 10;
const EVERY: Duration = Duration::from_secs(60);

/// The failures of one component.
pub(super) struct Failures {
    name: String,
    accepted: Record,
    records: Arc<AuditLog>,
    rate: Mutex<Rate>,
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
    pub(super) fn new(name: &str, accepted: &Record, records: &Arc<AuditLog>) -> Self {
        Self {
            name: name.to_owned(),
            accepted: accepted.clone(),
            records: Arc::clone(records),
            rate: Mutex::new(Rate::new(Instant::now())),
        }
    }

    /// Records and says that a request ended so.
    pub(super) fn note(&self, error: &RunError) {
        let Some(omitted) = lock(&self.rate).take(Instant::now()) else {
            return;
        };
        let mut why = format!("a request: {error}");
        if omitted > 0 {
            why.push_str(&format!("; {omitted} more before it were not recorded"));
        }
        say(&self.name, &why);
        let record = self.accepted.stopped(Some(error.code()), &why);
        self.records.write(&record);
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

//! What a component writes, as lines of the gateway's own log: with its service's name, and not too many.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use countersign_hosting::printable;
use countersign_runtime::LineSink;

use crate::say::say;

/// Bytes that a component may write at once (64 KiB), and in each second from then on (8 KiB).
const AT_ONCE: u64 = 64 << 10;
const PER_SECOND: u64 = 8 << 10;

/// What stands before each line beside its service's name, in bytes.
const PREFIX: usize = "countersign-gateway: : > ".len();

/// Where the lines of a service's component go.
pub(crate) fn lines(service: &str) -> LineSink {
    let name = service.to_owned();
    let rate = Mutex::new(Rate::new(Instant::now()));
    LineSink::new(move |line| {
        let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
        // What is charged is what will be written: its name is before each line, and escapes are longer than what they stand for.
        let length = printable(line).len() + name.len() + PREFIX;
        let passes = rate.take(length, Instant::now());
        if let Some(dropped) = passes.then(|| rate.dropped()).flatten() {
            say(
                &name,
                &format!("{dropped} lines of it were dropped: it writes too much"),
            );
        }
        if passes {
            say(&name, &format!("> {line}"));
        }
    })
}

/// A bucket that fills with time, and what did not pass.
struct Rate {
    room: u64,
    at: Instant,
    dropped: u64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            room: AT_ONCE,
            at: now,
            dropped: 0,
        }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at);
        let filled = passed.as_millis().saturating_mul(u128::from(PER_SECOND)) / 1_000;
        if filled > 0 {
            self.at = now;
            let room = u128::from(self.room).saturating_add(filled);
            self.room = u64::try_from(room).unwrap_or(AT_ONCE).min(AT_ONCE);
        }
        // An empty line is one, too.
        let cost = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(1);
        match self.room.checked_sub(cost) {
            Some(room) => {
                self.room = room;
                true
            }
            None => {
                self.dropped = self.dropped.saturating_add(1);
                false
            }
        }
    }

    fn dropped(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn te29_a_component_that_floods_is_cut_to_its_rate_and_told_of() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let passed = (0..1_000).filter(|_| rate.take(1_023, start)).count();
        assert_eq!(passed, 64);
        assert_eq!(rate.dropped(), Some(936));
        assert_eq!(rate.dropped(), None);
        let later = start + Duration::from_secs(2);
        let passed = (0..1_000).filter(|_| rate.take(1_023, later)).count();
        assert_eq!(passed, 16);
        let much_later = start + Duration::from_secs(3_600);
        assert_eq!(
            (0..1_000).filter(|_| rate.take(1_023, much_later)).count(),
            64
        );
    }
}

//! The time, and when it is not believed. A certificate that is valid at the wrong time is worse than none.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Error;

/// How far the clock may be from what is known, in seconds.
const TOLERANCE: u64 = 300;

/// A clock with what is known about the time.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How long this process has been running.
    running: Arc<dyn Fn() -> Duration + Send + Sync>,
    started_at: u64,
    /// No time before this one is believed: when the program was built, or the last certificate written.
    floor: Arc<AtomicU64>,
}

impl Clock {
    /// The machine's clock. It is not believed before `floor`, in seconds since 1970: when this program was built.
    #[must_use]
    pub fn system(floor: u64) -> Self {
        let start = Instant::now();
        Self::new(
            || {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs())
            },
            move || start.elapsed(),
            floor,
        )
    }

    /// Another clock, with another count of how long the process has been running.
    pub fn new(
        read: impl Fn() -> u64 + Send + Sync + 'static,
        running: impl Fn() -> Duration + Send + Sync + 'static,
        floor: u64,
    ) -> Self {
        let started_at = read().saturating_sub(running().as_secs());
        Self {
            read: Arc::new(read),
            running: Arc::new(running),
            started_at,
            floor: Arc::new(AtomicU64::new(floor)),
        }
    }

    /// Does not believe what is before `time` any more, but for five minutes of difference between machines.
    pub(crate) fn raise(&self, time: u64) {
        self.floor
            .fetch_max(time.saturating_sub(TOLERANCE), Ordering::Relaxed);
    }

    /// The time in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Clock`] when it is before what is known, or moved against the time that passed.
    pub fn now(&self) -> Result<u64, Error> {
        let now = (self.read)();
        let refuse = |reason| Err(Error::Clock { now, reason });
        if now < self.floor.load(Ordering::Relaxed) {
            return refuse(
                "that is before this program was built, or before the last certificate was issued",
            );
        }
        let expected = self.started_at.saturating_add((self.running)().as_secs());
        if now.abs_diff(expected) > TOLERANCE {
            return refuse(
                "that is more than five minutes from where it would be had it not been set since the start; \
                 if it is right, start again",
            );
        }
        Ok(now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(now: &Arc<AtomicU64>, running: &Arc<AtomicU64>, floor: u64) -> Clock {
        let (now, running) = (Arc::clone(now), Arc::clone(running));
        Clock::new(
            move || now.load(Ordering::Relaxed),
            move || Duration::from_secs(running.load(Ordering::Relaxed)),
            floor,
        )
    }

    #[test]
    fn tg21_a_clock_before_the_build_or_the_last_certificate_is_not_believed() {
        let (now, running) = (Arc::new(AtomicU64::new(1000)), Arc::default());
        let clock = clock(&now, &running, 1001);
        assert!(matches!(clock.now(), Err(Error::Clock { now: 1000, .. })));
        now.store(1001, Ordering::Relaxed);
        assert!(matches!(clock.now(), Ok(1001)));
        clock.raise(1301);
        assert!(clock.now().is_ok());
        clock.raise(1302);
        assert!(clock.now().is_err());
    }

    #[test]
    fn tg21_a_clock_that_was_set_while_running_is_not_believed() {
        let (now, running) = (Arc::new(AtomicU64::new(5000)), Arc::default());
        let clock = clock(&now, &running, 0);
        running.store(1000, Ordering::Relaxed);
        now.store(6300, Ordering::Relaxed);
        assert!(clock.now().is_ok());
        now.store(6301, Ordering::Relaxed);
        assert!(clock.now().is_err());
        now.store(5699, Ordering::Relaxed);
        assert!(clock.now().is_err());
    }
}

//! The time, and when it is not believed. A certificate that is valid at the wrong time is worse than none.
//!
//! What the machine's clock says is not kept: a clock that was set ahead once must not make every later, right one
//! wrong. The time when this program was built is the floor. At a start the clock is compared with what was recorded last;
//! where they cannot both be right, nobody but the operator knows which one is, and says so ([`Clock::confirmed`]). While it
//! runs, others' clocks are laid beside it ([`Clock::compare`]): as long as one of them contradicts, it is not believed.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Error;

/// How far the clock may be from what is known, in seconds.
const TOLERANCE: u64 = 300;

/// How long after the last certificate a clock is believed at a start, in seconds: a year. A clock that lost its battery or
/// was set by hand is often wrong by more.
const LEAP: u64 = 366 * 86_400;

/// A clock with what is known about the time.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How long this process has been running.
    running: Arc<dyn Fn() -> Duration + Send + Sync>,
    started_at: u64,
    /// No time before this one is believed: when the program was built.
    floor: u64,
    /// An operator says that it is right.
    is_confirmed: bool,
    /// What is to be said against it, by whose clock. Clones share it.
    doubts: Arc<RwLock<Doubts>>,
}

/// Why a clock is not believed, where others say something else.
#[derive(Debug, Default)]
struct Doubts {
    database: Option<&'static str>,
    time_servers: Option<&'static str>,
}

/// Whose clock is laid beside this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Beside {
    /// The one of the registry's database, which all replicas share.
    Database,
    /// Those of servers that an operator names.
    TimeServers,
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
            floor,
            is_confirmed: false,
            doubts: Arc::default(),
        }
    }

    /// The same, of which an operator says that it is right now, whatever was recorded before. For one start: from then on
    /// what is recorded agrees with it. It is still not believed before the program was built, or when it is set while
    /// the program runs.
    #[must_use]
    pub fn confirmed(self) -> Self {
        Self {
            is_confirmed: true,
            ..self
        }
    }

    /// Lays another clock beside this one: `theirs` is what it says now, in seconds since 1970, and none if it should say
    /// something and does not. More than five minutes apart, this one is not believed until they agree again.
    pub fn compare(&self, whose: Beside, theirs: Option<u64>) {
        let apart = |theirs: u64| (self.read)().abs_diff(theirs) > TOLERANCE;
        let mut doubts = self.doubts.write().unwrap_or_else(PoisonError::into_inner);
        match whose {
            Beside::Database => {
                doubts.database = theirs.filter(|theirs| apart(*theirs)).map(|_| {
                    "that is more than five minutes from the clock of the registry's database, and one of them is wrong; have \
                     both follow one source of time (chrony, systemd-timesyncd)"
                });
            }
            Beside::TimeServers => {
                doubts.time_servers = match theirs {
                    None => Some(
                        "no time server confirms it; see that one of those in [clock] can be reached",
                    ),
                    Some(theirs) if apart(theirs) => Some(
                        "that is more than five minutes from what a time server says; have this machine follow it (chrony, \
                         systemd-timesyncd)",
                    ),
                    Some(_) => None,
                };
            }
        }
    }

    /// Of several times of others, in seconds since 1970, the one that is furthest from this clock.
    #[must_use]
    pub fn furthest(&self, theirs: &[u64]) -> Option<u64> {
        let now = (self.read)();
        theirs
            .iter()
            .copied()
            .max_by_key(|theirs| theirs.abs_diff(now))
    }

    /// The time at a start, when the last thing was recorded at `last`.
    pub(crate) fn start(&self, last: Option<u64>) -> Result<u64, Error> {
        let now = self.alone()?;
        let Some(last) = last.filter(|_| !self.is_confirmed) else {
            return Ok(now);
        };
        let refuse = |reason| Err(Error::Clock { now, reason });
        if now < last.saturating_sub(TOLERANCE) {
            return refuse(
                "that is before the last thing that was recorded; if it is right, and was ahead then, start once with the \
                 clock confirmed",
            );
        }
        if now > last.saturating_add(LEAP) {
            return refuse(
                "that is more than a year after the last thing that was recorded; if it is right, start once with the clock \
                 confirmed",
            );
        }
        Ok(now)
    }

    /// The time in seconds since 1970, if nothing speaks against it.
    ///
    /// # Errors
    /// [`Error::Clock`] when it is before what is known, moved against the time that passed, or another clock contradicts.
    pub fn now(&self) -> Result<u64, Error> {
        let now = self.alone()?;
        let doubts = self.doubts.read().unwrap_or_else(PoisonError::into_inner);
        match doubts.database.or(doubts.time_servers) {
            Some(reason) => Err(Error::Clock { now, reason }),
            None => Ok(now),
        }
    }

    /// The time as far as this machine alone can tell: for what must be recorded though others contradict, such as a revocation.
    ///
    /// # Errors
    /// [`Error::Clock`] when it is before what is known, or moved against the time that passed.
    pub(crate) fn alone(&self) -> Result<u64, Error> {
        let now = (self.read)();
        let refuse = |reason| Err(Error::Clock { now, reason });
        if now < self.floor {
            return refuse("that is before this program was built");
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
    use std::sync::atomic::{AtomicU64, Ordering};

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
        assert!(clock.start(None).is_ok());
        assert!(clock.start(Some(1301)).is_ok());
        assert!(clock.start(Some(1302)).is_err());
        // Nothing of that stays.
        assert!(clock.now().is_ok());
    }

    #[test]
    fn tg21_a_clock_years_after_the_last_certificate_is_not_believed_until_somebody_says_so() {
        let now = Arc::new(AtomicU64::new(LEAP + 2001));
        let clock = clock(&now, &Arc::default(), 1000);
        assert!(clock.start(Some(2001)).is_ok());
        assert!(clock.start(Some(2000)).is_err());
        let confirmed = clock.confirmed();
        assert!(confirmed.start(Some(2000)).is_ok());
        assert!(confirmed.start(Some(10 * LEAP)).is_ok());
        // That it was set is noticed all the same, and so is a time before the build.
        now.store(2_000_000, Ordering::Relaxed);
        assert!(confirmed.start(None).is_err());
        now.store(999, Ordering::Relaxed);
        assert!(confirmed.start(None).is_err());
    }

    #[test]
    fn tg21_a_clock_that_another_contradicts_is_not_believed_until_they_agree() {
        let clock = clock(&Arc::new(AtomicU64::new(5000)), &Arc::default(), 0);
        let replica = clock.clone();
        for whose in [Beside::Database, Beside::TimeServers] {
            for (theirs, is_right) in [(4700, true), (4699, false), (5300, true), (5301, false)] {
                clock.compare(whose, Some(theirs));
                assert_eq!(replica.now().is_ok(), is_right, "{whose:?} {theirs}");
            }
            // One that agrees does not outweigh the other.
            clock.compare(Beside::Database, Some(5000));
            assert_eq!(clock.now().is_ok(), whose == Beside::Database);
            clock.compare(whose, Some(5000));
            assert!(clock.now().is_ok());
        }
        clock.compare(Beside::TimeServers, None);
        assert!(clock.now().is_err());
        assert_eq!(clock.furthest(&[5001, 4000, 5900]), Some(4000));
        assert_eq!(clock.furthest(&[]), None);
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

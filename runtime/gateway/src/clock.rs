//! The present, by DESIGN's rule: never before what has certainly passed, and the wall clock where it is plausible.
//!
//! What has certainly passed is the build time or what was remembered, and the time that this process has run since, by a
//! clock that nobody sets. The wall clock is never remembered: one that was wrong for a day leaves nothing behind.

use std::time::Instant;

use countersign_trust_store::{Now, UnixTime};

/// A clock that does not go back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    floor: UnixTime,
    since: Instant,
    wall: fn() -> UnixTime,
}

impl Clock {
    /// A clock whose floor is now the later of this program's build time and `remembered`.
    pub(crate) fn start(remembered: UnixTime) -> Self {
        Self::by(countersign_roots::system_time, remembered)
    }

    /// The same, by another wall clock than the system's.
    pub(crate) fn by(wall: fn() -> UnixTime, remembered: UnixTime) -> Self {
        Self {
            floor: countersign_roots::build_time().max(remembered),
            since: Instant::now(),
            wall,
        }
    }

    /// A time that has certainly passed.
    pub(crate) fn floor(&self) -> UnixTime {
        self.floor.saturating_add(self.since.elapsed())
    }

    /// The present.
    pub(crate) fn now(&self) -> Now {
        Now::new(self.floor(), Some((self.wall)()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn td04_td05_the_floor_is_what_was_remembered_and_not_the_wall_clock() {
        let build = countersign_roots::build_time();
        let later = countersign_roots::system_time().saturating_add(Duration::from_secs(1_000_000));
        // A wall clock that was set back below what is remembered is not used.
        let clock = Clock::start(later);
        assert!(clock.floor() >= later);
        assert_eq!(clock.now().clock(), None);
        // And one far ahead of what is remembered does not become the floor.
        let clock = Clock::start(UnixTime::from_secs(0));
        assert!(clock.floor() < build.saturating_add(Duration::from_secs(60)));
        assert!(clock.now().clock().is_some());
    }
}

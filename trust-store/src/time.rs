//! Points in time, and the rule by which a machine with a bad clock or none judges validity.

use std::{fmt, str::FromStr, time::Duration};

use der::DateTime;

/// A point in time: seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// 9999-12-31T23:59:59Z: "no expiry" of RFC 5280 §4.1.2.5, and the last time that can be written.
    pub const NO_EXPIRY: Self = Self(253_402_300_799);

    /// The time `seconds` after the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds after the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This time and `duration` more, whole seconds; stops at the largest number instead of wrapping.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// The time from `earlier` to this one; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC, whole seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_unix_duration(Duration::from_secs(self.0)) {
            Ok(date) => write!(f, "{date}"),
            Err(_) => write!(f, "{} seconds after 1970", self.0),
        }
    }
}

/// The text is not a time in the form `2026-11-22T08:00:00Z`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time in the form 2026-11-22T08:00:00Z (UTC, whole seconds)")]
pub struct TimeFormatError;

impl FromStr for UnixTime {
    type Err = TimeFormatError;

    fn from_str(text: &str) -> Result<Self, TimeFormatError> {
        let date: DateTime = text.parse().map_err(|_| TimeFormatError)?;
        Ok(Self(date.unix_duration().as_secs()))
    }
}

/// What a machine knows of the present.
///
/// The *floor* is a time that has certainly passed: the host's build time, raised by what it remembers. A wall clock
/// below the floor is wrong and is not used; one at or above it is used as it stands, however far ahead: too late a
/// clock admits nothing that it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    floor: UnixTime,
    clock: Option<UnixTime>,
    basis: TimeBasis,
}

/// Where the time of judging comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeBasis {
    /// The machine's wall clock.
    Clock,
    /// No plausible clock: a time that has certainly passed, so that it may be later in truth.
    Floor,
    /// Asked for by whoever judges.
    Given,
}

impl fmt::Display for TimeBasis {
    /// The end of a sentence that names the time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clock => " by this machine's clock",
            Self::Floor => " or later",
            Self::Given => ", the time asked about",
        })
    }
}

impl Now {
    /// The present of a machine whose floor is `floor` and whose wall clock, if it has one, shows `wall_clock`.
    #[must_use]
    pub fn new(floor: UnixTime, wall_clock: Option<UnixTime>) -> Self {
        let clock = wall_clock.filter(|clock| *clock >= floor);
        let basis = match clock {
            Some(_) => TimeBasis::Clock,
            None => TimeBasis::Floor,
        };
        Self {
            floor,
            clock,
            basis,
        }
    }

    /// A given time, for judging a file as of then.
    #[must_use]
    pub const fn at(time: UnixTime) -> Self {
        Self {
            floor: time,
            clock: Some(time),
            basis: TimeBasis::Given,
        }
    }

    /// The time that has certainly passed.
    #[must_use]
    pub const fn floor(&self) -> UnixTime {
        self.floor
    }

    /// The wall clock, if it is plausible.
    #[must_use]
    pub const fn clock(&self) -> Option<UnixTime> {
        self.clock
    }

    /// Where the time of judging comes from.
    #[must_use]
    pub const fn basis(&self) -> TimeBasis {
        self.basis
    }

    /// The time at which a path is judged, the latest notBefore of whose certificates is `latest_not_before`.
    ///
    /// Without a plausible clock notBefore is not held against a certificate: that it exists shows that its notBefore
    /// has come. What expired before the floor stays expired.
    #[must_use]
    pub fn judging_time(&self, latest_not_before: UnixTime) -> UnixTime {
        self.clock
            .unwrap_or_else(|| self.floor.max(latest_not_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn t(seconds: u64) -> UnixTime {
        UnixTime::from_secs(seconds)
    }

    #[test]
    fn td03_a_clock_below_the_floor_is_not_used() {
        let now = Now::new(t(1_000), Some(t(999)));
        assert_eq!(now.clock(), None);
        assert_eq!(now.judging_time(t(500)), t(1_000));
        assert_eq!(now.judging_time(t(2_000)), t(2_000));
    }

    #[test]
    fn td03_a_clock_at_or_above_the_floor_is_used_as_it_stands() {
        assert_eq!(
            Now::new(t(1_000), Some(t(1_000))).judging_time(t(5_000)),
            t(1_000)
        );
        assert_eq!(
            Now::new(t(1_000), Some(t(9_000))).judging_time(t(0)),
            t(9_000)
        );
    }

    #[test]
    fn td06_times_far_ahead_are_written_and_do_not_wrap() {
        assert_eq!(t(2_147_483_648).to_string(), "2038-01-19T03:14:08Z");
        assert_eq!(t(4_294_967_296).to_string(), "2106-02-07T06:28:16Z");
        assert_eq!(UnixTime::NO_EXPIRY.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(
            t(u64::MAX).saturating_add(Duration::from_secs(1)),
            t(u64::MAX)
        );
        assert!(t(u64::MAX).to_string().ends_with("seconds after 1970"));
    }

    #[test]
    fn a_time_is_read_as_it_is_written() {
        assert_eq!("2038-01-19T03:14:08Z".parse(), Ok(t(2_147_483_648)));
        for bad in [
            "",
            "2038-01-19",
            "2038-01-19T03:14:08",
            "2038-13-19T03:14:08Z",
            "yesterday",
        ] {
            assert_eq!(bad.parse::<UnixTime>(), Err(TimeFormatError), "{bad}");
        }
    }
}

//! From when until when: a closed interval of whole seconds (RFC 5280 §4.1.2.5).

use std::time::Duration;

use countersign_trust_store::UnixTime;
use der::DateTime;
use x509_cert::time::Time;

use crate::Error;

/// Seconds of a day, leap seconds aside.
pub const SECONDS_PER_DAY: u64 = 86_400;

/// The longest life of a development root, in days.
pub const DEVELOPMENT_ROOT_DAYS: u64 = 31;

/// A period of validity, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before: UnixTime,
    not_after: UnixTime,
}

impl Validity {
    /// The period from `not_before` to `not_after`, both included.
    ///
    /// # Errors
    ///
    /// [`Error::ValidityEmpty`] when it ends before it begins, or lies beyond the year 9999.
    pub fn new(not_before: UnixTime, not_after: UnixTime) -> Result<Self, Error> {
        if not_after < not_before || not_after > UnixTime::NO_EXPIRY {
            return Err(Error::ValidityEmpty {
                not_before,
                not_after,
            });
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }

    /// Exactly `days` days from `not_before`; the last second counts, so `notAfter` is one second short of the
    /// anniversary.
    ///
    /// # Errors
    ///
    /// As [`Validity::new`]; also for 0 days.
    pub fn days(not_before: UnixTime, days: u64) -> Result<Self, Error> {
        let end = days
            .checked_mul(SECONDS_PER_DAY)
            .and_then(|length| length.checked_sub(1))
            .and_then(|length| not_before.as_secs().checked_add(length))
            .map_or(not_before, UnixTime::from_secs);
        if days == 0 || end == not_before {
            return Err(Error::ValidityEmpty {
                not_before,
                not_after: not_before,
            });
        }
        Self::new(not_before, end)
    }

    /// The first second.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// The last second.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whether `inner` lies wholly within this period.
    #[must_use]
    pub fn contains(&self, inner: &Self) -> bool {
        self.not_before <= inner.not_before && inner.not_after <= self.not_after
    }

    /// Length in seconds, both ends included.
    pub(crate) fn seconds(&self) -> u64 {
        self.not_after
            .as_secs()
            .saturating_sub(self.not_before.as_secs())
            .saturating_add(1)
    }

    pub(crate) fn to_x509(self) -> Result<x509_cert::time::Validity, Error> {
        Ok(x509_cert::time::Validity::new(
            x509_time(self.not_before)?,
            x509_time(self.not_after)?,
        ))
    }

    pub(crate) fn from_x509(validity: &x509_cert::time::Validity) -> Result<Self, Error> {
        let seconds = |time: Time| UnixTime::from_secs(time.to_unix_duration().as_secs());
        Self::new(seconds(validity.not_before), seconds(validity.not_after))
    }
}

/// UTCTime through 2049 and GeneralizedTime after (RFC 5280 §4.1.2.5).
pub(crate) fn x509_time(time: UnixTime) -> Result<Time, Error> {
    DateTime::from_unix_duration(Duration::from_secs(time.as_secs()))
        .map(Time::from)
        .map_err(Error::encoding("a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_last_second() {
        let day = Validity::days(UnixTime::from_secs(1000), 1).expect("a day");
        assert_eq!(day.not_after().as_secs(), 1000 + SECONDS_PER_DAY - 1);
        assert_eq!(day.seconds(), SECONDS_PER_DAY);
    }

    #[test]
    fn empty_backward_and_endless_periods_are_refused() {
        let at = UnixTime::from_secs(1000);
        assert!(Validity::days(at, 0).is_err());
        assert!(Validity::days(at, u64::MAX).is_err());
        assert!(Validity::new(at, UnixTime::from_secs(999)).is_err());
        assert!(Validity::new(at, UnixTime::NO_EXPIRY).is_ok());
        assert!(Validity::new(at, UnixTime::from_secs(UnixTime::NO_EXPIRY.as_secs() + 1)).is_err());
    }

    #[test]
    fn tc24_time_forms_change_in_2050() {
        assert!(matches!(
            x509_time(UnixTime::from_secs(2_524_607_999)),
            Ok(Time::UtcTime(_))
        ));
        assert!(matches!(
            x509_time(UnixTime::from_secs(2_524_608_000)),
            Ok(Time::GeneralTime(_))
        ));
        assert_eq!(
            x509_time(UnixTime::NO_EXPIRY).expect("fits").to_date_time(),
            DateTime::INFINITY
        );
    }
}

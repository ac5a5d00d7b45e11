//! Until when a certificate is good, and when to ask for the next one.

use crate::Own;

/// Renewal begins this long before the end, in seconds: 30 days.
const BEFORE_THE_END: u64 = 30 * 24 * 60 * 60;

/// X.509's "no end" (RFC 5280 §4.1.2.5: 99991231235959Z), in seconds since 1970.
const NEVER: u64 = 253_402_300_799;

/// What a certificate's dates say at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    not_before: u64,
    not_after: u64,
}

/// In which part of its life a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It is valid, and there is nothing to do.
    Current,
    /// Its end has passed.
    Expired,
    /// Its beginning has not come: most often a clock that is wrong.
    NotYet,
    /// It is valid, and the next one should be asked for.
    RenewalDue,
}

impl Phase {
    /// One word, for scripts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Expired => "expired",
            Self::NotYet => "not-yet-valid",
            Self::RenewalDue => "renewal-due",
        }
    }
}

impl Standing {
    /// That of this certificate.
    #[must_use]
    pub fn of(own: &Own) -> Self {
        Self {
            not_before: own.not_before(),
            not_after: own.not_after(),
        }
    }

    /// From when on the next certificate should be asked for, in seconds since 1970: 30 days before the end, or when two thirds of
    /// its life have passed if that is later. `None` for one without an end.
    #[must_use]
    pub fn renew_from(self) -> Option<u64> {
        let life = self.not_after.saturating_sub(self.not_before);
        let before = BEFORE_THE_END.min(life / 3);
        (self.not_after < NEVER).then(|| self.not_after.saturating_sub(before))
    }

    /// Its end, in seconds since 1970; `None` for one without an end.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        (self.not_after < NEVER).then_some(self.not_after)
    }

    /// In which part of its life it is at `now`, in seconds since 1970.
    #[must_use]
    pub fn at(self, now: u64) -> Phase {
        if now < self.not_before {
            Phase::NotYet
        } else if now > self.not_after {
            Phase::Expired
        } else if self.renew_from().is_some_and(|from| now >= from) {
            Phase::RenewalDue
        } else {
            Phase::Current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_years_certificate_is_renewed_in_its_last_thirty_days() {
        let year = Standing {
            not_before: 1000 * DAY,
            not_after: 1365 * DAY,
        };
        for (now, phase) in [
            (1000 * DAY - 1, Phase::NotYet),
            (1000 * DAY, Phase::Current),
            (1335 * DAY - 1, Phase::Current),
            (1335 * DAY, Phase::RenewalDue),
            (1365 * DAY, Phase::RenewalDue),
            (1365 * DAY + 1, Phase::Expired),
        ] {
            assert_eq!(year.at(now), phase, "{now}");
        }
        assert_eq!(year.renew_from(), Some(1335 * DAY));
    }

    #[test]
    fn a_short_life_is_renewed_in_its_last_third_and_an_endless_one_never() {
        let nine_days = Standing {
            not_before: 0,
            not_after: 9 * DAY,
        };
        assert_eq!(nine_days.renew_from(), Some(6 * DAY));
        let endless = Standing {
            not_before: 0,
            not_after: NEVER,
        };
        assert_eq!(endless.renew_from(), None);
        assert_eq!(endless.end(), None);
        assert_eq!(endless.at(NEVER), Phase::Current);
    }
}

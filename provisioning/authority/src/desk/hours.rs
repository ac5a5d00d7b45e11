//! How many were issued and refused in each hour of the last day, by this process.

use std::sync::Mutex;

/// Hours that are kept.
const KEPT: usize = 24;

/// One hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Since 1970.
    number: u64,
    /// Certificates issued.
    pub issued: u64,
    /// Requests refused.
    pub refused: u64,
}

/// The last day.
#[derive(Debug, Default)]
pub struct Hours(Mutex<[Hour; KEPT]>);

impl Hours {
    /// Counts one, at a time in seconds since 1970.
    pub fn count(&self, now: u64, issued: bool) {
        let number = now / 3600;
        let mut hours = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(hour) = place(number).and_then(|place| hours.get_mut(place)) else {
            return;
        };
        if hour.number != number {
            *hour = Hour {
                number,
                ..Hour::default()
            };
        }
        let count = if issued {
            &mut hour.issued
        } else {
            &mut hour.refused
        };
        *count = count.saturating_add(1);
    }

    /// The last day, the oldest hour first.
    #[must_use]
    pub fn last_day(&self, now: u64) -> Vec<Hour> {
        let current = now / 3600;
        let hours = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        (current.saturating_sub(23)..=current)
            .map(|number| {
                place(number)
                    .and_then(|place| hours.get(place))
                    .filter(|hour| hour.number == number)
                    .copied()
                    .unwrap_or(Hour {
                        number,
                        ..Hour::default()
                    })
            })
            .collect()
    }
}

fn place(number: u64) -> Option<usize> {
    usize::try_from(number % 24).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_makes_room_for_the_one_a_day_later() {
        let hours = Hours::default();
        let at = |hour: u64| hour * 3600 + 1;
        hours.count(at(100), true);
        hours.count(at(100), false);
        hours.count(at(101), true);
        let day = hours.last_day(at(101));
        assert_eq!(day.len(), 24);
        assert_eq!((day[22].issued, day[22].refused), (1, 1));
        assert_eq!((day[23].issued, day[23].refused), (1, 0));
        hours.count(at(124), true);
        let day = hours.last_day(at(124));
        assert_eq!((day[23].issued, day[0].issued, day[1].issued), (1, 1, 0));
    }
}

//! How long devices took.

use std::time::Duration;

use serde::Serialize;

/// Durations in milliseconds. Percentiles are those of the nearest rank: each is the duration of some device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Durations {
    /// The mean.
    pub mean: f64,
    /// Half took no longer.
    pub p50: f64,
    /// 95 of a hundred took no longer.
    pub p95: f64,
    /// 99 of a hundred took no longer.
    pub p99: f64,
}

impl Durations {
    /// Of these; zeros for none.
    #[must_use]
    pub fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let Some(count) = u32::try_from(took.len()).ok().filter(|count| *count > 0) else {
            return Self::default();
        };
        let rank = |percent: usize| {
            let rank = took.len().saturating_mul(percent).div_ceil(100);
            took.get(rank.saturating_sub(1)).map_or(0.0, millis)
        };
        let sum: Duration = took.iter().sum();
        Self {
            mean: millis(&sum) / f64::from(count),
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
        }
    }
}

fn millis(duration: &Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let all: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let of = Durations::of(all);
        assert_eq!((of.p50, of.p95, of.p99), (100.0, 190.0, 198.0));
        assert!((of.mean - 100.5).abs() < 1e-9);
        let one = Durations::of(vec![Duration::from_millis(7)]);
        assert_eq!((one.p50, one.p95, one.p99, one.mean), (7.0, 7.0, 7.0, 7.0));
        assert_eq!(Durations::of(Vec::new()), Durations::default());
    }
}

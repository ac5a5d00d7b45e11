//! How many signatures a component may have: a bucket of tokens for each component and key, refilled evenly.
//!
//! The bucket is the component's, by its name, over all its instances and starts in this process: a component that starts
//! anew does not get a full one. Each process begins with full buckets, since nothing is kept: what a process starts with
//! is its operator's affair, and a component that signs a few things and ends needs them at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The buckets of one device.
#[derive(Default)]
pub(super) struct Quotas(Mutex<HashMap<(String, String), Bucket>>);

struct Bucket {
    tokens: f64,
    filled: Instant,
    /// Refusals since the last signature, so that a loop of them makes one record.
    refused: u64,
}

/// A component has no signature left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted {
    /// When there is one.
    pub(super) retry_after: Duration,
    /// Whether this is the first refusal since a signature was made.
    pub(super) first: bool,
}

impl Quotas {
    /// Takes one token, of `per_minute` that come in a minute and as many that are there at most.
    pub(super) fn take(
        &self,
        component: &str,
        key: &str,
        per_minute: u32,
        now: Instant,
    ) -> Result<(), Exhausted> {
        let most = f64::from(per_minute);
        let rate = most / 60.0;
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .entry((component.to_owned(), key.to_owned()))
            .or_insert(Bucket {
                tokens: most,
                filled: now,
                refused: 0,
            });
        let since = now.saturating_duration_since(bucket.filled);
        bucket.tokens = (bucket.tokens + since.as_secs_f64() * rate).min(most);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            bucket.refused = 0;
            return Ok(());
        }
        bucket.refused = bucket.refused.saturating_add(1);
        let retry_after = if rate > 0.0 {
            Duration::from_secs_f64((1.0 - bucket.tokens) / rate)
        } else {
            Duration::MAX
        };
        Err(Exhausted {
            retry_after,
            first: bucket.refused == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te27_a_minutes_worth_at_once_and_then_evenly() {
        let quotas = Quotas::default();
        let start = Instant::now();
        let take = |component: &str, seconds: u64| {
            quotas.take(component, "k", 60, start + Duration::from_secs(seconds))
        };
        (0..60).for_each(|_| take("a:b", 0).unwrap());
        let refused = take("a:b", 0).unwrap_err();
        assert!(refused.first);
        assert!(refused.retry_after <= Duration::from_secs(1));
        assert!(!take("a:b", 0).unwrap_err().first);
        // Another component, and another key, have their own.
        take("a:c", 0).unwrap();
        quotas.take("a:b", "other", 60, start).unwrap();
        take("a:b", 1).unwrap();
        assert!(take("a:b", 1).unwrap_err().first);
        // Never more than a minute's worth.
        (0..60).for_each(|_| take("a:b", 10_000).unwrap());
        assert!(take("a:b", 10_000).is_err());
    }

    #[test]
    fn te27_none_a_minute_is_none() {
        let quotas = Quotas::default();
        let refused = quotas.take("a:b", "k", 0, Instant::now()).unwrap_err();
        assert_eq!(refused.retry_after, Duration::MAX);
    }
}

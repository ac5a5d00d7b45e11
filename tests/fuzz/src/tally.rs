//! How often each verdict was given: whether inputs reach what they are meant to reach.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use countersign_trust_store::Rejection;

static VERDICTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Counts a verdict.
pub fn count<T>(verdict: &Result<T, Rejection>) {
    let word = match verdict {
        Ok(_) => "accepted",
        Err(rejection) => rejection.code().as_str(),
    };
    let mut verdicts = VERDICTS.lock().unwrap_or_else(PoisonError::into_inner);
    *verdicts.entry(word).or_default() += 1;
}

/// The counts so far.
pub fn counts() -> BTreeMap<&'static str, u64> {
    VERDICTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

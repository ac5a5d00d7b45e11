//! What waits for the end of a trial: while a bundle has not proved healthy as a whole, none of its components is remembered to
//! be, so that what ran before can still run again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_format::Minimum;

use crate::state::Memory;

/// Whether a bundle is on trial, and what it withdraws.
#[derive(Debug, Default)]
pub(crate) struct Hold(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    minimums: Vec<Minimum>,
    trial: Arc<OnTrial>,
}

/// The trial during which a component was admitted. What came with a bundle that failed is never remembered to be healthy,
/// however long it runs until what ran before has its place again.
#[derive(Debug, Default)]
pub(crate) struct OnTrial(AtomicBool);

impl OnTrial {
    /// Whether the bundle was refused.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Hold {
    /// A trial begins. What the bundle withdraws is withdrawn at once.
    pub(crate) fn begin(&self, minimums: Vec<Minimum>) {
        *self.lock() = Some(Held {
            minimums,
            trial: Arc::default(),
        });
    }

    /// It has ended well.
    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    /// It has ended, and nothing of what came is to stay.
    pub(crate) fn fail(&self) {
        if let Some(held) = self.lock().take() {
            held.trial.0.store(true, Ordering::SeqCst);
        }
    }

    /// The trial that a component is admitted in, if there is one.
    pub(crate) fn trial(&self) -> Option<Arc<OnTrial>> {
        self.lock().as_ref().map(|held| Arc::clone(&held.trial))
    }

    /// Whether a bundle is on trial.
    pub(crate) fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// What is remembered, with what a bundle on trial withdraws.
    pub(crate) fn over(&self, mut memory: Memory) -> Memory {
        for minimum in self.lock().iter().flat_map(|held| &held.minimums) {
            memory.raise_minimum(&minimum.name, minimum.security_version);
        }
        memory
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        // It is exchanged whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn td10_what_was_admitted_in_a_trial_that_failed_knows_it_before_the_hold_ends() {
        let hold = Hold::default();
        assert!(hold.trial().is_none());
        hold.begin(Vec::new());
        let failed = hold.trial().expect("a trial");
        assert!(hold.is_on() && !failed.has_failed());
        hold.fail();
        assert!(!hold.is_on() && failed.has_failed());
        // The next trial is another one.
        hold.begin(Vec::new());
        let passed = hold.trial().expect("a trial");
        hold.end();
        assert!(!passed.has_failed());
        // The failing of nothing changes nothing.
        hold.fail();
        assert!(!passed.has_failed());
    }
}

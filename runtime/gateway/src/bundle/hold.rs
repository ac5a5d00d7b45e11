//! What waits for the end of a trial: while a bundle has not proved healthy as a whole, none of its components is remembered to
//! be, so that what ran before can still run again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_format::Minimum;

use crate::state::Memory;

/// Whether a bundle is on trial, and what it withdraws.
#[derive(Debug, Default)]
pub(crate) struct Hold(Mutex<Option<Vec<Minimum>>>);

impl Hold {
    /// A trial begins. What the bundle withdraws is withdrawn at once.
    pub(crate) fn begin(&self, minimums: Vec<Minimum>) {
        *self.lock() = Some(minimums);
    }

    /// It has ended, one way or the other.
    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    /// Whether a bundle is on trial.
    pub(crate) fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// What is remembered, with what a bundle on trial withdraws.
    pub(crate) fn over(&self, mut memory: Memory) -> Memory {
        for minimum in self.lock().iter().flatten() {
            memory.raise_minimum(&minimum.name, minimum.security_version);
        }
        memory
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Minimum>>> {
        // It is exchanged whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

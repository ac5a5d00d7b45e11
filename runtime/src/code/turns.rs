//! How many compilers run at the same time: each may take all the memory that it is allowed.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::GivenUp;

/// Compilers at the same time.
const MOST: usize = 2;

/// How often who waits for his turn looks whether somebody still waits for him.
const LOOK: Duration = Duration::from_millis(100);

/// Turns that are taken.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// A turn, until it is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn; none if that is given up before.
    pub(super) fn take(&self, given_up: &GivenUp) -> Option<Turn<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= MOST {
            if given_up.is_given_up() {
                return None;
            }
            let waited = self.given_back.wait_timeout(taken, LOOK);
            (taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        *taken = taken.saturating_add(1);
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let turns = self.0;
        let mut taken = turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(1);
        drop(taken);
        turns.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te14_two_compile_at_a_time_and_who_is_given_up_does_not_wait() {
        let turns = Turns::default();
        let (one, two) = (
            turns.take(&GivenUp::default()),
            turns.take(&GivenUp::default()),
        );
        assert!(one.is_some() && two.is_some());
        let given_up = GivenUp::default();
        given_up.give_up();
        assert!(turns.take(&given_up).is_none());
        drop(one);
        assert!(turns.take(&GivenUp::default()).is_some());
    }

    #[test]
    fn te14_copies_of_the_same_limits_wait_for_each_other() {
        let limits = crate::CompileLimits::new(["compile"]);
        let copy = limits.clone();
        let given_up = GivenUp::default();
        given_up.give_up();
        let one = limits.turns.take(&given_up);
        let two = copy.turns.take(&given_up);
        assert!(one.is_some() && two.is_some());
        assert!(limits.turns.take(&given_up).is_none() && copy.turns.take(&given_up).is_none());
        // Others are nothing to them.
        let others = crate::CompileLimits::new(["compile"]);
        assert!(others.turns.take(&given_up).is_some());
    }
}

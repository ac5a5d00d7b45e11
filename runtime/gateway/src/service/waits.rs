//! How long to wait before the next start: longer each time, and from the beginning after a healthy run.

use std::time::Duration;

use crate::config::Restart;

pub(super) struct Waits {
    restart: Restart,
    next: Duration,
}

impl Waits {
    pub(super) fn new(restart: Restart) -> Self {
        Self {
            restart,
            next: restart.first,
        }
    }

    /// The wait after a run of this length; `None` if there is no next start.
    pub(super) fn next(&mut self, succeeded: bool, ran: Duration) -> Option<Duration> {
        if !self.restart.again(succeeded) {
            return None;
        }
        if ran >= self.restart.healthy_after {
            self.next = self.restart.first;
        }
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.restart.most);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::When;

    fn waits(when: When) -> Waits {
        Waits::new(Restart {
            when,
            first: Duration::from_secs(1),
            most: Duration::from_secs(5),
            healthy_after: Duration::from_secs(30),
        })
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_healthy_run() {
        let mut waits = waits(When::Always);
        let mut after = |ran| {
            waits
                .next(false, Duration::from_secs(ran))
                .map(|wait| wait.as_secs())
        };
        let seen = [after(0), after(0), after(29), after(0), after(30), after(1)];
        assert_eq!(seen, [1, 2, 4, 5, 1, 2].map(Some));
    }

    #[test]
    fn the_operator_says_after_which_ends_there_is_a_next_start() {
        let ran = Duration::ZERO;
        for (when, after_success, after_failure) in [
            (When::Always, true, true),
            (When::OnFailure, false, true),
            (When::Never, false, false),
        ] {
            assert_eq!(waits(when).next(true, ran).is_some(), after_success);
            assert_eq!(waits(when).next(false, ran).is_some(), after_failure);
        }
    }
}

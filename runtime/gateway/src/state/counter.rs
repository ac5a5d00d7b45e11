//! The counter in hardware that shows whether a memory is the newest.
//!
//! A memory carries the number that the counter is about to have, and is on the disk before the counter moves. So one ahead is
//! a machine that lost power in between, and is accepted; behind is a memory that was put back from a copy, and is refused, as
//! is one that is further ahead: the counter is another then. Nothing else may count with it.

use std::fmt;

use anyhow::{Context as _, bail};
use countersign_hosting::counter;
use countersign_keys::{CounterUri, MonotonicCounter};

use crate::say::warn;

/// A counter, and its name.
pub(crate) struct Guard {
    counter: Box<dyn MonotonicCounter>,
    name: String,
}

/// What a memory is not the newest by.
#[derive(Debug)]
pub(crate) struct PutBack {
    name: String,
    remembered: u64,
    stands: u64,
}

impl std::error::Error for PutBack {}

impl fmt::Display for PutBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            remembered,
            stands,
        } = self;
        if remembered < stands {
            write!(
                f,
                "the counter {name} stands at {stands} and the memory at {remembered}: an older memory was put in its place"
            )
        } else {
            write!(
                f,
                "the counter {name} stands at {stands} and the memory at {remembered}: it is another counter than this memory's"
            )
        }
    }
}

impl Guard {
    /// The counter of this name.
    ///
    /// # Errors
    /// If it is not there.
    pub(crate) fn open(uri: &CounterUri) -> anyhow::Result<Self> {
        Self::of(counter::open(uri)?, uri)
    }

    /// The same; made where there is none.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn make(uri: &CounterUri) -> anyhow::Result<Self> {
        Self::of(counter::make(uri)?, uri)
    }

    fn of(counter: Box<dyn MonotonicCounter>, uri: &CounterUri) -> anyhow::Result<Self> {
        let guard = Self {
            counter,
            name: uri.to_string(),
        };
        guard.warn_of_end(guard.stands()?);
        Ok(guard)
    }

    /// What it stands at.
    ///
    /// # Errors
    /// If the hardware does not answer.
    pub(super) fn stands(&self) -> anyhow::Result<u64> {
        self.counter
            .read()
            .with_context(|| format!("the counter {} is not read", self.name))
    }

    /// Holds what a memory carries against the counter: whether the counter has yet to move to it.
    ///
    /// # Errors
    /// [`PutBack`], or that the hardware does not answer.
    pub(super) fn check(&self, remembered: u64) -> anyhow::Result<bool> {
        let stands = self.stands()?;
        if remembered == stands {
            return Ok(false);
        }
        if Some(remembered) == stands.checked_add(1) {
            return Ok(true);
        }
        Err(PutBack {
            name: self.name.clone(),
            remembered,
            stands,
        }
        .into())
    }

    /// Moves the counter to what a memory on the disk carries. It may stand there already: after an error it is not known
    /// whether it counted.
    ///
    /// # Errors
    /// If it does not move, or somebody else counts with it.
    pub(super) fn move_to(&self, remembered: u64) -> anyhow::Result<()> {
        if self.check(remembered)? {
            let stands = self.counter.increment().with_context(|| {
                format!(
                    "the counter {} does not count: no version and no list rises until it does, and what runs goes on",
                    self.name
                )
            })?;
            if stands != remembered {
                bail!(
                    "the counter {} went to {stands} instead of {remembered}: it must be the gateway's alone",
                    self.name
                );
            }
            self.warn_of_end(stands);
        }
        Ok(())
    }

    /// Says so from nine tenths of its end on.
    fn warn_of_end(&self, stands: u64) {
        let end = self.counter.end();
        if stands >= end.saturating_sub(end / 10) {
            warn(
                "",
                &format!(
                    "the counter {} stands at {stands} of {end}: replace the hardware before it ends",
                    self.name
                ),
            );
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

    use countersign_keys::{Error, ErrorKind};

    use super::*;

    /// A counter in memory that can be locked: what the state does with a real one is tried with a TPM in
    /// tests/black-box/gateway.
    #[derive(Clone, Default)]
    pub(in crate::state) struct Wheel {
        pub(in crate::state) at: Arc<AtomicU64>,
        pub(in crate::state) locked: Arc<AtomicBool>,
        /// Counts, and loses the answer.
        pub(in crate::state) lossy: Arc<AtomicBool>,
    }

    impl MonotonicCounter for Wheel {
        fn read(&self) -> Result<u64, Error> {
            Ok(self.at.load(SeqCst))
        }

        fn increment(&self) -> Result<u64, Error> {
            if self.locked.load(SeqCst) {
                return Err(Error::new(ErrorKind::Permissions, "locked"));
            }
            let at = self.at.fetch_add(1, SeqCst) + 1;
            if self.lossy.swap(false, SeqCst) {
                return Err(Error::new(ErrorKind::Timeout, "lost"));
            }
            Ok(at)
        }

        fn end(&self) -> u64 {
            1_000
        }
    }

    impl Wheel {
        pub(in crate::state) fn guard(&self) -> Guard {
            Guard {
                counter: Box::new(self.clone()),
                name: "wheel".to_owned(),
            }
        }
    }

    #[test]
    fn td08_one_ahead_is_a_power_cut_behind_is_a_copy_and_further_ahead_another_counter() {
        let wheel = Wheel::default();
        wheel.at.store(7, SeqCst);
        let guard = wheel.guard();
        assert!(!guard.check(7).expect("the newest"));
        assert!(guard.check(8).expect("one ahead"));
        for (remembered, says) in [
            (6, "older memory"),
            (0, "older memory"),
            (9, "another counter"),
        ] {
            let error = guard.check(remembered).expect_err("refused");
            assert!(
                error.is::<PutBack>() && error.to_string().contains(says),
                "{error}"
            );
        }
        guard.move_to(8).expect("moves");
        guard.move_to(8).expect("is there");
        // An answer that was lost is not a reason to count twice.
        wheel.lossy.store(true, SeqCst);
        guard.move_to(9).expect_err("not known");
        guard.move_to(9).expect("is there");
        assert_eq!(wheel.at.load(SeqCst), 9);
        wheel.locked.store(true, SeqCst);
        let error = format!("{:#}", guard.move_to(10).expect_err("locked"));
        assert!(error.contains("what runs goes on"), "{error}");
    }
}

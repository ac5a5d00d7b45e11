//! Time as the chip sees it: microseconds that only delays move, or the machine's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A clock that the bus, its delays and the chip share.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Virtual(Arc<AtomicU64>),
    Real(Instant),
}

impl Clock {
    /// A clock that stands still until somebody waits. Tests are as quick as they compute.
    #[must_use]
    pub fn stepped() -> Self {
        Self(Kind::Virtual(Arc::default()))
    }

    /// The machine's clock.
    #[must_use]
    pub fn real() -> Self {
        Self(Kind::Real(Instant::now()))
    }

    /// Whether only delays move it.
    pub(crate) fn is_stepped(&self) -> bool {
        matches!(self.0, Kind::Virtual(_))
    }

    /// Microseconds since the clock was made.
    #[must_use]
    pub fn micros(&self) -> u64 {
        match &self.0 {
            Kind::Virtual(now) => now.load(Ordering::SeqCst),
            Kind::Real(start) => u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// Lets time pass.
    pub fn wait(&self, micros: u64) {
        match &self.0 {
            Kind::Virtual(now) => {
                now.fetch_add(micros, Ordering::SeqCst);
            }
            Kind::Real(_) => std::thread::sleep(Duration::from_micros(micros)),
        }
    }
}

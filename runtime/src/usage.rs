//! What a component used, over all its instances: for whoever watches.
//!
//! Decides nothing: limits are counted for each instance, and apart from this.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a loaded component has used so far. It is counted while it runs.
#[derive(Debug, Default)]
pub struct Usage {
    /// In nanoseconds: centuries fit.
    cpu: AtomicU64,
    memory: AtomicU64,
}

impl Usage {
    /// Processor time of its instances, host calls on the same threads included.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Ordering::Relaxed))
    }

    /// Bytes of the linear memories of the instances that there are now.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    pub(crate) fn computed(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.cpu.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn took(&self, bytes: u64) {
        self.memory.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn gave_back(&self, bytes: u64) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }
}

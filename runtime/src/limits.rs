//! What a guest may use: one set of numbers, and the counter that adds up memories and tables over a whole component.
//!
//! Wasmtime's own `StoreLimits` counts per memory and per table; a component is free to have many.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use countersign_format::GuestLimits;
use wasmtime::ResourceLimiter;

use crate::usage::Usage;

use crate::engine::GUEST_STACK;

/// Most core instances, memories and tables in one component. Large language runtimes have a few dozen.
const MAX_INSTANCES: usize = 1_024;
const MAX_MEMORIES: usize = 32;
const MAX_TABLES: usize = 256;

/// Most memories of all guests that this process has started together. Where each has as many addresses as it can name, which is
/// 4 GiB, that is a quarter of those that a process has on x86-64.
const MEMORIES_OF_ALL: usize = 8_192;

/// Those that there are.
static OF_ALL: AllMemories = AllMemories::up_to(MEMORIES_OF_ALL);

/// Most random bytes in one call, in bytes (64 KiB).
pub(crate) const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// The limits of one guest, each over the whole component.
///
/// In a [`Ceiling`](crate::Ceiling) they say what the operator allows at most; a statement can ask for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of all linear memories together. Default 256 MiB.
    pub memory_bytes: u64,
    /// Elements of all tables together. Default 262,144.
    pub table_elements: u64,
    /// Wall-clock time of one run of a command, or of one call into a plug-in. Default 60 s; `Duration::MAX` is without
    /// end.
    pub run: Duration,
    /// Time in which the guest (or a host function on its behalf) occupies a processor, per run or call. It is
    /// measured in steps of a few milliseconds. Default: the same as `run`.
    pub cpu: Duration,
    /// Resource handles that live at the same time. Default 10,000.
    pub handles: u64,
    /// Bytes that one host call may carry from the guest to the host. Default 1,088 KiB: what WASI's own interfaces
    /// take at once, 1 MiB of a body of HTTP or 16 datagrams of UDP. Strings are read in one step, for which a deadline waits.
    pub hostcall_bytes: u64,
    /// Bytes that the guest may write to standard output and standard error together. Default 64 MiB. What is
    /// discarded does not count.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            table_elements: 262_144,
            run: Duration::from_secs(60),
            cpu: Duration::from_secs(60),
            handles: 10_000,
            hostcall_bytes: (1 << 20) + (64 << 10),
            log_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// The lower of what is asked and what is allowed; what is not asked for gets all that is allowed.
    pub(crate) fn lowered_by(self, asked: &GuestLimits) -> Self {
        let lower =
            |allowed: u64, asked: Option<u64>| asked.map_or(allowed, |asked| asked.min(allowed));
        let lower_time = |allowed: Duration, asked: Option<u64>| {
            asked.map_or(allowed, |asked| Duration::from_millis(asked).min(allowed))
        };
        Self {
            memory_bytes: lower(self.memory_bytes, asked.memory_bytes),
            table_elements: lower(self.table_elements, asked.table_elements),
            run: lower_time(self.run, asked.run_milliseconds),
            cpu: lower_time(self.cpu, asked.cpu_milliseconds),
            handles: lower(self.handles, asked.handles),
            hostcall_bytes: lower(self.hostcall_bytes, asked.hostcall_bytes),
            log_bytes: lower(self.log_bytes, asked.log_bytes),
        }
    }
}

impl Limits {
    /// A limit with its unit, for people.
    pub(crate) fn describe(&self, kind: LimitKind) -> String {
        match kind {
            LimitKind::Cpu => format!("{:?}", self.cpu),
            LimitKind::Handles => format!("{}", self.handles),
            LimitKind::HostcallBytes => format!("{} bytes", self.hostcall_bytes),
            LimitKind::Instances => {
                format!(
                    "{MAX_INSTANCES} instances, {MAX_MEMORIES} memories and {MAX_TABLES} tables"
                )
            }
            LimitKind::LogBytes => format!("{} bytes", self.log_bytes),
            LimitKind::Memory => format!("{} bytes", self.memory_bytes),
            LimitKind::Stack => format!("{GUEST_STACK} bytes"),
            LimitKind::Tables => format!("{} elements", self.table_elements),
            LimitKind::Time => format!("{:?}", self.run),
        }
    }
}

/// Which limit ended a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::cpu`].
    Cpu,
    /// [`Limits::handles`].
    Handles,
    /// [`Limits::hostcall_bytes`].
    HostcallBytes,
    /// Core instances, memories or tables in one component.
    Instances,
    /// [`Limits::log_bytes`].
    LogBytes,
    /// [`Limits::memory_bytes`].
    Memory,
    /// The guest's stack of 512 KiB.
    Stack,
    /// [`Limits::table_elements`].
    Tables,
    /// [`Limits::run`].
    Time,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "processor time",
            Self::Handles => "resource handles",
            Self::HostcallBytes => "bytes in one host call",
            Self::Instances => "instances, memories or tables",
            Self::LogBytes => "bytes written to standard output and error",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Tables => "table elements",
            Self::Time => "running time",
        })
    }
}

/// Adds up what the memories and tables of one store hold.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: Account,
    tables: Account,
    usage: Arc<Usage>,
    /// Of the memories of all guests, its own.
    own: Option<TakenMemories>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, usage: &Arc<Usage>) -> Self {
        Self {
            memory: Account::new(limits.memory_bytes),
            tables: Account::new(limits.table_elements),
            usage: Arc::clone(usage),
            own: None,
        }
    }

    /// Takes so many memories from those that all guests may have, until the store goes. Whether they were left. A number that is not
    /// known is the most that one may have.
    pub(crate) fn take_memories(&mut self, memories: Option<u32>) -> bool {
        let memories = memories.and_then(|memories| usize::try_from(memories).ok());
        // Not both at once.
        self.own = None;
        self.own = OF_ALL.take(memories.unwrap_or(MAX_MEMORIES));
        self.own.is_some()
    }

    /// Bytes of its memories.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.total
    }

    /// The limit that refused the guest something, if one did. A guest may live on after a refusal (`memory.grow`
    /// returns -1), so this explains a trap and is none by itself.
    pub(crate) fn refused(&self) -> Option<LimitKind> {
        match (self.memory.refused, self.tables.refused) {
            (true, _) => Some(LimitKind::Memory),
            (false, true) => Some(LimitKind::Tables),
            (false, false) => None,
        }
    }
}

/// With the store its memories go.
impl Drop for Limiter {
    fn drop(&mut self) {
        self.usage.gave_back(self.memory.total);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = self.memory.grow(current, desired);
        self.usage.took(self.memory.pending);
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.usage.gave_back(self.memory.pending);
        self.memory.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.tables.grow(current, desired))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

/// How many memories all guests have together. Each reserves addresses, however little it holds, and of those a process has so many.
#[derive(Debug)]
struct AllMemories {
    taken: AtomicUsize,
    most: usize,
}

impl AllMemories {
    const fn up_to(most: usize) -> Self {
        let taken = AtomicUsize::new(0);
        Self { taken, most }
    }

    fn take(&'static self, memories: usize) -> Option<TakenMemories> {
        let more = |taken: usize| {
            let more = taken.checked_add(memories);
            more.filter(|more| *more <= self.most)
        };
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| TakenMemories {
            memories,
            from: self,
        })
    }
}

/// Some of them. Dropped, they are left for others.
#[derive(Debug)]
struct TakenMemories {
    memories: usize,
    from: &'static AllMemories,
}

impl Drop for TakenMemories {
    fn drop(&mut self) {
        let taken = &self.from.taken;
        taken.fetch_sub(self.memories, Ordering::Relaxed);
    }
}

/// One sum with a limit.
#[derive(Debug)]
struct Account {
    limit: u64,
    total: u64,
    /// What the last granted growth added, until it is known to have happened.
    pending: u64,
    refused: bool,
}

impl Account {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            total: 0,
            pending: 0,
            refused: false,
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let added = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let total = self.total.saturating_add(added);
        if total > self.limit {
            self.pending = 0;
            self.refused = true;
            return false;
        }
        self.pending = added;
        self.total = total;
        true
    }

    /// The growth that was just granted did not take place.
    fn undo(&mut self) {
        self.total = self.total.saturating_sub(self.pending);
        self.pending = 0;
    }
}

/// A budget of bytes that several streams draw on.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    left: AtomicU64,
}

impl ByteBudget {
    pub(crate) const fn new(bytes: u64) -> Self {
        Self {
            left: AtomicU64::new(bytes),
        }
    }

    /// Takes `bytes`, or nothing if fewer are left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let Ok(bytes) = u64::try_from(bytes) else {
            return false;
        };
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te03_memories_are_added_up() {
        let usage = Arc::new(Usage::default());
        let mut limiter = Limiter::new(
            &Limits {
                memory_bytes: 100,
                ..Limits::default()
            },
            &usage,
        );
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 41, None).unwrap());
        assert_eq!(limiter.refused(), Some(LimitKind::Memory));
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert!(!limiter.memory_growing(0, 1, None).unwrap());
        assert_eq!(usage.memory_bytes(), 100);
        drop(limiter);
        assert_eq!(usage.memory_bytes(), 0);
    }

    #[test]
    fn te03_all_guests_together_have_a_bounded_number_of_memories() {
        static FEW: AllMemories = AllMemories::up_to(4);
        let first = FEW.take(3).expect("none is taken");
        assert!(FEW.take(2).is_none() && FEW.take(usize::MAX).is_none());
        let second = FEW.take(1).expect("one is left");
        assert!(FEW.take(1).is_none());
        drop(first);
        let third = FEW.take(3).expect("given back");
        drop((second, third));
        assert_eq!(FEW.taken.load(Ordering::Relaxed), 0);
        // A guest that is started anew does not have its memories twice.
        let mut limiter = Limiter::new(&Limits::default(), &Arc::default());
        let most = u32::try_from(MEMORIES_OF_ALL).unwrap();
        assert!(!limiter.take_memories(Some(most + 1)));
        for _ in 0..3 {
            assert!(limiter.take_memories(Some(most / 2 + 1)));
        }
        assert!(limiter.take_memories(None));
    }

    #[test]
    fn te04_a_table_as_large_as_the_address_space_is_refused() {
        let mut limiter = Limiter::new(&Limits::default(), &Arc::default());
        assert!(!limiter.table_growing(0, usize::MAX, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(!limiter.table_growing(10, usize::MAX, None).unwrap());
        assert_eq!(limiter.refused(), Some(LimitKind::Tables));
    }

    #[test]
    fn a_growth_that_failed_is_given_back() {
        let usage = Arc::new(Usage::default());
        let mut limiter = Limiter::new(
            &Limits {
                memory_bytes: 100,
                ..Limits::default()
            },
            &usage,
        );
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("no memory"))
            .unwrap();
        assert_eq!(usage.memory_bytes(), 0);
        assert!(limiter.memory_growing(0, 100, None).unwrap());
    }

    #[test]
    fn a_statement_lowers_and_never_raises() {
        let ceiling = Limits {
            memory_bytes: 100,
            run: Duration::from_secs(1),
            ..Limits::default()
        };
        let asked = GuestLimits {
            memory_bytes: Some(200),
            run_milliseconds: Some(10),
            ..GuestLimits::default()
        };
        let limits = ceiling.lowered_by(&asked);
        assert_eq!(limits.memory_bytes, 100);
        assert_eq!(limits.run, Duration::from_millis(10));
        assert_eq!(limits.handles, ceiling.handles);
    }

    #[test]
    fn te29_a_budget_is_shared_and_ends() {
        let budget = ByteBudget::new(10);
        let other = &budget;
        assert!(budget.take(6));
        assert!(!other.take(5));
        assert!(other.take(4));
        assert!(!budget.take(1));
    }
}

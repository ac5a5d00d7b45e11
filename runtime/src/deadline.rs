//! Stopping a guest: a ticker that makes it yield, and a budget of wall-clock and processor time around every call.
//!
//! Both are needed. Epochs interrupt a guest that computes but not one that waits in a host call; a timeout ends a
//! host call but never gets its turn while the guest computes. A guest that was stopped is never entered again.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use wasmtime::Engine;
use wasmtime::EngineWeak;

use crate::limits::Limits;
use crate::usage::Usage;

/// How often a computing guest yields (2 ms): it is gone at most twice this after its deadline.
const TICK: Duration = Duration::from_millis(2);

/// A running time from here on is none at all (a hundred years): timers do not reach so far.
const WITHOUT_END: Duration = Duration::from_secs(100 * 31_536_000);

/// Raises an engine's epoch while at least one guest computes, from a thread of its own. Where all wait, it costs nothing.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    /// Guests that compute now.
    running: AtomicUsize,
    /// Whether the thread waits to be woken, or is about to. Written before it looks whether a guest computes, and read after one has
    /// begun: one of the two sees the other's.
    waiting: AtomicBool,
    /// Whether the engine is gone. Held while the thread decides to wait, and by who wakes it.
    ended: Mutex<bool>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            ended: Mutex::new(false),
            wake: Condvar::new(),
        });
        let (thread, engine) = (Arc::clone(&shared), engine.weak());
        std::thread::Builder::new()
            .name("countersign-epochs".to_owned())
            .spawn(move || tick(&thread, &engine))?;
        Ok(Self { shared })
    }

    fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.waiting.load(Ordering::SeqCst) {
            // Once the thread waits, or has seen that it must not.
            drop(self.shared.lock());
            self.shared.wake.notify_one();
        }
        Running(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.shared.lock() = true;
        self.shared.wake.notify_one();
    }
}

struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    loop {
        let idle = shared.wake.wait_while(shared.lock(), |ended| {
            shared.waiting.store(true, Ordering::SeqCst);
            shared.running.load(Ordering::SeqCst) == 0 && !*ended
        });
        let ended = *idle.unwrap_or_else(PoisonError::into_inner);
        shared.waiting.store(false, Ordering::SeqCst);
        let Some(engine) = engine.upgrade().filter(|_| !ended) else {
            return;
        };
        std::thread::sleep(TICK);
        engine.increment_epoch();
    }
}

/// What is left of a run's time.
pub(crate) struct Budget {
    /// `None` where there is none: a limit of centuries.
    deadline: Option<Instant>,
    cpu: Duration,
    usage: Arc<Usage>,
}

impl Budget {
    /// The whole time that `limits` give, from now on.
    pub(crate) fn new(limits: &Limits, usage: &Arc<Usage>) -> Self {
        let deadline = Instant::now()
            .checked_add(limits.run)
            .filter(|_| limits.run < WITHOUT_END);
        Self {
            deadline,
            cpu: limits.cpu,
            usage: Arc::clone(usage),
        }
    }
}

/// Why a future was given up.
pub(crate) enum Stop {
    Cpu,
    Panic(String),
    Time,
}

/// Drives `future` until it is done, its budget is spent, or a host function in it panics.
///
/// The future is dropped before this returns. Needs a Tokio runtime with its timer.
pub(crate) async fn bounded<F: Future>(
    ticker: &Ticker,
    budget: &mut Budget,
    future: F,
) -> Result<F::Output, Stop> {
    let mut future = pin!(future);
    let deadline = budget.deadline;
    let mut alarm = pin!(async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    });
    poll_fn(|cx| {
        let entered = Instant::now();
        let running = ticker.running();
        // The store that a panic may have left in disorder is dropped by the caller, and nothing else is shared.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        drop(running);
        let computed = entered.elapsed();
        budget.cpu = budget.cpu.saturating_sub(computed);
        budget.usage.computed(computed);
        match polled {
            Err(panic) => Poll::Ready(Err(Stop::Panic(panic_message(panic.as_ref())))),
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) if budget.cpu.is_zero() => Poll::Ready(Err(Stop::Cpu)),
            // The clock is asked too: Tokio's timer stays silent for a task that used up its turn.
            Ok(Poll::Pending)
                if alarm.as_mut().poll(cx).is_ready()
                    || deadline.is_some_and(|deadline| Instant::now() >= deadline) =>
            {
                Poll::Ready(Err(Stop::Time))
            }
            Ok(Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

/// What a panic said, if it said it in words.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "no message".to_owned())
}

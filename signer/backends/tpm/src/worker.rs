//! The one thread that talks to a TPM, the queue before it, and the deadline of each call.
//!
//! The library waits for an answer as long as it takes, and a thread that waits inside it cannot be called back. So a
//! call that has waited too long leaves its thread where it is, and the next call gets a new thread with a connection of
//! its own; the old one ends when its answer comes, or its connection breaks. How many may lie there is bounded.
//!
//! Not decided here: which commands are sent ([`Device`]).

use crate::device::{Device, Settings};
use crate::failure::Failure;
use countersign_keys::{Error, ErrorKind};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a call may take unless the store is told otherwise. Slow TPMs need seconds to make a key.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How often a call is made again because others took its sessions or objects out of the TPM.
const OTHERS: u32 = 5;

/// How many threads may wait for answers that nobody waits for any more.
const MAX_LEFT_BEHIND: usize = 8;

/// How long the end of a store waits for its sessions to be flushed.
const FAREWELL: Duration = Duration::from_secs(2);

/// A TPM, shared between threads: calls are served in the order in which they come.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    deadline: Duration,
}

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Grows when the serving thread is given up: a thread of an older generation takes no more jobs.
    generation: u64,
    /// Whether there is a thread of this generation.
    served: bool,
    left_behind: usize,
    closed: bool,
}

struct Job {
    ticket: Arc<Ticket>,
    work: Work,
}

/// Gets the thread's device, or a place for one.
type Work = Box<dyn FnOnce(&mut Option<Device>) + Send>;

/// What the caller and the thread know of a job.
#[derive(Default)]
struct Ticket {
    /// Nobody waits for it any more.
    abandoned: Arc<AtomicBool>,
    started: AtomicBool,
}

impl Worker {
    pub(crate) fn new(settings: Settings, deadline: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            deadline,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Does this work on the TPM. If it fails in a way that a new connection may mend, and nothing in the TPM was
    /// changed yet, it is done once more; so it is when the TPM's memory was full and has been emptied.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        what: &str,
        work: impl Fn(&mut Device) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let until = Instant::now().checked_add(self.deadline);
        let work = Arc::new(work);
        let (mut tried, mut emptied, mut others) = (false, false, 0_u32);
        loop {
            let (result, committed) = self.once(until, what, &work);
            match result {
                Ok(value) => return Ok(value),
                Err(failure) if !emptied && !committed && failure.is_full_memory() => {
                    emptied = true;
                }
                Err(failure) if others < OTHERS && !committed && failure.is_of_others() => {
                    others = others.saturating_add(1);
                }
                Err(failure) if !tried && !committed && failure.is_worth_a_new_connection() => {
                    tried = true;
                }
                Err(failure) => return Err(failure.told(&self.settings().tcti, what)),
            }
        }
    }

    fn once<T: Send + 'static>(
        &self,
        until: Option<Instant>,
        what: &str,
        work: &Arc<impl Fn(&mut Device) -> Result<T, Failure> + Send + Sync + 'static>,
    ) -> (Result<T, Failure>, bool) {
        let (sender, receiver) = sync_channel(1);
        let ticket = Arc::new(Ticket::default());
        let job = Job {
            ticket: Arc::clone(&ticket),
            work: Box::new({
                let (work, shared) = (Arc::clone(work), Arc::clone(&self.shared));
                let abandoned = Arc::clone(&ticket.abandoned);
                move |slot| {
                    // The caller may have gone; then nobody reads this.
                    let _ = sender.send(serve(slot, &shared.settings, abandoned, &*work));
                }
            }),
        };
        if let Err(error) = self.enqueue(job, until, what) {
            return (Err(error.into()), false);
        }
        match receiver.recv_timeout(left(until)) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => (
                Err(Failure::Wrong("no answer, for its thread has ended")),
                true,
            ),
            Err(RecvTimeoutError::Timeout) => {
                let started = self.give_up(&ticket);
                (Err(self.too_late(what, started).into()), true)
            }
        }
    }

    fn enqueue(&self, job: Job, until: Option<Instant>, what: &str) -> Result<(), Error> {
        let mut state = self.shared.state();
        while state.left_behind >= MAX_LEFT_BEHIND {
            let left = left(until);
            if left.is_zero() {
                return Err(self.too_late(what, true));
            }
            state = self.shared.wait(state, left);
        }
        state.queue.push_back(job);
        if state.served {
            self.shared.changed.notify_all();
            return Ok(());
        }
        if let Err(error) = Shared::start_thread(&self.shared, &mut state) {
            state.queue.pop_back();
            return Err(Error::with_source(
                ErrorKind::Device,
                format!(
                    "{what}: no thread could be started for the TPM; free memory and try again"
                ),
                error,
            ));
        }
        Ok(())
    }

    /// Takes a job back, or leaves its thread behind. Whether it had been started.
    fn give_up(&self, ticket: &Arc<Ticket>) -> bool {
        ticket.abandoned.store(true, Ordering::SeqCst);
        let mut state = self.shared.state();
        state.queue.retain(|job| !Arc::ptr_eq(&job.ticket, ticket));
        let started = ticket.started.load(Ordering::SeqCst);
        if started && state.served {
            state.retire();
            if !state.queue.is_empty() {
                // Without a thread they end by their own deadlines.
                let _ = Shared::start_thread(&self.shared, &mut state);
            }
        }
        started
    }

    fn too_late(&self, what: &str, started: bool) -> Error {
        let tcti = &self.settings().tcti;
        let sentence = if started {
            format!(
                "{what}: the TPM at {tcti} did not answer within {:?}; try again, and if it stays so, restart the machine",
                self.deadline
            )
        } else {
            format!(
                "{what}: the TPM at {tcti} served others for {:?}; try again when it has less to do",
                self.deadline
            )
        };
        Error::new(ErrorKind::Timeout, sentence)
    }
}

impl State {
    /// The serving thread takes no more jobs, whatever it is doing.
    fn retire(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.served = false;
        self.left_behind = self.left_behind.saturating_add(1);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_thread(shared: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let (of_thread, generation) = (Arc::clone(shared), state.generation);
        thread::Builder::new()
            .name("tpm".to_owned())
            .spawn(move || of_thread.serve_until_retired(generation))?;
        state.served = true;
        Ok(())
    }

    fn serve_until_retired(self: Arc<Self>, generation: u64) {
        let mut device = None;
        while let Some(job) = self.next_job(generation) {
            (job.work)(&mut device);
            // A device that did not stand the job is let go by this thread, however long that takes; the next call
            // has another one.
            if device.as_ref().is_none_or(Device::is_sound) {
                continue;
            }
            let mut state = self.state();
            if state.generation == generation {
                state.retire();
                if !state.queue.is_empty() {
                    let _ = Self::start_thread(&self, &mut state);
                }
            }
            break;
        }
        drop(device);
        let mut state = self.state();
        if state.generation == generation {
            state.served = false;
        } else {
            state.left_behind = state.left_behind.saturating_sub(1);
        }
        self.changed.notify_all();
    }

    fn next_job(&self, generation: u64) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.generation != generation || state.closed {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                job.ticket.started.store(true, Ordering::SeqCst);
                return Some(job);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// The time until then. A time beyond what the clock can say is a year.
fn left(until: Option<Instant>) -> Duration {
    until.map_or(Duration::from_secs(31_536_000), |until| {
        until.saturating_duration_since(Instant::now())
    })
}

impl Drop for Worker {
    /// Waits a little, so that no session stays in a TPM without a resource manager.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        self.shared.changed.notify_all();
        let until = Instant::now().checked_add(FAREWELL);
        while state.served {
            let left = left(until);
            if left.is_zero() {
                break;
            }
            state = self.shared.wait(state, left);
        }
    }
}

/// One job, with the device that is there or a new one. Whether something in the TPM was changed is told too.
fn serve<T>(
    slot: &mut Option<Device>,
    settings: &Settings,
    abandoned: Arc<AtomicBool>,
    work: &impl Fn(&mut Device) -> Result<T, Failure>,
) -> (Result<T, Failure>, bool) {
    // The library converts what the TPM says, and a conversion that was not foreseen must not end the process.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let device = match slot {
            Some(device) => device,
            None => match Device::open(settings) {
                Ok(device) => slot.insert(device),
                Err(failure) => return (Err(failure), false),
            },
        };
        device.begin(abandoned);
        let result = work(device);
        match &result {
            Ok(_) => settings.learn(device),
            Err(failure) => device.suffered(failure),
        }
        (result, device.is_committed())
    }));
    outcome.unwrap_or_else(|_| {
        if let Some(device) = slot {
            device.suffered(&Failure::Wrong("an answer that broke its reader"));
        }
        (Err(Failure::Wrong("an answer that broke its reader")), true)
    })
}

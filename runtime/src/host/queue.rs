//! Threads apart for each store of keys, because hardware takes one command at a time and blocks; and a queue that is fair
//! to components: each has its turn, however many the others have waiting.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

/// The most that one component may have waiting. More are turned away at once.
const MAX_WAITING: usize = 64;

/// How many threads serve a store: while one waits for the hardware, the other verifies what it got before. The hardware
/// is never idle for that, and more would only wait.
pub(super) const THREADS: usize = 2;

/// What a thread runs. It finds out by itself whether anybody still waits for the answer.
type Work = Box<dyn FnOnce() + Send>;

/// Whether the answer is given, decided once: by the thread that has it, or by the asker, who waits no longer. So what
/// became of a wish is recorded once, and as it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted(Arc<OnceLock<bool>>);

impl Wanted {
    /// Whether the asker gets the answer. From then on the asker waits for it, past the deadline too.
    pub(super) fn keep(&self) -> bool {
        *self.0.get_or_init(|| true)
    }

    fn give_up(&self) -> bool {
        !*self.0.get_or_init(|| false)
    }

    fn given_up(&self) -> bool {
        self.0.get() == Some(&false)
    }
}

/// Gives up when the asker is dropped.
struct Asker(Wanted);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// The queue of one store, and its threads.
pub(super) struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: HashMap<String, VecDeque<Work>>,
    /// Components that have something waiting, in the order of their turns.
    turns: VecDeque<String>,
    closed: bool,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The component has too much waiting.
    Full,
    /// The store did not come to it in time.
    Late,
    /// What was to be done panicked.
    Failed,
}

impl Queue {
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        // Made first, so that threads end again if one of them does not start.
        let queue = Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                arrived: Condvar::new(),
            }),
        };
        for _ in 0..threads {
            let worker = Arc::clone(&queue.shared);
            thread::Builder::new()
                .name("countersign-device".to_owned())
                .spawn(move || worker.work())?;
        }
        Ok(queue)
    }

    /// How much waits for its turn.
    pub(super) fn waiting(&self) -> usize {
        let state = self.shared.lock();
        state.waiting.values().map(VecDeque::len).sum()
    }

    /// Has `work` done on one of the store's threads in this component's turn. It records nothing and gives nothing away
    /// before [`Wanted::keep`] says that there is somebody to have it.
    ///
    /// Whoever drops this future takes its work out of the queue, unless it was begun.
    pub(super) async fn ask<R: Send + 'static>(
        &self,
        component: &str,
        deadline: Duration,
        work: impl FnOnce(&Wanted) -> R + Send + 'static,
    ) -> Result<R, NoAnswer> {
        let (sender, mut receiver) = oneshot::channel();
        let asker = Asker(Wanted::default());
        let wanted = asker.0.clone();
        let work: Work = Box::new(move || {
            if !wanted.given_up() {
                // Nobody may wait any more; then the answer is for nobody.
                let _ = sender.send(work(&wanted));
            }
        });
        self.shared.push(component, work)?;
        let answer = match tokio::time::timeout(deadline, &mut receiver).await {
            Ok(answer) => answer,
            Err(_) if asker.0.give_up() => return Err(NoAnswer::Late),
            // It is there but for its record.
            Err(_) => receiver.await,
        };
        answer.map_err(|_| NoAnswer::Failed)
    }
}

/// Has `work` done by the asker: what only computes is computed in his own time. On a thread of a store it would interrupt
/// somebody else, wherever more computes than there are processors.
pub(super) fn at_once<R>(work: impl FnOnce() -> R) -> Result<R, NoAnswer> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| NoAnswer::Failed)
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, component: &str, work: Work) -> Result<(), NoAnswer> {
        let mut state = self.lock();
        let waiting = state.waiting.entry(component.to_owned()).or_default();
        if waiting.len() >= MAX_WAITING {
            return Err(NoAnswer::Full);
        }
        waiting.push_back(work);
        if waiting.len() == 1 {
            state.turns.push_back(component.to_owned());
        }
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    fn work(&self) {
        while let Some(work) = self.next() {
            // A back end that panics takes no other signature with it: its asker is told, the thread goes on.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    /// The next in turn; waits for one. `None` when the queue is closed.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(component) = state.turns.pop_front() {
                let waiting = state.waiting.get_mut(&component)?;
                let work = waiting.pop_front();
                if waiting.is_empty() {
                    state.waiting.remove(&component);
                } else {
                    state.turns.push_back(component);
                }
                return work;
            }
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_secs(60);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    /// Keeps the thread busy until the sender is dropped.
    fn hold(queue: &Queue) -> mpsc::Sender<()> {
        let (sender, receiver) = mpsc::channel::<()>();
        let (begun, wait) = mpsc::channel();
        queue
            .shared
            .push(
                "holder",
                Box::new(move || {
                    begun.send(()).unwrap();
                    let _ = receiver.recv();
                }),
            )
            .unwrap();
        wait.recv().unwrap();
        sender
    }

    #[test]
    fn te27_each_component_has_its_turn() {
        let queue = Queue::start(1).unwrap();
        let held = hold(&queue);
        let (order, done) = mpsc::channel();
        let push = |component: &'static str| {
            let order = order.clone();
            let work: Work = Box::new(move || order.send(component).unwrap());
            queue.shared.push(component, work).unwrap();
        };
        (0..40).for_each(|_| push("greedy"));
        push("modest");
        push("modest");
        drop(held);
        drop(order);
        let order: Vec<_> = (0..42).map(|_| done.recv_timeout(SOON).unwrap()).collect();
        assert_eq!(order[..4], ["greedy", "modest", "greedy", "modest"]);
        assert!(order[4..].iter().all(|component| *component == "greedy"));
    }

    #[test]
    fn te27_too_much_of_one_component_is_turned_away_and_nobody_elses() {
        let queue = Queue::start(1).unwrap();
        let held = hold(&queue);
        let push = |component: &str| queue.shared.push(component, Box::new(|| {}));
        (0..MAX_WAITING).for_each(|_| push("greedy").unwrap());
        assert_eq!(push("greedy"), Err(NoAnswer::Full));
        push("modest").unwrap();
        drop(held);
    }

    #[test]
    fn tf05_who_waits_too_long_is_told_and_the_thread_goes_on() {
        let queue = Queue::start(1).unwrap();
        let held = hold(&queue);
        runtime().block_on(async {
            let late = queue.ask("a:b", Duration::from_millis(20), |_| 1).await;
            assert_eq!(late, Err(NoAnswer::Late));
            drop(held);
            assert_eq!(queue.ask("a:b", SOON, |_| 2).await, Ok(2));
        });
    }

    #[test]
    fn te34_a_back_end_that_panics_fails_its_own_signature_only() {
        let queue = Queue::start(1).unwrap();
        runtime().block_on(async {
            let failed = queue.ask("a:b", SOON, |_| panic!("the driver")).await;
            assert_eq!(failed, Err::<(), _>(NoAnswer::Failed));
            assert_eq!(queue.ask("a:b", SOON, |_| 2).await, Ok(2));
        });
    }
    #[test]
    fn te29_an_answer_is_given_or_given_up_on_and_never_both() {
        let queue = Queue::start(1).unwrap();
        let short = Duration::from_millis(20);
        runtime().block_on(async {
            // The deadline passes while the hardware works: nobody gets the answer.
            let mut deadline = short;
            loop {
                let (let_go, held) = mpsc::channel::<()>();
                let (kept, was_kept) = mpsc::channel();
                let work = move |wanted: &Wanted| {
                    held.recv().unwrap();
                    kept.send(wanted.keep()).unwrap();
                };
                let answer = queue.ask("a:b", deadline, work).await;
                assert_eq!(answer, Err(NoAnswer::Late));
                let _ = let_go.send(());
                match was_kept.recv_timeout(SOON) {
                    Ok(kept) => break assert!(!kept),
                    // It passed before that began: a longer one is tried.
                    Err(why) => assert!(deadline < SOON, "{why}"),
                }
                deadline *= 4;
            }
            // It passes while the answer is recorded: the asker gets it.
            let mut deadline = short;
            loop {
                let (kept, was_kept) = mpsc::channel();
                let work = move |wanted: &Wanted| {
                    let keeps = wanted.keep();
                    kept.send(keeps).unwrap();
                    if keeps {
                        thread::sleep(deadline + short);
                    }
                    keeps
                };
                let answer = queue.ask("a:b", deadline, work).await;
                if was_kept.recv_timeout(SOON).unwrap_or(false) {
                    break assert_eq!(answer, Ok(true));
                }
                // It passed before that began.
                assert_eq!(answer, Err(NoAnswer::Late));
                assert!(deadline < SOON, "it was never begun in time");
                deadline *= 4;
            }
        });
    }

    #[test]
    fn te29_who_is_gone_gets_no_answer() {
        let queue = Queue::start(1).unwrap();
        let (let_go, held) = mpsc::channel::<()>();
        let (kept, was_kept) = mpsc::channel();
        runtime().block_on(async {
            let (begun, has_begun) = oneshot::channel();
            let work = move |wanted: &Wanted| {
                begun.send(()).unwrap();
                held.recv().unwrap();
                kept.send(wanted.keep()).unwrap();
            };
            let asked = queue.ask("a:b", SOON, work);
            // The guest ends while it waits.
            tokio::select! {
                answer = asked => panic!("{answer:?}"),
                begun = has_begun => begun.unwrap(),
            }
            let_go.send(()).unwrap();
            assert_eq!(was_kept.recv_timeout(SOON), Ok(false));
        });
    }
}

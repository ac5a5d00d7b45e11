//! One thread for each token, in which everything of the foreign module runs: so that a module that hangs stops that
//! thread and nobody else, and a session is never used by two threads.

use crate::connection::Connection;
use countersign_keys::{Error, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long one piece of work may take, waiting for others included: long enough for a person at a PIN pad.
const DEADLINE: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// How long the end of the thread is waited for.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way to the thread. When this is dropped, the thread closes its session, which ends the login, and ends.
pub(crate) struct Worker {
    jobs: Option<Sender<Job>>,
    ended: Mutex<Receiver<()>>,
    thread: Option<JoinHandle<()>>,
    deadline: Duration,
}

impl Worker {
    /// Starts the thread. Nothing is loaded before the first piece of work.
    pub(crate) fn start(connection: Connection) -> Result<Self, Error> {
        let (jobs, queue) = channel();
        let (end, ended) = channel();
        let thread = thread::Builder::new()
            .name("pkcs11".to_owned())
            .spawn(move || {
                serve(connection, &queue);
                drop(end);
            })
            .map_err(|source| {
                Error::with_source(
                    ErrorKind::Io,
                    format!("no thread for the token could be started: {source}; see the limits of this user"),
                    source,
                )
            })?;
        Ok(Self {
            jobs: Some(jobs),
            ended: Mutex::new(ended),
            thread: Some(thread),
            deadline: DEADLINE,
        })
    }

    /// The same with another deadline.
    #[cfg(test)]
    pub(crate) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Lets the thread do this piece of work, at most until the deadline. What has not begun by then is not done later.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let is_late = Arc::clone(&given_up);
        let job = move |connection: &mut Connection| {
            if !is_late.load(Ordering::SeqCst) {
                // Nobody waits any more after the deadline.
                let _ = answer.send(work(connection));
            }
        };
        let ended = || {
            Error::new(
                ErrorKind::Device,
                "the PKCS#11 module failed in the middle of its work; look at what was done before you try again",
            )
        };
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(Box::new(job)).map_err(|_| ended())?;
        answered
            .recv_timeout(self.deadline)
            .map_err(|error| match error {
                RecvTimeoutError::Disconnected => ended(),
                RecvTimeoutError::Timeout => {
                    given_up.store(true, Ordering::SeqCst);
                    Error::new(
                        ErrorKind::Timeout,
                        format!(
                            "the PKCS#11 module did not answer within {} seconds; see whether its token or its server can be reached",
                            self.deadline.as_secs_f32()
                        ),
                    )
                }
            })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        // A login shall not outlive the store that gave its PIN. A module that hangs is not waited for.
        let Ok(ended) = self.ended.get_mut() else {
            return;
        };
        // What the module keeps for a thread goes last, and must not meet the end of the process.
        if ended.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Disconnected)
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn serve(mut connection: Connection, queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        // Whatever a module brings us to, the next piece of work begins with a new session.
        if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
            connection.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_keys::Pkcs11Token;

    fn worker() -> Worker {
        Worker::start(Connection::new(Pkcs11Token::default())).expect("a thread")
    }

    #[test]
    fn tf05_a_module_that_does_not_answer_ends_at_the_deadline_and_later_work_is_done() {
        let worker = worker().with_deadline(Duration::from_millis(100));
        let (release, released) = channel::<()>();
        let error = worker
            .run(move |_| released.recv().is_ok())
            .expect_err("it hangs");
        assert_eq!(error.kind(), ErrorKind::Timeout);

        // What waits behind it ends too, and is not done afterwards.
        let late = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&late);
        let error = worker
            .run(move |_| done.store(true, Ordering::SeqCst))
            .expect_err("it waits");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        release.send(()).expect("the thread waits");
        let worker = worker.with_deadline(DEADLINE);
        assert_eq!(worker.run(|_| 7).expect("it answers again"), 7);
        assert!(!late.load(Ordering::SeqCst));
    }

    #[test]
    fn a_panic_ends_the_piece_of_work_and_not_the_thread() {
        let worker = worker();
        let error = worker.run(|_| panic!("on purpose")).expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Device);
        assert_eq!(worker.run(|_| 7).expect("it goes on"), 7);
    }
}

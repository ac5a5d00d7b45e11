//! How a component is put to work: the one thing in which kinds of services differ.
//!
//! Decides what of it runs, what its end is called, and that nothing of it runs any more afterwards. Admission, restarts,
//! exchange and what is told of it are the same for all kinds.

use countersign_runtime::{GuestContext, ReadyGuest, RunError};
use countersign_trust_store::Code;
use tokio::task::JoinHandle;

use crate::config::Work;

/// How a component ended: with a status of its own, or otherwise.
pub(super) type Ended = Result<u8, Failure>;

/// Why a component did not end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// None where this machine is at fault.
    pub(super) code: Option<Code>,
    pub(super) why: String,
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self {
            code: Some(error.code()),
            why: error.to_string(),
        }
    }
}

/// A component at work. Dropped, it ends.
pub(super) struct AtWork {
    task: JoinHandle<Ended>,
}

impl AtWork {
    /// Puts a component to work.
    pub(super) fn begin(work: &Work, ready: ReadyGuest<GuestContext>) -> Self {
        let task = match work {
            Work::Command => tokio::spawn(async { Ok(ready.run_command().await?) }),
        };
        Self { task }
    }

    /// How it ended, once it has ended by itself.
    pub(super) async fn ended(&mut self) -> Ended {
        (&mut self.task).await.unwrap_or_else(|error| {
            Err(RunError::HostPanicked {
                message: error.to_string(),
            }
            .into())
        })
    }

    /// Ends it, and waits until it is gone: the next one may use the same folders.
    pub(super) async fn end(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.task.abort();
    }
}

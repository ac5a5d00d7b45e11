//! How a component is put to work: the one thing in which kinds of services differ.
//!
//! Decides what of it runs, what its end is called, and that nothing of it runs any more afterwards. Admission, restarts,
//! exchange and what is told of it are the same for all kinds.

use std::sync::Arc;

use countersign_hosting::AuditLog;
use countersign_runtime::RunError;
use countersign_trust_store::Code;
use tokio::task::JoinHandle;

use crate::admission::Admitted;
use crate::config::{Service, Work};
use crate::messages::{Messages, Worker};

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
    /// Puts a component to work as a service. What of it is no end is recorded in `records`.
    pub(super) fn begin(service: &Service, admitted: &Admitted, records: &Arc<AuditLog>) -> Self {
        let ready = admitted.ready.clone();
        let task = match (&service.work, &admitted.post) {
            (Work::Messages(messages), Some(post)) => {
                let worker = Worker {
                    name: service.name.clone(),
                    messages: Messages::clone(messages),
                    ready,
                    post: post.clone(),
                    records: Arc::clone(records),
                };
                tokio::spawn(async { Err(worker.run().await.into()) })
            }
            // Without its post a component is a command that does not export one, and is told so.
            (Work::Command | Work::Schedule(_) | Work::Messages(_), _) => {
                tokio::spawn(async { Ok(ready.run_command().await?) })
            }
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

//! Brings leaves from the registry into the audit log on disk.
//!
//! Their order is fixed in the registry first, by one process for all; each log follows that order. A crash between the
//! two leaves a log that is shorter than the order, and catches up. A log that is longer than the order knows of was not
//! made from this registry, or the registry was put back from an old copy: then nothing is written, and it is said.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_audit_log::{Checkpoint, LogDirectory};
use countersign_registry::{Error as RegistryError, Lead, Registry};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// How often leaves are brought over.
const PAUSE: Duration = Duration::from_millis(200);

/// Leaves that are brought over at once.
const BATCH: u64 = 1024;

/// Why leaves were not brought into the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SequencerError {
    /// The log has entries that the registry does not know of.
    #[error(
        "the audit log has {log} entries, and the registry knows of {registry}: the registry was put back from an old copy, \
         or this is another one's log; restore the registry's newest copy, or have it catch up with the log"
    )]
    Ahead {
        /// Entries of the log.
        log: u64,
        /// Leaves of the registry that have a place.
        registry: u64,
    },
    /// The last entry of the log is not the leaf that the registry has at that place.
    #[error(
        "entry {place} of the audit log is not what the registry has there: one of the two was put back from an old copy, or \
         they do not belong together; restore the registry's newest copy, or begin a new log"
    )]
    Differs {
        /// The place.
        place: u64,
    },
    /// A leaf of the registry is missing.
    #[error("leaf {place} is missing in the registry: restore its newest copy")]
    Gap {
        /// The place.
        place: u64,
    },
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] countersign_audit_log::Error),
    /// The log's last entry could not be read.
    #[error("the last entry of the audit log cannot be read ({source}): verify the log")]
    Read {
        /// What the system says.
        source: std::io::Error,
    },
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] countersign_registry::Error),
    /// The task that wrote is gone.
    #[error("the audit log's task ended: start again")]
    Ended,
}

/// The task that does it.
#[derive(Debug)]
pub struct Sequencer {
    head: watch::Receiver<Checkpoint>,
    failure: Arc<Mutex<Option<String>>>,
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Sequencer {
    /// Starts it on the running tokio runtime, after everything that has a place is in the log.
    ///
    /// # Errors
    /// [`SequencerError`].
    pub async fn start(registry: Registry, log: LogDirectory) -> Result<Self, SequencerError> {
        same_last_entry(&registry, &log).await?;
        let mut log = once(&registry, log).await.map_err(|(error, _)| error)?;
        let (sender, head) = watch::channel(log.checkpoint().clone());
        let failure = Arc::new(Mutex::new(None));
        let stop = Arc::new(Notify::new());
        let (told, stopping) = (Arc::clone(&failure), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut is_last = false;
            loop {
                if !is_last {
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = stopping.notified() => is_last = true,
                    }
                }
                match once(&registry, log).await {
                    Ok(written) => {
                        log = written;
                        sender.send_replace(log.checkpoint().clone());
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    }
                    // The registry comes back; what the log says must be looked at.
                    Err((SequencerError::Registry(error), Some(kept))) => {
                        log = kept;
                        *told.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(error.to_string());
                    }
                    Err((error, _)) => {
                        tracing::error!(%error, "nothing more comes into the audit log");
                        *told.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(error.to_string());
                        return;
                    }
                }
                if is_last {
                    return;
                }
            }
        });
        Ok(Self {
            head,
            failure,
            stop,
            task,
        })
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn head(&self) -> Checkpoint {
        self.head.borrow().clone()
    }

    /// What keeps leaves from the log at present.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Done when nothing more comes into the log, whatever is waited for: it could not be written, or does not fit the
    /// registry. [`failure`](Self::failure) says why.
    pub async fn ended(&self) {
        let mut head = self.head.clone();
        // Its end of the channel goes with the task.
        while head.changed().await.is_ok() {}
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Brings over what is there, and ends.
    pub async fn stop(self) {
        self.stop.notify_one();
        let _ = self.task.await;
    }
}

/// Brings over everything that is there. The log comes back too when the registry failed.
async fn once(
    registry: &Registry,
    mut log: LogDirectory,
) -> Result<LogDirectory, (SequencerError, Option<LogDirectory>)> {
    loop {
        let size = log.checkpoint().size();
        let leaves = match next(registry, size).await {
            Ok(leaves) if leaves.is_empty() => return Ok(log),
            Ok(leaves) => leaves,
            Err(error) => return Err((error, Some(log))),
        };
        // Writing waits for the disk.
        let written = tokio::task::spawn_blocking(move || {
            let outcome = log.append(&leaves).map(|_| ());
            (log, outcome)
        });
        log = match written.await {
            Ok((log, Ok(()))) => log,
            Ok((_, Err(error))) => return Err((error.into(), None)),
            Err(_) => return Err((SequencerError::Ended, None)),
        };
    }
}

/// Whether log and registry agree on the last that both have.
async fn same_last_entry(registry: &Registry, log: &LogDirectory) -> Result<(), SequencerError> {
    let size = log.checkpoint().size();
    compare(registry, size).await?;
    same_entry(registry, log, size).await
}

/// Whether log and registry agree on the last of the first `count`, which both have.
pub(crate) async fn same_entry(
    registry: &Registry,
    log: &LogDirectory,
    count: u64,
) -> Result<(), SequencerError> {
    let head = log.checkpoint().head();
    let Some(place) = count.checked_sub(1) else {
        return Ok(());
    };
    let leaves = registry.leaves(place, 1).await?;
    let Some(leaf) = leaves.first().filter(|leaf| leaf.place == place) else {
        return Err(SequencerError::Gap { place });
    };
    let entry = log
        .folder()
        .entry(place, head)
        .map_err(|source| SequencerError::Read { source })?;
    if entry.as_deref() != Some(leaf.bytes.as_slice()) {
        return Err(SequencerError::Differs { place });
    }
    Ok(())
}

/// A log that is ahead is noted in the registry, which from then on issues nothing in any process.
async fn compare(registry: &Registry, size: u64) -> Result<(), SequencerError> {
    match registry.compare_log(size).await {
        Ok(()) => Ok(()),
        Err(RegistryError::Behind { log, registry }) => {
            Err(SequencerError::Ahead { log, registry })
        }
        Err(error) => Err(error.into()),
    }
}

/// The leaves that follow on `size` entries.
async fn next(registry: &Registry, size: u64) -> Result<Vec<Vec<u8>>, SequencerError> {
    // Before any place is given: what would get those that the log has used would never come into it.
    compare(registry, size).await?;
    if registry.leads(Lead::Audit).await? {
        registry.place_leaves(BATCH).await?;
    }
    let leaves = registry.leaves(size, BATCH).await?;
    let mut bytes = Vec::with_capacity(leaves.len());
    for (place, leaf) in (size..).zip(leaves) {
        if leaf.place != place {
            return Err(SequencerError::Gap { place });
        }
        bytes.push(leaf.bytes);
    }
    Ok(bytes)
}

//! Whether anything more is taken, and why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

use countersign_registry::Error as RegistryError;

use crate::Error;

/// Shared by everything that works for one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<Reasons>);

#[derive(Debug, Default)]
struct Reasons {
    is_draining: AtomicBool,
    /// What the registry said when its disk failed. That is never taken back.
    disk: OnceLock<Error>,
    /// Why the authority itself may not issue, as long as that is so.
    authority: RwLock<Option<String>>,
}

impl Stop {
    /// Takes nothing more.
    pub(crate) fn drain(&self) {
        self.0.is_draining.store(true, Ordering::SeqCst);
    }

    /// Lets nothing be issued for this reason, or lets it again.
    pub(crate) fn set_authority(&self, reason: Option<String>) {
        *self
            .0
            .authority
            .write()
            .unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Whether a request may come in.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.check_disk()?;
        if self.0.is_draining.load(Ordering::SeqCst) {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// Whether the authority itself may issue.
    pub(crate) fn check_authority(&self) -> Result<(), Error> {
        let reason = self
            .0
            .authority
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match reason.clone() {
            None => Ok(()),
            Some(reason) => Err(Error::Authority { reason }),
        }
    }

    /// Whether anything may be written.
    pub(crate) fn check_disk(&self) -> Result<(), Error> {
        self.0.disk.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// What the registry says, and stops where its disk failed.
    pub(crate) fn heed<T>(&self, outcome: Result<T, RegistryError>) -> Result<T, Error> {
        outcome.map_err(|error| self.at(error))
    }

    /// The same for an error.
    pub(crate) fn at(&self, error: RegistryError) -> Error {
        let error = Error::from(error);
        if matches!(error, Error::Disk { .. }) {
            let _ = self.0.disk.set(error.clone());
        }
        error
    }
}

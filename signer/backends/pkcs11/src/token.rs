//! A token that threads share: work is done in the worker's thread, and PINs are asked for outside it, because a person
//! may take longer than the deadline.

use crate::connection::{Connection, LoggedIn};
use crate::failure::Failure;
use crate::pin::{PinFor, Source};
use crate::slot::Present;
use crate::worker::Worker;
use countersign_keys::{Error, ErrorKind, Pkcs11Token};
use cryptoki::types::RawAuthPin;
use std::sync::{Arc, Mutex, PoisonError};

/// The token.
pub(crate) struct Token {
    worker: Worker,
    source: Source,
    /// How it is called in messages.
    name: String,
    label: String,
    /// Held while a PIN is asked for, so that threads do not ask for the same one. What the token said to a PIN that it
    /// refused: that source is not asked again.
    refused: Mutex<Option<(ErrorKind, String)>>,
}

type Work<T> = dyn Fn(&LoggedIn<'_>) -> Result<T, Failure> + Send + Sync;

impl Token {
    /// Finds the token. No PIN is asked for.
    pub(crate) fn open(wanted: &Pkcs11Token, source: Source) -> Result<(Self, Present), Error> {
        let worker = Worker::start(Connection::new(wanted.clone()))?;
        let present = worker
            .run(Connection::token)?
            .map_err(|failure| failure.told_of("the token"))?;
        let token = Self {
            worker,
            source,
            name: present.name(),
            label: present.info.label().to_owned(),
            refused: Mutex::new(None),
        };
        Ok((token, present))
    }

    /// How it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The token as it is now.
    pub(crate) fn present(&self) -> Result<Present, Error> {
        self.told(self.worker.run(Connection::token))
    }

    /// Does `work` in a session that is logged in. It may be done twice, if the session was lost in the middle.
    pub(crate) fn with<T: Send + 'static>(
        &self,
        writable: bool,
        work: impl Fn(&LoggedIn<'_>) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let work: Arc<Work<T>> = Arc::new(work);
        let first = self.attempt(writable, None, &work);
        if !matches!(first, Ok(Err(Failure::PinNeeded(_)))) {
            return self.told(first);
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have logged in while this one waited.
        let tries = match self.attempt(writable, None, &work) {
            Ok(Err(Failure::PinNeeded(tries))) => tries,
            result => return self.told(result),
        };
        if let Some((kind, said)) = &*refused {
            return Err(Error::new(*kind, said.clone()));
        }
        let pin = self.source.pin(PinFor {
            token: &self.label,
            tries,
        })?;
        let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
        let result = self.attempt(writable, Some(pin), &work);
        if let Ok(Err(Failure::PinRefused(error))) = &result {
            *refused = Some((error.kind(), error.to_string()));
        }
        self.told(result)
    }

    fn attempt<T: Send + 'static>(
        &self,
        writable: bool,
        pin: Option<RawAuthPin>,
        work: &Arc<Work<T>>,
    ) -> Result<Result<T, Failure>, Error> {
        let work = Arc::clone(work);
        self.worker
            .run(move |connection| connection.with(writable, pin.as_ref(), &*work))
    }

    fn told<T>(&self, result: Result<Result<T, Failure>, Error>) -> Result<T, Error> {
        result?.map_err(|failure| failure.told_of(&self.name))
    }
}

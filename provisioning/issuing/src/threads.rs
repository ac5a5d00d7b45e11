//! The threads that verify and sign: as many as there are processors, each with the issuer for itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use countersign_keys::SigningKey;
use countersign_provisioning::Issuer;

use crate::Error;

/// Work for one thread.
pub(crate) type Job = Box<dyn FnOnce(&Issuer<'_>) + Send>;

/// Where work is handed in. The threads end when the last of these is gone.
#[derive(Clone, Debug)]
pub(crate) struct Threads(Sender<Job>);

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    /// What [`Issuer::new`] says of key and certificate.
    pub(crate) fn start(key: &Arc<SigningKey>, certificate: &[u8]) -> Result<Self, Error> {
        Issuer::new(key, certificate)?;
        let (sender, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let count = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..count {
            let (key, receiver) = (Arc::clone(key), Arc::clone(&receiver));
            let certificate = certificate.to_vec();
            thread::Builder::new()
                .name("issuing".to_owned())
                .spawn(move || work(&key, &certificate, &receiver))
                .map_err(|error| Error::Unavailable {
                    reason: format!("no thread could be started: {error}"),
                })?;
        }
        Ok(Self(sender))
    }

    pub(crate) fn run(&self, job: impl FnOnce(&Issuer<'_>) + Send + 'static) {
        // The threads end after every sender; so there is one that takes it.
        let _ = self.0.send(Box::new(job));
    }
}

fn work(key: &SigningKey, certificate: &[u8], receiver: &Mutex<Receiver<Job>>) {
    // It was made of the same bytes before the thread began.
    let Ok(issuer) = Issuer::new(key, certificate) else {
        return;
    };
    loop {
        let job = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match job {
            // A thread that ended would be missing for good.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(|| job(&issuer)))),
            Err(_) => return,
        }
    }
}

/// Does `work`. A panic in it is a fault of this program, or of a key's store, that ends this request and no other.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::Fault))
}

//! Opening keys in hardware: each store on a thread of its own, and none waited for without end.
//!
//! Decides that a store that does not answer keeps nobody waiting but those who need its keys, and that it is asked again once it has
//! answered after all.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_hosting::lending::{KeySource, NotLent};

/// How long a store may take to open the keys that are asked for: far longer than any takes for a few.
const WITHIN: Duration = Duration::from_secs(30);

/// A key to be opened, and what is opened of it.
pub(crate) struct Wanted<T> {
    store: String,
    open: Box<dyn FnOnce() -> Result<T, NotLent> + Send>,
}

impl<T> Wanted<T> {
    /// `open` blocks while the store of this key answers.
    pub(crate) fn new(
        key: &KeySource,
        open: impl FnOnce() -> Result<T, NotLent> + Send + 'static,
    ) -> Self {
        Self {
            store: key.store(),
            open: Box::new(open),
        }
    }
}

/// Opens keys.
pub(crate) struct Opening {
    within: Duration,
    busy: Arc<Busy>,
}

/// The stores that are opening keys, and since when.
#[derive(Default)]
struct Busy {
    since: Mutex<BTreeMap<String, Instant>>,
    changed: Condvar,
}

impl Default for Opening {
    fn default() -> Self {
        Self::within(WITHIN)
    }
}

impl Opening {
    /// For stores that may take so long.
    pub(crate) fn within(within: Duration) -> Self {
        Self {
            within,
            busy: Arc::default(),
        }
    }

    /// Opens these keys. Blocks while their stores answer, and for no longer than they may take.
    pub(crate) fn open<N: Clone + Ord + Send + 'static, T: Send + 'static>(
        &self,
        wanted: BTreeMap<N, Wanted<T>>,
    ) -> BTreeMap<N, Result<T, NotLent>> {
        let mut stores = BTreeMap::<String, BTreeMap<N, Wanted<T>>>::new();
        for (name, wanted) in wanted {
            let of_store = stores.entry(wanted.store.clone()).or_default();
            of_store.insert(name, wanted);
        }
        // All at the same time.
        let begun: Vec<_> = stores
            .into_iter()
            .map(|(store, keys)| {
                let names: Vec<_> = keys.keys().cloned().collect();
                (names, self.begin(store, keys))
            })
            .collect();
        let mut all = BTreeMap::new();
        for (names, opened) in begun {
            let mut done = opened.map(Begun::in_time);
            for name in names {
                let opened = match &mut done {
                    Ok(done) => done.remove(&name).unwrap_or_else(|| Err(self.late())),
                    Err(error) => Err(NotLent::Hardware(format!(
                        "a thread for the device's keys does not start: {error}"
                    ))),
                };
                all.insert(name, opened);
            }
        }
        all
    }

    /// Begins to open the keys of one store.
    fn begin<N: Ord + Send + 'static, T: Send + 'static>(
        &self,
        store: String,
        keys: BTreeMap<N, Wanted<T>>,
    ) -> std::io::Result<Begun<N, T>> {
        let (told, answers) = channel();
        let (busy, within) = (Arc::clone(&self.busy), self.within);
        let until = Instant::now() + within;
        let all = keys.len();
        let thread = std::thread::Builder::new().name("opens-keys".to_owned());
        thread.spawn(move || {
            let Some(_turn) = Turn::take(&busy, store, within, until) else {
                return;
            };
            for (name, wanted) in keys {
                // Nobody waits any more: the next one has the store.
                let is_late = Instant::now() >= until;
                if is_late || told.send((name, (wanted.open)())).is_err() {
                    return;
                }
            }
        })?;
        Ok(Begun {
            answers,
            until,
            all,
        })
    }

    /// As if others opened keys of a store.
    #[cfg(test)]
    pub(crate) fn turn_of(&self, store: &str) -> impl Sized + use<> {
        let until = Instant::now() + self.within;
        Turn::take(&self.busy, store.to_owned(), self.within, until)
    }

    fn late(&self) -> NotLent {
        NotLent::Hardware(format!(
            "its store did not answer within {} s; it is asked again once it does, so see to what keeps it",
            self.within.as_secs()
        ))
    }
}

/// Keys of one store that are being opened.
struct Begun<N, T> {
    answers: Receiver<(N, Result<T, NotLent>)>,
    until: Instant,
    all: usize,
}

impl<N: Ord, T> Begun<N, T> {
    /// What was opened in time.
    fn in_time(self) -> BTreeMap<N, Result<T, NotLent>> {
        let mut done = BTreeMap::new();
        while done.len() < self.all {
            let left = self.until.saturating_duration_since(Instant::now());
            let Ok((name, opened)) = self.answers.recv_timeout(left) else {
                break;
            };
            done.insert(name, opened);
        }
        done
    }
}

/// A store's turn to open keys, which nobody else has.
struct Turn {
    busy: Arc<Busy>,
    store: String,
}

impl Turn {
    /// Waits until the store has opened what others want; none where it does not do so in the time that it may take, or `until`
    /// then.
    fn take(busy: &Arc<Busy>, store: String, within: Duration, until: Instant) -> Option<Self> {
        let mut since = busy.lock();
        while let Some(others) = since.get(&store) {
            let by = (*others + within).min(until);
            let left = by.checked_duration_since(Instant::now());
            let left = left.filter(|left| !left.is_zero())?;
            let waited = busy.changed.wait_timeout(since, left);
            since = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        since.insert(store.clone(), Instant::now());
        drop(since);
        let busy = Arc::clone(busy);
        Some(Self { busy, store })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.store);
        self.busy.changed.notify_all();
    }
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        // It is whole between any two statements.
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

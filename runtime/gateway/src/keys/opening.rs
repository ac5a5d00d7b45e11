//! Opening keys in hardware: each store on a thread of its own, and none waited for without end.
//!
//! Decides that a store that does not answer keeps nobody waiting but those who need its keys, and that it is asked again once it has
//! answered after all.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_hosting::lending::NotLent;
use countersign_runtime::host::{LentAttestation, LentKey};

use crate::config::{Key, Purpose};

/// How long a store may take to open the keys that are asked for: far longer than any takes for a few.
const WITHIN: Duration = Duration::from_secs(30);

/// A key that was opened.
pub(super) enum Opened {
    Attestation(Box<LentAttestation>),
    Key(LentKey),
}

/// A key to be opened, and the certificates to lend it with.
pub(super) type Wanted = (Key, Vec<Vec<u8>>);

/// Opens keys.
pub(super) struct Opening {
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
    pub(super) fn within(within: Duration) -> Self {
        Self {
            within,
            busy: Arc::default(),
        }
    }

    /// Opens these keys, by their names. Blocks while their stores answer, and for no longer than they may take.
    pub(super) fn open(
        &self,
        wanted: BTreeMap<String, Wanted>,
    ) -> BTreeMap<String, Result<Opened, NotLent>> {
        let mut stores = BTreeMap::<String, BTreeMap<String, Wanted>>::new();
        for (name, (key, chain)) in wanted {
            let of_store = stores.entry(key.source.store()).or_default();
            of_store.insert(name, (key, chain));
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
    fn begin(&self, store: String, keys: BTreeMap<String, Wanted>) -> std::io::Result<Begun> {
        let (told, answers) = channel();
        let (busy, within) = (Arc::clone(&self.busy), self.within);
        let until = Instant::now() + within;
        let all = keys.len();
        let thread = std::thread::Builder::new().name("opens-keys".to_owned());
        thread.spawn(move || {
            let Some(_turn) = Turn::take(&busy, store, within) else {
                return;
            };
            for (name, (key, chain)) in keys {
                // Nobody may wait any more.
                if told.send((name, opened(&key, chain))).is_err() {
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
    pub(super) fn turn_of(&self, store: &str) -> impl Sized + use<> {
        Turn::take(&self.busy, store.to_owned(), self.within)
    }

    fn late(&self) -> NotLent {
        NotLent::Hardware(format!(
            "its store did not answer within {} s; it is asked again once it does, so see to what keeps it",
            self.within.as_secs()
        ))
    }
}

/// Keys of one store that are being opened.
struct Begun {
    answers: Receiver<(String, Result<Opened, NotLent>)>,
    until: Instant,
    all: usize,
}

impl Begun {
    /// What was opened in time.
    fn in_time(self) -> BTreeMap<String, Result<Opened, NotLent>> {
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
    /// Waits until the store has opened what others want; none where it does not do so in time.
    fn take(busy: &Arc<Busy>, store: String, within: Duration) -> Option<Self> {
        let mut since = busy.lock();
        while let Some(others) = since.get(&store) {
            let left = (*others + within).checked_duration_since(Instant::now());
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

fn opened(key: &Key, chain: Vec<Vec<u8>>) -> Result<Opened, NotLent> {
    if key.purpose == Purpose::Attestation {
        let (program, how) = ("countersign-gateway", "registers = [0, 2, 7]");
        let lent = key
            .source
            .attestation(chain, &key.registers, program, how)?;
        return Ok(Opened::Attestation(Box::new(lent)));
    }
    Ok(Opened::Key(key.source.lent(chain)?))
}

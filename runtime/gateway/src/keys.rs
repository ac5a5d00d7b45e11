//! The device's keys, lent to the components of all services: opened at the start and at a reload, with one queue for each
//! store.
//!
//! Decides that a component that needs a key which is not there does not start, and that all others do. A key that is there
//! stays lent while its hardware fails; its users are told with each signature.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_format::{Digest, Statement};
use countersign_hosting::AuditLog;
use countersign_hosting::lending::{self, NotLent};
use countersign_runtime::Ceiling;
use countersign_runtime::host::{Device, DeviceBuilder};

use crate::admission::Refusal;
use crate::config::{Key, Purpose, Service};
use crate::identity::{Possessed, digest};
use crate::say::warn;

/// The keys of a configuration, as far as they are there.
pub(crate) struct Keys {
    records: Arc<AuditLog>,
    now: Mutex<(Turn, Arc<Lent>)>,
    /// How often keys were asked to be opened.
    asked: AtomicU64,
}

/// Which of the times that keys are opened this is: what was asked for last counts, whatever takes longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(u64);

/// What is lent.
#[derive(Default)]
struct Lent {
    device: Option<Device>,
    open: BTreeMap<String, Open>,
    absent: BTreeMap<String, (Key, Arc<NotLent>)>,
}

/// A key that is lent.
struct Open {
    key: Key,
    /// SHA-256 of the certificates.
    digest: Digest,
    /// The certificates, if it was shown to be here with them.
    here: Option<Vec<Vec<u8>>>,
}

/// Which keys that are not lent are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    /// Each.
    All,
    /// Those whose hardware was missing: what an operator must mend first is left alone, a wrong PIN above all.
    Hardware,
}

impl Keys {
    /// None yet. What is signed with them is recorded in `records`.
    pub(crate) fn new(records: Arc<AuditLog>) -> Self {
        Self {
            records,
            now: Mutex::default(),
            asked: AtomicU64::new(0),
        }
    }

    /// The next time that keys are opened.
    pub(crate) fn turn(&self) -> Turn {
        Turn(self.asked.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    /// Lends these keys from now on: opens those that are new, were changed, or could not be opened before. Blocks while
    /// hardware answers. Changes nothing if others were asked for since.
    pub(crate) fn lend(&self, keys: &BTreeMap<String, Key>, which: Try, turn: Turn) {
        let before = self.now();
        let mut next = Lent::default();
        let mut builder = before.device.as_ref().map(Device::successor);
        if let Some(builder) = &mut builder {
            let other =
                |name: &&String| keys.get(*name) != before.open.get(*name).map(|open| &open.key);
            for name in before.open.keys().filter(other) {
                builder.remove(name);
            }
        }
        let for_guests = keys.iter().filter(|(_, key)| key.purpose != Purpose::Tls);
        for (name, key) in for_guests {
            let open = before.open.get(name).filter(|open| open.key == *key);
            let absent = before.absent.get(name).filter(|(absent, _)| absent == key);
            if let Some((_, reason)) = absent
                && which == Try::Hardware
                && matches!(**reason, NotLent::Misused(_))
            {
                next.absent
                    .insert(name.clone(), (key.clone(), Arc::clone(reason)));
                continue;
            }
            match self.open(key, open.map(|open| open.digest), &mut builder) {
                Ok(digest) => {
                    let same = open.filter(|open| open.digest == digest);
                    let open = Open {
                        key: key.clone(),
                        digest,
                        here: same.and_then(|open| open.here.clone()),
                    };
                    next.open.insert(name.clone(), open);
                }
                Err(reason) => {
                    let known = absent.map(|(_, before)| before.to_string());
                    if known != Some(reason.to_string()) {
                        warn("", &format!("the key {name} is not lent: {reason}"));
                    }
                    next.absent
                        .insert(name.clone(), (key.clone(), Arc::new(reason)));
                }
            }
        }
        if let Some(builder) = builder {
            match builder.build() {
                Ok(device) => next.device = Some(device),
                Err(error) => {
                    let why = Arc::new(NotLent::Hardware(format!(
                        "a thread for the device's keys does not start: {error}"
                    )));
                    warn("", &why.to_string());
                    let open = std::mem::take(&mut next.open).into_iter();
                    let absent = open.map(|(name, open)| (name, (open.key, Arc::clone(&why))));
                    next.absent.extend(absent);
                }
            }
        }
        if let Some(device) = &next.device {
            for open in next.open.values_mut().filter(|open| open.here.is_none()) {
                open.here = shown(device, open);
            }
        }
        let mut now = self.lock();
        if now.0 < turn {
            *now = (turn, Arc::new(next));
        }
    }

    /// Nobody waits any more for keys that are being opened: they are not lent when they are there. Those that are lent stay so.
    pub(crate) fn supersede(&self) {
        self.lock().0 = self.turn();
    }

    /// The keys that were shown to be here, with their certificates.
    pub(crate) fn possessed(&self) -> Vec<Possessed> {
        let now = self.now();
        let keys = now.open.iter().filter_map(|(name, open)| {
            Some(Possessed {
                name: name.clone(),
                purpose: open.key.purpose,
                chain: open.here.clone()?,
            })
        });
        keys.collect()
    }

    /// Writes into these services with which certificates their keys are lent, so that a service whose key got others is known
    /// to be another.
    pub(crate) fn certify(&self, services: &mut [Service]) {
        let now = self.now();
        for grant in services
            .iter_mut()
            .flat_map(|service| &mut service.grants.keys)
        {
            grant.certificates = now.open.get(grant.name()).map(|open| open.digest);
        }
    }

    /// Whether a key that a service is allowed is not there.
    pub(crate) fn lacks(&self, service: &Service) -> bool {
        let (now, mut grants) = (self.now(), service.grants.keys.iter());
        grants.any(|grant| !now.open.contains_key(grant.name()))
    }

    /// The ceiling with the device, for a component with this statement.
    ///
    /// # Errors
    /// The reason why a key that it asks for and is allowed is not there.
    pub(crate) fn of(
        &self,
        service: &Service,
        statement: &Statement,
        ceiling: Ceiling,
    ) -> Result<Ceiling, Arc<NotLent>> {
        let now = self.now();
        for grant in &service.grants.keys {
            let asked = &statement.grants().keys;
            if asked.iter().any(|asked| asked.name == grant.name())
                && !now.open.contains_key(grant.name())
            {
                let absent = now.absent.get(grant.name());
                // What was opened for others than who asks now is opened again.
                let unknown =
                    || NotLent::Hardware(format!("the key {} is not open yet", grant.name()));
                return Err(absent.map_or_else(|| Arc::new(unknown()), |(_, why)| Arc::clone(why)));
            }
        }
        Ok(match &now.device {
            Some(device) if !service.grants.keys.is_empty() => ceiling.device(device.clone()),
            _ => ceiling,
        })
    }

    /// How many signatures wait for the hardware.
    pub(crate) fn waiting(&self) -> usize {
        self.now().device.as_ref().map_or(0, Device::waiting)
    }

    /// The device, if it can attest.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn attesting(&self) -> Result<Device, Refusal> {
        let now = self.now();
        let attests = |key: &Key| key.purpose == Purpose::Attestation;
        if let Some((_, reason)) = now.absent.values().find(|(key, _)| attests(key)) {
            return Err(Refusal::of_key(reason));
        }
        match &now.device {
            Some(device) if now.open.values().any(|open| attests(&open.key)) => Ok(device.clone()),
            _ => Err(anyhow::anyhow!(
                "no key that attests is open; if the configuration names one, try again in a moment, and otherwise give it a [[key]] with purpose = \"attestation\", and reload"
            )
            .into()),
        }
    }

    /// Has the key lent with the certificates that are in its file now. `known` are those with which it is lent already, and
    /// goes on to be while those in the file cannot be had.
    fn open(
        &self,
        key: &Key,
        known: Option<Digest>,
        builder: &mut Option<DeviceBuilder>,
    ) -> Result<Digest, NotLent> {
        let name = &key.source.name;
        let as_before = |reason: NotLent| {
            let Some(known) = known else {
                return Err(reason);
            };
            warn(
                "",
                &format!("the key {name} is lent with its certificates of before: {reason}"),
            );
            Ok(known)
        };
        let chain = match key.source.certificates() {
            Ok(chain) => chain,
            Err(error) => return as_before(error.into()),
        };
        let digest = digest(&chain);
        if known == Some(digest) {
            return Ok(digest);
        }
        let building = match builder {
            Some(building) => building,
            none => none.insert(lending::device(name, &chain, &self.records)?),
        };
        if key.purpose == Purpose::Attestation {
            let (program, how) = ("countersign-gateway", "registers = [0, 2, 7]");
            match key.source.attestation(chain, &key.registers, program, how) {
                Ok(lent) => {
                    building.remove(name);
                    building.add_attestation(name, lent)?;
                }
                Err(reason) => return as_before(reason),
            }
        } else {
            match key.source.lent(chain) {
                Ok(lent) => {
                    building.remove(name);
                    building.add_key(name, lent)?;
                }
                Err(reason) => return as_before(reason),
            }
        }
        Ok(digest)
    }

    fn now(&self) -> Arc<Lent> {
        Arc::clone(&self.lock().1)
    }

    fn lock(&self) -> MutexGuard<'_, (Turn, Arc<Lent>)> {
        // It is exchanged whole.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The certificates of a key, if it signs something new now. One that does not is lent nevertheless: its users are told with each
/// signature.
fn shown(device: &Device, open: &Open) -> Option<Vec<Vec<u8>>> {
    let source = &open.key.source;
    let chain = source.certificates().ok()?;
    // Not exchanged meanwhile.
    if digest(&chain) != open.digest {
        return None;
    }
    let mut challenge = [0; 32];
    getrandom::fill(&mut challenge).ok()?;
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    match runtime.block_on(device.shows(&source.name, challenge)) {
        Ok(()) => Some(chain),
        Err(error) => {
            warn(
                "",
                &format!(
                    "the key {} does not show that it is here: {error}",
                    source.name
                ),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tf01_keys_for_which_nobody_waits_any_more_are_not_lent_when_they_open() {
        let keys = Keys::new(Arc::new(AuditLog::open(None).expect("nowhere")));
        let (before, late) = (keys.now(), keys.turn());
        keys.supersede();
        keys.lend(&BTreeMap::new(), Try::All, late);
        assert!(Arc::ptr_eq(&before, &keys.now()));
        // Whoever asks after that gets them.
        let next = keys.turn();
        keys.lend(&BTreeMap::new(), Try::All, next);
        assert!(!Arc::ptr_eq(&before, &keys.now()));
    }
}

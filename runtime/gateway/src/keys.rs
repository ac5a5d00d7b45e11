//! The device's keys, lent to the components of all services: opened at the start and at a reload, with one queue for each
//! store.
//!
//! Decides that a component that needs a key which is not there does not start, and that all others do. A key that is there
//! stays lent while its hardware fails; its users are told with each signature.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_format::{Digest, DigestWriter, Statement};
use countersign_hosting::AuditLog;
use countersign_hosting::lending::{self, NotLent};
use countersign_runtime::Ceiling;
use countersign_runtime::host::{Device, DeviceBuilder};

use crate::config::{Key, Purpose, Service};
use crate::say::warn;

/// The keys of a configuration, as far as they are there.
pub(crate) struct Keys {
    records: Arc<AuditLog>,
    now: Mutex<Arc<Lent>>,
}

/// What is lent.
#[derive(Default)]
struct Lent {
    device: Option<Device>,
    /// With the digest of the certificates.
    open: BTreeMap<String, (Key, Digest)>,
    absent: BTreeMap<String, (Key, Arc<NotLent>)>,
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
        }
    }

    /// Lends these keys from now on: opens those that are new, were changed, or could not be opened before. Blocks while
    /// hardware answers.
    pub(crate) fn lend(&self, keys: &BTreeMap<String, Key>, which: Try) {
        let before = self.now();
        let mut next = Lent::default();
        let mut builder = before.device.as_ref().map(Device::successor);
        if let Some(builder) = &mut builder {
            let other =
                |name: &&String| keys.get(*name) != before.open.get(*name).map(|(key, _)| key);
            for name in before.open.keys().filter(other) {
                builder.remove(name);
            }
        }
        let for_guests = keys.iter().filter(|(_, key)| key.purpose != Purpose::Tls);
        for (name, key) in for_guests {
            let open = before.open.get(name).filter(|(open, _)| open == key);
            let absent = before.absent.get(name).filter(|(absent, _)| absent == key);
            if let Some((_, reason)) = absent
                && which == Try::Hardware
                && matches!(**reason, NotLent::Misused(_))
            {
                next.absent
                    .insert(name.clone(), (key.clone(), Arc::clone(reason)));
                continue;
            }
            match self.open(key, open.map(|(_, digest)| *digest), &mut builder) {
                Ok(digest) => {
                    next.open.insert(name.clone(), (key.clone(), digest));
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
                    let absent = open.map(|(name, (key, _))| (name, (key, Arc::clone(&why))));
                    next.absent.extend(absent);
                }
            }
        }
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// Writes into these services with which certificates their keys are lent, so that a service whose key got others is known
    /// to be another.
    pub(crate) fn certify(&self, services: &mut [Service]) {
        let now = self.now();
        for grant in services
            .iter_mut()
            .flat_map(|service| &mut service.grants.keys)
        {
            grant.certificates = now.open.get(grant.name()).map(|(_, digest)| *digest);
        }
    }

    /// Whether a key that a service is allowed is not there.
    pub(crate) fn lacks(&self, service: &Service) -> bool {
        let (now, mut grants) = (self.now(), service.grants.keys.iter());
        grants.any(|grant| now.absent.contains_key(grant.name()))
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
                && let Some((_, reason)) = now.absent.get(grant.name())
            {
                return Err(Arc::clone(reason));
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
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which certificates these are.
fn digest(chain: &[Vec<u8>]) -> Digest {
    let mut writer = DigestWriter::new();
    for certificate in chain {
        // With its length, so that none begins in another.
        let length = u64::try_from(certificate.len()).unwrap_or(u64::MAX);
        writer.update(&length.to_be_bytes());
        writer.update(certificate);
    }
    writer.finish()
}

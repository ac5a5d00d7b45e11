//! The device's keys, lent to the components of all services: opened at the start and at a reload, with one queue for each
//! store.
//!
//! Decides that a component that needs a key which is not there does not start, and that all others do. A key that is there
//! stays lent while its hardware fails; its users are told with each signature.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_format::{Digest, Statement};
use countersign_hosting::AuditLog;
use countersign_hosting::lending::{self, NotLent};
use countersign_runtime::Ceiling;
use countersign_runtime::host::{Device, DeviceBuilder, LentAttestation, LentKey};

use crate::admission::Refusal;
use crate::config::{Key, Purpose, Service};
use crate::identity::{Possessed, digest};
use crate::opening::{Opening, Wanted};
use crate::say::warn;

/// How long a key that was opened may take to show that it is here.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// The keys of a configuration, as far as they are there.
pub(crate) struct Keys {
    records: Arc<AuditLog>,
    opening: Arc<Opening>,
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
    /// None yet. They are opened by `opening`, and what is signed with them is recorded in `records`.
    pub(crate) fn new(records: Arc<AuditLog>, opening: Arc<Opening>) -> Self {
        Self {
            records,
            opening,
            now: Mutex::default(),
            asked: AtomicU64::new(0),
        }
    }

    /// The next time that keys are opened.
    pub(crate) fn turn(&self) -> Turn {
        Turn(self.asked.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    /// Lends these keys from now on: opens those that are new, were changed, or could not be opened before. Blocks while
    /// hardware answers, for a bounded time; a key whose hardware does not is not lent. Changes nothing if others were asked for
    /// since.
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
        let mut wanted = BTreeMap::new();
        let mut known = BTreeMap::new();
        for (name, key) in for_guests.clone() {
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
            match self.certificates(key, open, &mut builder) {
                Ok((digest, chain)) if open.is_none_or(|open| open.digest != digest) => {
                    wanted.insert(name.clone(), wanted_of(key, chain));
                    known.insert(name, Ok(digest));
                }
                Ok((digest, _)) => drop(known.insert(name, Ok(digest))),
                Err(reason) => drop(known.insert(name, Err(reason))),
            }
        }
        let mut opened = self.opening.open(wanted);
        for (name, key) in for_guests {
            let Some(digest) = known.remove(name) else {
                continue;
            };
            let open = before.open.get(name).filter(|open| open.key == *key);
            let lent = match (digest, opened.remove(name)) {
                (Ok(digest), Some(Ok(opened))) => add(name, opened, &mut builder).map(|()| digest),
                (Ok(digest), None) => Ok(digest),
                (Err(reason), _) | (Ok(_), Some(Err(reason))) => as_before(name, open, reason),
            };
            match lent {
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
                    let absent = before.absent.get(name).filter(|(absent, _)| absent == key);
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
            show(device, next.open.values_mut());
        }
        let mut now = self.lock();
        if now.0 < turn {
            *now = (turn, Arc::new(next));
        }
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

    /// The certificates in a key's file now, and SHA-256 of them. What the first of a device's keys says, it is.
    fn certificates(
        &self,
        key: &Key,
        open: Option<&Open>,
        builder: &mut Option<DeviceBuilder>,
    ) -> Result<(Digest, Vec<Vec<u8>>), NotLent> {
        let chain = key.source.certificates()?;
        let digest = digest(&chain);
        if builder.is_none() && open.is_none() {
            *builder = Some(lending::device(&key.source.name, &chain, &self.records)?);
        }
        Ok((digest, chain))
    }

    fn now(&self) -> Arc<Lent> {
        Arc::clone(&self.lock().1)
    }

    fn lock(&self) -> MutexGuard<'_, (Turn, Arc<Lent>)> {
        // It is exchanged whole.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that was opened.
enum Opened {
    Attestation(Box<LentAttestation>),
    Key(LentKey),
}

/// A key to be opened, to be lent with these certificates.
fn wanted_of(key: &Key, chain: Vec<Vec<u8>>) -> Wanted<Opened> {
    let of = key.clone();
    Wanted::new(&key.source, move || {
        let source = &of.source;
        if of.purpose == Purpose::Attestation {
            let (program, how) = ("countersign-gateway", "registers = [0, 2, 7]");
            let lent = source.attestation(chain, &of.registers, program, how)?;
            return Ok(Opened::Attestation(Box::new(lent)));
        }
        Ok(Opened::Key(source.lent(chain)?))
    })
}

/// Has the device lend a key that was opened. Where it refuses that, the key is not lent any more either as it was before.
fn add(name: &str, opened: Opened, builder: &mut Option<DeviceBuilder>) -> Result<(), NotLent> {
    let Some(building) = builder else {
        return Err(NotLent::Hardware(format!("the key {name} is no device's")));
    };
    building.remove(name);
    match opened {
        Opened::Attestation(lent) => building.add_attestation(name, *lent)?,
        Opened::Key(lent) => building.add_key(name, lent)?,
    }
    Ok(())
}

/// What is lent already goes on to be, with its certificates, while those in its file, or the key, cannot be had.
fn as_before(name: &str, open: Option<&Open>, reason: NotLent) -> Result<Digest, NotLent> {
    let Some(open) = open else {
        return Err(reason);
    };
    warn(
        "",
        &format!("the key {name} is lent with its certificates of before: {reason}"),
    );
    Ok(open.digest)
}

/// Has each key that was not shown to be here yet sign something new, all at the same time. One that does not is lent nevertheless:
/// its users are told with each signature.
fn show<'a>(device: &Device, keys: impl Iterator<Item = &'a mut Open>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let begun: Vec<_> = keys
        .filter(|open| open.here.is_none())
        .map(|open| {
            let (device, name) = (device.clone(), open.key.source.name.clone());
            let chain = open.key.source.certificates().ok();
            // Not exchanged meanwhile.
            let chain = chain.filter(|chain| digest(chain) == open.digest);
            let mut challenge = [0; 32];
            let chain = chain.filter(|_| getrandom::fill(&mut challenge).is_ok());
            let shown = runtime.spawn(async move {
                let shown = device.shows(&name, challenge);
                tokio::time::timeout(SHOWN_WITHIN, shown).await
            });
            (open, chain, shown)
        })
        .collect();
    for (open, chain, shown) in begun {
        let why = match runtime.block_on(shown) {
            Ok(Ok(Ok(()))) => {
                open.here = chain;
                continue;
            }
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => format!("no answer within {} s", SHOWN_WITHIN.as_secs()),
            Err(error) => error.to_string(),
        };
        let name = &open.key.source.name;
        let why = format!("the key {name} does not show that it is here: {why}");
        warn("", &why);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use countersign_hosting::lending::{KeySource, SecretSource};
    use countersign_testing::{Profile, TestPki};
    use countersign_trust_store::Code;

    use super::*;

    fn keys(opening: Opening) -> Keys {
        let records = AuditLog::open(None).expect("nowhere");
        Keys::new(Arc::new(records), Arc::new(opening))
    }

    fn source(folder: &Path, name: &str, uri: &str) -> Key {
        Key {
            source: KeySource {
                name: name.to_owned(),
                uri: uri.parse().expect("a key"),
                chain: folder.join("device.chain.pem"),
                secret: SecretSource::Unnamed { how: String::new() },
            },
            purpose: Purpose::GuestData,
            registers: Vec::new(),
        }
    }

    #[test]
    fn tf01_of_keys_that_are_opened_at_the_same_time_those_count_that_were_asked_for_last() {
        let keys = keys(Opening::default());
        let (before, late, next) = (keys.now(), keys.turn(), keys.turn());
        keys.lend(&BTreeMap::new(), Try::All, next);
        let newest = keys.now();
        assert!(!Arc::ptr_eq(&before, &newest));
        keys.lend(&BTreeMap::new(), Try::All, late);
        assert!(Arc::ptr_eq(&newest, &keys.now()));
    }

    #[test]
    fn tf05_a_store_that_never_answers_keeps_nobody_from_the_keys_of_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = TestPki::builder().profile(Profile::GuestData).build();
        let files = pki.write(folder.path());
        let keys = keys(Opening::within(Duration::from_secs(4)));
        let fine = format!("file:{}", files.key.display());
        let program = folder.path().join("hangs");
        std::fs::write(&program, "exec sleep 20").expect("ours");
        let hung = format!("exec:sh {}", program.display());
        let both: BTreeMap<_, _> = [("a-hung", &hung), ("fine", &fine)]
            .map(|(name, uri)| (name.to_owned(), source(folder.path(), name, uri)))
            .into();
        let began = Instant::now();
        let turn = keys.turn();
        keys.lend(&both, Try::All, turn);
        let now = keys.now();
        assert!(now.open.contains_key("fine") && now.device.is_some());
        let (_, why) = &now.absent["a-hung"];
        assert_eq!(why.code(), Some(Code::KeyHardware));
        assert!(why.to_string().contains("did not answer"), "{why}");
        // Nor is it waited for once more, while it does not.
        let again = Instant::now();
        let turn = keys.turn();
        keys.lend(&both, Try::Hardware, turn);
        assert!(keys.now().absent.contains_key("a-hung"));
        assert!(again.elapsed() < Duration::from_secs(3), "{again:?}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn tf08_a_key_is_lent_again_when_the_certificate_of_another_was_taken_from_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let written = |name: &str| {
            let own = folder.path().join(name);
            std::fs::create_dir(&own).expect("made");
            TestPki::builder()
                .profile(Profile::GuestData)
                .build()
                .write(&own)
        };
        let (files, others) = (written("own"), written("others"));
        let uri = format!("file:{}", files.key.display());
        let key = source(folder.path(), "fine", &uri);
        let place = key.source.chain.clone();
        let all = BTreeMap::from([("fine".to_owned(), key)]);
        let keys = keys(Opening::default());
        let lent = |chain: &Path| {
            std::fs::copy(chain, &place).expect("copied");
            let turn = keys.turn();
            keys.lend(&all, Try::All, turn);
            let now = keys.now();
            let by_device = now
                .device
                .as_ref()
                .is_some_and(|device| device.lends("fine"));
            assert_eq!(now.open.contains_key("fine"), by_device);
            assert_ne!(
                now.open.contains_key("fine"),
                now.absent.contains_key("fine")
            );
            by_device
        };
        assert!(lent(&files.chain));
        assert!(!lent(&others.chain));
        assert!(lent(&files.chain));
        // What cannot be read says nothing of what was lent.
        std::fs::write(&others.chain, "none").expect("ours");
        assert!(lent(&others.chain));
    }

    #[test]
    fn tf05_a_store_that_answers_after_all_is_asked_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = TestPki::builder().profile(Profile::GuestData).build();
        let files = pki.write(folder.path());
        let opening = Opening::within(Duration::from_secs(2));
        let uri = format!("file:{}", files.key.display());
        let key = source(folder.path(), "fine", &uri);
        let chain = key.source.certificates().expect("certificates");
        let open = || {
            let wanted = BTreeMap::from([("fine", wanted_of(&key, chain.clone()))]);
            opening.open(wanted).remove("fine").expect("asked for")
        };
        let others = opening.turn_of(&key.source.store());
        assert!(open().is_err());
        drop(others);
        assert!(open().is_ok());
    }
}

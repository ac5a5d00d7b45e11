//! The device: its identity, the keys that it lends, the threads that use them. Decides that a lent key is the one that
//! its certificate is for, and that the certificate is for guest data and for this device.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use countersign_format::{BootId, DeviceIdentity};
use countersign_keys::{PublicKey, SigningKey};
use countersign_trust_store::{Certificate, CertifiedDevice, Fault, PathProfile};

use super::attestation::LentAttestation;
use super::queue::{Queue, THREADS};
use super::quota::Quotas;
use super::record::SigningRecord;

/// How long a guest's signature may take, waiting included, unless the host says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

/// Called with one record for every signature and refusal.
type Sink = dyn Fn(&SigningRecord) -> io::Result<()> + Send + Sync;

/// A device that lends its keys to guests. Copies are the same device: the same threads, queues and counts.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    identity: DeviceIdentity,
    device_type: Option<String>,
    boot: BootId,
    keys: BTreeMap<String, Arc<LentKey>>,
    attestation: Option<(String, Arc<LentAttestation>)>,
    common: Arc<Common>,
    /// One for each store.
    queues: BTreeMap<String, Arc<Queue>>,
    deadline: Duration,
    audit: Arc<Sink>,
}

/// What a device has in common with its successors.
struct Common {
    sequence: AtomicU64,
    quotas: Quotas,
    denials: Quotas,
    /// The queues that any of them uses.
    queues: Mutex<BTreeMap<String, Weak<Queue>>>,
}

impl Common {
    /// The queue of a store: one, whoever uses it. The last to drop it ends its threads.
    fn queue(&self, store: &str) -> io::Result<Arc<Queue>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|_, queue| queue.strong_count() > 0);
        if let Some(queue) = queues.get(store).and_then(Weak::upgrade) {
            return Ok(queue);
        }
        let queue = Arc::new(Queue::start(THREADS)?);
        queues.insert(store.to_owned(), Arc::downgrade(&queue));
        Ok(queue)
    }
}

/// A key to lend, with its certificates.
#[derive(Debug)]
pub struct LentKey {
    pub(super) key: SigningKey,
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) store: String,
}

impl LentKey {
    /// A key and its certificates: DER, the device's own first, without the root. Whether they lead to a root is for those
    /// to judge who read what is signed.
    #[must_use]
    pub fn new(key: SigningKey, chain: Vec<Vec<u8>>) -> Self {
        Self {
            key,
            chain,
            store: String::new(),
        }
    }

    /// The store that holds the key, in any words. Keys of one store share a queue; one store that hangs does not hold up
    /// another. Unless it is said, all keys are in one store.
    #[must_use]
    pub fn in_store(mut self, store: impl Into<String>) -> Self {
        self.store = store.into();
        self
    }
}

impl Device {
    /// Starts to describe a device. `boot` must be random, and new at every start of the process: with the sequence number
    /// it makes every signature's claims unique.
    ///
    /// `sink` is called with a record of every signature and refusal, from a store's thread or the guest's. A signature
    /// whose record could not be kept does not leave the host.
    #[must_use]
    pub fn builder(
        identity: DeviceIdentity,
        boot: BootId,
        sink: impl Fn(&SigningRecord) -> io::Result<()> + Send + Sync + 'static,
    ) -> DeviceBuilder {
        DeviceBuilder {
            identity,
            device_type: None,
            boot,
            keys: BTreeMap::new(),
            attestation: None,
            deadline: DEADLINE,
            audit: Arc::new(sink),
            common: Arc::new(Common {
                sequence: AtomicU64::new(1),
                quotas: Quotas::default(),
                denials: Quotas::default(),
                queues: Mutex::default(),
            }),
        }
    }

    /// Starts to describe this device as it is from now on, for a host that lends other keys than before: it begins with all
    /// that are lent now. Guests that have the device as it was keep it; both are one device, with the same threads, queues and
    /// counts.
    #[must_use]
    pub fn successor(&self) -> DeviceBuilder {
        let now = &self.0;
        DeviceBuilder {
            identity: now.identity.clone(),
            device_type: now.device_type.clone(),
            boot: now.boot,
            keys: now.keys.clone(),
            attestation: now.attestation.clone(),
            deadline: now.deadline,
            audit: Arc::clone(&now.audit),
            common: Arc::clone(&now.common),
        }
    }

    /// The device's identity.
    #[must_use]
    pub fn identity(&self) -> &DeviceIdentity {
        &self.0.identity
    }

    /// The device's type, if it has one.
    #[must_use]
    pub fn device_type(&self) -> Option<&str> {
        self.0.device_type.as_deref()
    }

    /// This run of the host.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.0.boot
    }

    pub(super) fn key(&self, name: &str) -> Option<&LentKey> {
        self.0.keys.get(name).map(Arc::as_ref)
    }

    /// How many signatures wait for the hardware's turn, those of the device's predecessors included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let queues = self.0.common.queues.lock();
        let queues = queues.unwrap_or_else(PoisonError::into_inner);
        let queues = queues.values().filter_map(Weak::upgrade);
        queues.map(|queue| queue.waiting()).sum()
    }

    /// The same, for a thread of its store.
    pub(super) fn key_shared(&self, name: &str) -> Option<Arc<LentKey>> {
        self.0.keys.get(name).map(Arc::clone)
    }

    /// Whether something is lent under this name: a key, or the device's attestation.
    #[must_use]
    pub fn lends(&self, name: &str) -> bool {
        let attestation = self.0.attestation.as_ref();
        self.0.keys.contains_key(name) || attestation.is_some_and(|(taken, _)| taken == name)
    }

    /// How it answers when it is asked for evidence, and the name that a component must have been granted.
    pub(super) fn attestation(&self) -> Option<(&str, &Arc<LentAttestation>)> {
        let (name, lent) = self.0.attestation.as_ref()?;
        Some((name, lent))
    }

    pub(super) fn quotas(&self) -> &Quotas {
        &self.0.common.quotas
    }

    /// Counts the records of what was not granted.
    pub(super) fn denials(&self) -> &Quotas {
        &self.0.common.denials
    }

    /// The queue for keys of this store; there is one for every lent key's.
    pub(super) fn queue(&self, store: &str) -> Option<&Queue> {
        self.0.queues.get(store).map(Arc::as_ref)
    }

    pub(super) fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// The number of the next signature, from 1.
    pub(super) fn next_sequence(&self) -> u64 {
        self.0.common.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a record to the host.
    ///
    /// # Errors
    /// What the host says if it could not keep it.
    pub(super) fn record(&self, record: &SigningRecord) -> io::Result<()> {
        (self.0.audit)(record)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("identity", &self.0.identity)
            .field("keys", &self.0.keys.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Describes a [`Device`].
pub struct DeviceBuilder {
    identity: DeviceIdentity,
    device_type: Option<String>,
    boot: BootId,
    keys: BTreeMap<String, Arc<LentKey>>,
    attestation: Option<(String, Arc<LentAttestation>)>,
    deadline: Duration,
    audit: Arc<Sink>,
    common: Arc<Common>,
}

impl DeviceBuilder {
    /// Lends a key under `name`.
    ///
    /// # Errors
    /// [`DeviceError`]: a name twice, or a certificate that is not for this key, this device, and guest data.
    pub fn key(mut self, name: impl Into<String>, lent: LentKey) -> Result<Self, DeviceError> {
        self.add_key(name, lent)?;
        Ok(self)
    }

    /// The same, for a host that lends the others if one cannot be lent.
    ///
    /// # Errors
    /// As [`key`](Self::key); then nothing has changed.
    pub fn add_key(&mut self, name: impl Into<String>, lent: LentKey) -> Result<(), DeviceError> {
        let name = name.into();
        if self.has_name(&name) {
            return Err(DeviceError::NameTwice { key: name });
        }
        let (_, device_type) = self.certify(
            &name,
            lent.chain.first().map(Vec::as_slice),
            Some(lent.key.public_key()),
            &PathProfile::GUEST_DATA,
        )?;
        self.device_type = device_type;
        self.keys.insert(name, Arc::new(lent));
        Ok(())
    }

    /// Lends nothing under `name` any more.
    pub fn remove(&mut self, name: &str) {
        self.keys.remove(name);
        self.attestation = self.attestation.take().filter(|(taken, _)| taken != name);
    }

    /// Lends the device's attestation under `name`: who was granted that name with the context `evidence` gets evidence of
    /// the device's state. A device has one.
    ///
    /// # Errors
    /// [`DeviceError`]: a name twice, or a certificate that is not for this device and attestation, not for this key, or for
    /// one in other hardware, whose evidence every verifier would refuse. Whether a chip still has the key of its certificate shows when it is asked.
    pub fn attestation(
        mut self,
        name: impl Into<String>,
        lent: LentAttestation,
    ) -> Result<Self, DeviceError> {
        self.add_attestation(name, lent)?;
        Ok(self)
    }

    /// The same, for a host that lends its keys if it cannot attest.
    ///
    /// # Errors
    /// As [`attestation`](Self::attestation); then nothing has changed.
    pub fn add_attestation(
        &mut self,
        name: impl Into<String>,
        lent: LentAttestation,
    ) -> Result<(), DeviceError> {
        let name = name.into();
        if self.has_name(&name) || self.attestation.is_some() {
            return Err(DeviceError::NameTwice { key: name });
        }
        let (leaf, device_type) = self.certify(
            &name,
            lent.leaf(),
            lent.known_key(),
            &PathProfile::ATTESTATION,
        )?;
        let certified = leaf.attested_by();
        if certified.map_err(|fault| unfit(&name, fault))? != lent.hardware() {
            return Err(DeviceError::HardwareMismatch { key: name });
        }
        self.device_type = device_type;
        self.attestation = Some((name, Arc::new(lent)));
        Ok(())
    }

    fn has_name(&self, name: &str) -> bool {
        let attestation = self.attestation.as_ref();
        self.keys.contains_key(name) || attestation.is_some_and(|(taken, _)| taken == name)
    }

    /// The certificate, if it is for this key, as far as that is known, for this device, and for this purpose; and the device's
    /// type, as far as it is known with it.
    fn certify(
        &self,
        name: &str,
        leaf: Option<&[u8]>,
        key: Option<&PublicKey>,
        profile: &PathProfile,
    ) -> Result<(Certificate, Option<String>), DeviceError> {
        let unfit = |fault| unfit(name, fault);
        let name = name.to_owned();
        let Some(leaf) = leaf else {
            return Err(DeviceError::NoCertificate { key: name });
        };
        let leaf = Certificate::parse(leaf).map_err(unfit)?;
        profile
            .end_entity
            .inspect(&leaf, Some(*profile.purpose))
            .map_err(unfit)?;
        let certified = leaf.public_key().map_err(unfit)?;
        if key.is_some_and(|key| *key != certified) {
            return Err(DeviceError::KeyMismatch { key: name });
        }
        let device = leaf.device().map_err(unfit)?;
        if device.as_ref().map(CertifiedDevice::identity) != Some(&self.identity) {
            return Err(DeviceError::DeviceMismatch {
                key: name,
                device: self.identity.clone(),
            });
        }
        let device_type = leaf.device_type().map_err(unfit)?;
        if let (Some(one), Some(other)) = (&self.device_type, &device_type)
            && one != other
        {
            return Err(DeviceError::TypeMismatch {
                key: name,
                one: one.clone(),
                other: other.clone(),
            });
        }
        Ok((leaf, self.device_type.clone().or(device_type)))
    }

    /// How long a signature may take, waiting for others included. Default 30 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the threads of each store.
    ///
    /// # Errors
    /// What the operating system says if one does not start.
    pub fn build(self) -> io::Result<Device> {
        let attestation = self.attestation.iter().map(|(_, lent)| &lent.store);
        let keys = self.keys.values().map(|lent| &lent.store);
        let stores: BTreeSet<&String> = keys.chain(attestation).collect();
        let queues = stores
            .into_iter()
            .map(|store| Ok((store.clone(), self.common.queue(store)?)))
            .collect::<io::Result<_>>()?;
        Ok(Device(Arc::new(Inner {
            identity: self.identity,
            device_type: self.device_type,
            boot: self.boot,
            keys: self.keys,
            attestation: self.attestation,
            common: self.common,
            queues,
            deadline: self.deadline,
            audit: self.audit,
        })))
    }
}

impl fmt::Debug for DeviceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceBuilder")
            .field("identity", &self.identity)
            .field("keys", &self.keys.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

fn unfit(name: &str, fault: Fault) -> DeviceError {
    DeviceError::Certificate {
        key: name.to_owned(),
        fault,
    }
}

/// Why a key is not lent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The key's certificate is not sound, or not for guest data.
    #[error("the key {key} cannot be lent: its certificate: {fault}")]
    Certificate {
        /// The name.
        key: String,
        /// What is wrong.
        fault: Fault,
    },
    /// The certificate names another device.
    #[error(
        "the key {key} cannot be lent: its certificate does not name the device {device}; provision this device again"
    )]
    DeviceMismatch {
        /// The name.
        key: String,
        /// This device.
        device: DeviceIdentity,
    },
    /// The certificate says of an attestation key that it is in other hardware than what answers, or in none.
    #[error(
        "the key {key} attests nothing: its certificate does not name the kind of hardware that answers; have the key \
         certified as one in its hardware, or lend the one that is certified"
    )]
    HardwareMismatch {
        /// The name.
        key: String,
    },
    /// The key is not the one in its certificate.
    #[error(
        "the key {key} cannot be lent: it is not the key in its certificate; another key is in its place, or the chip was \
         cleared or exchanged: provision this device again"
    )]
    KeyMismatch {
        /// The name.
        key: String,
    },
    /// The name is taken.
    #[error("two keys are lent under the name {key}; give one of them another")]
    NameTwice {
        /// The name.
        key: String,
    },
    /// There is no certificate.
    #[error(
        "the key {key} cannot be lent: it has no certificate; ask your authority for one for guest data"
    )]
    NoCertificate {
        /// The name.
        key: String,
    },
    /// Two certificates state different types of device.
    #[error(
        "the key {key} cannot be lent: its certificate states the type {other}, that of an earlier key {one}; provision \
         this device again"
    )]
    TypeMismatch {
        /// The name.
        key: String,
        /// The type so far.
        one: String,
        /// The type in this certificate.
        other: String,
    },
}

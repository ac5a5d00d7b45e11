//! One device, from its key to the record that it is done.
//!
//! What was done before is found again, whenever it was stopped: a key that is in the device is not made anew, a certificate
//! that was issued for it is given out again, and everything after that can be done twice. So a device never has two
//! certificates, and none is lost.

use std::cell::Cell;
use std::time::{Duration, Instant};

use countersign_format::Digest;
use countersign_issuing::{Ask, Contents, Proof};
use countersign_keys::{
    Algorithm, Challenge, ErrorKind, KeyInfo, KeyTemplate, KeyUsage, LockConsent, Origin, PublicKey,
};
use countersign_registry::{Certificate, CertificateState, Device as Recorded};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::device::open::in_hardware;
use crate::device::{Attested, Device, Hardware, Memory};
use crate::output::{self, Summary};
use crate::step::{Step, Steps};
use crate::{Error, Job, Station};

/// What was put into a device, and where.
type Written<'a> = (&'a dyn Memory, Vec<u8>);

/// A device that is done.
#[derive(Clone, Debug)]
pub struct Provisioned {
    /// Its certificate, as it is recorded.
    pub certificate: Certificate,
    /// Certificate and those above it but the root, DER.
    pub chain: Vec<Vec<u8>>,
    /// What vouches for its key.
    pub attested: Attested,
    /// Its hardware, where that has a name.
    pub hardware: Option<Hardware>,
    /// Whether the key's slot is locked for ever.
    pub is_locked: bool,
    /// Where in the device the chain is; none if it lies beside it only.
    pub place: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// A device that is not done.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {error}")]
pub struct Failed {
    /// The step that failed.
    pub step: Step,
    /// Why.
    #[source]
    pub error: Error,
}

/// Provisions the device of a job. Blocks: the hardware does, and the registry is waited for through `runtime`, which must
/// be another thread's.
///
/// # Errors
/// [`Failed`]. What was done stays done, and the same job takes it up again.
pub fn provision(
    station: &Station,
    job: &Job,
    device: &dyn Device,
    runtime: &Handle,
    steps: &Steps,
) -> Result<Provisioned, Failed> {
    let session = Session {
        station,
        job,
        device,
        runtime,
        steps,
        step: Cell::new(Step::Key),
    };
    session.run().map_err(|error| Failed {
        step: session.step.get(),
        error,
    })
}

struct Session<'a> {
    station: &'a Station,
    job: &'a Job,
    device: &'a dyn Device,
    runtime: &'a Handle,
    steps: &'a Steps,
    step: Cell<Step>,
}

impl Session<'_> {
    fn at(&self, step: Step) {
        self.step.set(step);
        self.steps.at(step);
    }

    fn run(&self) -> Result<Provisioned, Error> {
        let start = Instant::now();
        self.at(Step::Key);
        if !self.station.software {
            in_hardware(&self.job.key)?;
        }
        let key = self.key()?;
        self.at(Step::Attest);
        let attested = self.attested(&key)?;
        let hardware = self.device.hardware()?;
        self.at(Step::Possess);
        self.signs(&key.public, "asked for a certificate,")?;
        self.at(Step::Register);
        self.register(&key.public, hardware.as_ref())?;
        self.at(Step::Issue);
        let certificate = self.certificate(&key.public)?;
        self.at(Step::Compare);
        let chain = self.chain(&certificate)?;
        self.at(Step::Inject);
        let folder = output::folder(&self.station.output, self.job.device.as_str())?;
        let beside = folder.join(output::CHAIN);
        let pem = output::chain_to_pem(&chain)?;
        output::write(&beside, pem.as_bytes())?;
        let kept = self.inject(&chain)?;
        self.at(Step::ReadBack);
        let there = std::fs::read(&beside).map_err(Error::read(&beside))?;
        same(&there, pem.as_bytes(), || beside.display().to_string())?;
        let leaf = self.read_back(kept.as_ref(), &chain, &there)?;
        self.at(Step::Lock);
        let is_locked = self.lock()?;
        self.at(Step::Test);
        // The key of the certificate as it lies there now, not the one that was asked for.
        let certified = self.certified_key(&leaf)?;
        self.signs(&certified, "with its certificate,")?;
        self.at(Step::Record);
        self.write_summary(
            &folder,
            &key,
            attested,
            hardware.as_ref(),
            &certificate,
            &chain,
        )?;
        self.record(&certificate, attested, hardware.as_ref(), is_locked)?;
        self.at(Step::End);
        Ok(Provisioned {
            certificate,
            chain,
            attested,
            hardware,
            is_locked,
            place: kept.map(|(memory, _)| memory.place()),
            took: start.elapsed(),
        })
    }

    /// The key, made in the device if there is none.
    fn key(&self) -> Result<KeyInfo, Error> {
        let keys = self.device.keys();
        let key = match keys.show(&self.job.key) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                keys.generate(&self.job.key, &KeyTemplate::signing(Algorithm::Esp256))?
            }
            shown => shown?,
        };
        if key.usage != KeyUsage::Signing {
            return Err(Error::refused(format!(
                "{} is a key for attestations only: name another key",
                self.job.key
            )));
        }
        Ok(key)
    }

    fn attested(&self, key: &KeyInfo) -> Result<Attested, Error> {
        let attested = self.device.attest(key, &Challenge::new(random()?))?;
        if attested.by.is_none() && !self.station.software {
            return Err(Error::attestation(format!(
                "no hardware vouches for {}, so whoever has a copy of the key is the device; use a TPM or an ATECC608, or say that keys in software are taken",
                self.job.key
            )));
        }
        if attested.by.is_some() && key.origin != Origin::Device {
            return Err(Error::attestation(format!(
                "{} was not made in the device; name a key that is",
                self.job.key
            )));
        }
        Ok(attested)
    }

    /// Has the device sign something new, and verifies it with this key.
    fn signs(&self, key: &PublicKey, when: &'static str) -> Result<(), Error> {
        let message = [b"countersign provisioning\n".as_slice(), &random()?].concat();
        let opened = self.device.keys().open(&self.job.key)?;
        let signature = opened.sign(&message)?;
        if opened.public_key() == key && key.verify(&message, signature.as_bytes()).is_ok() {
            return Ok(());
        }
        Err(self.other_key(when))
    }

    fn other_key(&self, when: &'static str) -> Error {
        Error::OtherKey {
            device: self.job.device.clone(),
            when,
        }
    }

    /// The device is in the registry, with this hardware, and the key is nobody else's.
    fn register(&self, key: &PublicKey, hardware: Option<&Hardware>) -> Result<(), Error> {
        let (job, registry) = (self.job, self.station.issuing.registry());
        let hash = hardware.map(|hardware| *hardware.hash());
        if job.hardware.is_some() && job.hardware != hash {
            return Err(Error::refused(format!(
                "{}'s hardware is not the one that the list names: look which device is in the fixture",
                job.device
            )));
        }
        let owner = self
            .runtime
            .block_on(registry.device_by_key(key.spki_sha256().as_bytes()))?;
        if let Some(owner) = owner.filter(|owner| *owner != job.device) {
            return Err(Error::refused(format!(
                "the key is that of {owner}: look whether the device of the row before is still in the fixture"
            )));
        }
        if let (Some(order), None) = (
            &self.station.order,
            self.runtime.block_on(registry.device(&job.device))?,
        ) {
            let mut device = Recorded::approved(job.device.clone(), order);
            device.hardware_hash = hash;
            device.device_type = job.device_type.clone();
            device.revision = job.revision.clone();
            device.firmware = job.firmware.clone();
            let now = self.station.issuing.clock().now()?;
            self.runtime.block_on(registry.register(&[device], now))?;
        }
        let recorded = self.runtime.block_on(registry.device(&job.device))?;
        let by_hardware = match &hash {
            Some(hash) => self.runtime.block_on(registry.device_by_hardware(hash))?,
            None => None,
        };
        if let Some(other) = by_hardware.filter(|other| other.id != job.device) {
            return Err(Error::refused(format!(
                "this hardware is recorded as {}: look which device is in the fixture",
                other.id
            )));
        }
        let Some(recorded) = recorded else {
            return Err(Error::refused(format!(
                "{} is not in the registry: approve it first, or name the order that this batch is for",
                job.device
            )));
        };
        if recorded.hardware_hash.is_some() && recorded.hardware_hash != hash {
            return Err(Error::refused(format!(
                "{} is recorded with other hardware: look which device is in the fixture",
                job.device
            )));
        }
        match hash {
            Some(hash) if recorded.hardware_hash.is_none() => self.set_hardware(&hash),
            _ => Ok(()),
        }
    }

    /// From now on the device is this hardware and no other.
    fn set_hardware(&self, hash: &[u8; 32]) -> Result<(), Error> {
        let (device, registry) = (&self.job.device, self.station.issuing.registry());
        if self.runtime.block_on(registry.set_hardware(device, hash))? {
            return Ok(());
        }
        // Somebody was faster, perhaps another station with the same device.
        let recorded = self.runtime.block_on(registry.device(device))?;
        if recorded.is_some_and(|recorded| recorded.hardware_hash.as_ref() == Some(hash)) {
            return Ok(());
        }
        Err(Error::refused(format!(
            "{device} or this hardware was recorded otherwise a moment ago: look which device is in the fixture"
        )))
    }

    /// The certificate of this key: the one that was issued before, or a new one, which is on record when it is here.
    fn certificate(&self, key: &PublicKey) -> Result<Certificate, Error> {
        let (station, job) = (self.station, self.job);
        let hash = *key.spki_sha256().as_bytes();
        let history = self
            .runtime
            .block_on(station.issuing.registry().certificates(&job.device))?;
        if let Some(revoked) = history
            .iter()
            .find(|one| one.key == hash && one.state == CertificateState::Revoked)
        {
            return Err(Error::refused(format!(
                "the certificate {} of this very key was revoked: make a new key in the device",
                revoked.serial
            )));
        }
        let now = station.issuing.clock().now()?;
        let current = history.into_iter().find(|one| {
            one.profile == station.profile
                && one.state == CertificateState::Issued
                && one.not_after > now
        });
        match current {
            Some(current) if current.key == hash => return Ok(current),
            Some(other) => {
                return Err(Error::HasAnother {
                    device: job.device.clone(),
                    serial: other.serial,
                });
            }
            None => {}
        }
        let ask = Ask {
            // The device has just signed what was new, in this room.
            proof: Proof::Seen(key.clone()),
            device: Some(job.device.clone()),
            profile: station.profile,
            contents: Contents {
                days: station.days,
                organization: station.organization.clone(),
                metadata: job.metadata()?,
                scope: station.scope.clone(),
                ..Contents::default()
            },
            renews: None,
            request: None,
            manufacturer: station
                .order
                .as_ref()
                .and_then(|order| order.manufacturer.clone()),
        };
        Ok(self.runtime.block_on(station.issuing.issue(ask))?)
    }

    /// The certificate with those above it, if it is this device's.
    fn chain(&self, certificate: &Certificate) -> Result<Vec<Vec<u8>>, Error> {
        let der = certificate.der.clone().ok_or_else(|| {
            Error::refused(format!(
                "the certificate {} has no content in the registry: restore the registry from a copy",
                certificate.serial
            ))
        })?;
        // Asked anew: the device may have been exchanged meanwhile.
        let key = self.device.keys().show(&self.job.key)?.public;
        if self.certified_key(&der)? != key {
            return Err(self.other_key("compared with its certificate,"));
        }
        let mut chain = vec![der];
        chain.extend(self.station.above.iter().cloned());
        Ok(chain)
    }

    /// The key of a certificate that names this device.
    fn certified_key(&self, der: &[u8]) -> Result<PublicKey, Error> {
        let read = |error: countersign_trust_store::Fault| {
            Error::refused(format!("the certificate cannot be read: {error}"))
        };
        let certificate = countersign_trust_store::Certificate::parse(der).map_err(read)?;
        let named = certificate.device().map_err(read)?;
        if named.as_ref().map(|named| named.identity()) != Some(&self.job.device) {
            return Err(Error::refused(format!(
                "the certificate does not name {}: look whether the list and the registry agree",
                self.job.device
            )));
        }
        certificate.public_key().map_err(read)
    }

    /// Puts into the device what it has room for: the chain, or its own certificate.
    fn inject(&self, chain: &[Vec<u8>]) -> Result<Option<Written<'_>>, Error> {
        let Some(memory) = self.device.memory() else {
            return Ok(None);
        };
        let whole = chain.concat();
        let leaf = chain.first().cloned().unwrap_or_default();
        let bytes = if whole.len() <= memory.room() {
            whole
        } else {
            leaf
        };
        memory.write(&bytes)?;
        Ok(Some((memory, bytes)))
    }

    /// The device's certificate as it is in the device, or beside it.
    fn read_back(
        &self,
        kept: Option<&Written<'_>>,
        chain: &[Vec<u8>],
        beside: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let length = chain.first().map_or(0, Vec::len);
        if let Some((memory, written)) = kept {
            let there = memory.read()?;
            same(&there, written, || memory.place())?;
            return Ok(there.get(..length).unwrap_or_default().to_vec());
        }
        let blocks = countersign_trust_store::pem::certificates(beside)
            .map_err(|error| Error::refused(error.to_string()))?;
        Ok(blocks.into_iter().next().unwrap_or_default())
    }

    /// Locks the slot where that is asked for, and looks whether it is.
    fn lock(&self) -> Result<bool, Error> {
        let (keys, uri) = (self.device.keys(), &self.job.key);
        if !self.station.lock_for_ever {
            return Ok(keys.show(uri)?.locked);
        }
        let Some(serial) = self.device.lock_serial(uri)? else {
            return Err(Error::refused(format!(
                "{uri} is in a device in which nothing can be locked: do not ask for it"
            )));
        };
        if !keys.show(uri)?.locked {
            keys.lock(uri, &LockConsent::for_device_with_serial(&serial))?;
        }
        if keys.show(uri)?.locked {
            return Ok(true);
        }
        Err(Error::NotLocked {
            key: uri.to_string(),
        })
    }

    fn write_summary(
        &self,
        folder: &std::path::Path,
        key: &KeyInfo,
        attested: Attested,
        hardware: Option<&Hardware>,
        certificate: &Certificate,
        chain: &[Vec<u8>],
    ) -> Result<(), Error> {
        let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
        let public_key = output::to_pem("PUBLIC KEY", &key.public.to_spki_der())?;
        let certificate_pem = output::to_pem("CERTIFICATE", leaf)?;
        let summary = Summary {
            version: 1,
            device: self.job.device.as_str(),
            device_type: &self.job.device_type,
            revision: &self.job.revision,
            firmware: &self.job.firmware,
            key: self.job.key.to_string(),
            attested_by: attested.as_str(),
            hardware: hardware.map(|hardware| hex::encode(hardware.hash())),
            serial: certificate.serial.to_string(),
            not_after: certificate.not_after,
            certificate_sha256: Digest::of(leaf).to_string(),
            chain: output::chain_to_pem(chain)?,
            certificate: certificate_pem.clone(),
            public_key: public_key.clone(),
            tables: Vec::new(),
        };
        output::write(&folder.join("certificate.pem"), certificate_pem.as_bytes())?;
        output::write(&folder.join("public.pem"), public_key.as_bytes())?;
        output::write(&folder.join("device.json"), &line(&summary)?)
    }

    /// A leaf of the audit log: who was provisioned where, and what vouched for the key.
    fn record(
        &self,
        certificate: &Certificate,
        attested: Attested,
        hardware: Option<&Hardware>,
        is_locked: bool,
    ) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Event<'a> {
            event: &'static str,
            at: u64,
            station: &'a str,
            device: &'a str,
            serial: String,
            attested_by: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            hardware: Option<String>,
            locked: bool,
        }
        let leaf = line(&Event {
            event: "provisioned",
            at: self.station.issuing.clock().now()?,
            station: &self.station.name,
            device: self.job.device.as_str(),
            serial: certificate.serial.to_string(),
            attested_by: attested.as_str(),
            hardware: hardware.map(|hardware| hex::encode(hardware.hash())),
            locked: is_locked,
        })?;
        let registry = self.station.issuing.registry();
        Ok(self.runtime.block_on(registry.record(&[&leaf]))?)
    }
}

fn same(there: &[u8], written: &[u8], place: impl FnOnce() -> String) -> Result<(), Error> {
    if there == written {
        return Ok(());
    }
    Err(Error::ReadBack { place: place() })
}

fn random() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| Error::refused("the system gives no random numbers: look at the machine"))?;
    Ok(bytes)
}

/// One line of JSON.
pub(crate) fn line(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::refused(error.to_string()))
}

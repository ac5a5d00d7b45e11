//! The store of keys: one chip, shared between threads.

mod configure;
mod counter;
mod detect;
mod failure;

use crate::config::{Configuration, Serial, Slot};
use crate::device::{Atecc608, Counter};
use crate::error::{Error as ChipError, Status};
use crate::lock::Consent;
use crate::rules::{Purpose, inspect_locks, inspect_purpose};
pub use counter::ChipCounter;
use countersign_atecc608_rules::Unfit;
use countersign_keys::{
    Algorithm, Atecc608Evidence, Atecc608Key, Capabilities, Challenge, Error, ErrorKind, Evidence,
    KeyInfo, KeyProvider, KeyTemplate, KeyUri, KeyUsage, LockConsent, Origin, PublicKey, Signer,
    SigningKey,
};
#[cfg(target_os = "linux")]
pub use detect::{detect, detect_among};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use failure::Place;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;
use std::{format, vec};

/// The keys of one ATECC608.
///
/// The chip does one thing at a time: a second thread waits until the first has its answer. Other processes on the same
/// bus are not kept away; what they spoil is noticed by the check of every signature.
pub struct Atecc608Provider<I, D> {
    chip: Arc<Mutex<Chip<I, D>>>,
    place: Place,
}

/// The chip with what is remembered of its last signature.
struct Chip<I, D> {
    device: Atecc608<I, D>,
    last_signature: Option<([u8; 32], [u8; 32])>,
}

#[cfg(target_os = "linux")]
impl Atecc608Provider<crate::LinuxBus, crate::LinuxDelay> {
    /// The chip on a bus of Linux, such as `/dev/i2c-1`, at a 7-bit address.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such bus or no chip answers; [`ErrorKind::Permissions`] if the bus may
    /// not be used; else what the chip reports.
    pub fn open_bus(bus: &Path, address: u8) -> Result<Self, Error> {
        let i2c = crate::LinuxBus::open(bus).map_err(|error| failure::of_bus(bus, error))?;
        let provider = Self::new(Atecc608::new(i2c, crate::LinuxDelay, address), bus, address);
        provider.describe()?;
        Ok(provider)
    }
}

impl<I, D> Atecc608Provider<I, D>
where
    I: I2c + Send,
    D: DelayNs + Send,
{
    /// The keys of a chip. Bus and address are what its key URIs say.
    #[must_use]
    pub fn new(device: Atecc608<I, D>, bus: &Path, address: u8) -> Self {
        Self {
            chip: Arc::new(Mutex::new(Chip {
                device,
                last_signature: None,
            })),
            place: Place {
                bus: bus.to_path_buf(),
                address,
            },
        }
    }

    /// The chip itself, for what a store of keys does not offer: random numbers, counters, data, configuration. Nobody
    /// else uses it until the guard is dropped.
    pub fn with_device<T>(&self, work: impl FnOnce(&mut Atecc608<I, D>) -> T) -> T {
        work(&mut self.chip().device)
    }

    fn chip(&self) -> MutexGuard<'_, Chip<I, D>> {
        // Each call starts by waking the chip, so a thread that died in the middle leaves nothing behind.
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot that a URI names, if it is one of this chip.
    fn slot(&self, key: &KeyUri) -> Result<Slot, Error> {
        let KeyUri::Atecc608(named) = key else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{key} is no key of an ATECC608; name one as in {}",
                    self.example()
                ),
            ));
        };
        let here = named.bus() == self.place.bus && named.address() == self.place.address;
        Slot::new(named.slot()).filter(|_| here).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!(
                    "{key} is not a key of the chip {}; open the chip that it names",
                    self.place
                ),
            )
        })
    }

    fn uri(&self, slot: Slot) -> Result<KeyUri, Error> {
        let text = format!(
            "{}?address={:#04x}&slot={slot}",
            self.place.bus.display(),
            self.place.address
        );
        text.parse::<Atecc608Key>()
            .map(KeyUri::Atecc608)
            .map_err(|error| {
                Error::with_source(
                    ErrorKind::Malformed,
                    format!(
                        "the chip {} has no key URI; give the bus as an absolute path",
                        self.place
                    ),
                    error,
                )
            })
    }

    fn example(&self) -> String {
        format!(
            "atecc608:{}?address={:#04x}&slot=0",
            self.place.bus.display(),
            self.place.address
        )
    }

    fn info(
        &self,
        configuration: &Configuration,
        slot: Slot,
        public: PublicKey,
    ) -> Result<KeyInfo, Error> {
        let config = configuration.slot(slot);
        let mut info = KeyInfo::new(self.uri(slot)?, public);
        if !config.signs_external() {
            info.usage = KeyUsage::Attestation;
        }
        // With PrivWrite the chip does not tell where a key came from.
        if configuration.config_locked() && !config.allows_private_write() {
            info.origin = Origin::Device;
        }
        info.locked = configuration.slot_locked(slot)
            || configuration.config_locked()
                && configuration.data_locked()
                && !config.allows_generation()
                && !config.allows_private_write();
        Ok(info)
    }

    fn unfit(&self, slot: Slot, unfit: Unfit) -> Error {
        let kind = match unfit {
            Unfit::ConfigUnlocked
            | Unfit::DataUnlocked
            | Unfit::Importable
            | Unfit::NotSecret
            | Unfit::ExternalSignatures => ErrorKind::Permissions,
            _ => ErrorKind::Unsupported,
        };
        Error::new(
            kind,
            format!(
                "slot {slot} of the chip {} is not used: {unfit}; name another slot, or configure and lock the chip first",
                self.place
            ),
        )
    }

    fn no_key(&self, slot: Slot) -> Error {
        Error::new(
            ErrorKind::NotFound,
            format!(
                "slot {slot} of the chip {} holds no key; make one with `countersign key generate`, or name another slot",
                self.place
            ),
        )
    }
}

impl<I: I2c, D: DelayNs> Chip<I, D> {
    /// The public key in a slot, or nothing if there is none.
    fn public_key(&mut self, slot: Slot) -> Result<Option<PublicKey>, ChipError> {
        match self.device.public_key(slot) {
            // A wrong point has passed a good checksum: not the chip's answer.
            Ok(point) => point_of(&point).map(Some),
            Err(ChipError::Refused {
                status: Status::Ecc | Status::Execution,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Signs a digest; two signatures must not share their random part.
    fn sign(&mut self, slot: Slot, digest: &[u8; 32]) -> Result<[u8; 64], ChipError> {
        let signature = self.device.sign(slot, digest)?;
        let (r, _) = signature
            .split_first_chunk::<32>()
            .ok_or(ChipError::Random)?;
        // The same r for two digests gives the private key to whoever sees both.
        if self
            .last_signature
            .is_some_and(|(before, last)| last == *r && before != *digest)
        {
            return Err(ChipError::Random);
        }
        self.last_signature = Some((*digest, *r));
        Ok(signature)
    }

    /// A signature over random bytes that verifies: the key is whole, and the public one is its other half.
    fn try_key(&mut self, slot: Slot, public: &PublicKey) -> Result<bool, ChipError> {
        let digest = self.device.random()?;
        let signature = self.sign(slot, &digest)?;
        let verified =
            p256::ecdsa::VerifyingKey::from_sec1_bytes(&public.to_raw_bytes()).and_then(|key| {
                key.verify_prehash(&digest, &p256::ecdsa::Signature::from_slice(&signature)?)
            });
        Ok(verified.is_ok())
    }

    /// Makes a key, and looks for it if the answer was lost.
    fn generate(&mut self, slot: Slot) -> Result<PublicKey, ChipError> {
        let answered = match self.device.generate(slot) {
            Ok(point) => Some(point_of(&point)?),
            Err(ChipError::Lost { .. }) => None,
            Err(error) => return Err(error),
        };
        let lost = ChipError::Lost { command: "GenKey" };
        let there = self.public_key(slot)?.ok_or(lost)?;
        if answered.is_some_and(|answered| answered != there) {
            return Err(ChipError::WrittenWrongly);
        }
        Ok(there)
    }
}

fn point_of(point: &[u8; 64]) -> Result<PublicKey, ChipError> {
    let mut sec1 = vec![0x04];
    sec1.extend_from_slice(point);
    PublicKey::from_p256_point(&sec1).map_err(|_| ChipError::WrittenWrongly)
}

impl<I, D> KeyProvider for Atecc608Provider<I, D>
where
    I: I2c + Send + 'static,
    D: DelayNs + Send + 'static,
{
    fn describe(&self) -> Result<String, Error> {
        let mut chip = self.chip();
        let told = chip
            .device
            .revision()
            .and_then(|revision| Ok((revision, chip.device.configuration()?)));
        let (revision, configuration) = told.map_err(|error| self.place.failed(error))?;
        if !revision.is_608() {
            return Err(self.place.failed(ChipError::WrongChip));
        }
        let mut description = format!(
            "{} {} at {}, configuration {}, data {}",
            revision.name(),
            configuration.serial(),
            self.place,
            locked(configuration.config_locked()),
            locked(configuration.data_locked()),
        );
        for (number, counter) in (0_u8..).zip([Counter::First, Counter::Second]) {
            let value = chip.device.counter(counter);
            let value = value.map_err(|error| self.place.failed(error))?;
            if Counter::is_near_end(value) {
                description += &format!(
                    ", counter {number} at {value} of {}: replace the chip before it ends",
                    Counter::END
                );
            }
        }
        Ok(description)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::none();
        capabilities.algorithms = vec![Algorithm::Esp256];
        capabilities.hardware = true;
        capabilities.generate = true;
        capabilities.list = true;
        capabilities.attest = true;
        capabilities.lock = true;
        capabilities
    }

    /// In a slot whose configuration fits, and that holds no key. The new key signs once before it counts (an
    /// attestation key cannot).
    fn generate(&self, key: &KeyUri, template: &KeyTemplate) -> Result<KeyInfo, Error> {
        let slot = self.slot(key)?;
        if template.algorithm != Algorithm::Esp256 {
            return Err(self.unsupported("makes P-256 keys only"));
        }
        if !template.boot_state.is_empty() {
            return Err(self.unsupported("cannot bind a key to the state of the boot"));
        }
        let purpose = match template.usage {
            KeyUsage::Signing => Purpose::Signing,
            KeyUsage::Attestation => Purpose::Attestation,
            _ => return Err(self.unsupported("makes no keys for this usage")),
        };
        let failed = |error| self.place.failed(error);
        let mut chip = self.chip();
        let configuration = chip.device.configuration().map_err(failed)?;
        inspect_locks(&configuration)
            .and_then(|()| inspect_purpose(&configuration, slot, purpose))
            .map_err(|unfit| self.unfit(slot, unfit))?;
        if chip.public_key(slot).map_err(failed)?.is_some() {
            return Err(Error::new(
                ErrorKind::Exists,
                format!(
                    "slot {slot} of the chip {} holds a key already, and a key is never replaced in silence; name another slot",
                    self.place
                ),
            ));
        }
        if configuration.slot_locked(slot) || !configuration.slot(slot).allows_generation() {
            return Err(self.unsupported("is locked so that this slot gets no key any more"));
        }
        let public = chip.generate(slot).map_err(failed)?;
        if purpose == Purpose::Signing && !chip.try_key(slot, &public).map_err(failed)? {
            return Err(Error::new(
                ErrorKind::BadSignature,
                format!(
                    "the new key in slot {slot} of the chip {} makes wrong signatures; do not use it, name another slot",
                    self.place
                ),
            ));
        }
        self.info(&configuration, slot, public)
    }

    fn open(&self, key: &KeyUri) -> Result<SigningKey, Error> {
        let slot = self.slot(key)?;
        let failed = |error| self.place.failed(error);
        let mut chip = self.chip();
        let configuration = chip.device.configuration().map_err(failed)?;
        inspect_locks(&configuration)
            .and_then(|()| inspect_purpose(&configuration, slot, Purpose::Signing))
            .map_err(|unfit| self.unfit(slot, unfit))?;
        let public = chip
            .public_key(slot)
            .map_err(failed)?
            .ok_or_else(|| self.no_key(slot))?;
        Ok(SigningKey::new(OpenKey {
            chip: Arc::clone(&self.chip),
            place: self.place.clone(),
            slot,
            public,
        }))
    }

    fn show(&self, key: &KeyUri) -> Result<KeyInfo, Error> {
        let slot = self.slot(key)?;
        let failed = |error| self.place.failed(error);
        let mut chip = self.chip();
        let configuration = chip.device.configuration().map_err(failed)?;
        let kind = configuration.key(slot);
        if !kind.is_private() || !kind.is_p256() {
            return Err(self.unfit(slot, Unfit::NoP256Key));
        }
        let public = chip
            .public_key(slot)
            .map_err(failed)?
            .ok_or_else(|| self.no_key(slot))?;
        self.info(&configuration, slot, public)
    }

    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        let failed = |error| self.place.failed(error);
        let mut chip = self.chip();
        let configuration = chip.device.configuration().map_err(failed)?;
        let mut keys = Vec::new();
        for slot in Slot::all() {
            let kind = configuration.key(slot);
            if !configuration.config_locked() || !kind.is_private() || !kind.is_p256() {
                continue;
            }
            if let Some(public) = chip.public_key(slot).map_err(failed)? {
                keys.push(self.info(&configuration, slot, public)?);
            }
        }
        // In the order of their names: slot=10 comes before slot=2.
        keys.sort_by_key(|info| std::string::ToString::to_string(&info.uri));
        Ok(keys)
    }

    fn delete(&self, key: &KeyUri) -> Result<(), Error> {
        let slot = self.slot(key)?;
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the chip {} cannot remove the key in slot {slot}; stop using it, and revoke its certificate",
                self.place
            ),
        ))
    }

    /// By the first slot whose key signs the chip's own messages and nothing else.
    fn attest(&self, key: &KeyUri, challenge: &Challenge) -> Result<Evidence, Error> {
        let slot = self.slot(key)?;
        let failed = |error| self.place.failed(error);
        let mut chip = self.chip();
        let configuration = chip.device.configuration().map_err(failed)?;
        inspect_locks(&configuration).map_err(|unfit| self.unfit(slot, unfit))?;
        let mut signer = None;
        for candidate in Slot::all().filter(|candidate| *candidate != slot) {
            if inspect_purpose(&configuration, candidate, Purpose::Attestation).is_ok()
                && let Some(public) = chip.public_key(candidate).map_err(failed)?
            {
                signer = Some((candidate, public));
                break;
            }
        }
        let Some((signer, attestation_key)) = signer else {
            return Err(self.unsupported(
                "has no attestation key: no slot holds a key that signs only the chip's own messages",
            ));
        };
        let public = chip
            .public_key(slot)
            .map_err(failed)?
            .ok_or_else(|| self.no_key(slot))?;
        let told = chip
            .device
            .attest(slot, signer, &Atecc608Evidence::number_of(challenge))
            .map_err(failed)?;
        if point_of(&told.public).map_err(failed)? != public {
            return Err(failed(ChipError::WrittenWrongly));
        }
        let evidence = Atecc608Evidence {
            serial: configuration.serial().0,
            slot: slot.number(),
            public,
            slot_config: configuration.slot(slot).0,
            key_config: configuration.key(slot).0,
            slot_unlocked: !configuration.slot_locked(slot),
            random: told.random,
            attestation_slot: signer.number(),
            attestation_key,
            signature: told.signature,
        };
        // No evidence leaves that does not fit.
        evidence.check_signature(challenge)?;
        Ok(Evidence::Atecc608(evidence))
    }

    /// Locks the slot. A slot that is locked already is none the worse.
    fn lock(&self, key: &KeyUri, consent: &LockConsent) -> Result<(), Error> {
        let slot = self.slot(key)?;
        let failed = |error| self.place.failed(error);
        let mut chip = self.chip();
        let configuration = chip.device.configuration().map_err(failed)?;
        let serial = self.consented(consent, &configuration)?;
        if configuration.slot_locked(slot) {
            return Ok(());
        }
        if !configuration.config_locked() || !configuration.key(slot).is_lockable() {
            return Err(
                self.unsupported("is configured so that this slot cannot be locked on its own")
            );
        }
        if chip.public_key(slot).map_err(failed)?.is_none() {
            return Err(self.no_key(slot));
        }
        chip.device
            .lock_slot(&Consent::to_lock_for_ever(serial), slot)
            .map_err(failed)
    }
}

impl<I, D> Atecc608Provider<I, D>
where
    I: I2c + Send,
    D: DelayNs + Send,
{
    fn consented(
        &self,
        consent: &LockConsent,
        configuration: &Configuration,
    ) -> Result<Serial, Error> {
        let serial = configuration.serial();
        if consent.covers(&serial.0) {
            return Ok(serial);
        }
        Err(Error::new(
            ErrorKind::Permissions,
            format!(
                "nothing was locked: the consent names another chip than {serial} at {}; give the serial number of the chip that shall be locked",
                self.place
            ),
        ))
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "the chip {} {what}; use another slot, chip or store",
                self.place
            ),
        )
    }
}

fn locked(is_locked: bool) -> &'static str {
    if is_locked { "locked" } else { "not locked" }
}

/// A key of the chip, opened.
struct OpenKey<I, D> {
    chip: Arc<Mutex<Chip<I, D>>>,
    place: Place,
    slot: Slot,
    public: PublicKey,
}

impl<I: I2c + Send, D: DelayNs + Send> Signer for OpenKey<I, D> {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        let digest = Sha256::digest(message).into();
        let mut chip = self.chip.lock().unwrap_or_else(PoisonError::into_inner);
        chip.sign(self.slot, &digest)
            .map_err(|error| self.place.failed(error))
    }
}

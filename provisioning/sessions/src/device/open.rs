//! From a key URI to the device that it leads to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use countersign_backend_atecc608::Slot;
#[cfg(feature = "tpm")]
use countersign_backend_tpm::{DataIndex, TpmProvider};
use countersign_keys::{KeyUri, Tcti};
use countersign_stores::Stores;
use countersign_trust_store::UnixTime;

use super::makers::chip::ChipMakers;
#[cfg(feature = "tpm")]
use super::makers::tpm::TpmMakers;
use super::{Device, Plain};
use crate::Error;

/// What is said of TPMs where this build has none.
#[cfg(not(feature = "tpm"))]
const NO_TPMS: &str = "this build has no TPM support: build with --features tpm (libtss2-dev)";

/// Whoever finds the device of a key.
pub trait Devices: Send + Sync {
    /// The device. Sessions that run at the same time and lead to one device get the same.
    ///
    /// # Errors
    /// If there is none.
    fn of_key(&self, key: &KeyUri) -> Result<Arc<dyn Device>, Error>;
}

/// The devices that this machine reaches.
pub struct StoreDevices {
    stores: Stores,
    software: bool,
    chip_slots: Vec<Slot>,
    chip_makers: Option<Arc<ChipMakers>>,
    #[cfg(feature = "tpm")]
    tpm_index: Option<DataIndex>,
    #[cfg(feature = "tpm")]
    station: Option<Arc<TpmProvider>>,
    #[cfg(feature = "tpm")]
    makers: Option<Arc<TpmMakers>>,
    /// A device takes one connection; it is given up when the last session with it ends, since the next device may stand
    /// in the same place then.
    open: Mutex<BTreeMap<String, Weak<dyn Device>>>,
}

impl StoreDevices {
    /// The devices whose hardware vouches for their keys, and no others. Chains go beside them only.
    #[must_use]
    pub fn new(stores: Stores) -> Self {
        Self {
            stores,
            software: false,
            chip_slots: Vec::new(),
            chip_makers: None,
            #[cfg(feature = "tpm")]
            tpm_index: None,
            #[cfg(feature = "tpm")]
            station: None,
            #[cfg(feature = "tpm")]
            makers: None,
            open: Mutex::default(),
        }
    }

    /// Other keys, too: in files, in tokens, behind programs, in TPMs that are simulated.
    #[must_use]
    pub fn with_software(mut self) -> Self {
        self.software = true;
        self
    }

    /// Chains go into these slots of ATECC608s. **What is in them is overwritten.**
    ///
    /// # Errors
    /// [`Error::Refused`] for what is no number of a slot.
    pub fn with_chip_slots(mut self, slots: &[u8]) -> Result<Self, Error> {
        self.chip_slots = slots
            .iter()
            .map(|number| {
                Slot::new(*number).ok_or_else(|| {
                    Error::refused(format!("a chip has no slot {number}: name 0 to 15"))
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Takes ATECC608s only of the makers whose certificates are in this folder. Chains cannot go into the slots where chips have
    /// these.
    ///
    /// # Errors
    /// As [`ChipMakers::read`]; [`Error::Refused`] where a chain would overwrite them.
    pub fn of_chip_makers(mut self, folder: &Path) -> Result<Self, Error> {
        if let Some(slot) = self.chip_slots.iter().find(|slot| ChipMakers::uses(**slot)) {
            return Err(Error::refused(format!(
                "a chain in slot {slot} would overwrite what the maker put there: name other slots for it"
            )));
        }
        self.chip_makers = Some(Arc::new(ChipMakers::read(folder)?));
        Ok(self)
    }

    /// Chains go into this index of TPMs.
    ///
    /// # Errors
    /// [`Error::Refused`] for an index that is not for data, and in a build without TPMs.
    #[cfg(feature = "tpm")]
    pub fn with_tpm_index(mut self, index: u32) -> Result<Self, Error> {
        let index = DataIndex::new(index).ok_or_else(|| {
            Error::refused(format!(
                "{index:#010x} is no index for data: name one between 0x01830000 and 0x0183ffff"
            ))
        })?;
        self.tpm_index = Some(index);
        Ok(self)
    }

    /// Chains go into this index of TPMs.
    ///
    /// # Errors
    /// [`Error::Refused`]: this build has no TPMs.
    #[cfg(not(feature = "tpm"))]
    pub fn with_tpm_index(self, _: u32) -> Result<Self, Error> {
        Err(Error::refused(NO_TPMS))
    }

    /// A TPM of the station's own, reached like this, asks devices' TPMs whether their keys live beside their endorsement
    /// keys.
    ///
    /// # Errors
    /// [`Error::Keys`] if there is none, [`Error::Refused`] in a build without TPMs.
    #[cfg(feature = "tpm")]
    pub fn asked_by(mut self, station: &Tcti) -> Result<Self, Error> {
        self.station = Some(Arc::new(TpmProvider::open_tcti(station.clone())?));
        Ok(self)
    }

    /// A TPM of the station's own asks devices' TPMs.
    ///
    /// # Errors
    /// [`Error::Refused`]: this build has no TPMs.
    #[cfg(not(feature = "tpm"))]
    pub fn asked_by(self, _: &Tcti) -> Result<Self, Error> {
        Err(Error::refused(NO_TPMS))
    }

    /// Takes TPMs only of the makers whose certificates are in this folder, judged as of `now`. It takes a TPM of the station's
    /// own, too.
    ///
    /// # Errors
    /// As [`TpmMakers::read`]; [`Error::Refused`] in a build without TPMs.
    #[cfg(feature = "tpm")]
    pub fn of_makers(mut self, folder: &Path, now: UnixTime) -> Result<Self, Error> {
        self.makers = Some(Arc::new(TpmMakers::read(folder, now)?));
        Ok(self)
    }

    /// Takes TPMs only of makers that are named.
    ///
    /// # Errors
    /// [`Error::Refused`]: this build has no TPMs.
    #[cfg(not(feature = "tpm"))]
    pub fn of_makers(self, _: &Path, _: UnixTime) -> Result<Self, Error> {
        Err(Error::refused(NO_TPMS))
    }

    fn make(&self, key: &KeyUri) -> Result<Arc<dyn Device>, Error> {
        match key {
            #[cfg(target_os = "linux")]
            KeyUri::Atecc608(named) => {
                use countersign_backend_atecc608::Atecc608Provider;
                let keys = Atecc608Provider::open_bus(named.bus(), named.address())?;
                let mut chip = super::Chip::new(keys, self.chip_slots.clone());
                if let Some(makers) = &self.chip_makers {
                    chip = chip.of_makers(Arc::clone(makers));
                }
                Ok(Arc::new(chip))
            }
            #[cfg(feature = "tpm")]
            KeyUri::Tpm(named) => {
                let mut tpm = super::Tpm::open(named.tcti().cloned())?;
                if let Some(index) = self.tpm_index {
                    tpm = tpm.with_chain_at(index);
                }
                if let Some(station) = &self.station {
                    tpm = tpm.asked_by(Arc::clone(station));
                }
                if let Some(makers) = &self.makers {
                    tpm = tpm.of_makers(Arc::clone(makers));
                }
                Ok(Arc::new(tpm))
            }
            // What this build or this system does not have is said by the stores.
            other => Ok(Arc::new(Plain::new(self.stores.of_key(other)?))),
        }
    }
}

impl Devices for StoreDevices {
    fn of_key(&self, key: &KeyUri) -> Result<Arc<dyn Device>, Error> {
        // Before anything is opened: that runs programs, loads libraries and makes files.
        if !self.software {
            in_hardware(key)?;
        }
        let Some(name) = name(key) else {
            return self.make(key);
        };
        // Held while a device is opened: two connections to one must not be tried.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = open.get(&name).and_then(Weak::upgrade) {
            return Ok(device);
        }
        let device = self.make(key)?;
        open.retain(|_, device| device.strong_count() > 0);
        open.insert(name, Arc::downgrade(&device));
        Ok(device)
    }
}

/// Refuses a key for which no hardware can vouch, wherever the URI leads.
///
/// # Errors
/// [`Error::Attestation`].
pub(crate) fn in_hardware(key: &KeyUri) -> Result<(), Error> {
    let vouches = match key {
        KeyUri::Atecc608(_) => true,
        KeyUri::Tpm(tpm) => is_a_chip(tpm.tcti()),
        _ => false,
    };
    if vouches {
        return Ok(());
    }
    Err(Error::attestation(format!(
        "no hardware vouches for {key}, so whoever has a copy of the key is the device; use a TPM of this machine or an \
         ATECC608, or say that keys in software are taken"
    )))
}

/// Whether this way leads to a TPM behind the system's driver. What listens behind a socket or on a bus of messages may be
/// a program, and says the same of itself as a chip does.
pub(super) fn is_a_chip(way: Option<&Tcti>) -> bool {
    let standard = Tcti::default();
    way.unwrap_or(&standard)
        .device()
        .and_then(|path| path.strip_prefix("/dev/tpm"))
        .is_some_and(|rest| !rest.contains('/'))
}

/// What several keys of one device have in common; none where each key stands for itself.
fn name(key: &KeyUri) -> Option<String> {
    match key {
        KeyUri::Atecc608(chip) => Some(format!("{} {}", chip.bus().display(), chip.address())),
        KeyUri::Tpm(tpm) => Some(tpm.tcti().map_or_else(String::new, ToString::to_string)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_refused_before_anything_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let ran = folder.path().join("ran");
        let devices = StoreDevices::new(Stores::without_secrets());
        for text in [
            format!("file:{}", folder.path().join("a.key").display()),
            format!("exec:/usr/bin/touch {}", ran.display()),
            "pkcs11:token=a;object=b?module-path=/tmp/no-such-module.so".to_owned(),
            "tpm:a?tcti=swtpm:host=127.0.0.1,port=1".to_owned(),
            "tpm:a?tcti=mssim:host=127.0.0.1,port=1".to_owned(),
            "tpm:a?tcti=tabrmd:bus_name=com.example".to_owned(),
            "tpm:a?tcti=device:/tmp/tpm0".to_owned(),
            "tpm:a?tcti=device:/dev/tpm/../../tmp/tpm0".to_owned(),
        ] {
            let key: KeyUri = text.parse().expect("a URI");
            let Err(error) = devices.of_key(&key) else {
                panic!("{text} is taken");
            };
            assert!(matches!(error, Error::Attestation { .. }), "{error}");
        }
        let there = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(there, 0);
        for text in [
            "tpm:a",
            "tpm:a?tcti=device:/dev/tpmrm0",
            "tpm:a?tcti=device:/dev/tpm1",
            "atecc608:/dev/i2c-1?address=0x60&slot=0",
        ] {
            in_hardware(&text.parse().expect("a URI")).expect("hardware");
        }
    }
}

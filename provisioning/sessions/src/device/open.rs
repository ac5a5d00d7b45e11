//! From a key URI to the device that it leads to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use countersign_backend_atecc608::Slot;
#[cfg(feature = "tpm")]
use countersign_backend_tpm::{DataIndex, TpmProvider};
use countersign_keys::KeyUri;
use countersign_stores::Stores;

use super::{Device, Plain};
use crate::Error;

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
    chip_slots: Vec<Slot>,
    #[cfg(feature = "tpm")]
    tpm_index: Option<DataIndex>,
    #[cfg(feature = "tpm")]
    station: Option<Arc<TpmProvider>>,
    /// A device takes one connection; it is given up when the last session with it ends, since the next device may stand
    /// in the same place then.
    open: Mutex<BTreeMap<String, Weak<dyn Device>>>,
}

impl StoreDevices {
    /// The devices, the keys of files among them. Chains go beside them only.
    #[must_use]
    pub fn new(stores: Stores) -> Self {
        Self {
            stores,
            chip_slots: Vec::new(),
            #[cfg(feature = "tpm")]
            tpm_index: None,
            #[cfg(feature = "tpm")]
            station: None,
            open: Mutex::default(),
        }
    }

    /// Chains go into these slots of ATECC608s. **What is in them is overwritten.**
    #[must_use]
    pub fn with_chip_slots(mut self, slots: Vec<Slot>) -> Self {
        self.chip_slots = slots;
        self
    }

    /// Chains go into this index of TPMs.
    #[cfg(feature = "tpm")]
    #[must_use]
    pub fn with_tpm_index(mut self, index: DataIndex) -> Self {
        self.tpm_index = Some(index);
        self
    }

    /// A TPM of the station's own asks devices' TPMs: see [`super::Tpm::asked_by`].
    #[cfg(feature = "tpm")]
    #[must_use]
    pub fn asked_by(mut self, station: Arc<TpmProvider>) -> Self {
        self.station = Some(station);
        self
    }

    fn make(&self, key: &KeyUri) -> Result<Arc<dyn Device>, Error> {
        match key {
            #[cfg(target_os = "linux")]
            KeyUri::Atecc608(named) => {
                use countersign_backend_atecc608::Atecc608Provider;
                let keys = Atecc608Provider::open_bus(named.bus(), named.address())?;
                Ok(Arc::new(super::Chip::new(keys, self.chip_slots.clone())))
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
                Ok(Arc::new(tpm))
            }
            // What this build or this system does not have is said by the stores.
            other => Ok(Arc::new(Plain::new(self.stores.of_key(other)?))),
        }
    }
}

impl Devices for StoreDevices {
    fn of_key(&self, key: &KeyUri) -> Result<Arc<dyn Device>, Error> {
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

/// What several keys of one device have in common; none where each key stands for itself.
fn name(key: &KeyUri) -> Option<String> {
    match key {
        KeyUri::Atecc608(chip) => Some(format!("{} {}", chip.bus().display(), chip.address())),
        KeyUri::Tpm(tpm) => Some(tpm.tcti().map_or_else(String::new, ToString::to_string)),
        _ => None,
    }
}

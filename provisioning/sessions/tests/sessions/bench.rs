//! An authority with an empty registry, a station, and emulated chips in its fixtures.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use countersign_atecc608_emulator::{
    Clock as ChipClock, EmulatedBus, EmulatedDelay, Emulator, Factory,
};
use countersign_backend_atecc608::{Atecc608, Atecc608Provider, Slot};
use countersign_backend_file::{FileKey, SystemRandom};
use countersign_issuing::{Authority, Clock, Issuing};
use countersign_keys::{Algorithm, KeyUri, SigningKey};
use countersign_provisioning::{CaName, Issuer, Profile, Root, Validity};
use countersign_registry::{CertificateState, Registry};
use countersign_sessions::{Chip, Device, Devices, Error, Job, Station};
use countersign_trust_store::UnixTime;

/// The seed of the authority's key, so that another process has the same.
const SEED: [u8; 32] = [0x5a; 32];

/// Slots of clear data of the emulated chips.
pub(crate) const SLOTS: [u8; 8] = [8, 9, 10, 11, 12, 13, 14, 15];

/// The house of an authority and a station.
pub(crate) struct Bench {
    pub(crate) folder: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root {
            name: CaName::new("Acme Issuing", "Acme", None).expect("a name"),
            validity: Validity::days(UnixTime::from_secs(now() - 86_400), 3650).expect("days"),
            path_length: 0,
            development: false,
        };
        let root = Issuer::root(&key(), &root, &mut SystemRandom).expect("a root");
        std::fs::write(folder.path().join("authority.der"), root.certificate).expect("written");
        Self {
            folder: folder.path().to_owned(),
            _folder: Some(folder),
        }
    }

    /// The house of another process.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self {
            folder,
            _folder: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) async fn registry(&self) -> Registry {
        let url = format!("sqlite:{}", self.path("registry.db").display());
        Registry::open(&url).await.expect("opens")
    }

    /// A station that puts its devices on an order.
    pub(crate) async fn station(&self) -> Station {
        self.station_on(self.registry().await).await
    }

    /// The same, where simulated TPMs are taken.
    #[cfg(feature = "tpm")]
    pub(crate) async fn station_for_software(&self) -> Station {
        let mut station = self.station().await;
        station.software = true;
        station
    }

    /// The same with a registry that is open.
    pub(crate) async fn station_on(&self, registry: Registry) -> Station {
        let order = registry.order("all", None, 100_000).await.expect("made");
        let certificate = std::fs::read(self.path("authority.der")).expect("there");
        let authority = Authority {
            key: Arc::new(key()),
            certificate: certificate.clone(),
        };
        Station {
            name: "station-3".to_owned(),
            issuing: Issuing::start(registry, authority, Clock::system(0))
                .await
                .expect("starts"),
            above: vec![certificate],
            profile: Profile::Tls,
            days: 365,
            organization: Some("Acme".to_owned()),
            scope: None,
            order: Some(order),
            software: false,
            lock_for_ever: false,
            output: self.path("devices"),
        }
    }
}

pub(crate) fn key() -> SigningKey {
    SigningKey::new(FileKey::from_seed(Algorithm::Esp256, &SEED).expect("a key"))
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Runs a test on a runtime.
pub(crate) fn on_runtime<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// One device, as a batch does it: on a thread that may wait.
pub(crate) async fn provision(
    station: &Station,
    job: &Job,
    device: Arc<dyn Device>,
) -> Result<countersign_sessions::Provisioned, countersign_sessions::Failed> {
    let (station, job) = (station.clone(), job.clone());
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let steps = countersign_sessions::Steps::default();
        countersign_sessions::provision(&station, &job, device.as_ref(), &runtime, &steps)
    })
    .await
    .expect("ends")
}

/// The certificates of a device that count.
pub(crate) async fn issued(registry: &Registry, device: &str) -> usize {
    let id = device.parse().expect("an id");
    let all = registry.certificates(&id).await.expect("listed");
    all.iter()
        .filter(|one| one.state == CertificateState::Issued)
        .count()
}

pub(crate) fn job(device: &str, key: &str) -> Job {
    Job {
        device: device.parse().expect("an id"),
        device_type: "press".to_owned(),
        revision: "B".to_owned(),
        firmware: "1.2.0".to_owned(),
        key: key.parse().expect("a key URI"),
        hardware: None,
    }
}

pub(crate) type EmulatedChip = Chip<EmulatedBus, EmulatedDelay>;

/// A chip on a bus of its number.
pub(crate) fn chip(emulator: &Emulator, bus: u32) -> EmulatedChip {
    let device = Atecc608::new(emulator.bus(), emulator.delay(), 0x60);
    let bus = format!("/dev/i2c-{bus}");
    let slots = SLOTS.map(|slot| Slot::new(slot).expect("a slot")).to_vec();
    Chip::new(Atecc608Provider::new(device, Path::new(&bus), 0x60), slots)
}

/// The key of the chip on a bus.
pub(crate) fn uri(bus: u32) -> String {
    format!("atecc608:/dev/i2c-{bus}?address=0x60&slot=0")
}

/// Emulated chips, made when they are first asked for; in files, if another process shall find them again.
pub(crate) struct Chips {
    folder: Option<PathBuf>,
    made: Mutex<std::collections::BTreeMap<u32, Arc<EmulatedChip>>>,
}

impl Chips {
    pub(crate) fn new() -> Self {
        Self {
            folder: None,
            made: Mutex::default(),
        }
    }

    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: Some(folder.to_owned()),
            ..Self::new()
        }
    }
}

impl Devices for Chips {
    fn of_key(&self, key: &KeyUri) -> Result<Arc<dyn Device>, Error> {
        let KeyUri::Atecc608(named) = key else {
            panic!("{key}");
        };
        let bus = named.bus().to_str().expect("text");
        let number: u32 = bus["/dev/i2c-".len()..].parse().expect("a number");
        let mut made = self.made.lock().expect("not poisoned");
        let chip = made.entry(number).or_insert_with(|| {
            let factory = Factory::provisioned(u64::from(number));
            let emulator = match &self.folder {
                Some(folder) => {
                    let state = folder.join(format!("chip-{number}"));
                    Emulator::with_state(factory, ChipClock::stepped(), &state).expect("a chip")
                }
                None => Emulator::new(factory),
            };
            Arc::new(chip(&emulator, number))
        });
        Ok(Arc::clone(chip) as Arc<dyn Device>)
    }
}

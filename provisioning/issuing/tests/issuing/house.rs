//! An authority with an empty registry, and devices that ask it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_backend_file::{FileKey, SystemRandom};
use countersign_issuing::{Ask, Authority, Clock, Contents, Error, Issuing, Proof};
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::{CaName, Issuer, Profile, Root, Validity};
use countersign_registry::{Certificate, Device, Refusal, Registry};
use countersign_signer::request::{RequestFields, Subject, certification_request};
use countersign_testing::postgres::Postgres;
use countersign_trust_store::UnixTime;

/// The seed of the authority's key, so that another process has the same.
const SEED: [u8; 32] = [0x5a; 32];

/// A registry's place, and a folder that goes with the test.
pub(crate) struct House {
    pub(crate) url: String,
    pub(crate) folder: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl House {
    pub(crate) fn sqlite() -> Self {
        let mut house = Self::postgresql_at(String::new());
        house.url = format!("sqlite:{}", house.folder.join("registry.db").display());
        house
    }

    pub(crate) fn postgresql() -> Self {
        Self::postgresql_at(Postgres::shared().database())
    }

    fn postgresql_at(url: String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = root(now() - 86_400, 3650, 1);
        std::fs::write(folder.path().join("authority.der"), root).expect("written");
        Self {
            url,
            folder: folder.path().to_owned(),
            _folder: Some(folder),
        }
    }

    /// The house of another process.
    pub(crate) fn at(url: String, folder: PathBuf) -> Self {
        Self {
            url,
            folder,
            _folder: None,
        }
    }

    pub(crate) fn authority(&self) -> Authority {
        self.authority_with(key())
    }

    pub(crate) fn authority_with(&self, key: SigningKey) -> Authority {
        Authority {
            key: Arc::new(key),
            certificate: std::fs::read(self.folder.join("authority.der")).expect("there"),
        }
    }

    /// The same key with a certificate of another period: from `from`, in seconds since 1970.
    pub(crate) fn authority_from(&self, from: u64, days: u64) -> Authority {
        Authority {
            certificate: root(from, days, 0),
            ..self.authority()
        }
    }

    pub(crate) async fn open(&self) -> Registry {
        Registry::open(&self.url).await.expect("opens")
    }

    /// The service, over devices `device-0` to `device-COUNT`.
    pub(crate) async fn issuing(&self, count: u32) -> Issuing {
        let registry = self.open().await;
        approve(&registry, count).await;
        Issuing::start(registry, self.authority(), Clock::system(0))
            .await
            .expect("starts")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn root(from: u64, days: u64, path_length: u8) -> Vec<u8> {
    let root = Root {
        name: CaName::new("Acme Issuing", "Acme", None).expect("a name"),
        validity: Validity::days(UnixTime::from_secs(from), days).expect("days"),
        path_length,
        development: false,
    };
    Issuer::root(&key(), &root, &mut SystemRandom)
        .expect("a root")
        .certificate
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

pub(crate) async fn approve(registry: &Registry, count: u32) {
    let order = registry.order("all", None, 1_000_000).await.expect("made");
    let devices: Vec<Device> = (0..count)
        .map(|number| Device::approved(name(number).parse().expect("an id"), &order))
        .collect();
    registry
        .register(&devices, now())
        .await
        .expect("registered");
}

/// Asks until the place is free, which takes a moment, and until the registry answers.
pub(crate) async fn issue_soon(issuing: &Issuing, asked: Ask) -> Certificate {
    for _ in 0..1_200 {
        match issuing.issue(asked.clone()).await {
            Ok(certificate) => return certificate,
            Err(Error::Refused(Refusal::InProgress { .. }) | Error::Unavailable { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("its place was never free again");
}

pub(crate) fn name(number: u32) -> String {
    format!("device-{number}")
}

/// The request of a device, the same each time.
pub(crate) fn request(number: u32) -> Vec<u8> {
    let mut seed = [0x11; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::new(FileKey::from_seed(Algorithm::Esp256, &seed).expect("a key"));
    let fields = RequestFields {
        subject: Subject::default(),
        identity: Some(name(number).parse().expect("an id")),
        metadata: Default::default(),
        dns_names: Vec::new(),
        scope: None,
    };
    certification_request(&key, &fields).expect("a request")
}

/// What a device asks.
pub(crate) fn ask(number: u32) -> Ask {
    Ask {
        proof: Proof::Request(request(number)),
        device: None,
        profile: Profile::Tls,
        contents: Contents::default(),
        renews: None,
        request: None,
        manufacturer: None,
    }
}

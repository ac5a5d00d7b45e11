//! An empty database of either kind, and what to put into it.

use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use countersign_format::DeviceIdentity;
use countersign_provisioning::{Profile, Serial};
use countersign_registry::{
    Commit, Device, Error, Refusal, Registry, RequestKey, Reservation, Reserved,
};
use countersign_testing::SystemRandom;
use countersign_testing::postgres::Postgres;
use sqlx::Connection;

/// A time in 2026.
pub(crate) const NOW: u64 = 1_790_000_000;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A database that goes with its test.
pub(crate) struct Database {
    pub(crate) url: String,
    /// SQLite's.
    pub(crate) folder: Option<tempfile::TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            url: format!("sqlite:{}", folder.path().join("registry.db").display()),
            folder: Some(folder),
        }
    }

    pub(crate) fn postgresql() -> Self {
        Self {
            url: Postgres::shared().database(),
            folder: None,
        }
    }

    /// An empty one of the same kind.
    pub(crate) fn another(&self) -> Self {
        match self.folder {
            Some(_) => Self::sqlite(),
            None => Self::postgresql(),
        }
    }

    /// Opens it; one that was just closed once more, since a program that another test starts at that moment has its lock until it begins.
    pub(crate) async fn open(&self) -> Registry {
        let until = Instant::now() + PATIENCE;
        loop {
            match Registry::open(&self.url).await {
                Err(Error::Locked { .. }) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                opened => return opened.expect("opens"),
            }
        }
    }

    /// A copy of what is there now; the registry must be closed.
    pub(crate) fn copy(&self) -> Self {
        let Some(folder) = &self.folder else {
            return Self {
                url: Postgres::shared().copy(&self.url),
                folder: None,
            };
        };
        let copy = Self::sqlite();
        let into = copy.folder.as_ref().expect("a folder").path();
        for file in std::fs::read_dir(folder.path()).expect("listed") {
            let file = file.expect("listed").path();
            let name = file.file_name().expect("a name");
            std::fs::copy(&file, into.join(name)).expect("copied");
        }
        copy
    }

    /// Runs a statement past the registry, which must be closed.
    pub(crate) async fn past(&self, statement: &str) {
        sqlx::any::install_default_drivers();
        let url = match self.url.strip_prefix("sqlite:") {
            Some(path) => {
                let file = std::fs::File::options()
                    .create(true)
                    .append(true)
                    .mode(0o600)
                    .open(path);
                file.expect("a file");
                format!("sqlite://{path}?mode=rw")
            }
            None => self.url.clone(),
        };
        let mut connection = sqlx::AnyConnection::connect(&url).await.expect("connects");
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .expect("done");
        connection.close().await.expect("closed");
    }
}

pub(crate) fn id(text: &str) -> DeviceIdentity {
    text.parse().expect("an identity")
}

pub(crate) fn serial() -> Serial {
    Serial::generate(&mut SystemRandom).expect("a serial")
}

/// Devices that may have certificates, on an order without end.
pub(crate) async fn approve(registry: &Registry, names: &[&str]) {
    let order = registry.order("all", None, 1_000_000).await.expect("made");
    let devices: Vec<Device> = names
        .iter()
        .map(|name| Device::approved(id(name), &order))
        .collect();
    registry.register(&devices, NOW).await.expect("registered");
}

/// A reservation with a key of that number.
pub(crate) fn asking(device: &str, key: u8) -> Reservation {
    Reservation {
        serial: serial(),
        device: id(device),
        profile: Profile::Tls,
        issuer: [7; 32],
        key: [key; 32],
        not_before: NOW,
        not_after: NOW + 1000,
        renews: None,
        request: None,
        manufacturer: None,
    }
}

pub(crate) fn request(key: &str, digest: u8) -> Option<RequestKey> {
    Some(RequestKey {
        key: key.to_owned(),
        digest: [digest; 32],
    })
}

pub(crate) fn made(what: &Reservation) -> Commit {
    Commit {
        serial: what.serial.clone(),
        der: format!("certificate {}", what.serial).into_bytes(),
        leaf: format!("leaf {}", what.serial).into_bytes(),
    }
}

/// Reserves one.
pub(crate) async fn reserve(
    registry: &Registry,
    what: &Reservation,
    now: u64,
) -> Result<Reserved, Refusal> {
    let until = Instant::now() + PATIENCE;
    let mut outcomes = loop {
        match registry.reserve(std::slice::from_ref(what), now).await {
            Err(error) if is_crowded(&error) && Instant::now() < until => {}
            outcomes => break outcomes.expect("available"),
        }
    };
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Commits one that was reserved.
pub(crate) async fn commit(registry: &Registry, what: &Reservation, now: u64) {
    let until = Instant::now() + PATIENCE;
    loop {
        match registry.commit(&[made(what)], now).await {
            Err(error) if is_crowded(&error) && Instant::now() < until => {}
            outcome => {
                outcome.expect("committed");
                return;
            }
        }
    }
}

/// Whether all connections were in others' hands for longer than is waited: nothing was begun, and it may be tried again. Where a
/// hundred ask at once it depends on the machine how long that takes.
fn is_crowded(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable {
            source: sqlx::Error::PoolTimedOut,
            ..
        }
    )
}

/// Reserves and commits one.
pub(crate) async fn issue(registry: &Registry, what: &Reservation, now: u64) {
    let outcome = reserve(registry, what, now).await;
    assert!(matches!(outcome, Ok(Reserved::New)), "{outcome:?}");
    commit(registry, what, now).await;
}

//! Opening a registry: the lock, the schema, the connections.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::connections::{Connection, Connections, TURN};
use crate::growth::Growth;
use crate::instance::Instance;
use crate::location::{Kind, Location, guard};
use crate::schema;
use crate::transaction::Transaction;

/// Connections that read. SQLite has one more that writes; PostgreSQL has one more that holds locks.
const READERS: u32 = 4;

/// Connections that write to PostgreSQL at once.
const WRITERS: u32 = 4;

/// What SQLite is told of every connection: nothing is acknowledged before it is on the disk.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
     PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536; PRAGMA mmap_size = 268435456; PRAGMA trusted_schema = OFF";

/// What PostgreSQL is told of every connection. Whoever waits for a lock does so for seconds, not for ever; a commit is on the
/// disk; who is gone without a word is missed within a minute, so that its locks become free; and no statement is compiled
/// to native code, which takes a hundred times as long as any of ours.
const SETTINGS: &str = "SET lock_timeout = '5s'; SET synchronous_commit = on; SET tcp_keepalives_idle = 30; \
     SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; SET jit = off";

/// And of those that write: they look up rows by their keys, and a plan that reads whole tables was made for small ones.
const WRITERS_SETTINGS: &str = "SET enable_seqscan = off";

/// A registry. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
    turn: Duration,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    readers: Connections,
    writers: Connections,
    instance: Instance,
    growth: Growth,
    /// Held for the life of the process, where one process has the database.
    _lock: Option<File>,
}

impl Registry {
    /// Opens the registry at `sqlite:PATH` or `postgres://…`, makes it where SQLite has none yet, and brings its schema
    /// up to date.
    ///
    /// # Errors
    /// [`Error::Location`]; [`Error::Exposed`] for a file that others may read, or a folder that they may write to;
    /// [`Error::Locked`]; [`Error::SchemaNewer`], [`Error::SchemaBroken`]; [`Error::Unavailable`].
    pub async fn open(url: &str) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let location = Location::parse(url)?;
        let kind = location.kind();
        let mut held = None;
        if let Location::Sqlite(path) = &location {
            guard(path)?;
            held = Some(lock(path)?);
        }
        let (writers, more) = match kind {
            Kind::Sqlite => (1, ""),
            Kind::PostgreSql => (WRITERS, WRITERS_SETTINGS),
        };
        let url = location.driver_url();
        let writers = connections(kind, writers, &url, more).await?;
        schema::migrate(&mut *writers.take(TURN).await?, kind).await?;
        let readers = connections(kind, READERS, &url, "").await?;
        let instance = Instance::new(kind, &writers).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                kind,
                readers,
                writers,
                instance,
                growth: Growth::default(),
                _lock: held,
            }),
            turn: TURN,
        })
    }

    /// The same, where a call waits so long at most while others have all connections: as long as whoever asks for it may take. A
    /// database that does not answer is not waited for longer by that.
    #[must_use]
    pub const fn waiting(mut self, most: Duration) -> Self {
        self.turn = most;
        self
    }

    /// Closes every connection, after what is under way.
    pub async fn close(&self) {
        for pool in [&self.inner.readers, &self.inner.writers] {
            pool.close().await;
            // A connection that came back while the first call waited for it lies idle, and open, until the next.
            pool.close().await;
        }
        self.inner.instance.close().await;
    }

    pub(crate) fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// A connection that reads.
    pub(crate) async fn reader(&self) -> Result<Connection, Error> {
        Ok(self.inner.readers.take(self.turn).await?)
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.inner.instance
    }

    /// So many certificates were written.
    pub(crate) fn grown_by(&self, rows: u64) {
        self.inner
            .growth
            .by(rows, self.inner.kind, &self.inner.readers);
    }

    /// A transaction that writes.
    pub(crate) async fn write(&self) -> Result<Transaction, Error> {
        let connection = self.inner.writers.take(self.turn).await?;
        Transaction::writing(connection, self.kind()).await
    }

    /// A transaction that reads, and sees one moment.
    pub(crate) async fn read(&self) -> Result<Transaction, Error> {
        Transaction::reading(self.reader().await?, self.kind()).await
    }
}

async fn connections(
    kind: Kind,
    most: u32,
    url: &str,
    more: &'static str,
) -> Result<Connections, Error> {
    let settings = match kind {
        Kind::Sqlite => PRAGMAS,
        Kind::PostgreSql => SETTINGS,
    };
    let statements = settings.split(';').chain(more.split_terminator(';'));
    Ok(Connections::open(most, url, statements).await?)
}

fn lock(database: &Path) -> Result<File, Error> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let unavailable = |source| Error::Unavailable {
        source: sqlx::Error::Io(source),
    };
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

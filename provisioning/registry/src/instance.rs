//! Which process this is among those that share a database, and what only one of them does.
//!
//! A process has a random number that stands in its reservations. In PostgreSQL it holds an advisory lock on that number
//! as long as it lives: whoever gets the lock knows that the owner is dead. SQLite has one process at a time.
//!
//! A connection that is lost takes the locks along, and others may then lead and close what this process reserved, which
//! it is told when it commits. The next question opens another connection, with the same number.

use std::time::Duration;

use countersign_provisioning::Serial;
use sqlx::{AnyConnection, Connection, Executor as _, Row};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connections::{Connections, TURN};
use crate::location::Kind;
use crate::{Certificate, Error, Registry, sql};

/// What one process does for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lead {
    /// Giving leaves their places in the audit log.
    Audit,
    /// Signing revocation lists.
    RevocationLists,
}

impl Lead {
    fn number(self) -> i64 {
        match self {
            Self::Audit => 0x636f_756e_7465_7201,
            Self::RevocationLists => 0x636f_756e_7465_7202,
        }
    }
}

/// This process.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) number: i64,
    /// What holds PostgreSQL's locks; none for SQLite.
    session: Option<Mutex<Session>>,
}

/// A connection that holds locks as long as it lives. PostgreSQL may end it, or the network: then another takes its
/// place and its number, and has to get again whatever else was locked.
#[derive(Debug)]
struct Session {
    connections: Connections,
    connection: Option<AnyConnection>,
}

/// What the session is asked; each by a number that is locked.
#[derive(Clone, Copy, Debug)]
enum Question {
    /// Whether this process has the lock, or gets it now and keeps it.
    Holds(i64),
    /// Whether nobody has it.
    IsFree(i64),
}

/// How long the session may take to answer, before it counts as lost.
const ANSWER: Duration = Duration::from_secs(5);

impl Instance {
    pub(crate) async fn new(kind: Kind, connections: &Connections) -> Result<Self, Error> {
        let mut octets = [0_u8; 8];
        getrandom::fill(&mut octets).map_err(|error| Error::Unavailable {
            source: sqlx::Error::Io(std::io::Error::other(error.to_string())),
        })?;
        // Locks of the whole program have other numbers: theirs are positive.
        let number = i64::from_be_bytes(octets) | i64::MIN;
        let session = match kind {
            Kind::Sqlite => None,
            Kind::PostgreSql => Some(Mutex::new(Session {
                connections: connections.clone(),
                connection: Some(connect(connections, number).await?),
            })),
        };
        Ok(Self { number, session })
    }

    pub(crate) async fn close(&self) {
        if let Some(session) = &self.session
            && let Some(mut connection) = session.lock().await.connection.take()
        {
            // What is locked ends with the connection in any case, some time after it is closed here. Whoever opens the registry next
            // need not wait for that.
            let _ = timeout(ANSWER, async {
                let _ = connection.execute("SELECT pg_advisory_unlock_all()").await;
                connection.close().await
            })
            .await;
        }
    }

    /// Asks the session, and a new one if it is lost. SQLite's one process has every lock.
    async fn ask(&self, question: Question) -> Result<bool, Error> {
        let Some(session) = &self.session else {
            return Ok(true);
        };
        let mut session = session.lock().await;
        // It is taken out, so that one that failed, or whose answer nobody waited for, is not used again.
        if let Some(mut connection) = session.connection.take()
            && let Ok(Ok(answer)) = timeout(ANSWER, question.put(&mut connection)).await
        {
            session.connection = Some(connection);
            return Ok(answer);
        }
        let mut connection = connect(&session.connections, self.number).await?;
        let answer = timeout(ANSWER, question.put(&mut connection))
            .await
            .map_err(|_| unavailable("it does not answer"))??;
        session.connection = Some(connection);
        Ok(answer)
    }
}

/// A connection that has this process's number.
async fn connect(connections: &Connections, number: i64) -> Result<AnyConnection, Error> {
    let mut connection = connections.take(TURN).await?.detach();
    if !try_lock(&mut connection, number).await? {
        return Err(unavailable(
            "it has not noticed yet that this process's earlier connection is gone",
        ));
    }
    Ok(connection)
}

fn unavailable(reason: &str) -> Error {
    Error::Unavailable {
        source: sqlx::Error::Io(std::io::Error::other(reason.to_owned())),
    }
}

impl Question {
    async fn put(self, connection: &mut AnyConnection) -> Result<bool, Error> {
        match self {
            Self::Holds(number) => {
                // The same session could take a lock many times over.
                let held = sqlx::query(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted \
                     AND ((classid::bigint << 32) | objid::bigint) = $1 AND objsubid = 1",
                )
                .bind(number)
                .fetch_one(&mut *connection)
                .await?;
                Ok(held.try_get::<i64, _>(0)? > 0 || try_lock(connection, number).await?)
            }
            // Taken for the length of this statement, so that it is never left behind.
            Self::IsFree(number) => {
                let row = sqlx::query("SELECT pg_try_advisory_xact_lock($1)")
                    .bind(number)
                    .fetch_one(connection)
                    .await?;
                Ok(row.try_get(0)?)
            }
        }
    }
}

impl Registry {
    /// Whether this process does `lead` for all. Ask before each piece of that work: who leads may lose it with the
    /// connection, and may get it again.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: then it does not lead.
    pub async fn leads(&self, lead: Lead) -> Result<bool, Error> {
        self.instance().ask(Question::Holds(lead.number())).await
    }

    /// What was reserved by processes that are gone, and never committed. Close it with [`Registry::abandon`].
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn orphans(&self) -> Result<Vec<Certificate>, Error> {
        let rows = sqlx::query("SELECT DISTINCT owner FROM certificates WHERE state = 'reserved'")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut orphans = Vec::new();
        for row in rows {
            let owner: i64 = row.try_get(0)?;
            if owner == self.instance().number
                || !self.instance().ask(Question::IsFree(owner)).await?
            {
                continue;
            }
            let statement = format!(
                "SELECT {} FROM certificates WHERE state = 'reserved' AND owner = $1",
                sql::CERTIFICATE
            );
            let rows = sqlx::query(&statement)
                .bind(owner)
                .fetch_all(&mut *self.reader().await?)
                .await?;
            for row in &rows {
                orphans.push(sql::certificate(row)?);
            }
        }
        Ok(orphans)
    }

    /// Closes reservations without a certificate, each with a leaf that says so. Their serials stay taken, their places
    /// and idempotency keys become free. What was committed meanwhile is left alone.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn abandon(&self, serials: &[(Serial, Vec<u8>)]) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        for (serial, leaf) in serials {
            let closed = sqlx::query(
                "UPDATE certificates SET state = 'abandoned', request_key = NULL WHERE serial = $1 AND state = 'reserved'",
            )
            .bind(serial.as_bytes())
            .execute(&mut *transaction)
            .await?;
            if closed.rows_affected() > 0 {
                crate::audit::insert(&mut transaction, &[leaf.as_slice()]).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn try_lock(connection: &mut AnyConnection, number: i64) -> Result<bool, Error> {
    let row = sqlx::query("SELECT pg_try_advisory_lock($1)")
        .bind(number)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

//! Which process this is among those that share a database, and what only one of them does.
//!
//! A process has a random number that stands in its reservations. In PostgreSQL it holds an advisory lock on that number
//! as long as it lives: whoever gets the lock knows that the owner is dead. SQLite has one process at a time.

use countersign_provisioning::Serial;
use sqlx::AnyConnection;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Connection, Row};
use tokio::sync::Mutex;

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
    /// PostgreSQL's connection that holds the locks; none for SQLite.
    session: Option<Mutex<AnyConnection>>,
}

impl Instance {
    pub(crate) async fn new(kind: Kind, pool: &AnyPool) -> Result<Self, Error> {
        let mut octets = [0_u8; 8];
        getrandom::fill(&mut octets).map_err(|error| Error::Unavailable {
            source: sqlx::Error::Io(std::io::Error::other(error.to_string())),
        })?;
        // Locks of the whole program have other numbers: theirs are positive.
        let number = i64::from_be_bytes(octets) | i64::MIN;
        let session = match kind {
            Kind::Sqlite => None,
            Kind::PostgreSql => {
                let connection: PoolConnection<Any> = pool.acquire().await?;
                let mut connection = connection.detach();
                try_lock(&mut connection, number).await?;
                Some(Mutex::new(connection))
            }
        };
        Ok(Self { number, session })
    }

    pub(crate) async fn close(&self) {
        if let Some(session) = &self.session {
            let mut connection = session.lock().await;
            // What is locked ends with the connection in any case.
            let _ = sqlx::query("SELECT pg_advisory_unlock_all()::text")
                .execute(&mut *connection)
                .await;
        }
    }
}

impl Registry {
    /// Whether this process does `lead` for all. Ask before each piece of that work: who leads may lose it with the
    /// connection.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: then it does not lead.
    pub async fn leads(&self, lead: Lead) -> Result<bool, Error> {
        let Some(session) = &self.instance().session else {
            return Ok(true);
        };
        let mut connection = session.lock().await;
        connection.ping().await?;
        // The same session may take a lock many times; it then has it many times, which does no harm.
        let held = sqlx::query(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted \
             AND ((classid::bigint << 32) | objid::bigint) = $1 AND objsubid = 1",
        )
        .bind(lead.number())
        .fetch_one(&mut *connection)
        .await?;
        if held.try_get::<i64, _>(0)? > 0 {
            return Ok(true);
        }
        try_lock(&mut connection, lead.number()).await
    }

    /// What was reserved by processes that are gone, and never committed. Close it with [`Registry::abandon`].
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn orphans(&self) -> Result<Vec<Certificate>, Error> {
        let rows = sqlx::query("SELECT DISTINCT owner FROM certificates WHERE state = 'reserved'")
            .fetch_all(self.readers())
            .await?;
        let mut orphans = Vec::new();
        for row in rows {
            let owner: i64 = row.try_get(0)?;
            if owner == self.instance().number || !self.is_gone(owner).await? {
                continue;
            }
            let statement = format!(
                "SELECT {} FROM certificates WHERE state = 'reserved' AND owner = $1",
                sql::CERTIFICATE
            );
            let rows = sqlx::query(&statement)
                .bind(owner)
                .fetch_all(self.readers())
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

    async fn is_gone(&self, owner: i64) -> Result<bool, Error> {
        let Some(session) = &self.instance().session else {
            return Ok(true);
        };
        let mut connection = session.lock().await;
        let is_gone = try_lock(&mut connection, owner).await?;
        if is_gone {
            sqlx::query("SELECT pg_advisory_unlock($1)::text")
                .bind(owner)
                .execute(&mut *connection)
                .await?;
        }
        Ok(is_gone)
    }
}

async fn try_lock(connection: &mut AnyConnection, number: i64) -> Result<bool, Error> {
    let row = sqlx::query("SELECT pg_try_advisory_lock($1)")
        .bind(number)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

//! Leaves of the audit log: written with what they tell of, and given their places afterwards, by one process.

use sqlx::Row;

use crate::location::Kind;
use crate::sql::{self, int, uint};
use crate::transaction::Transaction;
use crate::{Error, Registry, behind};

/// Held in PostgreSQL while places are given; any number that nothing else of this program locks.
const PLACES_LOCK: i64 = 0x636f_756e_7465_7203;

/// A leaf with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its index, from 0.
    pub place: u64,
    /// What it says.
    pub bytes: Vec<u8>,
}

impl Registry {
    /// Writes leaves for what has no other record here.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn record(&self, leaves: &[&[u8]]) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        insert(&mut transaction, leaves).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Gives places to at most `most` leaves that have none, in the order in which they were written. For the process
    /// that [leads](crate::Lead::Audit); where two believe that they do, one waits for the other.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Unavailable`].
    pub async fn place_leaves(&self, most: u64) -> Result<u64, Error> {
        let mut transaction = behind::unless_behind(self.write().await?).await?;
        lock_places(&mut transaction, self.kind()).await?;
        let next = next_place(&mut transaction).await?;
        let placed = sqlx::query(
            "UPDATE audit SET place = waiting.place FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 + $1 AS place \
             FROM (SELECT id FROM audit WHERE place IS NULL ORDER BY id LIMIT $2) AS first) AS waiting \
             WHERE audit.id = waiting.id AND audit.place IS NULL",
        )
        .bind(int(next))
        .bind(int(most))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(placed.rows_affected())
    }

    /// At most `most` leaves from the place `from` on, in order.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn leaves(&self, from: u64, most: u64) -> Result<Vec<Leaf>, Error> {
        let rows = sqlx::query(
            "SELECT place, leaf FROM audit WHERE place IS NOT NULL AND place >= $1 ORDER BY place LIMIT $2",
        )
        .bind(int(from))
        .bind(int(most))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Leaf {
                    place: uint(row.try_get(0)?),
                    bytes: row.try_get(1)?,
                })
            })
            .collect()
    }

    /// The leaves that hold these bytes, with or without a place. It reads all of them: not for every request.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn leaves_with(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let rows = sqlx::query(match self.kind() {
            Kind::Sqlite => "SELECT leaf FROM audit WHERE instr(leaf, $1) > 0",
            Kind::PostgreSql => "SELECT leaf FROM audit WHERE position($1 in leaf) > 0",
        })
        .bind(bytes)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// How many leaves have a place, and how many wait for one.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn leaf_counts(&self) -> Result<(u64, u64), Error> {
        let row = sqlx::query(
            "SELECT (SELECT coalesce(max(place) + 1, 0) FROM audit WHERE place IS NOT NULL), \
             (SELECT count(*) FROM audit WHERE place IS NULL)",
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        Ok((uint(row.try_get(0)?), uint(row.try_get(1)?)))
    }
}

/// Lets nobody else give places to the end of the transaction. Who leads may have lost that without knowing; each
/// statement after this one sees what the one before wrote.
pub(crate) async fn lock_places(transaction: &mut Transaction, kind: Kind) -> Result<(), Error> {
    if kind == Kind::PostgreSql {
        sqlx::query("SELECT pg_advisory_xact_lock($1)::text")
            .bind(PLACES_LOCK)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// The first place that no leaf has.
pub(crate) async fn next_place(transaction: &mut Transaction) -> Result<u64, Error> {
    let row = sqlx::query("SELECT coalesce(max(place) + 1, 0) FROM audit WHERE place IS NOT NULL")
        .fetch_one(&mut **transaction)
        .await?;
    Ok(uint(row.try_get(0)?))
}

/// Writes leaves in a transaction that writes what they tell of.
pub(crate) async fn insert(transaction: &mut Transaction, leaves: &[&[u8]]) -> Result<(), Error> {
    for piece in sql::pieces(leaves) {
        let statement = format!(
            "INSERT INTO audit (leaf) VALUES {}",
            sql::rows(0, piece.len(), 1)
        );
        let mut query = sqlx::query(&statement);
        for leaf in piece {
            query = query.bind(*leaf);
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

//! A transaction, and the connection under it: one that failed is closed and made anew.
//!
//! The driver of SQLite takes a transaction for open as long as its COMMIT has not succeeded, and one that failed on a
//! full disk would keep the only connection that writes. So begin and end are said here, and whatever does not come to
//! its end takes its connection along: SQLite and PostgreSQL both roll back what a closed connection had open.

use std::ops::{Deref, DerefMut};

use sqlx::{AnyConnection, Executor};

use crate::Error;
use crate::connections::Connection;
use crate::location::Kind;

/// How often a batch is tried that met another one in PostgreSQL: each waited for what the other had.
const ATTEMPTS: u32 = 4;

/// Tries a transaction again that met another one, so that the database took it back.
pub(crate) async fn again<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(error) if is_collision(&error) => {}
            outcome => return outcome,
        }
    }
    attempt().await
}

fn is_collision(error: &Error) -> bool {
    let Error::Unavailable {
        source: sqlx::Error::Database(error),
    } = error
    else {
        return false;
    };
    // PostgreSQL: serialization_failure, deadlock_detected.
    matches!(error.code().as_deref(), Some("40001" | "40P01"))
}

/// An open transaction. Dropped, it is rolled back with its connection.
pub(crate) struct Transaction {
    connection: Connection,
    /// The connection has no transaction and may be used again.
    is_ended: bool,
}

impl Transaction {
    /// One that writes.
    pub(crate) async fn writing(on: Connection, kind: Kind) -> Result<Self, Error> {
        Self::begin(on, kind.begin_writing()).await
    }

    /// One that reads, and sees to its end what was there when it read first.
    pub(crate) async fn reading(on: Connection, kind: Kind) -> Result<Self, Error> {
        Self::begin(on, kind.begin_reading()).await
    }

    async fn begin(connection: Connection, statement: &'static str) -> Result<Self, Error> {
        let mut transaction = Self {
            connection,
            is_ended: false,
        };
        transaction.connection.execute(statement).await?;
        Ok(transaction)
    }

    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.connection.execute("COMMIT").await?;
        self.is_ended = true;
        Ok(())
    }

    /// Takes everything back, and keeps the connection: for what is refused, where nothing failed, and for what only read.
    pub(crate) async fn roll_back(mut self) -> Result<(), Error> {
        self.connection.execute("ROLLBACK").await?;
        self.is_ended = true;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_ended {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Transaction {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

//! The connections to a database, and whose turn it is to have one.
//!
//! Decides how long is waited: seconds for a database that does not answer, and for one that is busy with others as long as who asks
//! may take himself.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::any::AnyPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// How long a connection may take to be made, or to show that it still stands, before the database counts as one that does not
/// answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How long who asks waits while others have them all, unless he says otherwise: what a request may take altogether.
pub(crate) const TURN: Duration = Duration::from_secs(30);

/// Connections that are made when they are needed, up to a number. Copies are the same.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: AnyPool,
    /// One for each connection that there may be.
    turns: Arc<Semaphore>,
    /// How often one was had.
    had: Arc<AtomicU64>,
    /// Changes when the database did not answer.
    silent: watch::Sender<()>,
}

impl Connections {
    /// At most so many, each of which is told these statements first.
    pub(crate) async fn open(
        most: u32,
        url: &str,
        statements: impl Iterator<Item = &'static str> + Clone + Send + Sync + 'static,
    ) -> Result<Self, sqlx::Error> {
        let options = AnyPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(ANSWER)
            .after_connect(move |connection, _| {
                let statements = statements.clone();
                Box::pin(async move {
                    for statement in statements {
                        connection.execute(statement).await?;
                    }
                    Ok(())
                })
            });
        Ok(Self {
            pool: options.connect(url).await?,
            turns: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX))),
            had: Arc::default(),
            silent: watch::Sender::new(()),
        })
    }

    /// One of them, after those who asked before, for whom so long is waited at most.
    pub(crate) async fn take(&self, wait: Duration) -> Result<Connection, sqlx::Error> {
        let (asked, mut silent) = (Instant::now(), self.silent.subscribe());
        let mut turn = pin!(timeout(wait, Arc::clone(&self.turns).acquire_owned()));
        let turn = loop {
            tokio::select! {
                biased;
                turn = &mut turn => break turn.map_err(|_| sqlx::Error::PoolTimedOut)?,
                // Whoever came meanwhile has the next one made, which may well answer.
                Ok(()) = silent.changed() => {
                    if asked.elapsed() >= ANSWER {
                        return Err(sqlx::Error::PoolTimedOut);
                    }
                }
            }
        };
        let turn = turn.map_err(|_| sqlx::Error::PoolClosed)?;
        let had = self.had.load(Ordering::Relaxed);
        let connection = self.pool.acquire().await.inspect_err(|error| {
            let nobody_had_one = self.had.load(Ordering::Relaxed) == had;
            if matches!(error, sqlx::Error::PoolTimedOut) && nobody_had_one {
                self.silent.send_replace(());
            }
        })?;
        self.had.fetch_add(1, Ordering::Relaxed);
        Ok(Connection {
            connection,
            _turn: turn,
        })
    }

    /// Closes all of them, after what is under way.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection; dropped, it is another's turn.
#[derive(Debug)]
pub(crate) struct Connection {
    connection: PoolConnection<Any>,
    _turn: OwnedSemaphorePermit,
}

impl Connection {
    /// Has it closed when it is dropped, and with it whatever it had open.
    pub(crate) fn close_on_drop(&mut self) {
        self.connection.close_on_drop();
    }

    /// Takes it out: it is none of them any more.
    pub(crate) fn detach(self) -> AnyConnection {
        self.connection.detach()
    }
}

impl Deref for Connection {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

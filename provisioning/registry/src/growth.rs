//! What PostgreSQL's planner knows of tables that grow from nothing.
//!
//! A server looks at its tables by itself, a minute apart, or never where that was switched off. Until it has, it takes them for
//! nearly empty, and then a plan that reads all that was ever issued costs no more than one that finds a row by its key. Such
//! a plan is kept, and a registry that grows fast becomes slow by the square of what it holds. So whoever writes has the
//! tables looked at whenever what it wrote has doubled, which makes kept plans anew. SQLite's planner goes by the indexes.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::Executor as _;

use crate::connections::{Connections, TURN};
use crate::location::Kind;

/// Certificates after which the tables are looked at first. The worst plan reads so many rows for each of a batch.
const FIRST: u64 = 256;

/// A sample of each, which takes a tenth of a second and stops nobody who reads or writes.
const LOOK: &str = "ANALYZE certificates, devices, device_keys, audit";

/// How many certificates this process has written.
#[derive(Debug)]
pub(crate) struct Growth {
    rows: AtomicU64,
    /// When the tables are looked at next.
    next: AtomicU64,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            rows: AtomicU64::new(0),
            next: AtomicU64::new(FIRST),
        }
    }
}

impl Growth {
    /// Has the tables looked at, beside everything else, when there are twice as many rows as the last time.
    pub(crate) fn by(&self, more: u64, kind: Kind, connections: &Connections) {
        let before = self.rows.fetch_add(more, Ordering::Relaxed);
        let rows = before.saturating_add(more);
        let due = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (rows >= next).then(|| rows.saturating_mul(2))
            });
        if kind == Kind::PostgreSql && due.is_ok() {
            let connections = connections.clone();
            tokio::spawn(async move {
                // It makes others faster, and nothing right: where it is not done, the next one is.
                if let Ok(mut connection) = connections.take(TURN).await {
                    let _ = connection.execute(LOOK).await;
                }
            });
        }
    }
}

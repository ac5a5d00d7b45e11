//! The second step of issuing: certificates and their leaves, together.

use countersign_provisioning::Serial;

use crate::sql::{self, int};
use crate::{Error, Registry, audit};

/// A certificate that was made over a reservation.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its serial, which was reserved.
    pub serial: Serial,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Its leaf of the audit log.
    pub leaf: Vec<u8>,
}

impl Registry {
    /// Writes certificates and leaves in one transaction. When this returns, they are on the disk and may be handed out;
    /// what they renew is no longer current. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::NotReserved`] when one of them is no longer reserved; [`Error::Unavailable`]. Nothing may be handed out
    /// then. Nobody knows whether it was written when the connection was lost; the same idempotency key tells.
    pub async fn commit(&self, batch: &[Commit], now: u64) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        for piece in sql::pieces(batch) {
            // Whatever is in the place makes room: the certificate that is renewed, or one that has expired.
            let serials = sql::list(0, piece.len());
            let statement = format!(
                "UPDATE certificates SET state = 'superseded' WHERE state = 'issued' AND serial IN \
                 (SELECT renews FROM certificates WHERE renews IS NOT NULL AND state = 'reserved' AND serial IN {serials})"
            );
            let mut query = sqlx::query(&statement);
            for commit in piece {
                query = query.bind(commit.serial.as_bytes());
            }
            query.execute(&mut *transaction).await?;

            let statement = format!(
                "UPDATE certificates SET state = 'issued', der = made.column2, committed_at = $1 \
                 FROM (VALUES {}) AS made WHERE certificates.serial = made.column1 \
                 AND certificates.state = 'reserved' AND certificates.owner = $2",
                sql::rows(2, piece.len(), 2)
            );
            let mut query = sqlx::query(&statement)
                .bind(int(now))
                .bind(self.instance().number);
            for commit in piece {
                query = query
                    .bind(commit.serial.as_bytes())
                    .bind(commit.der.as_slice());
            }
            let written = query.execute(&mut *transaction).await?.rows_affected();
            if usize::try_from(written) != Ok(piece.len()) {
                transaction.roll_back().await?;
                return Err(self.missing(batch).await?);
            }
        }
        let leaves: Vec<&[u8]> = batch.iter().map(|commit| commit.leaf.as_slice()).collect();
        audit::insert(&mut transaction, &leaves).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Which of them is not reserved.
    async fn missing(&self, batch: &[Commit]) -> Result<Error, Error> {
        for commit in batch {
            let reserved = sqlx::query(
                "SELECT 1 FROM certificates WHERE serial = $1 AND state = 'reserved' AND owner = $2",
            )
            .bind(commit.serial.as_bytes())
            .bind(self.instance().number)
            .fetch_optional(self.readers())
            .await?;
            if reserved.is_none() {
                return Ok(Error::NotReserved {
                    serial: commit.serial.clone(),
                });
            }
        }
        Ok(Error::Corrupt {
            what: "a reservation",
        })
    }
}

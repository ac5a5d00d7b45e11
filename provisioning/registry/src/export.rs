//! Writing everything out, as it was at one moment, while certificates go on being issued.

use countersign_provisioning::Revocation;
use countersign_trust_store::UnixTime;
use sqlx::Row;

use crate::carry::{Record, of_certificate, of_device, of_order, of_revocation};
use crate::sql::{self, CERTIFICATE, int, uint};
use crate::{Error, Registry, devices, find};

/// Rows that are read at once.
const PIECE: u64 = 1000;

impl Registry {
    /// Writes everything as lines of JSON to `line`, orders first, then devices, then certificates, then what is revoked
    /// without being on record; all as it was at one moment. What is being made at that moment comes out as abandoned, since
    /// its certificate is not there.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also what `line` returns; [`Error::Corrupt`].
    pub async fn export(
        &self,
        mut line: impl FnMut(&str) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let mut write = |record: &Record| -> Result<(), Error> {
            let text = serde_json::to_string(record).map_err(std::io::Error::other);
            text.and_then(|text| line(&text))
                .map_err(|error| sqlx::Error::Io(error).into())
        };
        let mut moment = self.read().await?;
        for order in devices::orders(&mut moment).await? {
            write(&of_order(order))?;
        }
        let mut after = None;
        loop {
            let page = find::devices(&mut moment, None, after.as_deref(), PIECE).await?;
            for device in page.items {
                write(&of_device(device))?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let statement = format!(
            "SELECT {CERTIFICATE} FROM certificates WHERE serial > $1 ORDER BY serial LIMIT $2"
        );
        let mut after: Vec<u8> = Vec::new();
        loop {
            let rows = sqlx::query(&statement)
                .bind(after.as_slice())
                .bind(int(PIECE))
                .fetch_all(&mut *moment)
                .await?;
            for row in &rows {
                after = row.try_get(0)?;
                write(&of_certificate(sql::certificate(row)?))?;
            }
            if rows.is_empty() {
                break;
            }
        }
        let rows = sqlx::query(
            "SELECT issuer, serial, revoked_at, reason FROM unrecorded ORDER BY issuer, serial",
        )
        .fetch_all(&mut *moment)
        .await?;
        for row in &rows {
            let issuer = sql::hash(&row.try_get::<Vec<u8>, _>(0)?, "an issuer")?;
            let what = Revocation {
                serial: sql::serial(&row.try_get::<Vec<u8>, _>(1)?)?,
                at: UnixTime::from_secs(uint(row.try_get(2)?)),
                reason: sql::reason(row, 3)?,
            };
            write(&of_revocation(issuer, &what))?;
        }
        moment.roll_back().await
    }
}

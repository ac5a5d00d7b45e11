//! Revoking.

use countersign_provisioning::{Reason, Serial};
use sqlx::Row;

use crate::sql::{self, int};
use crate::{Certificate, Error, Registry, keys};

impl Registry {
    /// Revokes a certificate that was handed out, with a leaf that says so. A second time changes nothing, and what was
    /// recorded first comes back; none for a serial that is unknown or was never handed out. A key that may be in other
    /// hands gets no certificate any more. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn revoke(
        &self,
        serial: &Serial,
        reason: Reason,
        now: u64,
        leaf: &[u8],
    ) -> Result<Option<Certificate>, Error> {
        let mut transaction = self.write().await?;
        // Before the certificate, in the order in which a commit asks for both.
        keys::lose(&mut transaction, serial, reason, now).await?;
        let revoked = sqlx::query(
            "UPDATE certificates SET state = 'revoked', revoked_at = $1, reason = $2 \
             WHERE serial = $3 AND state IN ('issued', 'superseded') RETURNING state",
        )
        .bind(int(now))
        .bind(reason.as_str())
        .bind(serial.as_bytes())
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(row) = revoked {
            let _state: String = row.try_get(0)?;
            crate::audit::insert(&mut transaction, &[leaf]).await?;
        }
        let statement = format!(
            "SELECT {} FROM certificates WHERE serial = $1 AND state = 'revoked'",
            sql::CERTIFICATE
        );
        let row = sqlx::query(&statement)
            .bind(serial.as_bytes())
            .fetch_optional(&mut *transaction)
            .await?;
        let certificate = row.as_ref().map(sql::certificate).transpose()?;
        transaction.commit().await?;
        Ok(certificate)
    }
}

//! Revocation lists: their numbers, which never fall, and the newest of each issuer.

use countersign_provisioning::{Revocation, Serial};
use sqlx::Row;

use crate::sql::{self, int, uint};
use crate::{Error, Registry, behind};

/// A number that no list of this issuer had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrlNumber(u64);

impl CrlNumber {
    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// The newest list of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCrl {
    /// Its number.
    pub number: u64,
    /// The list, DER.
    pub der: Vec<u8>,
    /// Until when it counts, in seconds since 1970.
    pub next_update: u64,
}

impl Registry {
    /// Takes the next number for a list. It is above every earlier one, and not below the time: so it rises too when the
    /// registry was put back from an old copy. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Behind`]: the list would lack what was revoked since; [`Error::Unavailable`].
    pub async fn next_crl_number(&self, issuer: &[u8; 32], now: u64) -> Result<CrlNumber, Error> {
        let mut transaction = behind::unless_behind(self.write().await?).await?;
        let row = sqlx::query(
            "INSERT INTO lists (issuer, number) VALUES ($1, $2) ON CONFLICT (issuer) DO UPDATE SET number = \
             CASE WHEN lists.number >= excluded.number THEN lists.number + 1 ELSE excluded.number END RETURNING number",
        )
        .bind(issuer.as_slice())
        .bind(int(now))
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(CrlNumber(uint(row.try_get(0)?)))
    }

    /// Keeps a signed list with its leaf, unless a later one is there already; says whether it was kept.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn keep_crl(
        &self,
        issuer: &[u8; 32],
        number: CrlNumber,
        der: &[u8],
        next_update: u64,
        leaf: &[u8],
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let kept = sqlx::query(
            "UPDATE lists SET signed_number = $2, der = $3, next_update = $4 \
             WHERE issuer = $1 AND (signed_number IS NULL OR signed_number < $2)",
        )
        .bind(issuer.as_slice())
        .bind(int(number.0))
        .bind(der)
        .bind(int(next_update))
        .execute(&mut *transaction)
        .await?
        .rows_affected()
            > 0;
        if kept {
            crate::audit::insert(&mut transaction, &[leaf]).await?;
        }
        transaction.commit().await?;
        Ok(kept)
    }

    /// The newest list of an issuer.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn crl(&self, issuer: &[u8; 32]) -> Result<Option<StoredCrl>, Error> {
        let row = sqlx::query(
            "SELECT signed_number, der, next_update FROM lists WHERE issuer = $1 AND der IS NOT NULL",
        )
        .bind(issuer.as_slice())
        .fetch_optional(&mut *self.reader().await?)
        .await?;
        row.map(|row| {
            Ok(StoredCrl {
                number: uint(row.try_get(0)?),
                der: row.try_get(1)?,
                next_update: uint(row.try_get(2)?),
            })
        })
        .transpose()
    }

    /// What an issuer revoked, and what has not expired by `now` as far as is known, for its next list.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn revocations(&self, issuer: &[u8; 32], now: u64) -> Result<Vec<Revocation>, Error> {
        let rows = sqlx::query(
            "SELECT serial, revoked_at, reason FROM certificates WHERE issuer = $1 AND state = 'revoked' AND not_after >= $2 \
             UNION ALL SELECT serial, revoked_at, reason FROM unrecorded WHERE issuer = $1 AND NOT EXISTS \
             (SELECT 1 FROM certificates WHERE certificates.serial = unrecorded.serial AND certificates.issuer = $1 \
             AND certificates.state = 'revoked')",
        )
        .bind(issuer.as_slice())
        .bind(int(now))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter()
            .map(|row| {
                let serial: Serial = sql::serial(&row.try_get::<Vec<u8>, _>(0)?)?;
                Ok(Revocation {
                    serial,
                    at: countersign_trust_store::UnixTime::from_secs(uint(row.try_get(1)?)),
                    reason: sql::reason(row, 2)?,
                })
            })
            .collect()
    }
}

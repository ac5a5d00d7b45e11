//! A registry that was put back from an old copy. It does not know what it issued and revoked since, and would issue it
//! again, and sign lists without it. The audit log knows: it has more entries than the registry gave places to.
//!
//! Once that was noticed, nothing is reserved, no list is numbered and no leaf gets a place, in this process and every
//! later one, until what the log has was taken up and an operator says so. Revoking goes on.

use countersign_provisioning::{Reason, Serial};
use sqlx::Row;

use crate::sql::{int, uint};
use crate::transaction::Transaction;
use crate::{Certificate, CertificateState, Error, Registry, audit, import, revoke};

/// An entry of the audit log, to be taken up.
#[derive(Clone, Debug)]
pub struct Found {
    /// The leaf, byte for byte.
    pub leaf: Vec<u8>,
    /// What it tells of.
    pub told: Told,
}

/// What a leaf tells of, as far as the registry keeps it. Of a certificate the log has a digest only, so that it comes
/// without its bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Told {
    /// A certificate was issued.
    Issued(Box<Certificate>),
    /// A reservation was closed.
    Abandoned(Serial),
    /// A certificate was revoked.
    Revoked {
        /// Its serial number.
        serial: Serial,
        /// Why.
        reason: Reason,
        /// When, in seconds since 1970.
        at: u64,
    },
    /// Something of which only the leaf is kept.
    Other,
}

impl Registry {
    /// Compares with the audit log, which has `size` entries: to be asked before anything else is done with it, and
    /// whenever it grew by something else than [`Registry::leaves`].
    ///
    /// # Errors
    /// [`Error::Behind`] when the log has more than this registry knows of; nothing is issued from then on.
    /// [`Error::Unavailable`].
    pub async fn compare_log(&self, size: u64) -> Result<(), Error> {
        let (registry, _) = self.leaf_counts().await?;
        if size <= registry {
            return Ok(());
        }
        let mut transaction = self.write().await?;
        let most = match row(&mut transaction).await? {
            Some((log, _)) => log.max(size),
            None => size,
        };
        sqlx::query("DELETE FROM behind")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO behind (log) VALUES ($1)")
            .bind(int(most))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Err(Error::Behind {
            log: most,
            registry,
        })
    }

    /// Takes up entries of the audit log from `from` on, which must be the first that has no leaf here: the leaves with
    /// their places, and what they tell of. `issuer` is SHA-256 of the key whose log it is, `now` in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Behind`] when `from` is another place; [`Error::Unavailable`]. Nothing was taken up then.
    pub async fn take_up(
        &self,
        from: u64,
        found: &[Found],
        issuer: &[u8; 32],
        now: u64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        audit::lock_places(&mut transaction, self.kind()).await?;
        let next = audit::next_place(&mut transaction).await?;
        if from != next {
            transaction.roll_back().await?;
            return Err(Error::Behind {
                log: from,
                registry: next,
            });
        }
        for (place, found) in (from..).zip(found) {
            put(&mut transaction, place, &found.leaf).await?;
            match &found.told {
                Told::Issued(certificate) => issued(&mut transaction, certificate).await?,
                Told::Abandoned(serial) => {
                    sqlx::query(
                        "UPDATE certificates SET state = 'abandoned', request_key = NULL \
                         WHERE serial = $1 AND state = 'reserved'",
                    )
                    .bind(serial.as_bytes())
                    .execute(&mut *transaction)
                    .await?;
                }
                Told::Revoked { serial, reason, at } => {
                    revoke::on_word(&mut transaction, issuer, serial, *reason, (*at).min(now))
                        .await?;
                }
                Told::Other => {}
            }
        }
        transaction.commit().await
    }

    /// Goes on after everything that the log has was taken up, with a leaf that says so.
    ///
    /// # Errors
    /// [`Error::Behind`] when something is missing still; [`Error::Unavailable`].
    pub async fn resume(&self, leaf: &[u8]) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        if let Some((log, registry)) = row(&mut transaction).await?
            && log > registry
        {
            transaction.roll_back().await?;
            return Err(Error::Behind { log, registry });
        }
        go_on(transaction, leaf).await
    }

    /// Goes on though the log has more, with a leaf that says so: for who has lost those entries, and begins a new log.
    /// What was issued since stays unknown, and what was revoked since is on no list unless it is revoked
    /// [again](Registry::revoke_listed).
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn resume_without_the_log(&self, leaf: &[u8]) -> Result<(), Error> {
        go_on(self.write().await?, leaf).await
    }
}

async fn go_on(mut transaction: Transaction, leaf: &[u8]) -> Result<(), Error> {
    sqlx::query("DELETE FROM behind")
        .execute(&mut *transaction)
        .await?;
    audit::insert(&mut transaction, &[leaf]).await?;
    transaction.commit().await
}

/// How many entries the log was seen to have, and the places that are given here; none if nothing was noticed.
async fn row(transaction: &mut Transaction) -> Result<Option<(u64, u64)>, Error> {
    let row = sqlx::query(
        "SELECT log, (SELECT coalesce(max(place) + 1, 0) FROM audit WHERE place IS NOT NULL) FROM behind",
    )
    .fetch_optional(&mut **transaction)
    .await?;
    row.map(|row| Ok((uint(row.try_get(0)?), uint(row.try_get(1)?))))
        .transpose()
}

/// The transaction of something that a registry does not do while it is behind.
pub(crate) async fn unless_behind(mut transaction: Transaction) -> Result<Transaction, Error> {
    match row(&mut transaction).await? {
        None => Ok(transaction),
        Some((log, registry)) => {
            transaction.roll_back().await?;
            Err(Error::Behind { log, registry })
        }
    }
}

/// Gives a leaf its place: the one that waits here already, or a new one.
async fn put(transaction: &mut Transaction, place: u64, leaf: &[u8]) -> Result<(), Error> {
    let waiting = sqlx::query(
        "UPDATE audit SET place = $1 WHERE id = (SELECT min(id) FROM audit WHERE place IS NULL AND leaf = $2)",
    )
    .bind(int(place))
    .bind(leaf)
    .execute(&mut **transaction)
    .await?;
    if waiting.rows_affected() == 0 {
        sqlx::query("INSERT INTO audit (leaf, place) VALUES ($1, $2)")
            .bind(leaf)
            .bind(int(place))
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// A certificate that was issued after the copy was made: it is the current one of its place, unless a later one is here. One that
/// is on record, as after an import, stays what it is.
async fn issued(transaction: &mut Transaction, certificate: &Certificate) -> Result<(), Error> {
    let here = sqlx::query("SELECT state FROM certificates WHERE serial = $1")
        .bind(certificate.serial.as_bytes())
        .fetch_optional(&mut **transaction)
        .await?;
    let here: Option<String> = here.map(|row| row.try_get(0)).transpose()?;
    let is_finished = match here.as_deref() {
        None => false,
        Some(word) => !matches!(
            CertificateState::from_word(word),
            Some(CertificateState::Reserved | CertificateState::Abandoned)
        ),
    };
    if !is_finished {
        import::take_key(transaction, certificate).await?;
        import::count(transaction, certificate).await?;
        let state = make_room(transaction, certificate).await?;
        match here {
            None => {
                let certificate = Certificate {
                    state,
                    ..certificate.clone()
                };
                import::insert(transaction, &certificate).await?;
            }
            Some(_) => {
                sqlx::query(
                    "UPDATE certificates SET state = $1, request_key = CASE WHEN der IS NULL THEN NULL ELSE request_key END \
                     WHERE serial = $2 AND state IN ('reserved', 'abandoned')",
                )
                .bind(state.as_str())
                .bind(certificate.serial.as_bytes())
                .execute(&mut **transaction)
                .await?;
            }
        }
    }
    import::revoke_as_listed(transaction, &certificate.serial).await
}

/// Ends the certificate whose place this one takes; its own state is that of a superseded one when a later one has the place. Which
/// is later is told by the beginning of their validity: times of what is taken up are bounded by a clock that may be wrong.
async fn make_room(
    transaction: &mut Transaction,
    certificate: &Certificate,
) -> Result<CertificateState, Error> {
    sqlx::query(
        "UPDATE certificates SET state = 'superseded' WHERE device = $1 AND profile = $2 AND state = 'issued' \
         AND serial <> $3 AND not_before <= $4",
    )
    .bind(certificate.device.as_str())
    .bind(certificate.profile.as_str())
    .bind(certificate.serial.as_bytes())
    .bind(int(certificate.not_before))
    .execute(&mut **transaction)
    .await?;
    let later = sqlx::query(
        "SELECT 1 FROM certificates WHERE device = $1 AND profile = $2 AND state = 'issued'",
    )
    .bind(certificate.device.as_str())
    .bind(certificate.profile.as_str())
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(match later {
        None => CertificateState::Issued,
        Some(_) => CertificateState::Superseded,
    })
}

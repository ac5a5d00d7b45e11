//! Revoking: what is recorded, and, on somebody's word, what is not.

use countersign_provisioning::{Reason, Revocation, Serial};

use crate::sql::{self, int};
use crate::transaction::{Transaction, again};
use crate::{Certificate, Error, Registry, keys};

/// What revoking came to where the serial may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listed {
    /// A certificate that is recorded was revoked.
    Recorded,
    /// Nothing here says that it was issued; it is on the next list all the same.
    Unrecorded,
    /// It was revoked before, and not for a lesser reason.
    Already,
}

impl Registry {
    /// Revokes a certificate that was handed out, with the leaf that `leaf` makes of its serial. A second time changes nothing,
    /// and what was recorded first comes back, unless only now the key is said to be lost: then that becomes the reason, with a
    /// leaf, and the time stays. None for a serial that is unknown or was never handed out. A key that may be in
    /// other hands gets no certificate any more, and every other certificate over it is revoked with this one, each with its
    /// leaf. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn revoke(
        &self,
        serial: &Serial,
        reason: Reason,
        now: u64,
        leaf: impl Fn(&Serial) -> Vec<u8>,
    ) -> Result<Option<Certificate>, Error> {
        again(|| self.revoke_once(serial, reason, now, &leaf)).await
    }

    async fn revoke_once(
        &self,
        serial: &Serial,
        reason: Reason,
        now: u64,
        leaf: impl Fn(&Serial) -> Vec<u8>,
    ) -> Result<Option<Certificate>, Error> {
        let mut transaction = self.write().await?;
        let mut leaves = Vec::new();
        if revoke(&mut transaction, serial, reason, now).await? {
            leaves.push(leaf(serial));
        }
        for other in keys::all_over_it(&mut transaction, serial, reason).await? {
            if revoke(&mut transaction, &other, reason, now).await? {
                leaves.push(leaf(&other));
            }
        }
        let leaves: Vec<&[u8]> = leaves.iter().map(Vec::as_slice).collect();
        crate::audit::insert(&mut transaction, &leaves).await?;
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

    /// What is revoked by revoking this certificate and has not ended by `now`, but was issued by others than `own` (SHA-256 of a key's
    /// SubjectPublicKeyInfo), so that it is on no list of this authority: itself, and where its key is lost whatever is over that.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn revoked_of_others(
        &self,
        certificate: &Certificate,
        own: &[u8; 32],
        now: u64,
    ) -> Result<Vec<Certificate>, Error> {
        let is_lost = certificate
            .revoked
            .is_some_and(|(_, reason)| reason.loses_the_key());
        let statement = format!(
            "SELECT {} FROM certificates WHERE device = $1 AND key_hash = $2 AND issuer <> $3 AND state = 'revoked' \
             ORDER BY serial",
            sql::CERTIFICATE
        );
        let rows = sqlx::query(&statement)
            .bind(certificate.device.as_str())
            .bind(certificate.key.as_slice())
            .bind(own.as_slice())
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let all = rows.iter().map(sql::certificate);
        let concerned = |other: &Certificate| {
            other.not_after >= now && (is_lost || other.serial == certificate.serial)
        };
        all.filter(|other| other.as_ref().map_or(true, concerned))
            .collect()
    }

    /// Revokes a serial of `issuer` (SHA-256 of its key's SubjectPublicKeyInfo) that need not be recorded, with a leaf
    /// that says so: on the word of an operator who has the certificate, or of a list that is later than this registry.
    /// It is on every list from then on, also after the certificate's end, which nobody here knows.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn revoke_listed(
        &self,
        issuer: &[u8; 32],
        what: &Revocation,
        leaf: &[u8],
    ) -> Result<Listed, Error> {
        again(|| self.revoke_listed_once(issuer, what, leaf)).await
    }

    async fn revoke_listed_once(
        &self,
        issuer: &[u8; 32],
        what: &Revocation,
        leaf: &[u8],
    ) -> Result<Listed, Error> {
        let mut transaction = self.write().await?;
        let at = what.at.as_secs();
        let listed = on_word(&mut transaction, issuer, &what.serial, what.reason, at).await?;
        if listed != Listed::Already {
            crate::audit::insert(&mut transaction, &[leaf]).await?;
        }
        transaction.commit().await?;
        Ok(listed)
    }
}

/// Revokes a serial that need not be recorded. One that was never handed out, as far as is known here, was so all the
/// same; and what is being made over it is not handed out any more.
pub(crate) async fn on_word(
    transaction: &mut Transaction,
    issuer: &[u8; 32],
    serial: &Serial,
    reason: Reason,
    at: u64,
) -> Result<Listed, Error> {
    // Before the certificate, in the order in which a commit asks for both.
    keys::lose(transaction, serial, Some(issuer), reason, at).await?;
    // Then what is on its way, so that a commit is waited for, and is found below.
    sqlx::query(
        "UPDATE certificates SET state = 'abandoned', request_key = NULL WHERE serial = $1 AND state = 'reserved'",
    )
    .bind(serial.as_bytes())
    .execute(&mut **transaction)
    .await?;
    if revoke(transaction, serial, reason, at).await? {
        return Ok(Listed::Recorded);
    }
    let known = sqlx::query("SELECT 1 FROM certificates WHERE serial = $1 AND state = 'revoked'")
        .bind(serial.as_bytes())
        .fetch_optional(&mut **transaction)
        .await?;
    if known.is_some() {
        return Ok(Listed::Already);
    }
    let added = sqlx::query(
        "INSERT INTO unrecorded (issuer, serial, revoked_at, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(issuer.as_slice())
    .bind(serial.as_bytes())
    .bind(int(at))
    .bind(reason.as_str())
    .execute(&mut **transaction)
    .await?;
    if added.rows_affected() > 0 {
        return Ok(Listed::Unrecorded);
    }
    let recorded = sqlx::query("SELECT reason FROM unrecorded WHERE issuer = $1 AND serial = $2")
        .bind(issuer.as_slice())
        .bind(serial.as_bytes())
        .fetch_one(&mut **transaction)
        .await?;
    if !reason.outweighs(sql::reason(&recorded, 0)?) {
        return Ok(Listed::Already);
    }
    sqlx::query("UPDATE unrecorded SET reason = $1 WHERE issuer = $2 AND serial = $3")
        .bind(reason.as_str())
        .bind(issuer.as_slice())
        .bind(serial.as_bytes())
        .execute(&mut **transaction)
        .await?;
    Ok(Listed::Unrecorded)
}

/// Revokes a certificate that was handed out; whether that changed anything: it was not revoked before, or for a lesser reason.
pub(crate) async fn revoke(
    transaction: &mut Transaction,
    serial: &Serial,
    reason: Reason,
    at: u64,
) -> Result<bool, Error> {
    // Before the certificate, in the order in which a commit asks for both.
    keys::lose(transaction, serial, None, reason, at).await?;
    let revoked = sqlx::query(
        "UPDATE certificates SET state = 'revoked', revoked_at = $1, reason = $2 \
         WHERE serial = $3 AND state IN ('issued', 'superseded')",
    )
    .bind(int(at))
    .bind(reason.as_str())
    .bind(serial.as_bytes())
    .execute(&mut **transaction)
    .await?;
    if revoked.rows_affected() > 0 {
        return Ok(true);
    }
    let recorded =
        sqlx::query("SELECT reason FROM certificates WHERE serial = $1 AND state = 'revoked'")
            .bind(serial.as_bytes())
            .fetch_optional(&mut **transaction)
            .await?;
    match recorded {
        Some(recorded) if reason.outweighs(sql::reason(&recorded, 0)?) => {}
        _ => return Ok(false),
    }
    sqlx::query("UPDATE certificates SET reason = $1 WHERE serial = $2 AND state = 'revoked'")
        .bind(reason.as_str())
        .bind(serial.as_bytes())
        .execute(&mut **transaction)
        .await?;
    Ok(true)
}

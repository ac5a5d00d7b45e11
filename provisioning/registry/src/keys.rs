//! Keys: each belongs to one device and has one purpose, for ever; and one that may be in other hands gets no
//! certificate any more, for no purpose and no device.

use countersign_format::DeviceIdentity;
use countersign_provisioning::{Profile, Reason, Serial};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::sql::int;
use crate::transaction::Transaction;
use crate::{Error, Refusal};

/// Every column of a key that [`Key::read`] reads, in its order.
pub(crate) const KEY: &str = "device, profile, compromised_at";

/// What is known of a key.
pub(crate) struct Key {
    device: String,
    profile: String,
    is_compromised: bool,
}

impl Key {
    /// Reads [`KEY`] from the column `first` on.
    pub(crate) fn read(row: &AnyRow, first: usize) -> Result<Self, Error> {
        Ok(Self {
            device: row.try_get(first)?,
            profile: row.try_get(first.saturating_add(1))?,
            is_compromised: row
                .try_get::<Option<i64>, _>(first.saturating_add(2))?
                .is_some(),
        })
    }

    /// Why `device` gets no certificate of this kind over it.
    pub(crate) fn refusal(&self, device: &DeviceIdentity, profile: Profile) -> Option<Refusal> {
        let device = device.clone();
        if self.device != device.as_str() {
            Some(Refusal::KeyKnown {
                device,
                serves: None,
            })
        } else if self.is_compromised {
            Some(Refusal::KeyRevoked { device })
        } else if self.profile != profile.as_str() {
            let serves = self.profile.parse().ok();
            Some(Refusal::KeyKnown { device, serves })
        } else {
            None
        }
    }
}

/// Notes that the key of a certificate which is about to be revoked, or was revoked for a lesser reason, is lost, if `reason` says
/// so. The certificate was handed out, as far as is known here; or it is `issuer`'s, on somebody's word.
pub(crate) async fn lose(
    transaction: &mut Transaction,
    serial: &Serial,
    issuer: Option<&[u8; 32]>,
    reason: Reason,
    now: u64,
) -> Result<(), Error> {
    if !reason.loses_the_key() {
        return Ok(());
    }
    let which = match issuer {
        None => "state IN ('issued', 'superseded', 'revoked')",
        Some(_) => "issuer = $3",
    };
    let statement = format!(
        "UPDATE device_keys SET compromised_at = $1 WHERE compromised_at IS NULL AND key_hash IN \
         (SELECT key_hash FROM certificates WHERE serial = $2 AND {which})"
    );
    let mut query = sqlx::query(&statement)
        .bind(int(now))
        .bind(serial.as_bytes());
    if let Some(issuer) = issuer {
        query = query.bind(issuer.as_slice());
    }
    query.execute(&mut **transaction).await?;
    Ok(())
}

/// Every certificate that was handed out over the key of this one, if `reason` says that it is lost: renewals with the same key, and
/// what was renewed.
pub(crate) async fn all_over_it(
    transaction: &mut Transaction,
    serial: &Serial,
    reason: Reason,
) -> Result<Vec<Serial>, Error> {
    if !reason.loses_the_key() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT serial FROM certificates WHERE device = (SELECT device FROM certificates WHERE serial = $1) \
         AND key_hash = (SELECT key_hash FROM certificates WHERE serial = $1 AND state = 'revoked') \
         AND state IN ('issued', 'superseded', 'revoked') ORDER BY serial",
    )
    .bind(serial.as_bytes())
    .fetch_all(&mut **transaction)
    .await?;
    rows.iter()
        .map(|row| crate::sql::serial(&row.try_get::<Vec<u8>, _>(0)?))
        .collect()
}

/// Notes that the key of a certificate which came as a revoked one is lost, if its reason says so.
pub(crate) async fn lose_revoked(
    transaction: &mut Transaction,
    serial: &Serial,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE device_keys SET compromised_at = revoked.revoked_at FROM certificates AS revoked \
         WHERE device_keys.compromised_at IS NULL AND revoked.key_hash = device_keys.key_hash AND revoked.serial = $1 \
         AND revoked.state = 'revoked' AND revoked.reason IN ($2, $3)",
    )
    .bind(serial.as_bytes())
    .bind(Reason::KeyCompromise.as_str())
    .bind(Reason::CaCompromise.as_str())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

//! The second step of issuing: certificates and their leaves, together, if what was true at the first step still is.

use std::collections::{BTreeMap, BTreeSet};

use countersign_format::DeviceIdentity;
use countersign_provisioning::{Profile, Serial};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::keys::Key;
use crate::location::Kind;
use crate::sql::{self, int};
use crate::transaction::{Transaction, again};
use crate::{DeviceState, Error, Refusal, Registry, audit};

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
    /// [`Error::NotReserved`] when one of them is no longer reserved; [`Error::Refused`] when its device, its key or what
    /// it renews has changed since; [`Error::Unavailable`]. Nothing may be handed out then. Nobody knows whether it was
    /// written when the connection was lost; the same idempotency key tells.
    pub async fn commit(&self, batch: &[Commit], now: u64) -> Result<(), Error> {
        again(|| self.commit_once(batch, now)).await
    }

    async fn commit_once(&self, batch: &[Commit], now: u64) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        for piece in sql::pieces(batch) {
            if let Some(refused) = self.stands(&mut transaction, piece).await? {
                transaction.roll_back().await?;
                return Err(refused);
            }
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
                // Revoked on somebody's word, between the look and this.
                let serial = self.missing(&mut transaction, piece).await?;
                transaction.roll_back().await?;
                return Err(match serial {
                    Some(serial) => Error::NotReserved { serial },
                    None => Error::corrupt("a reservation")(),
                });
            }
        }
        let leaves: Vec<&[u8]> = batch.iter().map(|commit| commit.leaf.as_slice()).collect();
        audit::insert(&mut transaction, &leaves).await?;
        transaction.commit().await?;
        self.grown_by(u64::try_from(batch.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// The first of these that was not written.
    async fn missing(
        &self,
        transaction: &mut Transaction,
        piece: &[Commit],
    ) -> Result<Option<Serial>, Error> {
        for commit in piece {
            let written = sqlx::query(
                "SELECT 1 FROM certificates WHERE serial = $1 AND state = 'issued' AND owner = $2",
            )
            .bind(commit.serial.as_bytes())
            .bind(self.instance().number)
            .fetch_optional(&mut **transaction)
            .await?;
            if written.is_none() {
                return Ok(Some(commit.serial.clone()));
            }
        }
        Ok(None)
    }

    /// Looks whether everything is still as it was when these were reserved, holds that to the end of the transaction,
    /// and makes room; what has changed comes back.
    async fn stands(
        &self,
        transaction: &mut Transaction,
        piece: &[Commit],
    ) -> Result<Option<Error>, Error> {
        // Whoever retires a device or revokes a key meanwhile waits for this transaction, or this one for them.
        let held = match self.kind() {
            Kind::Sqlite => "",
            Kind::PostgreSql => " FOR SHARE OF devices, device_keys",
        };
        let statement = format!(
            "SELECT certificates.serial, certificates.renews, certificates.device, certificates.profile, devices.state, \
             device_keys.device, device_keys.profile, device_keys.compromised_at FROM certificates \
             JOIN devices ON devices.device = certificates.device \
             JOIN device_keys ON device_keys.key_hash = certificates.key_hash \
             WHERE certificates.state = 'reserved' AND certificates.owner = $1 AND certificates.serial IN {}{held}",
            sql::list(1, piece.len())
        );
        let mut query = sqlx::query(&statement).bind(self.instance().number);
        for commit in piece {
            query = query.bind(commit.serial.as_bytes());
        }
        let mut reserved = BTreeMap::new();
        for row in query.fetch_all(&mut **transaction).await? {
            reserved.insert(row.try_get::<Vec<u8>, _>(0)?, Standing::read(&row)?);
        }
        // Whatever is in the place makes room: the certificate that is renewed, or one that has expired. It is named by its
        // serial number, and not found by another query: a database that does not know yet how much there is would read
        // everything that was ever issued.
        let renewed: Vec<&[u8]> = reserved
            .values()
            .filter_map(|standing: &Standing| standing.renews.as_deref())
            .collect();
        let mut superseded = BTreeSet::new();
        for renewed in sql::pieces(&renewed) {
            let statement = format!(
                "UPDATE certificates SET state = 'superseded' WHERE state = 'issued' AND serial IN {} RETURNING serial",
                sql::list(0, renewed.len())
            );
            let mut query = sqlx::query(&statement);
            for serial in renewed {
                query = query.bind(*serial);
            }
            for row in query.fetch_all(&mut **transaction).await? {
                superseded.insert(row.try_get::<Vec<u8>, _>(0)?);
            }
        }
        for commit in piece {
            let serial = commit.serial.clone();
            let Some(standing) = reserved.get(serial.as_bytes()) else {
                return Ok(Some(Error::NotReserved { serial }));
            };
            if let Some(refusal) = standing.refusal(&superseded)? {
                let refusal = Box::new(refusal);
                return Ok(Some(Error::Refused { serial, refusal }));
            }
        }
        Ok(None)
    }
}

/// What a reservation stands on.
struct Standing {
    renews: Option<Vec<u8>>,
    device: DeviceIdentity,
    profile: Profile,
    state: Option<DeviceState>,
    key: Key,
}

impl Standing {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        let corrupt = || Error::corrupt("a reservation");
        let text = |column: usize| row.try_get::<String, _>(column);
        Ok(Self {
            renews: row.try_get(1)?,
            device: text(2)?.parse().ok().ok_or_else(corrupt())?,
            profile: text(3)?.parse().ok().ok_or_else(corrupt())?,
            state: DeviceState::from_word(&text(4)?),
            key: Key::read(row, 5)?,
        })
    }

    /// Why its certificate must not be handed out; `superseded` is what was current until now.
    fn refusal(&self, superseded: &BTreeSet<Vec<u8>>) -> Result<Option<Refusal>, Error> {
        if self.state != Some(DeviceState::Approved) {
            return Ok(Some(Refusal::NotApproved {
                device: self.device.clone(),
            }));
        }
        if let Some(renewed) = &self.renews
            && !superseded.contains(renewed)
        {
            return Ok(Some(Refusal::NotCurrent {
                device: self.device.clone(),
                profile: self.profile,
                serial: sql::serial(renewed)?,
            }));
        }
        Ok(self.key.refusal(&self.device, self.profile))
    }
}

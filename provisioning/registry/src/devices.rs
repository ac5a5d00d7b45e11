//! Orders and devices.

use std::collections::BTreeSet;

use countersign_format::DeviceIdentity;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::sql::{self, int, uint};
use crate::{Device, DeviceState, Error, Order, Registry, audit};

/// Every column of a device, in the order of [`device`].
pub(crate) const DEVICE: &str =
    "device, hardware_hash, device_type, family, revision, firmware, state, order_id, recorded_at";

impl Registry {
    /// Makes an order, or sets the quota of the one of this name. Its manufacturer stays.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn order(
        &self,
        id: &str,
        manufacturer: Option<&str>,
        quota: u64,
    ) -> Result<Order, Error> {
        let mut transaction = self.write().await?;
        let row = sqlx::query(
            "INSERT INTO orders (id, manufacturer, quota) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET quota = excluded.quota RETURNING manufacturer, quota, used",
        )
        .bind(id)
        .bind(manufacturer)
        .bind(int(quota))
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Order {
            id: id.to_owned(),
            manufacturer: row.try_get(0)?,
            quota: uint(row.try_get(1)?),
            used: uint(row.try_get(2)?),
        })
    }

    /// Every order, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn orders(&self) -> Result<Vec<Order>, Error> {
        orders(&mut *self.reader().await?).await
    }

    /// Records devices. Those that are there already, by identity or by hardware, are left as they are; they come back.
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when an order is unknown.
    pub async fn register(
        &self,
        devices: &[Device],
        now: u64,
    ) -> Result<Vec<DeviceIdentity>, Error> {
        self.register_told(devices, now, |_| None).await
    }

    /// The same, with the leaf that `leaf` makes of each device that is recorded by it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when an order is unknown; then nothing is recorded.
    pub async fn approve(
        &self,
        devices: &[Device],
        now: u64,
        leaf: impl Fn(&str) -> Vec<u8>,
    ) -> Result<Vec<DeviceIdentity>, Error> {
        self.register_told(devices, now, |device| Some(leaf(device)))
            .await
    }

    async fn register_told(
        &self,
        devices: &[Device],
        now: u64,
        leaf: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<Vec<DeviceIdentity>, Error> {
        let mut recorded = BTreeSet::new();
        let mut transaction = self.write().await?;
        for piece in sql::pieces(devices) {
            let statement = format!(
                "INSERT INTO devices ({DEVICE}) VALUES {} ON CONFLICT DO NOTHING RETURNING device",
                sql::rows(0, piece.len(), 9)
            );
            let mut query = sqlx::query(&statement);
            for device in piece {
                query = query
                    .bind(device.id.as_str())
                    .bind(device.hardware_hash.map(|hash| hash.to_vec()))
                    .bind(device.device_type.as_str())
                    .bind(device.family.as_str())
                    .bind(device.revision.as_str())
                    .bind(device.firmware.as_str())
                    .bind(device.state.as_str())
                    .bind(device.order.as_deref())
                    .bind(int(now));
            }
            for row in query.fetch_all(&mut *transaction).await? {
                recorded.insert(row.try_get::<String, _>(0)?);
            }
        }
        let leaves: Vec<Vec<u8>> = recorded.iter().filter_map(|device| leaf(device)).collect();
        let leaves: Vec<&[u8]> = leaves.iter().map(Vec::as_slice).collect();
        audit::insert(&mut transaction, &leaves).await?;
        transaction.commit().await?;
        Ok(devices
            .iter()
            // Of two with one identity the first is recorded, and the second was there already.
            .filter(|device| !recorded.remove(device.id.as_str()))
            .map(|device| device.id.clone())
            .collect())
    }

    /// Sets whether a device may have certificates, and which firmware it has; false when it is not there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn set_device(
        &self,
        device: &DeviceIdentity,
        state: DeviceState,
        firmware: Option<&str>,
    ) -> Result<bool, Error> {
        self.set_device_told(device, state, firmware, &[]).await
    }

    /// The same, with leaves that say so if it is there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn set_device_told(
        &self,
        device: &DeviceIdentity,
        state: DeviceState,
        firmware: Option<&str>,
        leaves: &[&[u8]],
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let done = sqlx::query(
            "UPDATE devices SET state = $1, firmware = coalesce($2, firmware) WHERE device = $3",
        )
        .bind(state.as_str())
        .bind(firmware)
        .bind(device.as_str())
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() > 0 {
            audit::insert(&mut transaction, leaves).await?;
        }
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Records which hardware a device is, unless that is recorded; false when it is, when the hardware is another device's,
    /// or when there is no such device.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn set_hardware(
        &self,
        device: &DeviceIdentity,
        hash: &[u8; 32],
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let done = sqlx::query(
            "UPDATE devices SET hardware_hash = $1 WHERE device = $2 AND hardware_hash IS NULL",
        )
        .bind(hash.as_slice())
        .bind(device.as_str())
        .execute(&mut *transaction)
        .await;
        let done = match done {
            // The index has the last word, also between two processes.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Ok(false),
            done => done?,
        };
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// The device of this identity.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn device(&self, id: &DeviceIdentity) -> Result<Option<Device>, Error> {
        let statement = format!("SELECT {DEVICE} FROM devices WHERE device = $1");
        let row = sqlx::query(&statement)
            .bind(id.as_str())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.as_ref().map(device).transpose()
    }

    /// The device with this hardware.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn device_by_hardware(&self, hash: &[u8; 32]) -> Result<Option<Device>, Error> {
        let statement = format!("SELECT {DEVICE} FROM devices WHERE hardware_hash = $1");
        let row = sqlx::query(&statement)
            .bind(hash.as_slice())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.as_ref().map(device).transpose()
    }
}

/// Every order, by name.
pub(crate) async fn orders(connection: &mut AnyConnection) -> Result<Vec<Order>, Error> {
    let rows = sqlx::query("SELECT id, manufacturer, quota, used FROM orders ORDER BY id")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Order {
                id: row.try_get(0)?,
                manufacturer: row.try_get(1)?,
                quota: uint(row.try_get(2)?),
                used: uint(row.try_get(3)?),
            })
        })
        .collect()
}

/// Reads a row of [`DEVICE`].
pub(crate) fn device(row: &AnyRow) -> Result<Device, Error> {
    let corrupt = || Error::corrupt("a device's record");
    let text = |column: usize| row.try_get::<String, _>(column);
    let hardware: Option<Vec<u8>> = row.try_get(1)?;
    Ok(Device {
        id: text(0)?.parse().ok().ok_or_else(corrupt())?,
        hardware_hash: hardware
            .map(|hash| sql::hash(&hash, "a hardware hash"))
            .transpose()?,
        device_type: text(2)?,
        family: text(3)?,
        revision: text(4)?,
        firmware: text(5)?,
        state: DeviceState::from_word(&text(6)?).ok_or_else(corrupt())?,
        order: row.try_get(7)?,
        recorded_at: uint(row.try_get(8)?),
    })
}

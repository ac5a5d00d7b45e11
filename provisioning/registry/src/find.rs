//! Looking up.

use countersign_format::DeviceIdentity;
use countersign_provisioning::{Profile, Serial};
use sqlx::{AnyConnection, Row};

use crate::devices::DEVICE;
use crate::location::Kind;
use crate::sql::{self, CERTIFICATE, int, uint};
use crate::{Certificate, Device, Error, Registry};

/// A part of a list, and where the next one begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; none on the last.
    pub next: Option<String>,
}

/// Counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Devices by state, in words.
    pub devices: Vec<(String, u64)>,
    /// Certificates by state, in words.
    pub certificates: Vec<(String, u64)>,
    /// Leaves that have a place in the audit log.
    pub leaves_placed: u64,
    /// Leaves that wait for one.
    pub leaves_waiting: u64,
}

/// The most that a page has.
const MAX_PAGE: u64 = 1000;

impl Registry {
    /// The certificate of this serial number.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn certificate(&self, serial: &Serial) -> Result<Option<Certificate>, Error> {
        let statement = format!("SELECT {CERTIFICATE} FROM certificates WHERE serial = $1");
        let row = sqlx::query(&statement)
            .bind(serial.as_bytes())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.as_ref().map(sql::certificate).transpose()
    }

    /// The current certificate of a device.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn current(
        &self,
        device: &DeviceIdentity,
        profile: Profile,
    ) -> Result<Option<Certificate>, Error> {
        let statement = format!(
            "SELECT {CERTIFICATE} FROM certificates WHERE device = $1 AND profile = $2 AND state = 'issued'"
        );
        let row = sqlx::query(&statement)
            .bind(device.as_str())
            .bind(profile.as_str())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.as_ref().map(sql::certificate).transpose()
    }

    /// When the certificate was renewed, in seconds since 1970; none when nothing of its place came after it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn renewed_at(&self, certificate: &Certificate) -> Result<Option<u64>, Error> {
        let row = sqlx::query(
            "SELECT min(reserved_at) FROM certificates WHERE device = $1 AND profile = $2 AND serial <> $3 \
             AND reserved_at >= $4 AND state IN ('issued', 'superseded', 'revoked')",
        )
        .bind(certificate.device.as_str())
        .bind(certificate.profile.as_str())
        .bind(certificate.serial.as_bytes())
        .bind(int(certificate.reserved_at))
        .fetch_one(&mut *self.reader().await?)
        .await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(uint))
    }

    /// Every certificate of a device, the oldest first, whatever became of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn certificates(&self, device: &DeviceIdentity) -> Result<Vec<Certificate>, Error> {
        let statement = format!(
            "SELECT {CERTIFICATE} FROM certificates WHERE device = $1 ORDER BY reserved_at, serial"
        );
        let rows = sqlx::query(&statement)
            .bind(device.as_str())
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(sql::certificate).collect()
    }

    /// The device that a key belongs to, by SHA-256 of its SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn device_by_key(&self, key: &[u8; 32]) -> Result<Option<DeviceIdentity>, Error> {
        let row = sqlx::query("SELECT device FROM device_keys WHERE key_hash = $1")
            .bind(key.as_slice())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(|row| {
            row.try_get::<String, _>(0)?
                .parse()
                .ok()
                .ok_or_else(Error::corrupt("a key's device"))
        })
        .transpose()
    }

    /// Devices by identity, all or those of a family: at most `most` of them (1,000 at the outside), after `after`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn devices(
        &self,
        family: Option<&str>,
        after: Option<&str>,
        most: u64,
    ) -> Result<Page<Device>, Error> {
        devices(&mut *self.reader().await?, family, after, most).await
    }

    /// Current certificates whose last second is at or before `until`, the first to end first: at most `most`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub async fn expiring(&self, until: u64, most: u64) -> Result<Vec<Certificate>, Error> {
        let statement = format!(
            "SELECT {CERTIFICATE} FROM certificates WHERE state = 'issued' AND not_after <= $1 ORDER BY not_after LIMIT $2"
        );
        let rows = sqlx::query(&statement)
            .bind(int(until))
            .bind(int(most.clamp(1, MAX_PAGE)))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(sql::certificate).collect()
    }

    /// When the last certificate was written, in seconds since 1970: a clock that says less is wrong.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn last_written(&self) -> Result<Option<u64>, Error> {
        let row = sqlx::query("SELECT max(reserved_at) FROM certificates")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(uint))
    }

    /// What the database's own clock says, in seconds since 1970: PostgreSQL's, which all replicas share. SQLite has none but
    /// this machine's.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn clock(&self) -> Result<Option<u64>, Error> {
        if self.kind() == Kind::Sqlite {
            return Ok(None);
        }
        let row = sqlx::query("SELECT extract(epoch FROM clock_timestamp())::bigint")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        Ok(Some(uint(row.try_get(0)?)))
    }

    /// Counts of everything. It reads all of it: not for every request.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn statistics(&self) -> Result<Statistics, Error> {
        let (leaves_placed, leaves_waiting) = self.leaf_counts().await?;
        Ok(Statistics {
            devices: self.by_state("devices").await?,
            certificates: self.by_state("certificates").await?,
            leaves_placed,
            leaves_waiting,
        })
    }

    async fn by_state(&self, table: &str) -> Result<Vec<(String, u64)>, Error> {
        let statement =
            format!("SELECT state, count(*) FROM {table} GROUP BY state ORDER BY state");
        let rows = sqlx::query(&statement)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, uint(row.try_get(1)?))))
            .collect()
    }
}

/// Devices by identity, as [`Registry::devices`] lists them.
pub(crate) async fn devices(
    connection: &mut AnyConnection,
    family: Option<&str>,
    after: Option<&str>,
    most: u64,
) -> Result<Page<Device>, Error> {
    let most = most.clamp(1, MAX_PAGE);
    let after = after.unwrap_or_default();
    let rows = match family {
        Some(family) => {
            let statement = format!(
                "SELECT {DEVICE} FROM devices WHERE family = $1 AND device > $2 ORDER BY device LIMIT $3"
            );
            sqlx::query(&statement)
                .bind(family)
                .bind(after)
                .bind(int(most))
                .fetch_all(&mut *connection)
                .await?
        }
        None => {
            let statement =
                format!("SELECT {DEVICE} FROM devices WHERE device > $1 ORDER BY device LIMIT $2");
            sqlx::query(&statement)
                .bind(after)
                .bind(int(most))
                .fetch_all(&mut *connection)
                .await?
        }
    };
    let items = rows
        .iter()
        .map(crate::devices::device)
        .collect::<Result<Vec<_>, _>>()?;
    let is_full = u64::try_from(items.len()) == Ok(most);
    let next = items
        .last()
        .filter(|_| is_full)
        .map(|device| device.id.to_string());
    Ok(Page { items, next })
}

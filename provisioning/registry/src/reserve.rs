//! The first step of issuing: serials, keys and places, taken before anything is signed.
//!
//! The order of the questions matters where several processes ask at once. The place is taken first, by an index that
//! admits one; only who has it looks whether the device has a certificate already, since nobody else can give it one
//! meanwhile. What a refused one took is given back in the same transaction, so that nobody ever saw it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;

use crate::keys::{KEY, Key};
use crate::sql::{self, CERTIFICATE, int, uint};
use crate::transaction::{Transaction, again};
use crate::{
    Certificate, CertificateState, DeviceState, Error, Refusal, Registry, Reservation, Reserved,
    behind,
};

/// One reservation on its way.
struct Asked<'a> {
    what: &'a Reservation,
    outcome: Option<Result<Reserved, Refusal>>,
    /// Its row is there.
    has_row: bool,
    /// Its key was not known before.
    brought_key: bool,
}

impl Registry {
    /// Takes serials, keys and places for certificates that shall be made, all in one transaction; one outcome for each,
    /// in order. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Unavailable`], [`Error::Corrupt`]: nothing was reserved.
    pub async fn reserve(
        &self,
        batch: &[Reservation],
        now: u64,
    ) -> Result<Vec<Result<Reserved, Refusal>>, Error> {
        again(|| self.reserve_once(batch, now)).await
    }

    async fn reserve_once(
        &self,
        batch: &[Reservation],
        now: u64,
    ) -> Result<Vec<Result<Reserved, Refusal>>, Error> {
        let mut asked: Vec<Asked<'_>> = batch
            .iter()
            .map(|what| Asked {
                what,
                outcome: None,
                has_row: false,
                brought_key: false,
            })
            .collect();
        let mut transaction = behind::unless_behind(self.write().await?).await?;
        answered(&mut transaction, &mut asked).await?;
        approved(&mut transaction, &mut asked).await?;
        insert(&mut transaction, &mut asked, self.instance().number, now).await?;
        places(&mut transaction, &mut asked, now).await?;
        keys(&mut transaction, &mut asked).await?;
        quotas(&mut transaction, &mut asked, now).await?;
        give_back(&mut transaction, &asked).await?;
        transaction.commit().await?;
        Ok(asked
            .into_iter()
            .map(|asked| asked.outcome.unwrap_or(Ok(Reserved::New)))
            .collect())
    }
}

/// The requests that were answered before.
async fn answered(transaction: &mut Transaction, asked: &mut [Asked<'_>]) -> Result<(), Error> {
    let mut keys: Vec<&str> = asked
        .iter()
        .filter_map(|asked| asked.what.request.as_ref())
        .map(|request| request.key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let mut known: BTreeMap<String, (Vec<u8>, Certificate)> = BTreeMap::new();
    for piece in sql::pieces(&keys) {
        let statement = format!(
            "SELECT {CERTIFICATE}, request_key, request_digest FROM certificates WHERE request_key IN {}",
            sql::list(0, piece.len())
        );
        let mut query = sqlx::query(&statement);
        for key in piece {
            query = query.bind(*key);
        }
        for row in query.fetch_all(&mut **transaction).await? {
            known.insert(
                row.try_get(12)?,
                (row.try_get(13)?, sql::certificate(&row)?),
            );
        }
    }
    for asked in asked {
        let Some(request) = &asked.what.request else {
            continue;
        };
        let Some((digest, certificate)) = known.get(&request.key) else {
            continue;
        };
        asked.outcome = Some(if digest.as_slice() != request.digest.as_slice() {
            Err(Refusal::RequestReused)
        } else if certificate.state == CertificateState::Reserved {
            Err(in_progress(asked.what))
        } else if certificate.state == CertificateState::Revoked {
            // What was revoked since is no answer to anybody.
            Err(Refusal::AnswerRevoked {
                serial: certificate.serial.clone(),
            })
        } else {
            Ok(Reserved::Answered(Box::new(certificate.clone())))
        });
    }
    Ok(())
}

/// The devices that may have certificates.
async fn approved(transaction: &mut Transaction, asked: &mut [Asked<'_>]) -> Result<(), Error> {
    let devices = devices(asked);
    let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
    for piece in sql::pieces(&devices) {
        let statement = format!(
            "SELECT device, orders.manufacturer FROM devices LEFT JOIN orders ON orders.id = devices.order_id \
             WHERE state = $1 AND device IN {}",
            sql::list(1, piece.len())
        );
        let mut query = sqlx::query(&statement).bind(DeviceState::Approved.as_str());
        for device in piece {
            query = query.bind(device.as_str());
        }
        for row in query.fetch_all(&mut **transaction).await? {
            known.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    for asked in asked.iter_mut().filter(|asked| asked.outcome.is_none()) {
        let is_theirs = match (
            known.get(asked.what.device.as_str()),
            &asked.what.manufacturer,
        ) {
            (None, _) => false,
            (Some(_), None) => true,
            // A contract manufacturer learns no more of others' devices than of those that do not exist.
            (Some(owner), Some(asker)) => owner.as_ref() == Some(asker),
        };
        if !is_theirs {
            asked.outcome = Some(Err(Refusal::NotApproved {
                device: asked.what.device.clone(),
            }));
        }
    }
    Ok(())
}

/// The rows, which take serial, place and idempotency key.
async fn insert(
    transaction: &mut Transaction,
    asked: &mut [Asked<'_>],
    owner: i64,
    now: u64,
) -> Result<(), Error> {
    let open: Vec<&Reservation> = sorted(asked, |what| what.device.as_str().to_owned());
    let mut taken = BTreeSet::new();
    for piece in sql::pieces(&open) {
        let statement = format!(
            "INSERT INTO certificates (serial, device, profile, issuer, key_hash, not_before, not_after, state, owner, \
             renews, request_key, request_digest, reserved_at) VALUES {} ON CONFLICT DO NOTHING RETURNING serial",
            sql::rows(0, piece.len(), 13)
        );
        let mut query = sqlx::query(&statement);
        for what in piece {
            let request = what.request.as_ref();
            query = query
                .bind(what.serial.as_bytes())
                .bind(what.device.as_str())
                .bind(what.profile.as_str())
                .bind(what.issuer.as_slice())
                .bind(what.key.as_slice())
                .bind(int(what.not_before))
                .bind(int(what.not_after))
                .bind(CertificateState::Reserved.as_str())
                .bind(owner)
                .bind(
                    what.renews
                        .as_ref()
                        .map(|serial| serial.as_bytes().to_vec()),
                )
                .bind(request.map(|request| request.key.as_str()))
                .bind(request.map(|request| request.digest.to_vec()))
                .bind(int(now));
        }
        for row in query.fetch_all(&mut **transaction).await? {
            taken.insert(row.try_get::<Vec<u8>, _>(0)?);
        }
    }
    let mut ours = taken.clone();
    for asked in asked.iter_mut().filter(|asked| asked.outcome.is_none()) {
        // Two of one batch with the same serial: the row is the first one's.
        asked.has_row = ours.remove(asked.what.serial.as_bytes());
        if asked.has_row {
            continue;
        }
        let other = sqlx::query("SELECT 1 FROM certificates WHERE serial = $1")
            .bind(asked.what.serial.as_bytes())
            .fetch_optional(&mut **transaction)
            .await?;
        asked.outcome = Some(Err(if other.is_some() {
            Refusal::SerialTaken {
                serial: asked.what.serial.clone(),
            }
        } else {
            in_progress(asked.what)
        }));
    }
    Ok(())
}

/// Who has the place already.
async fn places(
    transaction: &mut Transaction,
    asked: &mut [Asked<'_>],
    now: u64,
) -> Result<(), Error> {
    let devices = devices(asked);
    let mut current: BTreeMap<(String, String), (Vec<u8>, u64)> = BTreeMap::new();
    for piece in sql::pieces(&devices) {
        let statement = format!(
            "SELECT device, profile, serial, not_after FROM certificates WHERE state = 'issued' AND device IN {}",
            sql::list(0, piece.len())
        );
        let mut query = sqlx::query(&statement);
        for device in piece {
            query = query.bind(device.as_str());
        }
        for row in query.fetch_all(&mut **transaction).await? {
            let not_after = uint(row.try_get(3)?);
            current.insert(
                (row.try_get(0)?, row.try_get(1)?),
                (row.try_get(2)?, not_after),
            );
        }
    }
    for asked in asked.iter_mut().filter(|asked| asked.outcome.is_none()) {
        let what = asked.what;
        let place = (what.device.to_string(), what.profile.to_string());
        match (current.get(&place), &what.renews) {
            (None, None) => {}
            (Some((serial, _)), Some(renewed)) if serial.as_slice() == renewed.as_bytes() => {}
            (_, Some(renewed)) => {
                asked.outcome = Some(Err(Refusal::NotCurrent {
                    device: what.device.clone(),
                    profile: what.profile,
                    serial: renewed.clone(),
                }));
            }
            (Some((serial, not_after)), None) if *not_after >= now => {
                asked.outcome = Some(Err(Refusal::AlreadyIssued {
                    device: what.device.clone(),
                    profile: what.profile,
                    serial: sql::serial(serial)?,
                }));
            }
            // An expired one makes room.
            (Some((serial, _)), None) => {
                sqlx::query("UPDATE certificates SET renews = $1 WHERE serial = $2")
                    .bind(serial.as_slice())
                    .bind(what.serial.as_bytes())
                    .execute(&mut **transaction)
                    .await?;
            }
        }
    }
    Ok(())
}

/// Keys, each of which belongs to one device and has one purpose.
async fn keys(transaction: &mut Transaction, asked: &mut [Asked<'_>]) -> Result<(), Error> {
    let open: Vec<&Reservation> = sorted(asked, |what| what.key);
    let mut brought = BTreeSet::new();
    let mut known: BTreeMap<Vec<u8>, Key> = BTreeMap::new();
    for piece in sql::pieces(&open) {
        let statement = format!(
            "INSERT INTO device_keys (key_hash, device, profile) VALUES {} ON CONFLICT DO NOTHING RETURNING key_hash",
            sql::rows(0, piece.len(), 3)
        );
        let mut query = sqlx::query(&statement);
        for what in piece {
            query = query
                .bind(what.key.as_slice())
                .bind(what.device.as_str())
                .bind(what.profile.as_str());
        }
        for row in query.fetch_all(&mut **transaction).await? {
            brought.insert(row.try_get::<Vec<u8>, _>(0)?);
        }
        // Who has them is asked afterwards, so that a process that was faster is seen.
        let statement = format!(
            "SELECT key_hash, {KEY} FROM device_keys WHERE key_hash IN {}",
            sql::list(0, piece.len())
        );
        let mut query = sqlx::query(&statement);
        for what in piece {
            query = query.bind(what.key.as_slice());
        }
        for row in query.fetch_all(&mut **transaction).await? {
            known.insert(row.try_get(0)?, Key::read(&row, 1)?);
        }
    }
    for asked in asked.iter_mut().filter(|asked| asked.outcome.is_none()) {
        let key = asked.what.key.as_slice();
        let Some(record) = known.get(key) else {
            return Err(Error::corrupt("a key")());
        };
        match record.refusal(&asked.what.device, asked.what.profile) {
            None => asked.brought_key = brought.contains(key),
            Some(refusal) => asked.outcome = Some(Err(refusal)),
        }
    }
    Ok(())
}

/// A device counts once against its order's quota.
async fn quotas(
    transaction: &mut Transaction,
    asked: &mut [Asked<'_>],
    now: u64,
) -> Result<(), Error> {
    let mut new: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for piece in sql::pieces(&devices(asked)) {
        let statement = format!(
            "UPDATE devices SET counted_at = $1 WHERE counted_at IS NULL AND order_id IS NOT NULL AND device IN {} \
             RETURNING order_id, device",
            sql::list(1, piece.len())
        );
        let mut query = sqlx::query(&statement).bind(int(now));
        for device in piece {
            query = query.bind(device.as_str());
        }
        for row in query.fetch_all(&mut **transaction).await? {
            new.entry(row.try_get(0)?)
                .or_default()
                .push(row.try_get(1)?);
        }
    }
    for (order, devices) in new {
        // This locks the order's row, so that what is left stays true to the end of the transaction.
        let row = sqlx::query("UPDATE orders SET used = used WHERE id = $1 RETURNING quota, used")
            .bind(order.as_str())
            .fetch_one(&mut **transaction)
            .await?;
        let (quota, used) = (uint(row.try_get(0)?), uint(row.try_get(1)?));
        let left = usize::try_from(quota.saturating_sub(used)).unwrap_or(usize::MAX);
        let (counted, refused) = devices.split_at(left.min(devices.len()));
        sqlx::query("UPDATE orders SET used = used + $1 WHERE id = $2")
            .bind(i64::try_from(counted.len()).unwrap_or(i64::MAX))
            .bind(order.as_str())
            .execute(&mut **transaction)
            .await?;
        for device in refused {
            sqlx::query("UPDATE devices SET counted_at = NULL WHERE device = $1")
                .bind(device.as_str())
                .execute(&mut **transaction)
                .await?;
            let theirs = asked
                .iter_mut()
                .filter(|asked| asked.outcome.is_none() && asked.what.device.as_str() == device);
            for asked in theirs {
                asked.outcome = Some(Err(Refusal::QuotaExhausted {
                    order: order.clone(),
                    quota,
                }));
            }
        }
    }
    Ok(())
}

/// Takes away what refused ones brought.
async fn give_back(transaction: &mut Transaction, asked: &[Asked<'_>]) -> Result<(), Error> {
    let kept: BTreeSet<[u8; 32]> = asked
        .iter()
        .filter(|asked| asked.outcome.is_none())
        .map(|asked| asked.what.key)
        .collect();
    for asked in asked.iter().filter(|asked| asked.outcome.is_some()) {
        if asked.has_row {
            sqlx::query("DELETE FROM certificates WHERE serial = $1")
                .bind(asked.what.serial.as_bytes())
                .execute(&mut **transaction)
                .await?;
        }
        if asked.brought_key && !kept.contains(&asked.what.key) {
            sqlx::query("DELETE FROM device_keys WHERE key_hash = $1")
                .bind(asked.what.key.as_slice())
                .execute(&mut **transaction)
                .await?;
        }
    }
    Ok(())
}

fn in_progress(what: &Reservation) -> Refusal {
    Refusal::InProgress {
        device: what.device.clone(),
        profile: what.profile,
    }
}

/// Those that are not answered yet, in an order that every process shares.
fn sorted<'a, K: Ord>(
    asked: &[Asked<'a>],
    key: impl Fn(&Reservation) -> K,
) -> Vec<&'a Reservation> {
    let mut open: Vec<&Reservation> = asked
        .iter()
        .filter(|asked| asked.outcome.is_none())
        .map(|asked| asked.what)
        .collect();
    open.sort_by_key(|what| key(what));
    open
}

/// The devices of those that are not answered yet, each once, in order.
fn devices(asked: &[Asked<'_>]) -> Vec<String> {
    let devices: BTreeSet<String> = asked
        .iter()
        .filter(|asked| asked.outcome.is_none())
        .map(|asked| asked.what.device.to_string())
        .collect();
    devices.into_iter().collect()
}

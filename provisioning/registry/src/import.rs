//! Taking over what another registry exported, all of it or nothing. What was issued stays issued: serials, keys, places
//! and quotas are taken with it. Leaves of the audit log are not: the log is a folder of its own.
//!
//! A line is believed as far as it contradicts nothing: neither what is here, nor its own certificate, nor the clock. Nor
//! does it speak for what is this registry's own: a device that was here gets no certificate of another issuer by it, and
//! this registry's issuer no certificate that it does not know. What a line revokes is revoked, with whatever is over a
//! lost key. A
//! line that would be left out, though something hangs on it, refuses the whole: a certificate that is not here cannot
//! be revoked here.

use std::collections::{BTreeMap, BTreeSet};

use countersign_provisioning::{Profile, Reason, Revocation, Serial};
use countersign_trust_store::{Certificate as Parsed, UnixTime, profile};
use sqlx::Row;

use crate::carry::{Record, to_certificate, to_device, to_revocation};
use crate::keys::{KEY, Key};
use crate::revoke::{Listed, on_word, revoke};
use crate::sql::{self, CERTIFICATE, int, uint};
use crate::transaction::Transaction;
use crate::{
    Certificate, CertificateState, Device, Error, Order, Refusal, Registry, audit, devices, keys,
};

/// What an import came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records that are new here.
    pub added: u64,
    /// Records whose place was taken; what was here stays.
    pub skipped: u64,
    /// Certificates here, or in the same lines, that were valid or revoked for a lesser reason, and are revoked now; and this
    /// authority's own that are on no record.
    pub revoked: u64,
}

/// Why a line is not taken over.
enum Stop {
    /// It is no record, or contradicts something.
    Line(String),
    /// The registry did not answer.
    Registry(Error),
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Line(reason)
    }
}

impl From<&str> for Stop {
    fn from(reason: &str) -> Self {
        Self::Line(reason.to_owned())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Registry(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Registry(error.into())
    }
}

/// An import on its way.
struct Import<'a> {
    transaction: Transaction,
    now: u64,
    /// SHA-256 of the key of the authority whose registry this is.
    own: &'a [u8; 32],
    /// Nothing of that authority was here: these are its records, on their way to another machine.
    takes_own: bool,
    /// Devices that came along, by identity.
    devices: BTreeSet<String>,
    /// What is revoked by this, each time it was.
    revoked: Vec<(Serial, Reason)>,
    /// Devices that orders which came along may have had certificates for: where a quota was lowered, more than it says.
    most: BTreeMap<String, u64>,
}

impl Registry {
    /// Takes records over, all in one transaction with the leaf that `imported` makes of what it came to, and behind it one that
    /// `revoked` makes of each certificate that is revoked by it. What is here already stays as it is, but for what the lines say
    /// to be revoked. `own` is SHA-256 of the SubjectPublicKeyInfo of the authority whose registry this is: of its certificates
    /// none is new, unless none is here yet. `now` is in seconds since 1970; nothing of what was done can be later.
    ///
    /// # Errors
    /// [`Error::Import`] names the first line that is no record, or that contradicts what is here, its own certificate
    /// or the clock; [`Error::Unavailable`], [`Error::Corrupt`]. Nothing was taken over then.
    pub async fn import<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a str>,
        own: &[u8; 32],
        now: u64,
        imported: impl FnOnce(&Imported) -> Vec<u8>,
        revoked: impl Fn(&Serial, Reason) -> Vec<u8>,
    ) -> Result<Imported, Error> {
        let made_leaf = imported;
        let mut imported = Imported::default();
        let mut import = Import::begin(self.write().await?, own, now).await?;
        for (index, line) in lines.into_iter().enumerate() {
            let outcome = match serde_json::from_str(line) {
                Ok(record) => import.take(record).await,
                Err(error) => Err(Stop::Line(error.to_string())),
            };
            match outcome {
                Ok(true) => imported.added = imported.added.saturating_add(1),
                Ok(false) => imported.skipped = imported.skipped.saturating_add(1),
                Err(Stop::Registry(error)) => return Err(error),
                Err(Stop::Line(reason)) => {
                    import.transaction.roll_back().await?;
                    return Err(Error::Import {
                        line: index.saturating_add(1),
                        reason,
                    });
                }
            }
        }
        imported.revoked = import.revoked.len().try_into().unwrap_or(u64::MAX);
        // That it was imported is said first: who reads the log again must have the records when the revocations come.
        let leaves: Vec<Vec<u8>> = std::iter::once(made_leaf(&imported))
            .chain(
                import
                    .revoked
                    .iter()
                    .map(|(serial, why)| revoked(serial, *why)),
            )
            .collect();
        let leaves: Vec<&[u8]> = leaves.iter().map(Vec::as_slice).collect();
        audit::insert(&mut import.transaction, &leaves).await?;
        import.transaction.commit().await?;
        self.grown_by(imported.added);
        Ok(imported)
    }
}

impl<'a> Import<'a> {
    async fn begin(
        mut transaction: Transaction,
        own: &'a [u8; 32],
        now: u64,
    ) -> Result<Self, Error> {
        let known = sqlx::query("SELECT 1 FROM certificates WHERE issuer = $1 LIMIT 1")
            .bind(own.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        Ok(Self {
            transaction,
            now,
            own,
            takes_own: known.is_none(),
            devices: BTreeSet::new(),
            revoked: Vec::new(),
            most: BTreeMap::new(),
        })
    }

    /// Takes one over; false when it is here already.
    async fn take(&mut self, record: Record) -> Result<bool, Stop> {
        match record {
            Record::Order {
                id,
                manufacturer,
                quota,
                used,
            } => {
                let order = Order {
                    id,
                    manufacturer,
                    quota,
                    used,
                };
                self.order(order).await
            }
            Record::Device { .. } => {
                let device = to_device(record)?;
                self.device(&device).await
            }
            Record::Certificate { .. } => {
                let certificate = to_certificate(record)?;
                self.certificate(&certificate).await
            }
            Record::Revocation { .. } => {
                let (issuer, what) = to_revocation(record)?;
                self.revocation(&issuer, &what).await
            }
        }
    }

    /// Its devices are counted as their certificates come.
    async fn order(&mut self, order: Order) -> Result<bool, Stop> {
        let Order {
            id,
            manufacturer,
            quota,
            used,
        } = order;
        let added = sqlx::query(
            "INSERT INTO orders (id, manufacturer, quota, used) VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING",
        )
        .bind(id.as_str())
        .bind(manufacturer.as_deref())
        .bind(int(quota))
        .execute(&mut *self.transaction)
        .await?
        .rows_affected();
        if added > 0 {
            self.most.insert(id, quota.max(used));
            return Ok(true);
        }
        let row = sqlx::query("SELECT manufacturer FROM orders WHERE id = $1")
            .bind(id.as_str())
            .fetch_one(&mut *self.transaction)
            .await?;
        if row.try_get::<Option<String>, _>(0)? != manufacturer {
            return Err(format!("order {id} is here as another manufacturer's").into());
        }
        Ok(false)
    }

    async fn device(&mut self, device: &Device) -> Result<bool, Stop> {
        self.past("recorded", device.recorded_at)?;
        if let Some(order) = &device.order {
            let known = sqlx::query("SELECT 1 FROM orders WHERE id = $1")
                .bind(order.as_str())
                .fetch_optional(&mut *self.transaction)
                .await?;
            if known.is_none() {
                return Err(format!("there is no order {order}").into());
            }
        }
        let statement = format!(
            "INSERT INTO devices ({}) VALUES {} ON CONFLICT DO NOTHING",
            devices::DEVICE,
            sql::rows(0, 1, 9)
        );
        let added = sqlx::query(&statement)
            .bind(device.id.as_str())
            .bind(device.hardware_hash.map(|hash| hash.to_vec()))
            .bind(device.device_type.as_str())
            .bind(device.family.as_str())
            .bind(device.revision.as_str())
            .bind(device.firmware.as_str())
            .bind(device.state.as_str())
            .bind(device.order.as_deref())
            .bind(int(device.recorded_at))
            .execute(&mut *self.transaction)
            .await?
            .rows_affected();
        if added == 0 && !self.has_device(device.id.as_str()).await? {
            return Err("its hardware is another device's here".into());
        }
        if added > 0 {
            self.devices.insert(device.id.to_string());
        }
        Ok(added > 0)
    }

    async fn certificate(&mut self, certificate: &Certificate) -> Result<bool, Stop> {
        self.past("reserved", certificate.reserved_at)?;
        if let Some((at, _)) = certificate.revoked {
            self.past("revoked", at)?;
        }
        if certificate.not_before > certificate.not_after
            || certificate.not_after > UnixTime::NO_EXPIRY.as_secs()
        {
            return Err("its validity is none".into());
        }
        if let Some(der) = &certificate.der {
            agrees(certificate, der)?;
        }
        if !self.has_device(certificate.device.as_str()).await? {
            return Err(format!("there is no device {}", certificate.device).into());
        }
        if let Some(here) = self.here(&certificate.serial).await? {
            let changed = self.compare(certificate, here).await?;
            self.lose_all_over(certificate).await?;
            return Ok(changed);
        }
        self.may_speak(certificate)?;
        self.key(certificate).await?;
        if certificate.state == CertificateState::Issued {
            self.place(certificate).await?;
        }
        self.count(certificate).await?;
        insert(&mut self.transaction, certificate).await?;
        revoke_as_listed(&mut self.transaction, &certificate.serial).await?;
        self.lose_all_over(certificate).await?;
        Ok(true)
    }

    /// What was revoked on somebody's word is so here, too, and whatever is over a key that is lost by it.
    async fn revocation(&mut self, issuer: &[u8; 32], what: &Revocation) -> Result<bool, Stop> {
        let Revocation { serial, at, reason } = what;
        self.past("revoked", at.as_secs())?;
        let here = self.here(serial).await?;
        if here.as_ref().is_some_and(|here| here.issuer != *issuer) {
            return Err("this serial number is here, of another issuer".into());
        }
        // What stands on this authority's lists for ever is said by its operator, or was said to this authority elsewhere.
        if here.is_none()
            && issuer == self.own
            && !self.takes_own
            && !self.is_listed(issuer, serial).await?
        {
            return Err(format!(
                "{serial} is said to be this authority's own, and it is not among those that it issued: leave the line out, or \
                 revoke it with `countersign-authority revoke --unrecorded`"
            )
            .into());
        }
        let is_new = self.on_word(issuer, serial, *reason, at.as_secs()).await?;
        if let Some(here) = here {
            self.lose_all_over(&here).await?;
        }
        Ok(is_new)
    }

    /// Whether a certificate that is not here may come by a file: who writes one must not name a holder for what is this
    /// registry's own, neither a device that was here nor a certificate of its issuer.
    fn may_speak(&self, certificate: &Certificate) -> Result<(), Stop> {
        let Certificate { serial, device, .. } = certificate;
        if certificate.issuer == *self.own {
            if self.takes_own {
                return Ok(());
            }
            return Err(format!(
                "{serial} is said to be this authority's own, and it is not among those that it issued: leave the line out, or \
                 import into an empty registry where these records move to another machine"
            )
            .into());
        }
        if !self.devices.contains(device.as_str()) {
            return Err(format!(
                "{serial} is another authority's certificate for {device}, which was here before: leave the line out, and issue \
                 one to it here"
            )
            .into());
        }
        Ok(())
    }

    /// Where its key is lost, whichever line said so, every certificate over it is revoked for that.
    async fn lose_all_over(&mut self, certificate: &Certificate) -> Result<(), Stop> {
        let lost = sqlx::query(
            "SELECT 1 FROM device_keys WHERE key_hash = $1 AND compromised_at IS NOT NULL",
        )
        .bind(certificate.key.as_slice())
        .fetch_optional(&mut *self.transaction)
        .await?;
        if lost.is_none() {
            return Ok(());
        }
        let (serial, reason) = (&certificate.serial, Reason::KeyCompromise);
        self.revoke(serial, reason, self.now).await?;
        for other in keys::all_over_it(&mut self.transaction, serial, reason).await? {
            self.revoke(&other, reason, self.now).await?;
        }
        Ok(())
    }

    /// Revokes, with a leaf where that changed anything; whether it did.
    async fn revoke(&mut self, serial: &Serial, reason: Reason, at: u64) -> Result<bool, Stop> {
        let is_new = revoke(&mut self.transaction, serial, reason, at).await?;
        if is_new {
            self.revoked.push((serial.clone(), reason));
        }
        Ok(is_new)
    }

    /// The same on somebody's word: what was never handed out, as far as is known here, is on the list all the same.
    async fn on_word(
        &mut self,
        issuer: &[u8; 32],
        serial: &Serial,
        reason: Reason,
        at: u64,
    ) -> Result<bool, Stop> {
        let listed = on_word(&mut self.transaction, issuer, serial, reason, at).await?;
        // A leaf names no issuer: of what is not on record, those tell that are this authority's own.
        if listed == Listed::Recorded || (listed == Listed::Unrecorded && issuer == self.own) {
            self.revoked.push((serial.clone(), reason));
        }
        Ok(listed != Listed::Already)
    }

    /// Whether a serial was revoked on somebody's word before.
    async fn is_listed(&mut self, issuer: &[u8; 32], serial: &Serial) -> Result<bool, Stop> {
        let found = sqlx::query("SELECT 1 FROM unrecorded WHERE issuer = $1 AND serial = $2")
            .bind(issuer.as_slice())
            .bind(serial.as_bytes())
            .fetch_optional(&mut *self.transaction)
            .await?;
        Ok(found.is_some())
    }

    /// What was done cannot be in the future: a clock that is right would be taken for wrong.
    fn past(&self, what: &str, at: u64) -> Result<(), Stop> {
        if at > self.now {
            return Err(format!("it was {what} at {at}, which is in the future").into());
        }
        Ok(())
    }

    async fn has_device(&mut self, device: &str) -> Result<bool, Stop> {
        let found = sqlx::query("SELECT 1 FROM devices WHERE device = $1")
            .bind(device)
            .fetch_optional(&mut *self.transaction)
            .await?;
        Ok(found.is_some())
    }

    async fn here(&mut self, serial: &Serial) -> Result<Option<Certificate>, Stop> {
        let statement = format!("SELECT {CERTIFICATE} FROM certificates WHERE serial = $1");
        let row = sqlx::query(&statement)
            .bind(serial.as_bytes())
            .fetch_optional(&mut *self.transaction)
            .await?;
        Ok(row.as_ref().map(sql::certificate).transpose()?)
    }

    /// One that is here: it must be the same, and is revoked if either says so.
    async fn compare(&mut self, line: &Certificate, here: Certificate) -> Result<bool, Stop> {
        let is_same = Certificate {
            state: line.state,
            revoked: line.revoked,
            der: line.der.clone(),
            reserved_at: line.reserved_at,
            ..here.clone()
        } == *line;
        let is_made_otherwise =
            matches!((&here.der, &line.der), (Some(here), Some(line)) if here != line);
        if !is_same || is_made_otherwise {
            return Err("this serial number is here, of another certificate".into());
        }
        let Some((at, reason)) = line.revoked else {
            return Ok(false);
        };
        self.on_word(&line.issuer, &line.serial, reason, at).await
    }

    /// Its key, which must be this device's and of this purpose. That it is lost is no reason: it was issued before.
    async fn key(&mut self, certificate: &Certificate) -> Result<(), Stop> {
        take_key(&mut self.transaction, certificate).await?;
        let row = sqlx::query(&format!(
            "SELECT {KEY} FROM device_keys WHERE key_hash = $1"
        ))
        .bind(certificate.key.as_slice())
        .fetch_one(&mut *self.transaction)
        .await?;
        match Key::read(&row, 0)?.refusal(&certificate.device, certificate.profile) {
            None | Some(Refusal::KeyRevoked { .. }) => Ok(()),
            Some(refusal) => Err(refusal.to_string().into()),
        }
    }

    /// Its place, which nobody else may have.
    async fn place(&mut self, certificate: &Certificate) -> Result<(), Stop> {
        let other = sqlx::query(
            "SELECT serial FROM certificates WHERE device = $1 AND profile = $2 AND state = 'issued'",
        )
        .bind(certificate.device.as_str())
        .bind(certificate.profile.as_str())
        .fetch_optional(&mut *self.transaction)
        .await?;
        match other {
            None => Ok(()),
            Some(row) => {
                let serial = sql::serial(&row.try_get::<Vec<u8>, _>(0)?)?;
                Err(format!("{serial} is the current one here: revoke one of them first").into())
            }
        }
    }

    /// A device counts once against its order's quota.
    async fn count(&mut self, certificate: &Certificate) -> Result<(), Stop> {
        let Some((order, quota, used)) = count(&mut self.transaction, certificate).await? else {
            return Ok(());
        };
        let most = self.most.get(&order).copied().unwrap_or(quota);
        if used > most {
            return Err(Refusal::QuotaExhausted { order, quota }.to_string().into());
        }
        Ok(())
    }
}

/// Counts a certificate's device against its order, unless it was counted before: the order, its quota, and how many were
/// counted.
pub(crate) async fn count(
    transaction: &mut Transaction,
    certificate: &Certificate,
) -> Result<Option<(String, u64, u64)>, Error> {
    let counted = sqlx::query(
        "UPDATE devices SET counted_at = $1 WHERE device = $2 AND counted_at IS NULL AND order_id IS NOT NULL \
         RETURNING order_id",
    )
    .bind(int(certificate.reserved_at))
    .bind(certificate.device.as_str())
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(row) = counted else {
        return Ok(None);
    };
    let order: String = row.try_get(0)?;
    let row = sqlx::query("UPDATE orders SET used = used + 1 WHERE id = $1 RETURNING quota, used")
        .bind(order.as_str())
        .fetch_one(&mut **transaction)
        .await?;
    Ok(Some((order, uint(row.try_get(0)?), uint(row.try_get(1)?))))
}

/// Takes a certificate's key for its device, unless it is taken.
pub(crate) async fn take_key(
    transaction: &mut Transaction,
    certificate: &Certificate,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO device_keys (key_hash, device, profile) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(certificate.key.as_slice())
    .bind(certificate.device.as_str())
    .bind(certificate.profile.as_str())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Writes a finished certificate, whose serial and place are free.
pub(crate) async fn insert(
    transaction: &mut Transaction,
    certificate: &Certificate,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO certificates (serial, device, profile, issuer, key_hash, not_before, not_after, state, owner, \
         reserved_at, revoked_at, reason, der) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12)",
    )
    .bind(certificate.serial.as_bytes())
    .bind(certificate.device.as_str())
    .bind(certificate.profile.as_str())
    .bind(certificate.issuer.as_slice())
    .bind(certificate.key.as_slice())
    .bind(int(certificate.not_before))
    .bind(int(certificate.not_after))
    .bind(certificate.state.as_str())
    .bind(int(certificate.reserved_at))
    .bind(certificate.revoked.map(|(at, _)| int(at)))
    .bind(certificate.revoked.map(|(_, reason)| reason.as_str()))
    .bind(certificate.der.as_deref())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Revokes a certificate that was listed before it was recorded; its key goes with it, if the reason says so.
pub(crate) async fn revoke_as_listed(
    transaction: &mut Transaction,
    serial: &Serial,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE certificates SET state = 'revoked', revoked_at = unrecorded.revoked_at, reason = unrecorded.reason \
         FROM unrecorded WHERE unrecorded.issuer = certificates.issuer AND unrecorded.serial = certificates.serial \
         AND certificates.serial = $1 AND certificates.state IN ('issued', 'superseded')",
    )
    .bind(serial.as_bytes())
    .execute(&mut **transaction)
    .await?;
    keys::lose_revoked(transaction, serial).await
}

/// Whether a certificate is the one that its record tells of. Who issued it cannot be seen in it: it names its issuer's
/// key by another digest.
fn agrees(record: &Certificate, der: &[u8]) -> Result<(), String> {
    let parsed = Parsed::parse(der).map_err(|fault| format!("its certificate is none: {fault}"))?;
    let differs = |what: &str| Err(format!("its certificate has another {what}"));
    if parsed.serial().parse::<Serial>().ok().as_ref() != Some(&record.serial) {
        return differs("serial number");
    }
    if parsed.spki_sha256().as_bytes() != &record.key {
        return differs("key");
    }
    if (parsed.not_before().as_secs(), parsed.not_after().as_secs())
        != (record.not_before, record.not_after)
    {
        return differs("validity");
    }
    let device = parsed.device().map_err(|fault| fault.to_string())?;
    if device.as_ref().map(|device| device.identity()) != Some(&record.device) {
        return differs("device");
    }
    kind(record.profile)
        .inspect(&parsed, None)
        .map_err(|fault| {
            format!(
                "its certificate is no {} certificate: {fault}",
                record.profile
            )
        })
}

/// What a certificate of a kind is to a host.
fn kind(profile: Profile) -> &'static profile::Profile {
    match profile {
        Profile::Tls => &profile::TLS,
        Profile::GuestData => &profile::GUEST_DATA,
        Profile::Attestation => &profile::ATTESTATION,
        Profile::Bundle => &profile::BUNDLE_SIGNER,
        Profile::IDevId => &profile::IDEVID,
        _ => &profile::COMPONENT_SIGNER,
    }
}

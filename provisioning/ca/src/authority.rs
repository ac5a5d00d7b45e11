//! One authority of the directory: its key, what it issued and revoked, and its lists.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_backend_file::FileKey;
use countersign_keys::{Error, ErrorKind, KeyUri, SigningKey};
use countersign_provisioning::{Reason, Revocation, Serial};
use countersign_trust_store::UnixTime;

use crate::bounded;
use crate::durable::{self, Existing};
use crate::records::{self, VERSION};
use crate::{output, passphrase, private};

/// The most that is read of an authority's certificate, or of those above it, in bytes.
const MAX_CERTIFICATES_BYTES: u64 = 64 * 1024;

/// One authority of a directory.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) path: PathBuf,
    pub(crate) record: records::Authority,
}

impl Authority {
    /// The certificate, DER.
    pub(crate) fn certificate(&self) -> anyhow::Result<Vec<u8>> {
        bounded::read(&self.path.join("certificate.der"), MAX_CERTIFICATES_BYTES)
    }

    /// Where the certificate lies as PEM.
    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.path.join("certificate.pem")
    }

    /// The certificates between an authority that was issued elsewhere and the root there, which is not among them.
    pub(crate) fn above(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let path = self.path.join("above.pem");
        if self.record.external_issuer.is_none() || !path.exists() {
            return Ok(Vec::new());
        }
        let failed = || format!("{} could not be read", path.display());
        let text = bounded::read(&path, MAX_CERTIFICATES_BYTES)?;
        countersign_trust_store::pem::certificates(&text).with_context(failed)
    }

    /// Opens the key.
    pub(crate) fn key(&self, passphrase: &passphrase::Source) -> anyhow::Result<SigningKey> {
        open_key(
            &self.path,
            &self.record.id,
            self.record.key.as_deref(),
            &self.record.spki_sha256,
            passphrase,
        )
    }

    /// Records a certificate that is about to be signed. After this returns, the serial is taken.
    pub(crate) fn record_issued(&self, record: &records::Issued) -> anyhow::Result<()> {
        records::write(&self.issued_path(&record.serial), record, Existing::Refuse)
    }

    /// Completes the record with what was signed; only then may the certificate leave.
    pub(crate) fn complete_issued(&self, record: &records::Issued) -> anyhow::Result<()> {
        records::write(&self.issued_path(&record.serial), record, Existing::Replace)
    }

    /// Takes back the record of what was not signed. A record that stays tells of a serial that nothing has.
    pub(crate) fn withdraw_issued(&self, serial: &str) {
        let _ = fs::remove_file(self.issued_path(serial));
    }

    /// Whether a key was in a certificate of this authority that was revoked because the key may be in other hands.
    pub(crate) fn has_compromised(&self, spki_sha256: &str) -> anyhow::Result<bool> {
        for revocation in self.revocations()? {
            if revocation.reason.loses_the_key()
                && self
                    .issued(&revocation.serial)?
                    .is_some_and(|issued| issued.spki_sha256 == spki_sha256)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The record of a certificate that this authority issued.
    pub(crate) fn issued(&self, serial: &Serial) -> anyhow::Result<Option<records::Issued>> {
        records::read(&self.issued_path(&serial.to_string()))
    }

    /// The certificates that this authority issued over a key, by their serials.
    pub(crate) fn issued_over(&self, spki_sha256: &str) -> anyhow::Result<Vec<Serial>> {
        let mut found = Vec::new();
        for serial in self.issued_serials()? {
            if self
                .issued(&serial)?
                .is_some_and(|issued| issued.spki_sha256 == spki_sha256)
            {
                found.push(serial);
            }
        }
        Ok(found)
    }

    /// The serials of every certificate that this authority issued, sorted.
    pub(crate) fn issued_serials(&self) -> anyhow::Result<Vec<Serial>> {
        serials(&self.path.join("issued"))
    }

    /// Records that a serial is revoked; what stands there now, and whether that is new. A serial that was revoked before stays so
    /// since then, and for that reason unless this one outweighs it.
    pub(crate) fn record_revoked(
        &self,
        serial: &Serial,
        reason: Reason,
        now: UnixTime,
    ) -> anyhow::Result<(records::Revoked, bool)> {
        let path = self.revoked_path(serial);
        let mut record = records::Revoked {
            version: VERSION,
            serial: serial.to_string(),
            at: now.as_secs(),
            reason: reason.to_string(),
        };
        let Some(recorded) = self.revoked(serial)? else {
            records::write(&path, &record, Existing::Refuse)?;
            return Ok((record, true));
        };
        if !reason.outweighs(recorded.why()?) {
            return Ok((recorded, false));
        }
        record.at = recorded.at;
        records::write(&path, &record, Existing::Replace)?;
        Ok((record, true))
    }

    /// The revocation of a serial, if it is revoked.
    pub(crate) fn revoked(&self, serial: &Serial) -> anyhow::Result<Option<records::Revoked>> {
        records::read(&self.revoked_path(serial))
    }

    /// Every revocation.
    pub(crate) fn revocations(&self) -> anyhow::Result<Vec<Revocation>> {
        let mut revocations = Vec::new();
        for serial in serials(&self.path.join("revoked"))? {
            let Some(record) = self.revoked(&serial)? else {
                continue;
            };
            revocations.push(Revocation {
                serial,
                at: UnixTime::from_secs(record.at),
                reason: record.why()?,
            });
        }
        Ok(revocations)
    }

    /// The number of the last list; 0 when there was none.
    pub(crate) fn crl_number(&self) -> anyhow::Result<u64> {
        let record: Option<records::CrlNumber> = records::read(&self.path.join("crl-number.json"))?;
        Ok(record.map_or(0, |record| record.number))
    }

    /// Takes the next number for a list, durably: a number that was taken is never given out again, crash or not.
    ///
    /// It is the present in seconds, or one more than the last where that is higher. So a directory that was restored
    /// from an old copy still numbers above the lists it no longer remembers, which hosts would otherwise refuse.
    pub(crate) fn next_crl_number(&self, now: UnixTime) -> anyhow::Result<u64> {
        let last = self.crl_number()?;
        let number = last
            .checked_add(1)
            .context("the CRL numbers of this authority are used up")?
            .max(now.as_secs());
        let record = records::CrlNumber {
            version: VERSION,
            number,
        };
        records::write(
            &self.path.join("crl-number.json"),
            &record,
            Existing::Replace,
        )?;
        Ok(number)
    }

    /// Keeps the newest list.
    pub(crate) fn store_crl(&self, crl: &[u8]) -> anyhow::Result<()> {
        let pem = output::pem(output::CRL, &[crl.to_vec()])?;
        durable::write(&self.path.join("crl.der"), crl, Existing::Replace)?;
        durable::write(
            &self.path.join("crl.pem"),
            pem.as_bytes(),
            Existing::Replace,
        )
    }

    fn issued_path(&self, serial: &str) -> PathBuf {
        self.path.join("issued").join(format!("{serial}.json"))
    }

    fn revoked_path(&self, serial: &Serial) -> PathBuf {
        self.path.join("revoked").join(format!("{serial}.json"))
    }
}

/// The key of the authority `id`: in its folder, or where `uri` says, and then the one with this SHA-256.
pub(crate) fn open_key(
    folder: &Path,
    id: &str,
    uri: Option<&str>,
    spki_sha256: &str,
    passphrase: &passphrase::Source,
) -> anyhow::Result<SigningKey> {
    let Some(uri) = uri else {
        let path = folder.join("key.pem");
        private::check_file(&path)?;
        let what = format!("authority {id:?}");
        return Ok(FileKey::open(&path, || passphrase.for_key(&what))?);
    };
    let uri: KeyUri = uri
        .parse()
        .with_context(|| format!("the record of authority {id:?} is damaged"))?;
    let key = passphrase.stores().open(&uri)?;
    if key.public_key().spki_sha256().to_string() != spki_sha256 {
        return Err(Error::new(
            ErrorKind::OtherKey,
            format!(
                "another key goes by the name of {uri} than that of authority {id:?}, and nothing was signed; put in the token that has it"
            ),
        )
        .into());
    }
    Ok(key)
}

/// The serials that name the records in a folder.
fn serials(folder: &Path) -> anyhow::Result<Vec<Serial>> {
    let failed = || format!("{} could not be read", folder.display());
    let mut serials = Vec::new();
    for entry in fs::read_dir(folder).with_context(failed)? {
        let name = entry.with_context(failed)?.file_name();
        let serial = name
            .to_str()
            .and_then(|name| name.strip_suffix(".json"))
            .and_then(|name| name.parse().ok());
        serials.extend(serial);
    }
    serials.sort();
    Ok(serials)
}

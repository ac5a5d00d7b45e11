//! The authority on disk.
//!
//! ```text
//! DIR/                            mode 0700
//!   ca.json                       what this is
//!   lock                          held while a process works here
//!   keys/SHA256.json              what each public key was certified for
//!   authorities/ID/
//!     authority.json certificate.pem certificate.der
//!     key.pem                     unless authority.json says where else the key is
//!     issued/SERIAL.json          written before the certificate is signed, completed before it leaves
//!     revoked/SERIAL.json
//!     crl-number.json             raised before a list is signed
//!     crl.pem crl.der             the newest list
//!     above.pem                   of one that was issued elsewhere: what stands between it and the root there
//!   requests/ID/                  an authority whose certificate was asked for elsewhere
//!     request.json request.pem key.pem
//! ```
//!
//! A crash leaves each file old or new, and an authority whole or absent: it is built in a folder whose name starts with
//! a dot and put in place by one rename. Such folders are leftovers when found later, and are removed.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_backend_file::{FileKey, Overwrite};
use countersign_keys::{ErrorKind, SigningKey};
use countersign_provisioning::Issued;
use countersign_trust_store::UnixTime;

use crate::authority::Authority;
use crate::durable::{self, Existing};
use crate::new_key::NewKey;
use crate::output::{self, CERTIFICATE, REQUEST};
use crate::private;
use crate::records::{self, VERSION};

/// Name of the root's folder.
pub(crate) const ROOT: &str = "root";

/// The kind under which authorities below the root are recorded.
pub(crate) const INTERMEDIATE: &str = "intermediate";

/// An authority's directory, locked for this process.
#[derive(Debug)]
pub(crate) struct CaDirectory {
    path: PathBuf,
    _lock: File,
}

impl CaDirectory {
    /// Makes the directory, or continues one whose making was interrupted. Refuses one that has a root.
    pub(crate) fn create(path: &Path, now: UnixTime) -> anyhow::Result<Self> {
        let marker = path.join("ca.json");
        if path.is_dir() && !marker.exists() {
            let mut entries = fs::read_dir(path)
                .with_context(|| format!("{} could not be read", path.display()))?;
            let foreign = entries.any(|entry| {
                entry.is_ok_and(|entry| {
                    entry.file_name() != "lock" && !durable::is_unfinished(&entry.file_name())
                })
            });
            anyhow::ensure!(
                !foreign,
                "{} has other files in it: name a new or an empty folder with --dir",
                path.display()
            );
        }
        durable::create_private_folder(path)?;
        let lock = lock(path)?;
        if !marker.exists() {
            let record = records::Directory {
                version: VERSION,
                created: now.as_secs(),
            };
            records::write(&marker, &record, Existing::Refuse)?;
        }
        let directory = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        durable::create_private_folder(&directory.authorities())?;
        durable::create_private_folder(&path.join("keys"))?;
        directory.remove_leftovers()?;
        anyhow::ensure!(
            !directory.authorities().join(ROOT).exists(),
            "{} has a root already and was not touched: name another folder with --dir",
            path.display()
        );
        Ok(directory)
    }

    /// Opens an existing directory.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let record: Option<records::Directory> = records::read(&path.join("ca.json"))?;
        anyhow::ensure!(
            record.is_some(),
            "{} is not an authority's directory: name one with --dir, or make one with `countersign-ca init`",
            path.display()
        );
        private::check_folder(path)?;
        let directory = Self {
            path: path.to_owned(),
            _lock: lock(path)?,
        };
        private::check_folder(&directory.authorities())?;
        directory.remove_leftovers()?;
        anyhow::ensure!(
            directory.requests().is_dir() || !directory.list()?.is_empty(),
            "{} has no root, its making was interrupted: run `countersign-ca init` again",
            path.display()
        );
        for authority in directory.list()? {
            private::check_folder(&authority.path)?;
        }
        Ok(directory)
    }

    /// Opens a directory, or makes one that has no root: its authorities are issued elsewhere.
    pub(crate) fn open_or_create(path: &Path, now: UnixTime) -> anyhow::Result<Self> {
        let made = match path.join("ca.json").exists() {
            true => Self::open(path)?,
            false => Self::create(path, now)?,
        };
        durable::create_private_folder(&made.requests())?;
        Ok(made)
    }

    /// Puts a request in place, with its key: all of it or nothing.
    pub(crate) fn add_request(
        &self,
        id: &str,
        key: &NewKey,
        ask: impl FnOnce(&SigningKey) -> anyhow::Result<(records::Request, Vec<u8>)>,
    ) -> anyhow::Result<Vec<u8>> {
        self.check_free(id)?;
        let place = self.requests().join(id);
        anyhow::ensure!(
            !place.exists(),
            "{id:?} has a request already, in {}: bring its chain in with `countersign-ca intermediate import-chain`, or take \
             another --id",
            place.display()
        );
        let building = self.requests().join(format!(".{id}"));
        durable::create_private_folder(&building)?;
        let made = with_stored_key(&building, key, |key, uri| {
            let (mut record, request) = ask(key)?;
            record.key = uri;
            let pem = output::pem(REQUEST, std::slice::from_ref(&request))?;
            durable::write(
                &building.join("request.pem"),
                pem.as_bytes(),
                Existing::Refuse,
            )?;
            records::write(&building.join("request.json"), &record, Existing::Refuse)?;
            durable::rename_folder(&building, &place)?;
            Ok(request)
        });
        if made.is_err() {
            // The error is what matters; what cannot be removed now is removed at the next start.
            let _ = fs::remove_dir_all(&building);
        }
        made
    }

    /// A request that waits for its chain, and where it lies.
    pub(crate) fn request(&self, id: &str) -> anyhow::Result<(PathBuf, records::Request)> {
        check_id(id)?;
        let path = self.requests().join(id);
        let record: Option<records::Request> = records::read(&path.join("request.json"))?;
        let record = record.with_context(|| {
            format!("there is no request {id:?}: `countersign-ca intermediate request` makes one")
        })?;
        private::check_folder(&path)?;
        Ok((path, record))
    }

    /// The names of the requests that wait for their chains, sorted.
    pub(crate) fn waiting(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.requests();
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let failed = || format!("{} could not be read", folder.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let name = entry.with_context(failed)?.file_name();
            names.extend(
                name.to_str()
                    .filter(|name| !name.starts_with('.'))
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// Makes a request an authority: its certificate and what stands above are written beside its key, and the whole
    /// folder is moved. An interruption leaves the request, and the same again completes it.
    pub(crate) fn adopt(
        &self,
        request: &Path,
        record: &records::Authority,
        certificate: &[u8],
        above: &[Vec<u8>],
    ) -> anyhow::Result<Authority> {
        self.check_free(&record.id)?;
        let path = request.join("above.pem");
        if above.is_empty() {
            // An interrupted import of a longer chain may have left one.
            if path.exists() {
                fs::remove_file(&path)
                    .with_context(|| format!("{} could not be removed", path.display()))?;
            }
        } else {
            let pem = output::pem(CERTIFICATE, above)?;
            durable::write(&path, pem.as_bytes(), Existing::Replace)?;
        }
        write_authority(request, record, certificate, Existing::Replace)?;
        let path = self.authorities().join(&record.id);
        durable::rename_folder(request, &path)?;
        durable::sync_folder(&self.requests())?;
        Ok(Authority {
            path,
            record: record.clone(),
        })
    }

    /// Every authority, oldest first.
    pub(crate) fn list(&self) -> anyhow::Result<Vec<Authority>> {
        let folder = self.authorities();
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder)
            .with_context(|| format!("{} could not be read", folder.display()))?
        {
            let name = entry
                .with_context(|| format!("{} could not be read", folder.display()))?
                .file_name();
            match name.to_str() {
                Some(name) if !name.starts_with('.') => found.push(self.authority(name)?),
                _ => {}
            }
        }
        found.sort_by(|a, b| {
            let key = |authority: &Authority| {
                (
                    authority.record.not_before,
                    !authority.record.is_root(),
                    authority.record.id.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        Ok(found)
    }

    /// The authority with this name.
    pub(crate) fn authority(&self, id: &str) -> anyhow::Result<Authority> {
        check_id(id)?;
        let path = self.authorities().join(id);
        let record: Option<records::Authority> = records::read(&path.join("authority.json"))?;
        let record = record.with_context(|| {
            format!("there is no authority {id:?}: `countersign-ca show` lists them")
        })?;
        Ok(Authority { path, record })
    }

    /// Puts a new authority in place: all of it or nothing.
    ///
    /// A key in the folder is stored and opened again before `certify` sees it, so an authority never has a key that it
    /// cannot read.
    pub(crate) fn add(
        &self,
        id: &str,
        key: &NewKey,
        certify: impl FnOnce(&SigningKey) -> anyhow::Result<(records::Authority, Vec<u8>)>,
    ) -> anyhow::Result<Authority> {
        self.check_free(id)?;
        let building = self.authorities().join(format!(".{id}"));
        durable::create_private_folder(&building)?;
        let made = build_authority(&building, key, certify);
        match made.and_then(|record| {
            let path = self.authorities().join(id);
            durable::rename_folder(&building, &path)?;
            Ok(Authority { path, record })
        }) {
            Ok(authority) => Ok(authority),
            Err(error) => {
                // The error is what matters; what cannot be removed now is removed at the next start.
                let _ = fs::remove_dir_all(&building);
                Err(error)
            }
        }
    }

    /// A name for a new authority that no other has.
    pub(crate) fn check_free(&self, id: &str) -> anyhow::Result<()> {
        check_id(id)?;
        anyhow::ensure!(
            !self.authorities().join(id).exists(),
            "there is an authority {id:?} already: give the new one another name with --id"
        );
        Ok(())
    }

    /// Issues a certificate: its key and its serial are on record before `sign` signs, and the certificate before it is handed out.
    /// What `sign` refuses before anything is signed leaves nothing on record; what ends in between leaves a record without a
    /// certificate, whose serial can be revoked.
    pub(crate) fn issue(
        &self,
        issuer: &Authority,
        mut record: records::Issued,
        sign: impl FnOnce() -> Result<Issued, countersign_provisioning::Error>,
    ) -> anyhow::Result<Issued> {
        let key = &record.spki_sha256;
        let is_new = self.reserve_key(key, &record.profile, record.device_id.as_deref())?;
        issuer.record_issued(&record)?;
        let issued = match sign() {
            Ok(issued) => issued,
            Err(error) => {
                // A key in hardware may have signed although it reports a failure.
                if !matches!(error, countersign_provisioning::Error::Sign { .. }) {
                    issuer.withdraw_issued(&record.serial);
                    if is_new {
                        let _ = fs::remove_file(self.key_path(key));
                    }
                }
                return Err(error.into());
            }
        };
        record.not_before = issued.validity.not_before().as_secs();
        record.not_after = issued.validity.not_after().as_secs();
        record.certificate = output::pem(CERTIFICATE, std::slice::from_ref(&issued.certificate))?;
        issuer.complete_issued(&record)?;
        Ok(issued)
    }

    /// The revocation of an authority by the one above it here, if it is revoked.
    pub(crate) fn revocation_of(
        &self,
        authority: &Authority,
    ) -> anyhow::Result<Option<records::Revoked>> {
        match &authority.record.issuer {
            Some(above) => {
                let serial = authority.record.serial.parse()?;
                self.authority(above)?.revoked(&serial)
            }
            None => Ok(None),
        }
    }

    /// Reserves a public key for one profile and one device, and says whether it is new. The same key for the same again is a
    /// renewal, unless it may be in other hands.
    pub(crate) fn reserve_key(
        &self,
        spki_sha256: &str,
        profile: &str,
        device_id: Option<&str>,
    ) -> anyhow::Result<bool> {
        let path = self.key_path(spki_sha256);
        let wanted = records::KeyUse {
            version: VERSION,
            profile: profile.to_owned(),
            device_id: device_id.map(str::to_owned),
        };
        match records::read::<records::KeyUse>(&path)? {
            None => records::write(&path, &wanted, Existing::Refuse).map(|()| true),
            Some(found) if found == wanted => {
                for authority in self.list()? {
                    anyhow::ensure!(
                        !authority.has_compromised(spki_sha256)?,
                        "this public key is that of a certificate that was revoked because the key may be in other hands: make a new \
                         key"
                    );
                }
                Ok(false)
            }
            Some(found) => anyhow::bail!(
                "this public key was certified before, as {} of {}: a key has one purpose and one device, so make a new key",
                found.profile,
                found.device_id.as_deref().unwrap_or("an authority"),
            ),
        }
    }

    /// Refuses a public key for an authority that is to be made if one that is here has it: hosts tell the lists of two
    /// authorities apart by their keys.
    pub(crate) fn check_authority_key(&self, spki_sha256: &str) -> anyhow::Result<()> {
        let taken = self.list()?;
        if let Some(other) = taken
            .iter()
            .find(|authority| authority.record.spki_sha256 == spki_sha256)
        {
            anyhow::bail!(
                "this key is that of the authority {}: each authority has a key of its own, so name or make another",
                other.record.id
            );
        }
        Ok(())
    }

    /// The same, and reserves the key.
    pub(crate) fn reserve_authority_key(&self, spki_sha256: &str) -> anyhow::Result<()> {
        self.check_authority_key(spki_sha256)?;
        self.reserve_key(spki_sha256, INTERMEDIATE, None)?;
        Ok(())
    }

    fn key_path(&self, spki_sha256: &str) -> PathBuf {
        self.path.join("keys").join(format!("{spki_sha256}.json"))
    }

    fn authorities(&self) -> PathBuf {
        self.path.join("authorities")
    }

    fn requests(&self) -> PathBuf {
        self.path.join("requests")
    }

    fn remove_leftovers(&self) -> anyhow::Result<()> {
        let folder = self.authorities();
        let failed = || format!("{} could not be cleaned up", folder.display());
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            if entry.file_name().to_string_lossy().starts_with('.')
                && entry.file_type().with_context(failed)?.is_dir()
            {
                fs::remove_dir_all(entry.path()).with_context(failed)?;
            } else if entry.file_type().with_context(failed)?.is_dir() {
                durable::remove_unfinished(&entry.path())?;
                durable::remove_unfinished(&entry.path().join("issued"))?;
                durable::remove_unfinished(&entry.path().join("revoked"))?;
            }
        }
        if self.requests().is_dir() {
            for entry in fs::read_dir(self.requests()).with_context(failed)? {
                let entry = entry.with_context(failed)?;
                if entry.file_name().to_string_lossy().starts_with('.') {
                    fs::remove_dir_all(entry.path()).with_context(failed)?;
                } else {
                    durable::remove_unfinished(&entry.path())?;
                }
            }
        }
        durable::remove_unfinished(&self.path)?;
        durable::remove_unfinished(&self.path.join("keys"))
    }
}

fn build_authority(
    building: &Path,
    key: &NewKey,
    certify: impl FnOnce(&SigningKey) -> anyhow::Result<(records::Authority, Vec<u8>)>,
) -> anyhow::Result<records::Authority> {
    with_stored_key(building, key, |key, uri| {
        let (mut record, certificate) = certify(key)?;
        record.key = uri;
        write_authority(building, &record, &certificate, Existing::Refuse)?;
        Ok(record)
    })
}

/// Hands on a key and where it is: one in the folder is written there and opened again before.
fn with_stored_key<T>(
    building: &Path,
    key: &NewKey,
    then: impl FnOnce(&SigningKey, Option<String>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    match key {
        NewKey::InFolder { key, secret } => {
            let path = building.join("key.pem");
            key.save(&path, secret.as_ref(), Overwrite::Refuse)?;
            let stored = FileKey::open(&path, || {
                secret.clone().ok_or_else(|| {
                    countersign_keys::Error::new(
                        ErrorKind::Passphrase,
                        "the key was stored encrypted without a passphrase",
                    )
                })
            })?;
            then(&stored, None)
        }
        NewKey::InStore { key, uri } => then(key, Some(uri.to_string())),
    }
}

/// Everything of an authority but its key; the record last, since it is what makes the folder one.
fn write_authority(
    folder: &Path,
    record: &records::Authority,
    certificate: &[u8],
    existing: Existing,
) -> anyhow::Result<()> {
    let pem = output::pem(CERTIFICATE, &[certificate.to_vec()])?;
    durable::write(&folder.join("certificate.pem"), pem.as_bytes(), existing)?;
    durable::write(&folder.join("certificate.der"), certificate, existing)?;
    durable::create_private_folder(&folder.join("issued"))?;
    durable::create_private_folder(&folder.join("revoked"))?;
    records::write(&folder.join("authority.json"), record, existing)
}

/// Takes the lock or says who may have it. It goes when the process ends, however it ends.
fn lock(path: &Path) -> anyhow::Result<File> {
    let lock = path.join("lock");
    let failed = || format!("the lock {} could not be opened", lock.display());
    let file = File::options()
        .create(true)
        .append(true)
        .open(&lock)
        .with_context(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!(
                "another process works in {}: wait until it has finished",
                path.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(failed),
    }
}

/// Names become folders, so they are plain words.
fn check_id(id: &str) -> anyhow::Result<()> {
    let plain = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !id.starts_with('-');
    anyhow::ensure!(
        plain,
        "{id:?} is not a name for an authority: use 1 to 64 lower-case letters, digits and hyphens"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn authority(directory: &CaDirectory) -> Authority {
        let record = records::Authority {
            version: VERSION,
            id: ROOT.to_owned(),
            issuer: None,
            organization: "Acme".to_owned(),
            country: None,
            common_name: "Root".to_owned(),
            serial: "41".to_owned(),
            spki_sha256: String::new(),
            key: None,
            not_before: 0,
            not_after: 1,
            path_length: 1,
            development: false,
            replaces: None,
            external_issuer: None,
        };
        let key = FileKey::generate(
            countersign_keys::Algorithm::Ed25519,
            &mut countersign_backend_file::SystemRandom,
        )
        .expect("a key");
        let key = NewKey::InFolder { key, secret: None };
        directory
            .add(ROOT, &key, |_| Ok((record, b"certificate".to_vec())))
            .expect("added")
    }

    #[test]
    fn tg22_crl_numbers_never_fall() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = CaDirectory::create(&folder.path().join("ca"), NOW).expect("made");
        let root = authority(&directory);
        assert_eq!(root.next_crl_number(NOW).expect("a number"), NOW.as_secs());
        assert_eq!(
            root.next_crl_number(NOW).expect("a number"),
            NOW.as_secs() + 1
        );
        let earlier = UnixTime::from_secs(5);
        assert_eq!(
            root.next_crl_number(earlier).expect("a clock set back"),
            NOW.as_secs() + 2
        );
    }

    #[test]
    fn tg16_a_restored_directory_still_numbers_upwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = CaDirectory::create(&folder.path().join("ca"), NOW).expect("made");
        let root = authority(&directory);
        let before = root
            .next_crl_number(UnixTime::from_secs(NOW.as_secs() + 100))
            .expect("a number");
        fs::remove_file(root.path.join("crl-number.json"))
            .expect("as in a copy from before the first list");
        let after = root
            .next_crl_number(UnixTime::from_secs(NOW.as_secs() + 101))
            .expect("a number");
        assert!(after > before);
    }

    #[test]
    fn a_second_process_is_refused_and_the_lock_goes_with_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca");
        let directory = CaDirectory::create(&path, NOW).expect("made");
        authority(&directory);
        let error = CaDirectory::open(&path).expect_err("locked");
        assert!(error.to_string().contains("another process"), "{error}");
        drop(directory);
        CaDirectory::open(&path).expect("free again");
    }

    #[test]
    fn tg12_what_a_crash_left_half_made_is_removed_and_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca");
        let directory = CaDirectory::create(&path, NOW).expect("made");
        fs::create_dir(directory.authorities().join(".root")).expect("a leftover");
        fs::write(directory.authorities().join(".root/key.pem"), "half").expect("a leftover");
        fs::write(path.join(".unfinished-x"), "half").expect("a leftover");
        drop(directory);
        assert!(
            CaDirectory::open(&path)
                .expect_err("no root yet")
                .to_string()
                .contains("init` again")
        );
        let directory = CaDirectory::create(&path, NOW).expect("continued");
        assert!(!directory.authorities().join(".root").exists());
        assert!(!path.join(".unfinished-x").exists());
        authority(&directory);
        drop(directory);
        assert!(
            CaDirectory::create(&path, NOW)
                .expect_err("has a root")
                .to_string()
                .contains("has a root already")
        );
    }

    #[test]
    fn tg02_a_serial_is_recorded_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = CaDirectory::create(&folder.path().join("ca"), NOW).expect("made");
        let root = authority(&directory);
        let mut record = records::Issued {
            version: VERSION,
            serial: "4f".to_owned(),
            issuer: ROOT.to_owned(),
            profile: "tls".to_owned(),
            device_id: Some("a".to_owned()),
            spki_sha256: String::new(),
            not_before: 0,
            not_after: 1,
            no_rev_avail: false,
            issued_at: 0,
            certificate: String::new(),
        };
        root.record_issued(&record).expect("first");
        record.device_id = Some("b".to_owned());
        root.record_issued(&record).expect_err("second");
        let stored = root
            .issued(&"4F".parse().expect("a serial"))
            .expect("readable")
            .expect("recorded");
        assert_eq!(stored.device_id.as_deref(), Some("a"));
    }

    #[test]
    fn tg12_what_is_signed_is_on_record_before_and_what_is_refused_is_not() {
        use countersign_provisioning::{Error, Serial, Validity};

        let folder = tempfile::tempdir().expect("a folder");
        let directory = CaDirectory::create(&folder.path().join("ca"), NOW).expect("made");
        let root = authority(&directory);
        let validity = Validity::days(NOW, 30).expect("a period");
        let issue = |serial: &Serial, result: Result<(), Error>| {
            let record = records::Issued {
                version: VERSION,
                serial: serial.to_string(),
                issuer: ROOT.to_owned(),
                profile: "tls".to_owned(),
                device_id: Some("a".to_owned()),
                spki_sha256: "aa".to_owned(),
                not_before: 0,
                not_after: 1,
                no_rev_avail: false,
                issued_at: 0,
                certificate: String::new(),
            };
            directory.issue(&root, record, || {
                let found = root.issued(serial).expect("readable").expect("recorded");
                assert_eq!(found.certificate, "", "nothing is signed yet");
                assert!(directory.key_path("aa").exists());
                result.map(|()| Issued {
                    certificate: b"certificate".to_vec(),
                    serial: serial.clone(),
                    validity,
                })
            })
        };
        let of = |text: &str| text.parse::<Serial>().expect("a serial");
        let refused = Error::Random {
            reason: "none".to_owned(),
        };
        issue(&of("41"), Err(refused)).expect_err("refused");
        assert!(root.issued(&of("41")).expect("readable").is_none());
        assert!(!directory.key_path("aa").exists());
        // Hardware that reports a failure may have signed: its serial stays, and can be revoked.
        let broken = Error::Sign {
            source: countersign_keys::Error::new(ErrorKind::Device, "unplugged"),
        };
        issue(&of("42"), Err(broken)).expect_err("broken");
        let kept = root.issued(&of("42")).expect("readable").expect("recorded");
        assert_eq!(kept.certificate, "");
        issue(&of("43"), Ok(())).expect("issued");
        let whole = root.issued(&of("43")).expect("readable").expect("recorded");
        assert!(whole.certificate.contains("BEGIN CERTIFICATE"));
        assert_eq!(whole.not_after, validity.not_after().as_secs());
    }

    #[test]
    fn tg04_tc38_a_key_has_one_device_and_one_purpose() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = CaDirectory::create(&folder.path().join("ca"), NOW).expect("made");
        directory
            .reserve_key("aa", "tls", Some("one"))
            .expect("first");
        directory
            .reserve_key("aa", "tls", Some("one"))
            .expect("renewal");
        directory
            .reserve_key("aa", "tls", Some("two"))
            .expect_err("another device");
        directory
            .reserve_key("aa", "component-signer", Some("one"))
            .expect_err("another purpose");
    }

    #[test]
    fn tg08_names_never_leave_the_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = CaDirectory::create(&folder.path().join("ca"), NOW).expect("made");
        for bad in [
            "",
            "..",
            "../x",
            "a/b",
            ".hidden",
            "A",
            "-x",
            "a\0",
            &"x".repeat(65),
        ] {
            assert!(directory.authority(bad).is_err(), "{bad:?}");
            assert!(directory.check_free(bad).is_err(), "{bad:?}");
        }
    }
}

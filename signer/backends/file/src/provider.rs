//! Key files as a store of keys: the same verbs as a device has, for what software can do.

use crate::{FileKey, Overwrite, SystemRandom, disk, pem};
use countersign_keys::{
    Algorithm, Capabilities, Challenge, Error, ErrorKind, Evidence, KeyInfo, KeyProvider,
    KeyTemplate, KeyUri, KeyUsage, LockConsent, Origin, Secret, SigningKey,
};
use std::fmt;
use std::path::{Path, PathBuf};

/// Which passphrase is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassphraseFor<'a> {
    /// A new key, which is about to be written to this file. `None` writes it unencrypted.
    New(&'a Path),
    /// A key that lies encrypted in this file. `None` cannot open it.
    Existing(&'a Path),
}

type Ask = dyn Fn(PassphraseFor<'_>) -> Result<Option<Secret>, Error> + Send + Sync;

/// Key files as a [`KeyProvider`]: keys are made, opened and deleted by their paths, and listed where a folder is given.
///
/// Nothing of it is hardware, and it says so: no evidence, no locking, no binding to the state of the boot.
///
/// ```
/// use countersign_backend_file::FileProvider;
/// use countersign_keys::{Algorithm, KeyProvider, KeyTemplate, KeyUri};
///
/// let folder = tempfile::tempdir()?;
/// let store = FileProvider::unencrypted();
/// let uri = KeyUri::File(folder.path().join("signing.pem"));
///
/// let made = store.generate(&uri, &KeyTemplate::signing(Algorithm::Esp256))?;
/// assert_eq!(store.open(&uri)?.public_key(), &made.public);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileProvider {
    folder: Option<PathBuf>,
    ask: Box<Ask>,
}

impl FileProvider {
    /// A store whose passphrases come from `ask`: once for each new key, and once for each opening of a key that is
    /// encrypted.
    #[must_use]
    pub fn new(
        ask: impl Fn(PassphraseFor<'_>) -> Result<Option<Secret>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            folder: None,
            ask: Box::new(ask),
        }
    }

    /// A store that writes new keys unencrypted (mode 0600), and opens only such.
    #[must_use]
    pub fn unencrypted() -> Self {
        Self::new(|_| Ok(None))
    }

    /// The same store, which lists the keys that lie in `folder` (not in folders below it).
    #[must_use]
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    fn load(&self, path: &Path) -> Result<FileKey, Error> {
        FileKey::load(path, || {
            (self.ask)(PassphraseFor::Existing(path))?.ok_or_else(|| {
                Error::new(
                    ErrorKind::Passphrase,
                    format!("{} is encrypted; give its passphrase", path.display()),
                )
            })
        })
    }
}

impl fmt::Debug for FileProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileProvider")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl KeyProvider for FileProvider {
    fn describe(&self) -> Result<String, Error> {
        Ok(match &self.folder {
            Some(folder) => format!("key files (PKCS#8) in {}", folder.display()),
            None => "key files (PKCS#8)".to_owned(),
        })
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::none();
        can.algorithms = vec![Algorithm::Esp256, Algorithm::Ed25519];
        can.generate = true;
        can.list = self.folder.is_some();
        can.delete = true;
        can
    }

    fn generate(&self, key: &KeyUri, template: &KeyTemplate) -> Result<KeyInfo, Error> {
        let path = path_of(key)?;
        if template.usage != KeyUsage::Signing {
            return Err(unsupported(
                "a key file cannot hold a key that signs only what a device states; use a TPM or a secure element",
            ));
        }
        if !template.boot_state.is_empty() {
            return Err(unsupported(
                "a key file cannot be bound to the state of the boot; use a TPM",
            ));
        }
        // Before a passphrase is asked for, and once more when the file is written.
        if path.symlink_metadata().is_ok() {
            return Err(disk::exists(path));
        }
        let made = FileKey::generate(template.algorithm, &mut SystemRandom)?;
        let passphrase = (self.ask)(PassphraseFor::New(path))?;
        made.save(path, passphrase.as_ref(), Overwrite::Refuse)?;
        Ok(info(path, &made))
    }

    fn open(&self, key: &KeyUri) -> Result<SigningKey, Error> {
        Ok(self.load(path_of(key)?)?.into())
    }

    fn show(&self, key: &KeyUri) -> Result<KeyInfo, Error> {
        let path = path_of(key)?;
        Ok(info(path, &self.load(path)?))
    }

    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        let Some(folder) = &self.folder else {
            return Err(unsupported(
                "key files lie anywhere, so they are listed by folder; name one",
            ));
        };
        let failed = |source: std::io::Error| disk::failed(folder, "read", source);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if disk::looks_like(&path, pem::holds_private_key) {
                paths.push(path);
            }
        }
        paths.sort();
        paths
            .iter()
            .map(|path| Ok(info(path, &self.load(path)?)))
            .collect()
    }

    /// Removes the file. What a disk or its backups keep of removed files is not in our hand: a key that must be gone
    /// for certain was encrypted, or lies in hardware.
    fn delete(&self, key: &KeyUri) -> Result<(), Error> {
        disk::remove(path_of(key)?, pem::holds_private_key)
    }

    fn attest(&self, key: &KeyUri, _: &Challenge) -> Result<Evidence, Error> {
        path_of(key)?;
        Err(unsupported(
            "nobody can vouch for a key file; use a TPM or a secure element",
        ))
    }

    fn lock(&self, key: &KeyUri, _: &LockConsent) -> Result<(), Error> {
        path_of(key)?;
        Err(unsupported(
            "a key file cannot be locked; use a TPM or a secure element",
        ))
    }
}

fn path_of(key: &KeyUri) -> Result<&Path, Error> {
    match key {
        KeyUri::File(path) => Ok(path),
        other => Err(unsupported(&format!(
            "{other} does not name a key file; use the store for {}: keys, or name a file:PATH",
            other.scheme()
        ))),
    }
}

fn unsupported(message: &str) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

fn info(path: &Path, key: &FileKey) -> KeyInfo {
    let mut info = KeyInfo::new(KeyUri::File(path.to_owned()), key.public_key().clone());
    info.origin = Origin::Software;
    info
}

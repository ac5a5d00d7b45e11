//! The key that signs the records' checkpoints: made with the log, and bound to it.
//!
//! Decides that a log has one key for as long as it lives, and that a key whose log is gone, or a log whose key is gone, is said
//! and not made anew: otherwise whoever takes the records away would have a gateway that begins again.
//!
//! The key is a file that the gateway's user alone can read. It says that the records are this gateway's own; that this
//! gateway is this device, only hardware says, which attests a checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use countersign_audit_log::{LogDirectory, LogKey, LogVerifier, Origin, Recovery};
use countersign_backend_file::{FileKey, Overwrite, SystemRandom};
use countersign_keys::{Algorithm, SigningKey};

use super::kept::beside;
use super::reserve::is_taken;

/// What the names of these logs begin with; a part of their key's digest follows.
const ORIGIN: &str = "countersign-gateway/";

/// Letters of the digest: 64 bits of it.
const DIGITS: usize = 16;

/// Where a log lies, and where its key does.
#[derive(Clone, Debug)]
pub struct LogPlace {
    /// The log's folder.
    pub folder: PathBuf,
    /// The file of its key. The public half is put beside it, as `.vkey`.
    pub key: PathBuf,
}

/// How a log was opened.
#[derive(Debug)]
pub(super) enum Opened {
    /// There was none.
    New,
    /// It goes on.
    GoesOn(Recovery),
}

impl LogPlace {
    /// Reads the public half of the key.
    ///
    /// # Errors
    /// If there is none, or it is none.
    pub fn verifier(&self) -> anyhow::Result<LogVerifier> {
        let path = self.public();
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "there is no key of records in {}; a gateway makes one when it first runs",
                path.display()
            )
        })?;
        LogVerifier::from_vkey(text.trim()).with_context(|| format!("{}", path.display()))
    }

    /// The file of the public half.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.key.with_extension("vkey")
    }

    /// Whether the room is kept free that the last records need. While it is not, nothing new is recorded.
    #[must_use]
    pub fn has_reserve(&self) -> bool {
        is_taken(&self.reserve())
    }

    pub(super) fn reserve(&self) -> PathBuf {
        beside(&self.folder, ".reserve")
    }

    pub(super) fn open(&self) -> anyhow::Result<(LogDirectory, Opened)> {
        if self.folder.is_file() {
            bail!(
                "{} is a file of records, as gateways wrote them before: it can stay, but name a folder beside it in [gateway] audit",
                self.folder.display()
            );
        }
        let unfinished = self.key.with_extension("unfinished");
        let is_log = [".journal", "checkpoint"]
            .iter()
            .any(|name| self.folder.join(name).exists());
        match (self.key.exists(), is_log) {
            (true, true) => {
                let (log, recovery) = LogDirectory::open(&self.folder, load(&self.key)?)?;
                self.publish(&load(&self.key)?)?;
                Ok((log, Opened::GoesOn(recovery)))
            }
            (true, false) => bail!(
                "the records in {} are gone, whose key is {}: put them back from where they went; if they are lost, remove the key, \
                 and a new log begins, under another name",
                self.folder.display(),
                self.key.display()
            ),
            (false, true) if !unfinished.exists() => bail!(
                "the key {} of the records in {} is gone: put it back; if it is lost, move the records away, and a new log begins",
                self.key.display(),
                self.folder.display()
            ),
            (false, is_log) => {
                // The key has its own name only when its log is there.
                if !is_log {
                    let key = FileKey::generate(Algorithm::Ed25519, &mut SystemRandom)?;
                    key.save(&unfinished, None, Overwrite::Replace)?;
                }
                let key = load(&unfinished)?;
                let log = match is_log {
                    true => LogDirectory::open(&self.folder, key)?.0,
                    false => LogDirectory::create(&self.folder, key)?,
                };
                self.publish(&load(&unfinished)?)?;
                countersign_durable::rename(&unfinished, &self.key)?;
                Ok((log, Opened::New))
            }
        }
    }

    /// Puts the public half beside the key, for whoever verifies.
    fn publish(&self, key: &LogKey) -> anyhow::Result<()> {
        let text = format!("{}\n", key.verifier().to_vkey());
        let path = self.public();
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(());
        }
        Ok(countersign_durable::replace(&path, text.as_bytes())?)
    }
}

fn load(path: &Path) -> anyhow::Result<LogKey> {
    let key = FileKey::load(path, || {
        Err(countersign_keys::Error::new(
            countersign_keys::ErrorKind::Passphrase,
            "the key of the records has no passphrase: put back the one that the gateway made",
        ))
    })?;
    let digest = key.public_key().spki_sha256().to_string();
    let origin = format!("{ORIGIN}{}", digest.get(..DIGITS).unwrap_or(&digest));
    Ok(LogKey::new(Origin::new(&origin)?, SigningKey::new(key))?)
}

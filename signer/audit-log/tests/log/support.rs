//! Logs to try things on.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_audit_log::{Checkpoint, LogDirectory, LogFolder, LogKey, LogVerifier, Origin};
use countersign_backend_file::FileKey;
use countersign_keys::{Algorithm, SigningKey};

/// The name of every log here.
pub(crate) const ORIGIN: &str = "factory.example/audit";

/// The key of every log here: the same each time, so that a log can be opened again.
pub(crate) fn key() -> LogKey {
    key_of(Algorithm::Ed25519, 1)
}

pub(crate) fn key_of(algorithm: Algorithm, number: u8) -> LogKey {
    let key = FileKey::from_seed(algorithm, &[number; 32]).expect("a key");
    LogKey::new(Origin::new(ORIGIN).expect("a name"), SigningKey::new(key)).expect("a log key")
}

pub(crate) fn verifier() -> LogVerifier {
    key().verifier().clone()
}

/// What entry `index` says: its length varies, and it is unlike every other.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("entry {index} {}", "x".repeat((index % 97) as usize)).into_bytes()
}

/// Entries `from` to `to`, without the latter.
pub(crate) fn entries(from: u64, to: u64) -> Vec<Vec<u8>> {
    (from..to).map(entry).collect()
}

/// A log of so many entries, appended in batches, in a folder that is removed at the end.
pub(crate) struct Log {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Log {
    pub(crate) fn of(size: u64) -> Self {
        Self::in_batches(size, 1000)
    }

    pub(crate) fn in_batches(size: u64, batch: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut log = LogDirectory::create(&path, key()).expect("a log");
        let mut at = 0;
        while at < size {
            let next = (at + batch).min(size);
            log.append(&entries(at, next)).expect("appended");
            at = next;
        }
        log.flush().expect("flushed");
        Self {
            _folder: folder,
            path,
        }
    }

    pub(crate) fn folder(&self) -> LogFolder {
        LogFolder::new(&self.path)
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        checkpoint_of(&self.path)
    }
}

pub(crate) fn checkpoint_of(path: &Path) -> Checkpoint {
    let bytes = LogFolder::new(path).checkpoint().expect("a checkpoint");
    verifier().open(&bytes).expect("a sound checkpoint")
}

/// A copy of a folder, with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for found in fs::read_dir(from).expect("readable") {
        let found = found.expect("readable");
        let target = to.join(found.file_name());
        if found.file_type().expect("a type").is_dir() {
            copy(&found.path(), &target);
        } else {
            fs::copy(found.path(), target).expect("copied");
        }
    }
}

/// Every file below a folder.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for found in fs::read_dir(path).expect("readable") {
        let found = found.expect("readable").path();
        if found.is_dir() {
            all.extend(files(&found));
        } else {
            all.push(found);
        }
    }
    all.sort();
    all
}

//! Copies of the files that proved healthy, one for each service: what runs when the file in its place cannot.
//!
//! A copy is verified like any other file before it runs. It is a second place to look, and no reason to trust.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_format::Digest;
use countersign_hosting::{MAX_FILE_BYTES, Read, durable, read};

/// The folder of the copies.
#[derive(Clone, Debug)]
pub(crate) struct Kept(PathBuf);

impl Kept {
    /// The copies in this state's folder, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn in_state(state: &Path) -> anyhow::Result<Self> {
        let folder = state.join("kept");
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("{} cannot be made", folder.display()))
            }
            _ => Ok(Self(folder)),
        }
    }

    /// Where the copy of a service lies, if there is one. The name is a service's: letters, digits and hyphens.
    pub(crate) fn of(&self, service: &str) -> Option<PathBuf> {
        let path = self.path(service);
        path.is_file().then_some(path)
    }

    /// Keeps the file at `from`, if it is still the one with this digest; another is not what proved healthy.
    ///
    /// # Errors
    /// If it cannot be read, or the copy cannot be written; the copy before it is there still.
    pub(crate) fn keep(&self, service: &str, from: &Path, file_sha256: &str) -> anyhow::Result<()> {
        let path = self.path(service);
        if from == path {
            return Ok(());
        }
        let Read::Whole(bytes) = read(from, MAX_FILE_BYTES)? else {
            return Ok(());
        };
        if Digest::of(&bytes).to_string() == file_sha256 {
            durable::replace(&path, &bytes)?;
        }
        Ok(())
    }

    fn path(&self, service: &str) -> PathBuf {
        self.0.join(format!("{service}.wasm"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn td10_only_the_file_that_proved_healthy_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::in_state(folder.path()).expect("made");
        Kept::in_state(folder.path()).expect("there already");
        let from = folder.path().join("pump.wasm");
        fs::write(&from, b"healthy").expect("ours");
        let digest = Digest::of(b"healthy").to_string();
        assert_eq!(kept.of("pump"), None);
        kept.keep("pump", &from, &digest).expect("kept");
        // Exchanged since it was started.
        fs::write(&from, b"another").expect("ours");
        kept.keep("pump", &from, &digest).expect("left alone");
        let copy = kept.of("pump").expect("a copy");
        assert_eq!(fs::read(&copy).expect("readable"), b"healthy");
        kept.keep("pump", &copy, &digest).expect("itself");
        assert_eq!(kept.of("door"), None);
    }
}

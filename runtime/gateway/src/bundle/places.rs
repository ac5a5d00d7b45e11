//! Where bundles lie in the state's folder: what has come, what is being unpacked, and one folder for each bundle by the digest
//! of its index.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_durable as durable;
use countersign_format::{Digest, check_bundle_name};

/// How the name of a folder begins that is still being filled.
const UNFINISHED: &str = ".unfinished-";

/// The folders of bundles in a state's folder.
#[derive(Clone, Debug)]
pub(crate) struct Places(PathBuf);

impl Places {
    /// Those in this state's folder. Nothing is made.
    pub(crate) fn in_state(state: &Path) -> Self {
        Self(state.join("bundles"))
    }

    /// Makes the folders that are not there.
    ///
    /// # Errors
    /// If they cannot be made.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        for folder in [self.0.clone(), self.incoming()] {
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error)
                        .with_context(|| format!("{} cannot be made", folder.display()));
                }
                Err(_) => {}
                // Before a bundle is remembered that lies in it.
                Ok(()) => durable::sync_folder(durable::folder_of(&folder))
                    .with_context(|| format!("{} cannot be kept", folder.display()))?,
            }
        }
        Ok(())
    }

    /// Where files lie of which nothing is known.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.0.join("incoming")
    }

    /// A file that has come, by its name, which is no path.
    pub(crate) fn arrived(&self, name: &str) -> Option<PathBuf> {
        check_bundle_name("file", name).ok()?;
        Some(self.incoming().join(name))
    }

    /// The folder of a bundle.
    pub(crate) fn of(&self, index: Digest) -> PathBuf {
        self.0.join(index.to_string())
    }

    /// The file with this digest of the lists that bundles have brought.
    pub(crate) fn lists(&self, digest: Digest) -> PathBuf {
        self.0.join(format!("{digest}.lists"))
    }

    /// A folder to fill. It goes when it is dropped, unless it is given its name before.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn unfinished(&self) -> anyhow::Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.0)
            .with_context(|| format!("nothing can be unpacked in {}", self.0.display()))
    }

    /// Removes what a power cut or an earlier bundle has left, but for the bundle and the lists that are kept.
    pub(crate) fn tidy(&self, bundle: Option<Digest>, lists: Option<Digest>) {
        let bundle = bundle.map(|index| self.of(index));
        let kept: Vec<_> = bundle
            .into_iter()
            .chain(lists.map(|digest| self.lists(digest)))
            .collect();
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            if path != self.incoming() && !kept.contains(&path) {
                // What cannot be removed is tried again at the next start.
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th12_what_has_come_is_named_by_no_path_and_only_what_is_kept_stays() {
        let state = tempfile::tempdir().expect("a folder");
        let places = Places::in_state(state.path());
        places.make().expect("made");
        places.make().expect("there already");
        for name in ["../memory", "a/b", "", ".x"] {
            assert_eq!(places.arrived(name), None, "{name}");
        }
        let arrived = places.arrived("apply-1.bundle").expect("a name");
        fs::write(&arrived, b"anything").expect("ours");
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        for folder in [places.of(one), places.of(two)] {
            fs::create_dir(folder).expect("ours");
        }
        for file in [places.lists(one), places.lists(two)] {
            fs::write(file, b"lists").expect("ours");
        }
        let _ = places.unfinished().expect("made").keep();
        places.tidy(Some(two), Some(one));
        let left = fs::read_dir(state.path().join("bundles")).expect("readable");
        assert_eq!(left.count(), 3);
        assert!(places.of(two).is_dir() && places.lists(one).is_file() && arrived.is_file());
    }
}

//! Putting files in place: each is written under another name and renamed, so that readers see all of it or none.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Error;
use super::error::system;
use crate::Growth;
use crate::folder::is_absent;
use crate::resource::Resource;

/// The name of a file until it has its own.
pub(super) const NEW: &str = ".new";

/// A log's folder, and what was put in it that the disk may not have yet.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    unsynced: BTreeSet<PathBuf>,
    unsynced_folders: BTreeSet<PathBuf>,
    /// Folders that are known to exist.
    folders: BTreeSet<PathBuf>,
}

impl Files {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            unsynced: BTreeSet::new(),
            unsynced_folders: BTreeSet::new(),
            folders: BTreeSet::new(),
        }
    }

    /// Puts every file of a batch in its place, for readers.
    pub(super) fn put_all(&mut self, growth: &Growth) -> Result<(), Error> {
        for (resource, bytes) in &growth.files {
            self.put(&resource.to_string(), bytes)?;
        }
        Ok(())
    }

    /// Puts a file in its place, for readers. [`Self::sync`] makes it durable.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.place(name, bytes, false)
    }

    /// Puts a file in its place when its bytes are on the disk, and waits until its name is there too.
    pub(super) fn put_durably(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.place(name, bytes, true)?;
        sync_folder(&parent(&self.path.join(name)))
    }

    fn place(&mut self, name: &str, bytes: &[u8], is_durable: bool) -> Result<(), Error> {
        let path = self.path.join(name);
        // In the same folder: a confined process may not rename from one folder to another everywhere (landlock before ABI 2).
        let new = parent(&path).join(NEW);
        let failed = |source| system(&path, "written", source);
        self.make_folder(&parent(&path))?;
        // Whatever a crash left there is no file of ours, nor a link to follow.
        match fs::remove_file(&new) {
            Err(error) if !is_absent(&error) => return Err(failed(error)),
            _ => {}
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .open(&new)
            .map_err(failed)?;
        let mut written = file.write_all(bytes);
        if is_durable {
            written = written.and_then(|()| file.sync_all());
        }
        drop(file);
        if let Err(error) = written {
            // On a full disk what is cut off takes room from the rest.
            let _ = fs::remove_file(&new);
            return Err(failed(error));
        }
        fs::rename(&new, &path).map_err(failed)?;
        if !is_durable {
            self.unsynced_folders.insert(parent(&path));
            self.unsynced.insert(path);
        }
        Ok(())
    }

    fn make_folder(&mut self, folder: &Path) -> Result<(), Error> {
        if folder == self.path || self.folders.contains(folder) {
            return Ok(());
        }
        self.make_folder(&parent(folder))?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(system(folder, "made", error));
            }
            _ => {}
        }
        self.unsynced_folders.insert(parent(folder));
        self.folders.insert(folder.to_owned());
        Ok(())
    }

    /// Waits until the disk has everything: tiles and bundles, the checkpoint (which comes before them by name), then the
    /// folders with their names.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        for path in self.unsynced.iter().rev() {
            File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(|source| system(path, "made durable", source))?;
        }
        for folder in &self.unsynced_folders {
            sync_folder(folder)?;
        }
        self.unsynced.clear();
        self.unsynced_folders.clear();
        Ok(())
    }

    /// Whether there are narrower forms of a full file.
    pub(super) fn has_narrower(&self, full: Resource) -> bool {
        self.narrower(full).is_dir()
    }

    /// Removes the narrower forms of a full file.
    pub(super) fn remove_narrower(&mut self, full: Resource) -> Result<(), Error> {
        let folder = self.narrower(full);
        self.unsynced.retain(|path| !path.starts_with(&folder));
        self.unsynced_folders.remove(&folder);
        self.folders.remove(&folder);
        match fs::remove_dir_all(&folder) {
            Err(error) if !is_absent(&error) => Err(system(&folder, "removed", error)),
            _ => Ok(()),
        }
    }

    fn narrower(&self, full: Resource) -> PathBuf {
        self.path.join(format!("{}.p", full.full_path()))
    }
}

/// Waits until the disk has the names in a folder.
pub(super) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| system(folder, "made durable", source))
}

pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

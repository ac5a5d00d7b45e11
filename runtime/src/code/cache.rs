//! A folder of compiled code, sealed with a key of this device.
//!
//! An entry is read once, its seal is verified over those bytes, and those bytes are loaded. One whose seal is wrong is not
//! used: the component is compiled again, from the bytes that were verified. The seal is no defence against who may read the
//! key, so the folder must be this user's alone, and is refused otherwise.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use countersign_trust_store::VerifiedComponent;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};

use super::binding::Binding;
use super::reading::Reading;
use super::seal::{self, Key, Usage};
use super::{Cached, Code, CodeMemory};

/// The file of the folder that holds its key.
const KEY: &str = "key";

/// How the names of entries end.
const ENTRY: &str = ".code";

/// Most entries that are looked at. A folder with more is not this program's work.
const MAX_ENTRIES: usize = 10_000;

/// After this time a use is noted again (an hour): a write to flash each.
const USE_NOTED: Duration = Duration::from_secs(3_600);

/// A cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The folder, or a file in it, is not this user's alone.
    #[error("{} cannot hold compiled code: {why}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Who else has to do with it, and what to do.
        why: String,
    },
    /// The system does not let it be read or written.
    #[error("{} cannot be used for compiled code: {source}", path.display())]
    System {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Compiled code in a folder.
pub struct CodeCache {
    path: PathBuf,
    folder: OwnedFd,
    key: Key,
    most: u64,
    /// One at a time makes room.
    making_room: Mutex<()>,
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl CodeCache {
    /// The cache in the folder at `path`, which is made if it is not there, and with it a key. It holds `most` bytes at
    /// most: what was not used for longest goes first.
    ///
    /// # Errors
    /// [`CacheError::Open`] if others may look into it, it belongs to another user, or is a link;
    /// [`CacheError::System`] if the system does not let it be used.
    pub fn open(path: &Path, most: u64) -> Result<Self, CacheError> {
        let system = |source: rustix::io::Errno| CacheError::System {
            path: path.to_owned(),
            source: source.into(),
        };
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(system(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
            rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => CacheError::Open {
                path: path.to_owned(),
                why: "it is not a folder, or is a link to one; name the folder itself".to_owned(),
            },
            other => system(other),
        })?;
        let stat = rustix::fs::fstat(&folder).map_err(system)?;
        closed_to_others(&stat).map_err(|why| CacheError::Open {
            path: path.to_owned(),
            why,
        })?;
        let key = take_key(path, &folder)?;
        Ok(Self {
            path: path.to_owned(),
            folder,
            key,
            most,
            making_room: Mutex::new(()),
        })
    }

    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    /// The entry for `binding`, if there is one.
    ///
    /// # Errors
    /// Why the entry is not used.
    pub(super) fn get(&self, binding: &Binding, memory: CodeMemory) -> Cached {
        let Some(reading) = self.begin(binding, memory)? else {
            return Ok(None);
        };
        reading.help(&self.key);
        reading.finish(&self.key, binding).map(Some)
    }

    /// Begins to read the entry for `binding`, if there is one, into such memory.
    ///
    /// # Errors
    /// Why the entry is not used.
    pub(super) fn begin(
        &self,
        binding: &Binding,
        memory: CodeMemory,
    ) -> Result<Option<Reading>, String> {
        let name = self.name(binding);
        let file = match open_file(&self.folder, &name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("it cannot be opened: {error}")),
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| error.to_string())?;
        regular(&stat)?;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > self.most {
            return Err(format!("it has {size} bytes"));
        }
        note_use(&file, &stat);
        Reading::begin(file, size, memory).map(Some)
    }

    /// Keeps the code of `component` for `binding`, and makes room for it.
    ///
    /// # Errors
    /// If it cannot be written. What a power cut leaves of it has no seal, so that nothing waits for the disk.
    pub(super) fn put(
        &self,
        binding: &Binding,
        component: &VerifiedComponent,
        code: &Code,
    ) -> Result<(), CacheError> {
        let bytes = code.bytes().map_err(|error| self.system(error))?;
        let note = self.key.digests().note(component).ok_or_else(|| {
            self.system(io::Error::other("the bytes of the component are not there"))
        })?;
        let header = seal::header(&self.key, binding, note, &code.imports, &bytes);
        let size = header.len().saturating_add(bytes.len());
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        if size > self.most {
            return Err(self.system(io::Error::other(format!(
                "the code has {size} bytes, and {} is the most that is kept",
                self.most
            ))));
        }
        let _one = self
            .making_room
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let name = self.name(binding);
        self.make_room(size).map_err(|error| self.system(error))?;
        write_file(&self.folder, &name, &[&header, &bytes]).map_err(|error| self.system(error))
    }

    fn name(&self, binding: &Binding) -> String {
        let mut hasher = self.key.hasher(Usage::Name);
        hasher.update(binding.as_bytes());
        format!("{}{ENTRY}", hasher.finalize().to_hex())
    }

    /// Removes what is half-written, and then what was not used for longest, until `size` more bytes fit.
    fn make_room(&self, size: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.folder)?.take(MAX_ENTRIES) {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".unfinished-") {
                rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?;
            } else if name.to_bytes().ends_with(ENTRY.as_bytes()) {
                let stat = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
                entries.push((modified(&stat), bytes, name.to_owned()));
            }
        }
        entries.sort();
        let mut held = entries
            .iter()
            .fold(0_u64, |sum, (_, bytes, _)| sum.saturating_add(*bytes));
        for (_, bytes, name) in entries {
            if held.saturating_add(size) <= self.most {
                break;
            }
            rustix::fs::unlinkat(&self.folder, &*name, AtFlags::empty())?;
            held = held.saturating_sub(bytes);
        }
        Ok(())
    }

    fn system(&self, source: io::Error) -> CacheError {
        CacheError::System {
            path: self.path.clone(),
            source,
        }
    }
}

/// The key in this folder; a new one where there is none, or none of a key's length: what the old one sealed is compiled
/// again.
fn take_key(path: &Path, folder: &OwnedFd) -> Result<Key, CacheError> {
    let path = path.join(KEY);
    let system = |source: io::Error| CacheError::System {
        path: path.clone(),
        source,
    };
    match open_file(folder, KEY) {
        Ok(mut file) => {
            let open = |why| CacheError::Open {
                path: path.clone(),
                why,
            };
            let stat = rustix::fs::fstat(&file).map_err(|error| system(error.into()))?;
            regular(&stat).map_err(open)?;
            let mut bytes = [0; Key::BYTES];
            let length = u64::try_from(stat.st_size).unwrap_or(0);
            if length == u64::try_from(Key::BYTES).unwrap_or(u64::MAX)
                && file.read_exact(&mut bytes).is_ok()
            {
                return Ok(Key::new(bytes));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
    }
    let mut bytes = [0; Key::BYTES];
    getrandom::fill(&mut bytes).map_err(|error| system(io::Error::other(error)))?;
    write_file(folder, KEY, &[&bytes]).map_err(system)?;
    Ok(Key::new(bytes))
}

/// Opens a file of the folder to be read; never through a link, and never waiting for the other end of a FIFO.
fn open_file(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    Ok(File::from(file))
}

/// Puts a file in place whole, readable by this user alone.
fn write_file(folder: &OwnedFd, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let unfinished = format!(".unfinished-{:016x}", u64::from_le_bytes(random));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = File::from(rustix::fs::openat(folder, &*unfinished, flags, mode)?);
    let written = parts
        .iter()
        .try_for_each(|part| file.write_all(part))
        .and_then(|()| Ok(rustix::fs::renameat(folder, &*unfinished, folder, name)?));
    if written.is_err() {
        // Otherwise whoever makes room does it.
        let _ = rustix::fs::unlinkat(folder, &*unfinished, AtFlags::empty());
    }
    written
}

/// A file or a folder that others could have changed is none to take code from.
fn closed_to_others(stat: &rustix::fs::Stat) -> Result<(), String> {
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(format!(
            "it belongs to user {}; give it to the user that runs this program",
            stat.st_uid
        ));
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "others may look into it or change it (mode {mode:o}); close it with chmod go-rwx"
        ));
    }
    Ok(())
}

fn regular(stat: &rustix::fs::Stat) -> Result<(), String> {
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err("it is no regular file; remove it".to_owned());
    }
    closed_to_others(stat)
}

/// When an entry was last used, or written.
fn modified(stat: &rustix::fs::Stat) -> Duration {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// Notes that an entry was used, so that it goes last. It decides nothing else, and the clock may be wrong.
fn note_use(file: &File, stat: &rustix::fs::Stat) {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    if since.abs_diff(modified(stat)) < USE_NOTED {
        return;
    }
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let now = Timestamps {
        last_access: now,
        last_modification: now,
    };
    // An entry that cannot be touched is only removed sooner.
    let _ = rustix::fs::futimens(file, &now);
}

//! What a gateway remembers: one authenticated file in a folder of its own, whole or not at all.
//!
//! Decides that nothing is believed that this gateway's key did not seal, that there is one gateway to a folder, and that
//! what must not fall never does. Only what was remembered is judged elsewhere. Without a counter in hardware, a folder that
//! is put back whole from a copy is not noticed.

mod admitted;
mod memory;
mod seal;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use countersign_hosting::{Read, durable, read};

pub(crate) use admitted::Admitted;
pub(crate) use memory::Memory;
use seal::Seal;

/// Files of the folder.
const KEY: &str = "key";
const MEMORY: &str = "memory";
const LOCK: &str = "lock";

/// The largest memory that is read, in bytes (16 MiB).
const MAX_MEMORY_BYTES: u64 = 16 << 20;

/// Makes the folder of a new gateway, which remembers nothing yet.
///
/// # Errors
/// If there is one already, or it cannot be made.
pub(crate) fn create(folder: &Path) -> anyhow::Result<()> {
    if folder.join(KEY).exists() || folder.join(MEMORY).exists() {
        bail!(
            "{} is the folder of a gateway already; it was not touched",
            folder.display()
        );
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("{} could not be made", folder.display()))?;
    closed_to_others(folder)?;
    let key = seal::new_key().context("the system gives no random numbers")?;
    durable::replace(&folder.join(KEY), &key)?;
    // Last: a folder with a key and no memory is one of which the memory was taken away.
    let sealed = Seal::new(&key).seal(&Memory::default())?;
    durable::replace(&folder.join(MEMORY), &sealed)
}

/// The folder of a gateway, held by this process alone.
pub(crate) struct State {
    folder: PathBuf,
    seal: Seal,
    memory: Mutex<Memory>,
    /// Held for as long as this lives.
    _lock: File,
}

impl State {
    /// Opens the folder and takes it for this process.
    ///
    /// # Errors
    /// If there is none, others may look into it, another process holds it, or what it remembers is not what this gateway
    /// sealed.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        closed_to_others(folder)?;
        let path = folder.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another countersign-gateway runs on {}; stop it first, or give this one a folder of its own",
                folder.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        let (seal, memory) = recall(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            seal,
            memory: Mutex::new(memory),
            _lock: lock,
        })
    }

    /// A copy of what is remembered.
    pub(crate) fn memory(&self) -> Memory {
        self.lock().clone()
    }

    /// Changes what is remembered, and has it on the disk before it returns. Where that fails, nothing has changed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn remember(&self, change: impl FnOnce(&mut Memory)) -> anyhow::Result<()> {
        let mut memory = self.lock();
        let mut next = memory.clone();
        change(&mut next);
        if next == *memory {
            return Ok(());
        }
        next.rise()?;
        durable::replace(&self.folder.join(MEMORY), &self.seal.seal(&next)?)?;
        *memory = next;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A panic cannot leave half a memory behind: it is exchanged whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a gateway remembers, for whoever only looks; another process may hold the folder.
///
/// # Errors
/// As [`State::open`].
pub(crate) fn peek(folder: &Path) -> anyhow::Result<Memory> {
    closed_to_others(folder)?;
    recall(folder).map(|(_, memory)| memory)
}

fn recall(folder: &Path) -> anyhow::Result<(Seal, Memory)> {
    let seal = Seal::new(&file(folder, KEY)?);
    let memory = seal
        .open(&file(folder, MEMORY)?)
        .with_context(|| format!("{} cannot be believed", folder.join(MEMORY).display()))?;
    Ok((seal, memory))
}

fn file(folder: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = folder.join(name);
    let missing = || {
        format!(
            "what this gateway remembers is not whole: put {} back from where it went, or, if it is lost, bring the newest \
             components and lists here by hand before a new `countersign-gateway init`",
            folder.display()
        )
    };
    match read(&path, MAX_MEMORY_BYTES).with_context(missing)? {
        Read::Whole(bytes) => Ok(bytes),
        Read::TooLarge { size } => bail!("{} has {size} bytes", path.display()),
    }
}

/// A folder whose content others could exchange is none to remember anything in.
fn closed_to_others(folder: &Path) -> anyhow::Result<()> {
    let metadata = fs::symlink_metadata(folder).with_context(|| {
        format!(
            "there is no folder {}; make one with `countersign-gateway init`",
            folder.display()
        )
    })?;
    if !metadata.is_dir() {
        bail!("{} is not a folder, or is a link to one", folder.display());
    }
    let ours = fs::metadata("/proc/self").map(|process| process.uid());
    if ours.is_ok_and(|ours| ours != metadata.uid()) {
        bail!("{} belongs to another user", folder.display());
    }
    if metadata.mode() & 0o077 != 0 {
        bail!(
            "others may look into {} (mode {:o}); close it with chmod go-rwx",
            folder.display(),
            metadata.mode() & 0o777
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use countersign_format::Digest;
    use countersign_trust_store::UnixTime;

    use super::*;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("state");
        create(&folder).expect("made");
        (outer, folder)
    }

    fn raised(state: &State, floor: u64) {
        state
            .remember(|memory| memory.raise_floor(UnixTime::from_secs(floor)))
            .expect("remembered");
    }

    #[test]
    fn what_is_remembered_is_there_after_a_restart_and_never_falls() {
        let (_outer, folder) = made();
        let state = State::open(&folder).expect("opens");
        raised(&state, 1_000);
        raised(&state, 900);
        let (root, name) = (Digest::of(b"root"), "acme:pump".parse().expect("a name"));
        state
            .remember(|memory| memory.raise_version(root, name, 7))
            .expect("remembered");
        drop(state);
        let memory = State::open(&folder).expect("opens").memory();
        assert_eq!(memory.floor(), UnixTime::from_secs(1_000));
        assert_eq!(memory.generation(), 2);
        assert_eq!(peek(&folder).expect("looks"), memory);
    }

    #[test]
    fn th13_a_second_gateway_on_the_same_folder_is_refused() {
        let (_outer, folder) = made();
        let first = State::open(&folder).expect("opens");
        let error = State::open(&folder).err().expect("held").to_string();
        assert!(error.contains("another countersign-gateway"), "{error}");
        drop(first);
        State::open(&folder).expect("free again");
    }

    #[test]
    fn th05_td08_a_memory_that_was_changed_cut_exchanged_or_taken_away_is_not_believed() {
        let (_outer, folder) = made();
        raised(&State::open(&folder).expect("opens"), 1_000);
        let path = folder.join(MEMORY);
        let good = fs::read(&path).expect("a memory");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("ours");
            assert!(State::open(&folder).is_err(), "byte {at}");
            fs::write(&path, &good[..at]).expect("ours");
            assert!(State::open(&folder).is_err(), "cut at {at}");
        }
        // Another gateway's.
        let (_other, theirs) = made();
        fs::copy(theirs.join(MEMORY), &path).expect("ours");
        let error = format!("{:#}", State::open(&folder).err().expect("foreign"));
        assert!(error.contains("cannot be believed"), "{error}");
        fs::remove_file(&path).expect("ours");
        let error = format!("{:#}", State::open(&folder).err().expect("gone"));
        assert!(error.contains("put") && error.contains("back"), "{error}");
        assert!(create(&folder).is_err(), "its key is still there");
        fs::write(&path, &good).expect("ours");
        State::open(&folder).expect("it is whole again");
    }

    #[test]
    fn te16_a_folder_that_others_may_look_into_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_outer, folder) = made();
        let mode = |mode| {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("ours");
        };
        mode(0o750);
        let error = State::open(&folder).err().expect("open").to_string();
        assert!(error.contains("chmod go-rwx"), "{error}");
        mode(0o700);
        let link = folder.with_file_name("link");
        std::os::unix::fs::symlink(&folder, &link).expect("a link");
        assert!(State::open(&link).is_err());
        State::open(&folder).expect("closed");
    }
}

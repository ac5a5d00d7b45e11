//! What a gateway remembers: one authenticated file in a folder of its own, whole or not at all.
//!
//! Decides that nothing is believed that this gateway's key did not seal, that there is one gateway to a folder, and that
//! what must not fall never does. Only what was remembered is judged elsewhere. A folder that is put
//! back whole from a copy is noticed by a counter in hardware, and by nothing else.

mod admitted;
mod counter;
mod memory;
mod seal;
mod stopped;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use countersign_durable::{self as durable, DurableError};
use countersign_hosting::{Read, read};
use countersign_keys::CounterUri;

use crate::say::warn;

pub(crate) use admitted::Admitted;
pub(crate) use counter::{Guard, PutBack};
pub(crate) use memory::Memory;
use seal::Seal;

/// Files of the folder.
const KEY: &str = "key";
const UNFINISHED_KEY: &str = "key.unfinished";
const MEMORY: &str = "memory";
const LOCK: &str = "lock";

/// The largest memory that is read, in bytes (16 MiB).
const MAX_MEMORY_BYTES: u64 = 16 << 20;

/// Makes the folder of a new gateway, which remembers nothing yet. With a counter, its memory is bound to that; a folder that
/// is there already is bound to it, if it is not bound yet. Where it was cut off, it is done again.
///
/// # Errors
/// If there is one already, or it cannot be made.
pub(crate) fn create(folder: &Path, counter: Option<&CounterUri>) -> anyhow::Result<Made> {
    let (key, unfinished) = (folder.join(KEY), folder.join(UNFINISHED_KEY));
    let there = key.exists() || (folder.join(MEMORY).exists() && !unfinished.exists());
    match counter {
        Some(counter) if key.exists() => return bind(folder, counter).map(|()| Made::Bound),
        _ if there => bail!(
            "{} is the folder of a gateway already; it was not touched",
            folder.display()
        ),
        _ => {}
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("{} could not be made", folder.display()))?;
    closed_to_others(folder)?;
    let mut memory = Memory::default();
    if let Some(counter) = counter {
        memory.bind(Guard::make(counter)?.stands()?);
    }
    let bytes = seal::new_key().context("the system gives no random numbers")?;
    durable::replace(&unfinished, &bytes)?;
    durable::replace(&folder.join(MEMORY), &Seal::new(&bytes).seal(&memory)?)?;
    // Last: a key without a memory is one of which the memory was taken away.
    durable::rename(&unfinished, &key)?;
    // The folder's own name lives in the one that it is in.
    durable::sync_folder(durable::folder_of(folder)).with_context(|| {
        format!(
            "{} was made, and may be lost in a power cut",
            folder.display()
        )
    })?;
    Ok(Made::New)
}

/// What [`create`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// A new folder.
    New,
    /// The folder was there, and is bound to a counter now.
    Bound,
}

fn bind(folder: &Path, counter: &CounterUri) -> anyhow::Result<()> {
    let state = State::take(folder)?;
    let mut next = state.memory();
    if next.counted().is_some() {
        bail!(
            "what {} remembers is bound to a counter already; it was not touched",
            folder.display()
        );
    }
    next.bind(Guard::make(counter)?.stands()?);
    next.rise()?;
    Ok(durable::replace(
        &folder.join(MEMORY),
        &state.seal.seal(&next)?,
    )?)
}

/// The folder of a gateway, held by this process alone.
pub(crate) struct State {
    folder: PathBuf,
    seal: Seal,
    guard: Option<Guard>,
    held: Mutex<Held>,
    /// Held for as long as this lives.
    _lock: File,
}

/// What is on the disk.
struct Held {
    memory: Memory,
    /// Whether the file that has the memory's name may lose it with the power.
    uncertain: bool,
    /// Whether the counter has yet to move to what the memory carries.
    unsettled: bool,
}

impl State {
    /// Opens the folder and takes it for this process. `counter` is the one that the configuration names.
    ///
    /// # Errors
    /// If there is none, others may look into it, another process holds it, or what it remembers is not what this gateway
    /// sealed; [`PutBack`] if it is not the newest.
    pub(crate) fn open(folder: &Path, counter: Option<Guard>) -> anyhow::Result<Self> {
        let mut state = Self::take(folder)?;
        let memory = state.memory();
        let unsettled = check(&memory, counter.as_ref())?;
        state.guard = counter;
        let mut held = state.lock();
        held.unsettled = unsettled;
        // Where it does not move, one ahead stays acceptable, and what was admitted runs.
        if let Err(error) = state.settle(&mut held) {
            warn("", &format!("{error:#}"));
        }
        drop(held);
        Ok(state)
    }

    fn take(folder: &Path) -> anyhow::Result<Self> {
        closed_to_others(folder)?;
        let path = folder.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        match countersign_audit_log::lock_in_time(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another countersign-gateway runs on {}; stop it first, or give this one a folder of its own",
                folder.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        sweep(folder);
        sweep(&folder.join("kept"));
        let (seal, memory) = recall(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            seal,
            guard: None,
            held: Mutex::new(Held {
                memory,
                uncertain: false,
                unsettled: false,
            }),
            _lock: lock,
        })
    }

    /// A copy of what is remembered.
    pub(crate) fn memory(&self) -> Memory {
        self.lock().memory.clone()
    }

    /// Whether no version of a component that is so old may run.
    pub(crate) fn withdraws(&self, component: &str, security_version: u64) -> bool {
        self.lock().memory.is_withdrawn(component, security_version)
    }

    /// Changes what is remembered, and has it on the disk, and counted, before it returns.
    ///
    /// # Errors
    /// If it cannot be written: then nothing has changed. If it is not certain to stay on the disk, or the counter does not move:
    /// then it is remembered, and could be lost with the power or put back from a copy, until both are made good for, which is
    /// tried first of all the next time.
    pub(crate) fn remember(&self, change: impl FnOnce(&mut Memory)) -> anyhow::Result<()> {
        let mut held = self.lock();
        let mut next = held.memory.clone();
        change(&mut next);
        // One ahead of the counter, and no more.
        self.settle(&mut held)?;
        if next == held.memory {
            return Ok(());
        }
        let counts = next.count_after(&held.memory)?;
        next.rise()?;
        let sealed = self.seal.seal(&next)?;
        if sealed.len() as u64 > MAX_MEMORY_BYTES {
            bail!(
                "what is to be remembered has {} bytes, more than are read at a start",
                sealed.len()
            );
        }
        let written = durable::replace(&self.folder.join(MEMORY), &sealed);
        self.take_over(&mut held, next, counts, written)
    }

    /// Has what was written count, and the counter follow it. `counts` is whether that is to move.
    fn take_over(
        &self,
        held: &mut Held,
        next: Memory,
        counts: bool,
        written: Result<(), DurableError>,
    ) -> anyhow::Result<()> {
        if written.as_ref().is_err_and(|error| !error.is_in_place()) {
            return Ok(written?);
        }
        // What is remembered is what the file says, certain or not.
        held.memory = next;
        held.unsettled = counts;
        held.uncertain = written.is_err();
        written?;
        self.settle(held)
    }

    /// Makes good for what went wrong after the memory had its name: first that it is on the disk, then that the counter moves,
    /// which must not be ahead of what a power cut leaves.
    fn settle(&self, held: &mut Held) -> anyhow::Result<()> {
        if held.uncertain {
            // Written anew: a folder that once failed to be synchronised may take itself for clean.
            let sealed = self.seal.seal(&held.memory)?;
            durable::replace(&self.folder.join(MEMORY), &sealed)?;
            held.uncertain = false;
        }
        if held.unsettled
            && let (Some(guard), Some(counted)) = (&self.guard, held.memory.counted())
        {
            guard.move_to(counted)?;
        }
        held.unsettled = false;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // A panic cannot leave half a memory behind: it is exchanged whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes away what was being written when power was lost, or this process was killed.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if durable::is_unfinished(&entry.file_name()) {
            // What cannot be taken away lies there, and is nobody's.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What a gateway remembers, for whoever only looks; another process may hold the folder.
///
/// # Errors
/// As [`State::open`].
pub(crate) fn peek(folder: &Path, counter: Option<&Guard>) -> anyhow::Result<Memory> {
    let memory = glance(folder)?;
    check(&memory, counter)?;
    Ok(memory)
}

/// The same, not held against the counter: for whoever opens the state afterwards, and has no threads before.
///
/// # Errors
/// As [`State::open`].
pub(crate) fn glance(folder: &Path) -> anyhow::Result<Memory> {
    closed_to_others(folder)?;
    recall(folder).map(|(_, memory)| memory)
}

/// Whether the counter has yet to move to what the memory carries.
fn check(memory: &Memory, counter: Option<&Guard>) -> anyhow::Result<bool> {
    match (memory.counted(), counter) {
        (Some(counted), Some(counter)) => counter.check(counted),
        (None, None) => Ok(false),
        (Some(_), None) => bail!(
            "what this gateway remembers is bound to a counter in hardware, and the configuration names none; name it in [gateway] counter"
        ),
        (None, Some(_)) => bail!(
            "what this gateway remembers is not bound to the counter that the configuration names; bind it with `countersign-gateway init --counter`"
        ),
    }
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
        let folder = folder.display();
        bail!(
            "{folder} belongs to another user; do this as that one: runuser -u $(stat -c %U {folder}) -- countersign-gateway …"
        );
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
    use std::sync::atomic::Ordering::SeqCst;

    use countersign_trust_store::UnixTime;

    use super::*;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("state");
        create(&folder, None).expect("made");
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
        let state = State::open(&folder, None).expect("opens");
        raised(&state, 1_000);
        raised(&state, 900);
        let (root, name) = (Digest::of(b"root"), "acme:pump".parse().expect("a name"));
        state
            .remember(|memory| memory.raise_version(root, name, 7))
            .expect("remembered");
        drop(state);
        let memory = State::open(&folder, None).expect("opens").memory();
        assert_eq!(memory.floor(), UnixTime::from_secs(1_000));
        assert_eq!(memory.generation(), 2);
        assert_eq!(peek(&folder, None).expect("looks"), memory);
    }

    #[test]
    fn th13_a_second_gateway_on_the_same_folder_is_refused() {
        let (_outer, folder) = made();
        let first = State::open(&folder, None).expect("opens");
        let error = State::open(&folder, None).err().expect("held").to_string();
        assert!(error.contains("another countersign-gateway"), "{error}");
        drop(first);
        State::open(&folder, None).expect("free again");
    }

    #[test]
    fn th05_td08_a_memory_that_was_changed_cut_exchanged_or_taken_away_is_not_believed() {
        let (_outer, folder) = made();
        raised(&State::open(&folder, None).expect("opens"), 1_000);
        let path = folder.join(MEMORY);
        let good = fs::read(&path).expect("a memory");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("ours");
            assert!(State::open(&folder, None).is_err(), "byte {at}");
            fs::write(&path, &good[..at]).expect("ours");
            assert!(State::open(&folder, None).is_err(), "cut at {at}");
        }
        // Another gateway's.
        let (_other, theirs) = made();
        fs::copy(theirs.join(MEMORY), &path).expect("ours");
        let error = format!("{:#}", State::open(&folder, None).err().expect("foreign"));
        assert!(error.contains("cannot be believed"), "{error}");
        fs::remove_file(&path).expect("ours");
        let error = format!("{:#}", State::open(&folder, None).err().expect("gone"));
        assert!(error.contains("put") && error.contains("back"), "{error}");
        assert!(create(&folder, None).is_err(), "its key is still there");
        fs::write(&path, &good).expect("ours");
        State::open(&folder, None).expect("it is whole again");
    }

    #[test]
    fn te16_a_folder_that_others_may_look_into_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_outer, folder) = made();
        let mode = |mode| {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("ours");
        };
        mode(0o750);
        let error = State::open(&folder, None).err().expect("open").to_string();
        assert!(error.contains("chmod go-rwx"), "{error}");
        mode(0o700);
        let link = folder.with_file_name("link");
        std::os::unix::fs::symlink(&folder, &link).expect("a link");
        assert!(State::open(&link, None).is_err());
        State::open(&folder, None).expect("closed");
    }

    #[test]
    fn td08_tf16_a_folder_that_was_put_back_is_refused_by_the_counter() {
        let (_outer, folder) = made();
        let wheel = counter::tests::Wheel::default();
        let refused = State::open(&folder, Some(wheel.guard()))
            .err()
            .expect("unbound");
        assert!(refused.to_string().contains("init --counter"), "{refused}");
        // Bound, as `init --counter` does it.
        let unbound = State::take(&folder).expect("opens");
        let mut memory = unbound.memory();
        memory.bind(0);
        let sealed = unbound.seal.seal(&memory).expect("sealed");
        durable::replace(&folder.join(MEMORY), &sealed).expect("ours");
        drop(unbound);
        let refused = State::open(&folder, None).err().expect("bound");
        assert!(
            refused.to_string().contains("[gateway] counter"),
            "{refused}"
        );
        let state = State::open(&folder, Some(wheel.guard())).expect("opens");
        let old = fs::read(folder.join(MEMORY)).expect("ours");
        let name = || "acme:pump".parse().expect("a name");
        let raise = |state: &State, version| {
            state.remember(|memory| memory.raise_version(Digest::of(b"root"), name(), version))
        };
        raise(&state, 7).expect("remembered");
        assert_eq!(wheel.at.load(SeqCst), 1);
        // Time alone counts once a day.
        for hours in 0..=24 {
            raised(&state, 1_000 + hours * 3_600);
        }
        assert_eq!(wheel.at.load(SeqCst), 2);
        // A counter that is locked: nothing more rises, and what is written is one ahead, not more.
        wheel.locked.store(true, SeqCst);
        raise(&state, 8).expect_err("locked");
        raise(&state, 9).expect_err("locked still");
        drop(state);
        let state = State::open(&folder, Some(wheel.guard())).expect("one ahead");
        wheel.locked.store(false, SeqCst);
        raise(&state, 9).expect("remembered");
        assert_eq!(wheel.at.load(SeqCst), 4);
        drop(state);
        State::open(&folder, Some(wheel.guard())).expect("the newest");
        fs::write(folder.join(MEMORY), old).expect("ours");
        for looked in [
            State::open(&folder, Some(wheel.guard())).map(drop),
            peek(&folder, Some(&wheel.guard())).map(drop),
        ] {
            let refused = looked.expect_err("put back");
            assert!(refused.is::<PutBack>(), "{refused}");
        }
    }

    #[test]
    fn th04_what_has_its_name_is_remembered_though_its_folder_was_not_synchronised() {
        let (_outer, folder) = made();
        let wheel = counter::tests::Wheel::default();
        let unbound = State::take(&folder).expect("opens");
        let mut memory = unbound.memory();
        memory.bind(0);
        let sealed = unbound.seal.seal(&memory).expect("sealed");
        durable::replace(&folder.join(MEMORY), &sealed).expect("ours");
        drop(unbound);
        let state = State::open(&folder, Some(wheel.guard())).expect("opens");
        let name = || "acme:pump".parse().expect("a name");
        let raised = |version| {
            let mut next = state.memory();
            next.raise_version(Digest::of(b"root"), name(), version);
            assert!(next.count_after(&state.memory()).expect("counts"));
            next.rise().expect("rises");
            next
        };
        let eio = || std::io::Error::from_raw_os_error(5);
        let path = folder.join(MEMORY);
        // Nothing was written: nothing has changed.
        let fault = DurableError::Write {
            path: path.clone(),
            source: eio(),
        };
        let (before, next) = (state.memory(), raised(7));
        state
            .take_over(&mut state.lock(), next, true, Err(fault))
            .expect_err("not written");
        assert_eq!(state.memory(), before);
        // It was, and only the folder failed: memory and file say the same, and the counter does not run ahead of them.
        let next = raised(7);
        durable::replace(&path, &state.seal.seal(&next).expect("sealed")).expect("ours");
        let fault = DurableError::Unsettled {
            path: path.clone(),
            source: eio(),
        };
        state
            .take_over(&mut state.lock(), next.clone(), true, Err(fault))
            .expect_err("not certain");
        assert_eq!(state.memory(), next);
        assert_eq!(wheel.at.load(SeqCst), 0);
        // It is made good for before anything else is remembered, also where nothing changes.
        let written = fs::metadata(&path).expect("there").ino();
        state.remember(|_| ()).expect("made good for");
        assert_ne!(fs::metadata(&path).expect("there").ino(), written);
        assert_eq!(wheel.at.load(SeqCst), 1);
        drop(state);
        let state = State::open(&folder, Some(wheel.guard())).expect("the newest");
        assert_eq!(state.memory(), next);
    }

    #[test]
    fn th01_an_init_that_was_cut_off_is_done_again_and_one_that_was_not_never() {
        let outer = tempfile::tempdir().expect("a folder");
        let whole = outer.path().join("whole");
        assert_eq!(create(&whole, None).expect("made"), Made::New);
        let cut = outer.path().join("cut");
        let mode = |folder: &Path| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::create_dir(folder).expect("made");
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("ours");
        };
        for files in [&[][..], &[UNFINISHED_KEY], &[UNFINISHED_KEY, MEMORY]] {
            mode(&cut);
            for name in files {
                fs::write(cut.join(name), b"of a try that was cut off").expect("ours");
            }
            State::open(&cut, None).err().expect("not whole");
            assert_eq!(create(&cut, None).expect("made"), Made::New);
            State::open(&cut, None).expect("whole");
            create(&cut, None).expect_err("it is there");
            fs::remove_dir_all(&cut).expect("ours");
        }
        // A memory whose key was taken away is no try that was cut off.
        fs::remove_file(whole.join(KEY)).expect("ours");
        create(&whole, None).expect_err("it was a gateway's");
    }
}

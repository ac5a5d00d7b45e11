//! How much a lent folder may hold: what a guest writes there is counted before it is written.
//!
//! Counted is by how much files grow, in whole blocks, and a block for each new name. What is removed is not seen; where the count
//! is at its end, the folder is measured anew, by one at a time. Where names are moved meanwhile, a measurement lowers nothing.
//!
//! Left open: what a guest had begun to write when it was stopped, and what others take from a file between the count and the write.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cap_std::fs::{Dir, MetadataExt as _, ReadDir};

/// What a file, a folder or a link takes at least, and files grow by, in bytes (4 KiB).
pub(crate) const BLOCK: u64 = 4 << 10;

/// How often a folder is measured in which names are moved meanwhile.
const TRIES: usize = 3;

/// How deep folders may lie in each other to be measured. Each level takes a descriptor meanwhile.
const DEEPEST: usize = 64;

/// The most that one lent folder may hold, for all guests that write there. A clone is the same.
#[derive(Clone)]
pub(crate) struct Quota(Arc<Shared>);

struct Shared {
    most: u64,
    dir: Arc<Dir>,
    count: Mutex<Count>,
    /// Whoever measures has it, until that is done, whether somebody still waits or not.
    measuring: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Count {
    /// What is there at most; none until the folder is measured.
    used: Option<u64>,
    /// What was ever counted.
    counted: u64,
    /// What of it may not have been written yet.
    pending: u64,
    /// Files that are open to be written. One that has no name here any more is found here alone.
    open: Vec<Weak<File>>,
    /// How often a name was begun to be moved or added, and how often that ended.
    moves: (u64, u64),
    /// How often the folder was measured.
    measured: u64,
}

/// A name that is moved or added. Dropped, it has been.
pub(super) struct Moving(Quota);

impl Drop for Moving {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.moves.1 = count.moves.1.saturating_add(1);
    }
}

/// Bytes that were counted and may not have been written yet. Dropped, they have been, but where a guest was stopped meanwhile.
pub(super) struct Held {
    quota: Quota,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut count = self.quota.lock();
        count.pending = count.pending.saturating_sub(self.bytes);
    }
}

impl Quota {
    pub(crate) fn new(dir: Arc<Dir>, most: u64) -> Self {
        Self(Arc::new(Shared {
            most,
            dir,
            count: Mutex::default(),
            measuring: Arc::default(),
        }))
    }

    pub(crate) fn most(&self) -> u64 {
        self.0.most
    }

    /// Whether both count the same folder.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Counts bytes that are to be written; none if they would be too many, by what is known.
    pub(super) fn take(&self, bytes: u64) -> Option<Held> {
        let mut count = self.lock();
        let used = count.used?.checked_add(bytes)?;
        if bytes > 0 && used > self.0.most {
            return None;
        }
        count.used = Some(used);
        count.counted = count.counted.saturating_add(bytes);
        count.pending = count.pending.saturating_add(bytes);
        drop(count);
        let quota = self.clone();
        Some(Held { quota, bytes })
    }

    /// The same, where the folder may be measured for it; `bytes` is asked again then.
    ///
    /// # Errors
    /// As `bytes` says.
    pub(super) async fn reserve(
        &self,
        bytes: impl Fn() -> io::Result<u64>,
    ) -> io::Result<Option<Held>> {
        let wanted = bytes()?;
        let taken = self.take(wanted);
        if taken.is_some() || wanted > self.0.most {
            return Ok(taken);
        }
        self.measure().await;
        Ok(self.take(bytes()?))
    }

    /// Whether so many bytes are free, by what is known.
    pub(super) fn has(&self, bytes: u64) -> bool {
        let used = self.lock().used;
        used.is_some_and(|used| used.saturating_add(bytes) <= self.0.most)
    }

    /// How often the folder was measured.
    pub(super) fn measured(&self) -> u64 {
        self.lock().measured
    }

    /// Says that a name is moved or added.
    pub(super) fn moving(&self) -> Moving {
        let mut count = self.lock();
        count.moves.0 = count.moves.0.saturating_add(1);
        drop(count);
        Moving(self.clone())
    }

    /// Has the folder measured, by whoever does that already if he begins after this.
    pub(super) async fn measure(&self) {
        let arrived = self.measured();
        let turn = Arc::clone(&self.0.measuring).lock_owned().await;
        // One was under way then, and another one since.
        if self.measured() > arrived.saturating_add(1) {
            return;
        }
        let quota = self.clone();
        let measuring = tokio::task::spawn_blocking(move || {
            quota.look();
            drop(turn);
        });
        // It ends by itself, and is the same for whoever comes next.
        let _ = measuring.await;
    }

    /// Looks how much is there. What cannot be measured is full.
    fn look(&self) {
        for _ in 0..TRIES {
            let (counted, pending, moves) = {
                let count = self.lock();
                (count.counted, count.pending, count.moves)
            };
            let is_there = self.is_there().unwrap_or(self.0.most);
            let mut count = self.lock();
            // What came meanwhile may have been seen, or not.
            let meanwhile = count.counted.saturating_sub(counted);
            let used = is_there.saturating_add(pending).saturating_add(meanwhile);
            let was_still = moves.0 == moves.1 && moves == count.moves;
            // What was moved may have been where nobody looked at that moment.
            count.used = match was_still {
                true => Some(used),
                false => Some(used.max(count.used.unwrap_or(self.0.most))),
            };
            if was_still {
                break;
            }
        }
        let mut count = self.lock();
        count.measured = count.measured.saturating_add(1);
    }

    /// Remembers a file that may be written.
    pub(super) fn watch(&self, file: &Arc<File>) {
        let mut count = self.lock();
        if count.open.len() == count.open.capacity() {
            count.open.retain(|file| file.strong_count() > 0);
        }
        count.open.push(Arc::downgrade(file));
    }

    fn is_there(&self) -> io::Result<u64> {
        let mut sum = 0_u64;
        let mut met = HashSet::new();
        let mut levels: Vec<ReadDir> = vec![self.0.dir.entries()?];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.next() else {
                levels.pop();
                continue;
            };
            let entry = entry?;
            // Of a link it is the link's own. What is gone by now takes nothing.
            let stat = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                stat => stat?,
            };
            let is_new = met.insert((stat.dev(), stat.ino()));
            // Another name of a file that was met is a name.
            sum = sum.saturating_add(match is_new && !stat.is_symlink() {
                true => blocks(stat.len()),
                false => BLOCK,
            });
            if sum > self.0.most {
                return Ok(sum);
            }
            if stat.is_dir() {
                if levels.len() == DEEPEST {
                    return Err(io::Error::other("folders lie too deep in each other"));
                }
                match entry.open_dir().and_then(|folder| folder.entries()) {
                    Ok(entries) => levels.push(entries),
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::NotFound | ErrorKind::NotADirectory
                        ) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let open = self.lock().open.clone();
        for file in open.iter().filter_map(Weak::upgrade) {
            let stat = file.metadata()?;
            if met.insert((stat.dev(), stat.ino())) {
                sum = sum.saturating_add(blocks(stat.len()));
            }
        }
        Ok(sum)
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        // What is counted is counted whole.
        self.0.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By how much a file grows that is to have bytes up to `end`.
pub(super) fn growth(file: &File, end: u64) -> io::Result<u64> {
    let is = file.metadata()?.len();
    Ok(blocks(end).saturating_sub(blocks(is)))
}

/// What a file of so many bytes takes.
pub(super) fn blocks(bytes: u64) -> u64 {
    bytes
        .max(1)
        .checked_next_multiple_of(BLOCK)
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use cap_std::ambient_authority;

    use super::*;

    /// A bound of so many blocks.
    fn of(folder: &tempfile::TempDir, blocks: u64) -> Quota {
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("ours");
        Quota::new(Arc::new(dir), blocks * BLOCK)
    }

    async fn reserve(quota: &Quota, bytes: u64) -> Option<Held> {
        quota.reserve(|| Ok(bytes)).await.expect("known")
    }

    #[tokio::test]
    async fn te29_what_is_moved_while_it_is_measured_lowers_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let quota = of(&folder, 10);
        std::fs::write(path("file"), vec![1; 40_000]).expect("ours");
        quota.measure().await;
        assert!(!quota.has(1));
        let moving = quota.moving();
        std::fs::rename(path("file"), folder.path().with_extension("moved")).expect("ours");
        quota.measure().await;
        assert!(!quota.has(1));
        drop(moving);
        quota.measure().await;
        assert!(quota.has(10 * BLOCK) && quota.measured() == 3);
        std::fs::remove_file(folder.path().with_extension("moved")).expect("ours");
    }

    #[tokio::test]
    async fn te29_a_folder_is_measured_by_one_at_a_time_and_to_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let quota = of(&folder, 10);
        // One measures already, many ask and give up at once, and one waits.
        let turn = Arc::clone(&quota.0.measuring).lock_owned().await;
        for _ in 0..1_000 {
            let mut asked = Box::pin(quota.measure());
            let first = std::future::poll_fn(|context| Poll::Ready(asked.as_mut().poll(context)));
            assert!(first.await.is_pending());
        }
        drop(turn);
        quota.measure().await;
        assert!(quota.measured() == 1 && quota.has(10 * BLOCK));
        // Whoever has begun goes on to the end, and is the only one.
        let mut asked = Box::pin(quota.measure());
        let first = std::future::poll_fn(|context| Poll::Ready(asked.as_mut().poll(context)));
        assert!(first.await.is_pending());
        drop(asked);
        drop(quota.0.measuring.lock().await);
        assert_eq!(quota.measured(), 2);
    }

    #[tokio::test]
    async fn te29_the_count_is_never_below_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let quota = of(&folder, 10);
        // Nothing is known at first.
        assert!(quota.take(1).is_none() && !quota.has(0));
        std::fs::create_dir_all(path("a/b")).expect("ours");
        std::fs::write(path("a/b/file"), vec![1; 5_000]).expect("ours");
        std::os::unix::fs::symlink("/", path("link")).expect("ours");
        // Two folders, two blocks of a file, and a link that is not followed.
        let held = reserve(&quota, 5 * BLOCK).await.expect("there is room");
        assert!(quota.take(1).is_none() && quota.take(0).is_some());
        // What is measured while it is on its way counts all the same.
        quota.measure().await;
        assert!(!quota.has(1));
        drop(held);
        assert!(!quota.has(1));
        // What was removed is found when room is asked for.
        std::fs::remove_file(path("a/b/file")).expect("ours");
        let held = reserve(&quota, 7 * BLOCK).await.expect("there is room");
        drop(held);
        // A file that has lost its name, and is held open.
        let file = Arc::new(File::create(path("open")).expect("ours"));
        file.set_len(3 * BLOCK).expect("ours");
        quota.watch(&file);
        std::fs::remove_file(path("open")).expect("ours");
        assert!(reserve(&quota, 5 * BLOCK).await.is_none());
        assert!(reserve(&quota, 4 * BLOCK).await.is_some());
        drop(file);
        assert!(reserve(&quota, 7 * BLOCK).await.is_some());
    }

    #[tokio::test]
    async fn te29_what_cannot_be_measured_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let quota = of(&folder, 1_000);
        assert!(reserve(&quota, 1).await.is_some());
        let mut deep = folder.path().to_owned();
        for _ in 0..DEEPEST {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).expect("ours");
        quota.measure().await;
        assert!(!quota.has(1));
        std::fs::remove_dir(&deep).expect("ours");
        quota.measure().await;
        assert!(quota.has(1));
    }
}

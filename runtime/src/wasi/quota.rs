//! How much a lent folder may hold: what a guest writes there is counted before it is written.
//!
//! Counted is by how much files grow, in whole blocks, and a block for each new name. What is removed is not seen; where the count
//! is at its end, the folder is measured anew, by one at a time, and names are moved before or after that.
//!
//! A folder has one count, however often and under whichever bounds it was lent. One that lies in another is counted apart.
//!
//! What a guest had begun to write when it was stopped is written all the same, some time; so it counts for a minute as if it still were.
//!
//! Left open: what others take from a file between the count and the write, and a name that is still moved when the guest was stopped
//! that moves it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use cap_std::fs::{Dir, Metadata, MetadataExt as _, ReadDir};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// What a file, a folder or a link takes at least, and files grow by, in bytes (4 KiB).
pub(crate) const BLOCK: u64 = 4 << 10;

/// What the system counts blocks in, in bytes, whatever the file system's own are (stat(2)).
const SECTOR: u64 = 512;

/// How long it counts what a guest had begun to write when it was stopped.
const LEFT: Duration = Duration::from_secs(60);

/// How deep folders may lie in each other to be measured. Each level takes a descriptor meanwhile.
const DEEPEST: usize = 64;

/// The folders that are counted, each by its device and its number there.
type Folders = HashMap<(u64, u64), Weak<Folder>>;

static COUNTED: LazyLock<Mutex<Folders>> = LazyLock::new(Mutex::default);

/// The most that one lent folder may hold, for all guests that write there. A clone is the same.
#[derive(Clone)]
pub(crate) struct Quota {
    most: u64,
    folder: Arc<Folder>,
}

/// A folder that is counted.
struct Folder {
    dir: Arc<Dir>,
    count: Mutex<Count>,
    /// Whoever measures has it, until that is done, whether somebody still waits or not.
    measuring: Arc<tokio::sync::Mutex<()>>,
    /// Read by whoever moves or adds a name, and written by whoever looks at all of them: one that is moved meanwhile may be met
    /// nowhere.
    names: Arc<RwLock<()>>,
}

#[derive(Default)]
struct Count {
    /// The highest bound that it was ever lent with: what is over it is over all of them, and no further measured.
    most: u64,
    /// What is there at most; none until the folder is measured.
    used: Option<u64>,
    /// What was ever counted.
    counted: u64,
    /// What of it may not have been written yet.
    pending: u64,
    /// What of that nobody waits for any more, and since when: the oldest first.
    left: VecDeque<(Instant, u64)>,
    /// Files and folders that are open. One that has no name here any more is found here alone.
    open: Vec<Weak<File>>,
    /// How often the folder was measured.
    measured: u64,
}

/// A name that is moved or added. Dropped, it has been.
pub(super) struct Moving(#[expect(dead_code, reason = "held")] OwnedRwLockReadGuard<()>);

/// Bytes that were counted and may not have been written yet.
pub(super) struct Held {
    quota: Quota,
    bytes: u64,
    is_written: bool,
}

impl Held {
    /// Says that they are, or never will be.
    pub(super) fn written(mut self) {
        self.is_written = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut count = self.quota.lock();
        if self.is_written {
            count.pending = count.pending.saturating_sub(self.bytes);
        } else if self.bytes > 0 {
            // Whoever waited for it is gone.
            count.left.push_back((Instant::now(), self.bytes));
        }
    }
}

impl Count {
    /// What was left long ago is written, and found where it is.
    fn forget(&mut self) {
        while let Some(&(since, bytes)) = self.left.front()
            && since.elapsed() >= LEFT
        {
            self.left.pop_front();
            self.pending = self.pending.saturating_sub(bytes);
        }
    }
}

impl Quota {
    /// # Errors
    /// If the system does not say which folder it is.
    pub(crate) fn new(dir: &Arc<Dir>, most: u64) -> io::Result<Self> {
        let which = dir.dir_metadata()?;
        let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        counted.retain(|_, folder| folder.strong_count() > 0);
        let known = counted.entry((which.dev(), which.ino())).or_default();
        let folder = known.upgrade().unwrap_or_else(|| {
            Arc::new(Folder {
                dir: Arc::clone(dir),
                count: Mutex::default(),
                measuring: Arc::default(),
                names: Arc::default(),
            })
        });
        *known = Arc::downgrade(&folder);
        drop(counted);
        let quota = Self { most, folder };
        let mut count = quota.lock();
        if count.most < most {
            // What was only measured up to a lower bound is measured again.
            if count.used.is_some_and(|used| used >= count.most) {
                count.used = None;
            }
            count.most = most;
        }
        drop(count);
        Ok(quota)
    }

    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// Whether both count the same folder.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.folder, &other.folder)
    }

    /// Counts bytes that are to be written; none if they would be too many, by what is known.
    pub(super) fn take(&self, bytes: u64) -> Option<Held> {
        let mut count = self.lock();
        let used = count.used?.checked_add(bytes)?;
        if bytes > 0 && used > self.most {
            return None;
        }
        count.used = Some(used);
        count.counted = count.counted.saturating_add(bytes);
        count.pending = count.pending.saturating_add(bytes);
        drop(count);
        let quota = self.clone();
        Some(Held {
            quota,
            bytes,
            is_written: false,
        })
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
        if taken.is_some() || wanted > self.most {
            return Ok(taken);
        }
        self.measure().await;
        Ok(self.take(bytes()?))
    }

    /// Whether so many bytes are free, by what is known.
    pub(super) fn has(&self, bytes: u64) -> bool {
        let used = self.lock().used;
        used.is_some_and(|used| used.saturating_add(bytes) <= self.most)
    }

    /// How often the folder was measured.
    pub(super) fn measured(&self) -> u64 {
        self.lock().measured
    }

    /// Waits until a name may be moved or added.
    pub(super) async fn moving(&self) -> Moving {
        Moving(Arc::clone(&self.folder.names).read_owned().await)
    }

    /// Has the folder measured, by whoever does that already if he begins after this.
    pub(super) async fn measure(&self) {
        let arrived = self.measured();
        let turn = Arc::clone(&self.folder.measuring).lock_owned().await;
        // One was under way then, and another one since.
        if self.measured() > arrived.saturating_add(1) {
            return;
        }
        let still = Arc::clone(&self.folder.names).write_owned().await;
        let quota = self.clone();
        let measuring = tokio::task::spawn_blocking(move || {
            quota.look();
            drop((still, turn));
        });
        // It ends by itself, and is the same for whoever comes next.
        let _ = measuring.await;
    }

    /// Looks how much is there, while no name is moved. What cannot be measured is full.
    fn look(&self) {
        loop {
            let (most, counted, pending) = {
                let mut count = self.lock();
                count.forget();
                (count.most, count.counted, count.pending)
            };
            let is_there = self.is_there(most).unwrap_or(most);
            let mut count = self.lock();
            if is_there >= most && count.most > most {
                // Another was lent it meanwhile, up to more than was looked at.
                continue;
            }
            // What came meanwhile may have been seen, or not.
            let meanwhile = count.counted.saturating_sub(counted);
            let used = is_there.saturating_add(pending).saturating_add(meanwhile);
            count.used = Some(used);
            count.measured = count.measured.saturating_add(1);
            return;
        }
    }

    /// Remembers a file or a folder that was opened, and may lose its name.
    pub(super) fn watch(&self, file: &Arc<File>) {
        let mut count = self.lock();
        if count.open.len() == count.open.capacity() {
            count.open.retain(|file| file.strong_count() > 0);
        }
        count.open.push(Arc::downgrade(file));
    }

    /// What the folder holds, or something above `most`.
    fn is_there(&self, most: u64) -> io::Result<u64> {
        let dir = &self.folder.dir;
        // Of the folder itself, what it grew by.
        let mut sum = takes(&dir.dir_metadata()?).saturating_sub(BLOCK);
        let mut met = HashSet::new();
        let mut levels: Vec<ReadDir> = vec![dir.entries()?];
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
            // Another name of a file that was met is a name.
            sum = sum.saturating_add(match met.insert((stat.dev(), stat.ino())) {
                true => takes(&stat),
                false => BLOCK,
            });
            if sum > most {
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
        let which = dir.dir_metadata()?;
        met.insert((which.dev(), which.ino()));
        let open = self.lock().open.clone();
        for file in open.iter().filter_map(Weak::upgrade) {
            let stat = Metadata::from_file(&file)?;
            if met.insert((stat.dev(), stat.ino())) {
                sum = sum.saturating_add(takes(&stat));
            }
        }
        Ok(sum)
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        // What is counted is counted whole.
        self.folder
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// By how much a file grows that is to have bytes up to `end`.
pub(super) fn growth(file: &File, end: u64) -> io::Result<u64> {
    let is = file.metadata()?.len();
    Ok(blocks(end).saturating_sub(blocks(is)))
}

/// What this takes: a file by its length, whether it has holes or not, a folder by what it grew to, a link a block.
fn takes(stat: &Metadata) -> u64 {
    if stat.is_dir() {
        stat.blocks().saturating_mul(SECTOR).max(BLOCK)
    } else if stat.is_symlink() {
        BLOCK
    } else {
        blocks(stat.len())
    }
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
    use std::os::unix::fs::MetadataExt as _;
    use std::task::Poll;
    use std::time::Duration;

    use cap_std::ambient_authority;

    use super::*;

    /// A bound of so many blocks.
    fn of(folder: &tempfile::TempDir, blocks: u64) -> Quota {
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("ours");
        Quota::new(&Arc::new(dir), blocks * BLOCK).expect("known")
    }

    async fn reserve(quota: &Quota, bytes: u64) -> Option<Held> {
        quota.reserve(|| Ok(bytes)).await.expect("known")
    }

    #[tokio::test]
    async fn te29_names_are_moved_before_or_after_a_measurement() {
        let folder = tempfile::tempdir().expect("a folder");
        let quota = of(&folder, 10);
        let moving = quota.moving().await;
        let mut measured = Box::pin(quota.measure());
        let mut waits = async || {
            let first =
                std::future::poll_fn(|context| Poll::Ready(measured.as_mut().poll(context)));
            first.await.is_pending()
        };
        // However long that takes.
        for _ in 0..20 {
            assert!(waits().await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(quota.measured(), 0);
        drop(moving);
        measured.await;
        assert_eq!(quota.measured(), 1);
        // And the other way round.
        let still = Arc::clone(&quota.folder.names).write_owned().await;
        let mut moving = Box::pin(quota.moving());
        let first = std::future::poll_fn(|context| Poll::Ready(moving.as_mut().poll(context)));
        assert!(first.await.is_pending());
        drop(still);
        moving.await;
    }

    #[tokio::test]
    async fn te29_a_folder_is_measured_by_one_at_a_time_and_to_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let quota = of(&folder, 10);
        // One measures already, many ask and give up at once, and one waits.
        let turn = Arc::clone(&quota.folder.measuring).lock_owned().await;
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
        // It may be done by then.
        let _ = first.await;
        drop(asked);
        drop(quota.folder.measuring.lock().await);
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
        held.written();
        assert!(!quota.has(1));
        // What was removed is found when room is asked for.
        std::fs::remove_file(path("a/b/file")).expect("ours");
        let held = reserve(&quota, 7 * BLOCK).await.expect("there is room");
        held.written();
        // A file that has lost its name, and is held open.
        let file = Arc::new(File::create(path("open")).expect("ours"));
        file.set_len(3 * BLOCK).expect("ours");
        quota.watch(&file);
        std::fs::remove_file(path("open")).expect("ours");
        assert!(reserve(&quota, 5 * BLOCK).await.is_none());
        reserve(&quota, 4 * BLOCK)
            .await
            .expect("there is room")
            .written();
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

    #[tokio::test]
    async fn te29_a_folder_that_is_lent_twice_is_counted_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (small, large) = (of(&folder, 2), of(&folder, 10));
        assert!(small.is(&large) && (small.most(), large.most()) == (2 * BLOCK, 10 * BLOCK));
        assert!(!small.is(&of(&tempfile::tempdir().expect("a folder"), 2)));
        reserve(&small, 2 * BLOCK)
            .await
            .expect("there is room")
            .written();
        assert!(!small.has(1) && large.has(8 * BLOCK) && !large.has(8 * BLOCK + 1));
        // Where one is full the folder is measured for both, and for the other to its end.
        std::fs::write(folder.path().join("file"), vec![1; 40_000]).expect("ours");
        small.measure().await;
        assert!(!small.has(1) && !large.has(1));
        // Up to a higher bound than what was measured up to it is measured anew, and else goes on.
        let larger = of(&folder, 20);
        assert!(!larger.has(0));
        larger.measure().await;
        assert!(larger.has(10 * BLOCK) && !larger.has(10 * BLOCK + 1) && !large.has(1));
        assert!(of(&folder, 30).has(20 * BLOCK) && larger.has(10 * BLOCK));
    }

    #[tokio::test]
    async fn te29_what_was_begun_by_who_was_stopped_counts_as_on_its_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let quota = of(&folder, 10);
        drop(reserve(&quota, 4 * BLOCK).await.expect("there is room"));
        reserve(&quota, 3 * BLOCK)
            .await
            .expect("there is room")
            .written();
        quota.measure().await;
        assert!(quota.has(6 * BLOCK) && !quota.has(6 * BLOCK + 1));
        // A minute later it is there, or never will be.
        for left in &mut quota.lock().left {
            left.0 = left.0.checked_sub(LEFT).expect("the machine runs longer");
        }
        quota.measure().await;
        assert!(quota.has(10 * BLOCK));
    }

    #[tokio::test]
    async fn te29_folders_count_by_what_they_grew_to_and_while_they_are_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let quota = of(&folder, 10_000);
        std::fs::create_dir(path("names")).expect("ours");
        let whole = || {
            let taken = |path| {
                File::open(path)
                    .and_then(|folder| folder.metadata())
                    .expect("ours")
                    .blocks()
                    * SECTOR
            };
            taken(path("names")).max(BLOCK) + taken(path("")).saturating_sub(BLOCK)
        };
        let name = |number: u32| format!("{number:0200}");
        for number in 0..100 {
            std::fs::write(path("names").join(name(number)), "").expect("ours");
            std::fs::write(path(&name(number)), "").expect("ours");
        }
        for number in 0..100 {
            std::fs::remove_file(path("names").join(name(number))).expect("ours");
            std::fs::remove_file(path(&name(number))).expect("ours");
        }
        quota.measure().await;
        let free = 10_000 * BLOCK - whole();
        assert!(quota.has(free) && !quota.has(free + 1));
        // Removed while it is open, it is there still.
        let names = Arc::new(File::open(path("names")).expect("ours"));
        let taken = names.metadata().expect("ours").blocks() * SECTOR;
        quota.watch(&names);
        std::fs::remove_dir(path("names")).expect("ours");
        quota.measure().await;
        assert!(!quota.has(10_000 * BLOCK));
        drop(names);
        quota.measure().await;
        let free = free + taken.max(BLOCK);
        assert!(quota.has(free) && !quota.has(free + 1));
    }
}

//! How much a lent folder may hold: what a guest writes there is counted before it is written.
//!
//! Counted is by how much files grow, in whole blocks, and a block for each new name. What is removed is not seen; where the count
//! is at its end, the folder is measured anew. So the count may be too high for a moment, and is never too low.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cap_std::fs::{Dir, ReadDir};

/// What a file, a folder or a link takes at least, and files grow by, in bytes (4 KiB).
pub(crate) const BLOCK: u64 = 4 << 10;

/// How deep folders may lie in each other to be measured. Each level takes a descriptor meanwhile.
const DEEPEST: usize = 64;

/// The most that one lent folder may hold, for all guests that write there. A clone is the same.
#[derive(Clone)]
pub(crate) struct Quota(Arc<Shared>);

struct Shared {
    most: u64,
    dir: Arc<Dir>,
    count: Mutex<Count>,
}

#[derive(Default)]
struct Count {
    /// What is there at most; none until the folder is measured.
    used: Option<u64>,
    /// What was ever counted.
    counted: u64,
    /// What of it may not have been written yet.
    pending: u64,
    /// Files that are open to be written. One that has no name any more is found here alone.
    open: Vec<Weak<File>>,
}

/// Bytes that were counted and may not have been written yet. Dropped, they have been, or will never be.
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

    /// The same, where the folder may be measured for it.
    pub(super) async fn reserve(&self, bytes: u64) -> Option<Held> {
        match self.take(bytes) {
            Some(held) => Some(held),
            None => {
                self.measure().await;
                self.take(bytes)
            }
        }
    }

    /// Whether so many bytes are free, by what is known.
    pub(super) fn has(&self, bytes: u64) -> bool {
        let used = self.lock().used;
        used.is_some_and(|used| used.saturating_add(bytes) <= self.0.most)
    }

    /// Looks how much is there. What cannot be measured is full.
    pub(super) async fn measure(&self) {
        let (counted, pending) = {
            let count = self.lock();
            (count.counted, count.pending)
        };
        let quota = self.clone();
        let measured = tokio::task::spawn_blocking(move || quota.is_there()).await;
        let is_there = measured
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .unwrap_or(self.0.most);
        let mut count = self.lock();
        // What came meanwhile may have been seen, or not.
        let meanwhile = count.counted.saturating_sub(counted);
        let used = is_there.saturating_add(pending).saturating_add(meanwhile);
        count.used = Some(used);
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
        let mut open = self.lock().open.clone();
        open.retain(|file| file.strong_count() > 0);
        let mut seen = Vec::new();
        for file in open.iter().filter_map(Weak::upgrade) {
            let stat = file.metadata()?;
            let identity = (stat.dev(), stat.ino());
            if stat.nlink() == 0 && !seen.contains(&identity) {
                seen.push(identity);
                sum = sum.saturating_add(blocks(stat.len()));
            }
        }
        let mut levels: Vec<ReadDir> = vec![self.0.dir.entries()?];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.next() else {
                levels.pop();
                continue;
            };
            let entry = entry?;
            // Of a link it is the link's own. What is gone by now takes nothing.
            let stat = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                stat => stat?,
            };
            sum = sum.saturating_add(if stat.is_file() {
                blocks(stat.len())
            } else {
                BLOCK
            });
            if sum > self.0.most {
                break;
            }
            if stat.is_dir() {
                if levels.len() == DEEPEST {
                    return Err(io::Error::other("folders lie too deep in each other"));
                }
                levels.push(entry.open_dir()?.entries()?);
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
fn blocks(bytes: u64) -> u64 {
    bytes
        .max(1)
        .checked_next_multiple_of(BLOCK)
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    #[tokio::test]
    async fn te29_the_count_is_never_below_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("ours");
        let quota = Quota::new(Arc::new(dir), 10 * BLOCK);
        // Nothing is known at first.
        assert!(quota.take(1).is_none() && !quota.has(0));
        std::fs::create_dir_all(path("a/b")).expect("ours");
        std::fs::write(path("a/b/file"), vec![1; 5_000]).expect("ours");
        std::os::unix::fs::symlink("/", path("link")).expect("ours");
        // Two folders, two blocks of a file, and a link that is not followed.
        let held = quota.reserve(5 * BLOCK).await.expect("there is room");
        assert!(quota.take(1).is_none() && quota.take(0).is_some());
        // What is measured while it is on its way counts all the same.
        quota.measure().await;
        assert!(!quota.has(1));
        drop(held);
        assert!(!quota.has(1));
        // What was removed is found when room is asked for.
        std::fs::remove_file(path("a/b/file")).expect("ours");
        let held = quota.reserve(7 * BLOCK).await.expect("there is room");
        drop(held);
        // A file that has lost its name, and is held open.
        let file = Arc::new(File::create(path("open")).expect("ours"));
        file.set_len(3 * BLOCK).expect("ours");
        quota.watch(&file);
        std::fs::remove_file(path("open")).expect("ours");
        assert!(quota.reserve(5 * BLOCK).await.is_none());
        assert!(quota.reserve(4 * BLOCK).await.is_some());
        drop(file);
        assert!(quota.reserve(7 * BLOCK).await.is_some());
    }

    #[tokio::test]
    async fn te29_what_cannot_be_measured_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("ours");
        let quota = Quota::new(Arc::new(dir), 1_000 * BLOCK);
        assert!(quota.reserve(1).await.is_some());
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

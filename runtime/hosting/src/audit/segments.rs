//! A file of records for a machine that runs for years: it is put aside when it is long, the oldest of those go, and room for
//! the last records is kept free.
//!
//! Decides what happens when there is no room left: ends and refusals are still recorded, in the room that was kept; what
//! would be new, a component that starts or a signature, is not, until there is room again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::append;

/// How long a file of records gets, in bytes (8 MiB), before it is put aside.
const LENGTH: u64 = 8 << 20;

/// How many are kept that were put aside: 64 MiB of records with the one that is written to.
const ASIDE: u32 = 7;

/// How much room is kept free for the last records, in bytes (512 KiB): hundreds of ends and refusals.
const RESERVE: usize = 512 << 10;

/// How often it is tried to get the room back.
const AGAIN: Duration = Duration::from_secs(10);

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Something new, which does not happen where it cannot be recorded with room to spare.
    New,
    /// What happened.
    Happened,
}

/// The file that is written to, and what lies beside it.
#[derive(Debug)]
pub(super) struct Segments {
    path: PathBuf,
    file: File,
    length: u64,
    most: u64,
    torn: bool,
    /// Since when there is no room, or when it was last tried to get it back.
    short: Option<Instant>,
}

impl Segments {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        let mut segments = Self {
            path: path.to_owned(),
            file,
            // A pipe or a device has no length, and is never put aside.
            length: metadata.len(),
            most: if metadata.is_file() { LENGTH } else { u64::MAX },
            torn: false,
            short: None,
        };
        if metadata.is_file() {
            segments.reserve();
        }
        Ok(segments)
    }

    /// Appends a line; where it is `New`, not into the room that is kept.
    ///
    /// # Errors
    /// If it could not be written whole.
    pub(super) fn append(&mut self, line: &str, what: What) -> io::Result<()> {
        if self.short.is_some_and(|since| since.elapsed() >= AGAIN) {
            self.reserve();
        }
        if self.short.is_some() && what == What::New {
            return Err(no_room());
        }
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.length > 0 && self.length.saturating_add(bytes) > self.most {
            self.put_aside();
        }
        let written = append(&self.file, &mut self.torn, line);
        let written = match written {
            Err(error) if is_full(&error) && self.short.is_none() => {
                self.short = Some(Instant::now());
                // What was kept is room now. Where it cannot be had, the record is lost, and the error tells.
                let _ = fs::remove_file(self.place("reserve"));
                match what {
                    What::New => Err(no_room()),
                    What::Happened => append(&self.file, &mut self.torn, line),
                }
            }
            other => other,
        };
        if written.is_ok() {
            self.length = self.length.saturating_add(bytes);
        }
        written
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives the file a number, and the others the next; the last goes. Where that fails, the file gets longer, and no record
    /// is lost.
    fn put_aside(&mut self) {
        for number in (1..ASIDE).rev() {
            let next = number.saturating_add(1).to_string();
            let _ = fs::rename(self.place(&number.to_string()), self.place(&next));
        }
        let first = self.place("1");
        if fs::rename(&self.path, &first).is_err() {
            return;
        }
        match open(&self.path) {
            Ok(file) => {
                // What was put aside is whole on the disk before others follow it.
                let _ = self.file.sync_all();
                self.file = file;
                self.length = 0;
                self.torn = false;
            }
            // It goes on under its own name.
            Err(_) => {
                let _ = fs::rename(&first, &self.path);
            }
        }
    }

    /// Keeps the room, if there is some.
    fn reserve(&mut self) {
        let path = self.place("reserve");
        let is_whole = |metadata: fs::Metadata| {
            usize::try_from(metadata.len()).is_ok_and(|length| length == RESERVE)
        };
        if fs::metadata(&path).is_ok_and(is_whole) {
            self.short = None;
            return;
        }
        // Bytes that no file system makes a hole of, or compresses to nothing.
        let mut bytes = vec![0; RESERVE];
        let kept = getrandom::fill(&mut bytes)
            .map_err(io::Error::other)
            .and_then(|()| {
                let mut file = File::create(&path)?;
                file.write_all(&bytes)?;
                file.sync_all()
            });
        self.short = match kept {
            Ok(()) => None,
            Err(_) => {
                let _ = fs::remove_file(&path);
                Some(Instant::now())
            }
        };
    }

    fn place(&self, beside: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(beside);
        PathBuf::from(name)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn no_room() -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        "there is no room for records of anything new: free some on the disk; what runs goes on, and its end is recorded",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, Segments) {
        let folder = tempfile::tempdir().expect("a folder");
        let segments = Segments::open(&folder.path().join("audit.jsonl")).expect("opens");
        (folder, segments)
    }

    #[test]
    fn th15_records_are_put_aside_and_the_oldest_go() {
        let (folder, mut segments) = opened();
        segments.most = 30;
        for number in 0..100 {
            let line = format!("record {number:02}\n");
            segments.append(&line, What::Happened).expect("room");
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!(read("audit.jsonl"), "record 99\n");
        assert_eq!(read("audit.jsonl.1"), "record 96\nrecord 97\nrecord 98\n");
        assert_eq!(read("audit.jsonl.7"), "record 78\nrecord 79\nrecord 80\n");
        assert_eq!(read("audit.jsonl.8"), "");
        // After a restart it goes on where it was.
        let mut segments = Segments::open(&folder.path().join("audit.jsonl")).expect("opens");
        segments.append("next\n", What::New).expect("room");
        assert_eq!(read("audit.jsonl"), "record 99\nnext\n");
    }

    #[test]
    fn th15_without_room_what_happens_is_recorded_and_nothing_new_is() {
        let (folder, mut segments) = opened();
        let reserve = folder.path().join("audit.jsonl.reserve");
        assert_eq!(fs::metadata(&reserve).expect("kept").len(), 512 << 10);
        let file = std::mem::replace(
            &mut segments.file,
            open(Path::new("/dev/full")).expect("Linux"),
        );
        let error = segments.append("a start\n", What::New).expect_err("full");
        assert!(error.to_string().contains("no room"), "{error}");
        assert!(!reserve.exists(), "it is room now");
        // In what was kept.
        segments.file = file;
        segments.append("an end\n", What::Happened).expect("room");
        segments
            .append("a start\n", What::New)
            .expect_err("not yet");
        let text = fs::read_to_string(folder.path().join("audit.jsonl")).expect("ours");
        assert_eq!(text, "\nan end\n");
        // With room again it goes on.
        segments.short = segments.short.and_then(|since| since.checked_sub(AGAIN));
        segments.append("a start\n", What::New).expect("room");
        assert!(reserve.exists());
    }
}

//! The records of a machine that runs for years, as a log that shows when it was changed: within bounded room, the oldest go.
//!
//! Decides what happens when there is no room left: ends and refusals are still recorded, in the room that was kept; what
//! would be new, a component that starts or a signature, is not, until there is room again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_audit_log::{Checkpoint, Error, LogDirectory};
use countersign_format::DigestWriter;
use countersign_runtime::audit::RECORD_VERSION;

use super::key::{LogPlace, Opened};
use super::reserve::Reserve;

/// The most that records may have, in bytes (64 MiB), with their hashes.
const WITHIN: u64 = 64 << 20;

/// Files that gateways put aside before there was a log: at most so many.
const ASIDE: u32 = 7;

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Something new, which does not happen where it cannot be recorded with room to spare.
    New,
    /// What happened.
    Happened,
}

/// Whether a record is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It is on the disk before anything goes on.
    ForDisk,
    /// It outlives this process.
    ForNothing,
}

/// The log that is written to, and the room beside it.
#[derive(Debug)]
pub(super) struct Kept {
    place: LogPlace,
    log: LogDirectory,
    reserve: Reserve,
}

impl Kept {
    pub(super) fn open(place: &LogPlace) -> anyhow::Result<Self> {
        let mut reserve = Reserve::take(place.reserve());
        let opened = match place.open() {
            // What the last writer left unfinished needs a little room.
            Err(error) if is_of_room(&error) && reserve.give() => place.open(),
            opened => opened,
        };
        let (log, how) = opened?;
        let is_empty = log.checkpoint().size() == 0;
        let mut kept = Self {
            place: place.clone(),
            log: log.kept_within(WITHIN),
            reserve,
        };
        let said = match how {
            Opened::New => Some(began(&place.folder)?),
            // It was begun, and its first record did not come to be.
            Opened::GoesOn(_) if is_empty => Some(began(&place.folder)?),
            Opened::GoesOn(recovery) if recovery.dropped_bytes > 0 => Some(event(
                "records-recovered",
                &[("dropped_bytes", recovery.dropped_bytes.into())],
            )),
            Opened::GoesOn(_) => None,
        };
        if let Some(line) = said {
            kept.append(&line, What::Happened, Wait::ForDisk)
                .context("the first record could not be written")?;
        }
        Ok(kept)
    }

    /// Appends a line; where it is `New`, not into the room that is kept.
    ///
    /// # Errors
    /// If it could not be written whole.
    pub(super) fn append(&mut self, line: &str, what: What, wait: Wait) -> io::Result<()> {
        if self.is_short() && what == What::New {
            return Err(no_room());
        }
        match self.add(line, wait) {
            Err(error) if error.is_of_room() && self.reserve.short.is_none() => {
                // What was kept is room now. Where it cannot be had, the record is lost, and the error tells.
                self.reserve.give();
                match what {
                    What::New => Err(no_room()),
                    What::Happened => self.add(line, wait).map_err(as_io),
                }
            }
            added => added.map_err(as_io),
        }
    }

    fn add(&mut self, line: &str, wait: Wait) -> Result<(), Error> {
        let entry = line.trim_end_matches('\n');
        match self.add_once(entry, wait) {
            // What is on the disk is not known before it was read again.
            Err(Error::Broken { .. }) => {
                self.log.reopen()?;
                self.add_once(entry, wait)
            }
            added => added,
        }
    }

    fn add_once(&mut self, entry: &str, wait: Wait) -> Result<(), Error> {
        match wait {
            Wait::ForDisk => self.log.append(&[entry]).map(|_| ()),
            Wait::ForNothing => self.log.append_soon(&[entry]),
        }
    }

    /// The newest checkpoint, with everything that it covers on the disk.
    pub(super) fn head(&mut self) -> Result<Checkpoint, Error> {
        match self.log.vouched() {
            Err(Error::Broken { .. }) => {
                self.log.reopen()?;
                self.log.vouched().cloned()
            }
            vouched => vouched.cloned(),
        }
    }

    /// Has every file as readers look for it.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.log.flush()
    }

    /// Whether there is no room for anything new. Now and then it is tried to get it back.
    pub(super) fn is_short(&mut self) -> bool {
        self.reserve.is_short()
    }

    pub(super) fn place(&self) -> &LogPlace {
        &self.place
    }
}

/// The first record: which files of records there are that were written before.
fn began(folder: &Path) -> anyhow::Result<String> {
    let names = (1..=ASIDE).rev().map(|number| format!(".jsonl.{number}"));
    let mut earlier = Vec::new();
    for name in names.chain([".jsonl".to_owned()]) {
        let path = beside(folder, &name);
        if !path.is_file() {
            continue;
        }
        let failed = || format!("{} could not be read", path.display());
        let mut hash = DigestWriter::new();
        let mut file = File::open(&path).with_context(failed)?;
        io::copy(&mut file, &mut Hashing(&mut hash)).with_context(failed)?;
        earlier.push(serde_json::json!({
            "file": path.file_name().map(|name| name.to_string_lossy().into_owned()),
            "sha256": hash.finish().to_string(),
        }));
    }
    // The room that was kept beside them.
    let _ = fs::remove_file(beside(folder, ".jsonl.reserve"));
    Ok(event("records-began", &[("earlier", earlier.into())]))
}

struct Hashing<'a>(&'a mut DigestWriter);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn event(name: &str, more: &[(&str, serde_json::Value)]) -> String {
    let mut line = serde_json::json!({
        "version": RECORD_VERSION,
        "time": countersign_roots::system_time().to_string(),
        "event": name,
    });
    for (key, value) in more {
        if let Some(line) = line.as_object_mut() {
            line.insert((*key).to_owned(), value.clone());
        }
    }
    line.to_string()
}

pub(super) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(more);
    PathBuf::from(name)
}

fn is_of_room(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(Error::is_of_room)
}

fn as_io(error: Error) -> io::Error {
    match error.is_of_room() {
        true => io::Error::new(io::ErrorKind::StorageFull, error),
        false => io::Error::other(error),
    }
}

fn no_room() -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        "there is no room for records of anything new: free some on the disk; what runs goes on, and its end is recorded",
    )
}

#[cfg(test)]
mod tests {
    use countersign_audit_log::{LogView, verify};

    use super::*;
    use crate::audit::reserve::{AGAIN, RESERVE};

    fn place(folder: &Path) -> LogPlace {
        LogPlace {
            folder: folder.join("audit"),
            key: folder.join("audit.key"),
        }
    }

    fn opened() -> (tempfile::TempDir, Kept) {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(&place(folder.path())).expect("opens");
        (folder, kept)
    }

    /// The records as a reader finds them, each proved.
    fn records(place: &LogPlace) -> Vec<String> {
        let view = LogView::new(&place.folder, &place.verifier().expect("a key")).expect("a log");
        verify(&view, view.checkpoint(), &[]).expect("sound");
        let mut all = Vec::new();
        view.each_from(0, |_, entry| {
            all.push(String::from_utf8(entry.to_vec()).expect("text"));
            true
        })
        .expect("read");
        all
    }

    #[test]
    fn th15_of_the_records_the_oldest_go_and_the_newest_stay_proved() {
        let (folder, mut kept) = opened();
        kept.log.keep_within(40 << 10);
        for number in 0..3_000 {
            let line = format!("record {number:04}\n");
            kept.append(&line, What::Happened, Wait::ForNothing)
                .expect("room");
        }
        let head = kept.head().expect("a head");
        assert_eq!(head.size(), 3_001);
        assert!(head.first() > 1_000, "{}", head.first());
        let left = records(&place(folder.path()));
        assert_eq!(left.last().map(String::as_str), Some("record 2999"));
        assert_eq!(left.len() as u64, head.size() - head.first());
        // After a restart it goes on where it was.
        drop(kept);
        let mut kept = Kept::open(&place(folder.path())).expect("opens");
        kept.append("next\n", What::New, Wait::ForDisk)
            .expect("room");
        let left = records(&place(folder.path()));
        assert_eq!(left[left.len() - 2..], ["record 2999", "next"]);
    }

    #[test]
    fn th15_without_room_what_happens_is_recorded_and_nothing_new_is() {
        let (folder, mut kept) = opened();
        let reserve = folder.path().join("audit.reserve");
        let room = fs::metadata(&reserve).expect("kept").len();
        assert_eq!(usize::try_from(room).ok(), Some(RESERVE));
        assert!(kept.reserve.give());
        assert!(!reserve.exists(), "it is room now");
        let error = kept
            .append("a start\n", What::New, Wait::ForDisk)
            .expect_err("full");
        assert!(error.to_string().contains("no room"), "{error}");
        kept.append("an end\n", What::Happened, Wait::ForDisk)
            .expect("in what was kept");
        assert_eq!(records(&place(folder.path()))[1..], ["an end"]);
        // With room again it goes on.
        kept.reserve.short = kept
            .reserve
            .short
            .and_then(|since| since.checked_sub(AGAIN));
        kept.append("a start\n", What::New, Wait::ForDisk)
            .expect("room");
        assert!(reserve.exists());
    }

    #[test]
    fn tg24_records_that_are_gone_are_not_begun_anew() {
        let (folder, kept) = opened();
        let place = place(folder.path());
        drop(kept);
        let away = folder.path().join("away");
        fs::rename(&place.folder, &away).expect("ours");
        let error = Kept::open(&place).expect_err("gone").to_string();
        assert!(error.contains("are gone"), "{error}");
        fs::rename(&away, &place.folder).expect("ours");
        fs::rename(&place.key, &away).expect("ours");
        let error = Kept::open(&place).expect_err("gone").to_string();
        assert!(error.contains("put it back"), "{error}");
        fs::rename(&away, &place.key).expect("ours");
        Kept::open(&place).expect("whole again");
        // A first start that was cut off is taken up: the key has no name of its own yet.
        let unfinished = place.key.with_extension("unfinished");
        fs::rename(&place.key, &unfinished).expect("ours");
        Kept::open(&place).expect("taken up");
        fs::rename(&place.key, &unfinished).expect("ours");
        fs::remove_dir_all(&place.folder).expect("ours");
        Kept::open(&place).expect("begun again");
    }

    #[test]
    fn tg24_files_of_records_from_before_are_bound_by_the_first_record() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(folder.path());
        fs::write(folder.path().join("audit.jsonl.1"), "older\n").expect("ours");
        fs::write(folder.path().join("audit.jsonl"), "old\n").expect("ours");
        fs::write(folder.path().join("audit.jsonl.reserve"), "room").expect("ours");
        drop(Kept::open(&place).expect("opens"));
        let all = records(&place);
        let first: serde_json::Value = serde_json::from_str(&all[0]).expect("JSON");
        assert_eq!(first["event"], "records-began");
        let digest = |bytes| countersign_format::Digest::of(bytes).to_string();
        assert_eq!(
            first["earlier"],
            serde_json::json!([
                { "file": "audit.jsonl.1", "sha256": digest(b"older\n") },
                { "file": "audit.jsonl", "sha256": digest(b"old\n") },
            ])
        );
        assert!(!folder.path().join("audit.jsonl.reserve").exists());
        // Once, and not at every start.
        drop(Kept::open(&place).expect("opens"));
        assert_eq!(records(&place).len(), 1);
    }
}

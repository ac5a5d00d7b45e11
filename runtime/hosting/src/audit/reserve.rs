//! Room on the disk that is kept free for the last records.
//!
//! Decides when it is given and when it is taken back. What is recorded in it is decided by who records.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much is kept free, in bytes (2 MiB): hundreds of ends and refusals, and what a log's end of a journal writes.
pub(super) const RESERVE: usize = 2 << 20;

/// How often it is tried to get the room back.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// Whether the room is there, in this file.
pub(super) fn is_taken(path: &Path) -> bool {
    let length = fs::metadata(path).map(|metadata| usize::try_from(metadata.len()));
    matches!(length, Ok(Ok(RESERVE)))
}

/// A file that holds the room.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// Since when there is no room, or when it was last tried to get it back.
    pub(super) short: Option<Instant>,
}

impl Reserve {
    /// Takes the room, if there is some.
    pub(super) fn take(path: PathBuf) -> Self {
        let mut reserve = Self { path, short: None };
        reserve.fill();
        reserve
    }

    /// Whether there is no room for anything new. Now and then it is tried to get it back.
    pub(super) fn is_short(&mut self) -> bool {
        if self.short.is_some_and(|since| since.elapsed() >= AGAIN) {
            self.fill();
        }
        self.short.is_some()
    }

    /// Gives the room; whether there was any to give.
    pub(super) fn give(&mut self) -> bool {
        self.short = Some(Instant::now());
        fs::remove_file(&self.path).is_ok()
    }

    fn fill(&mut self) {
        if is_taken(&self.path) {
            self.short = None;
            return;
        }
        // Bytes that no file system makes a hole of, or compresses to nothing.
        let mut bytes = vec![0; RESERVE];
        let kept = getrandom::fill(&mut bytes)
            .map_err(io::Error::other)
            .and_then(|()| {
                let mut file = File::create(&self.path)?;
                file.write_all(&bytes)?;
                file.sync_all()
            });
        self.short = match kept {
            Ok(()) => None,
            Err(_) => {
                let _ = fs::remove_file(&self.path);
                Some(Instant::now())
            }
        };
    }
}

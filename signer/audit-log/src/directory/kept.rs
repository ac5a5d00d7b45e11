//! A log that one machine keeps for years, in bounded room: its files are written when the journal is long, and its oldest
//! entries go.
//!
//! Decides what goes: whole bundles from the front, and every tile that covers nothing else (C2SP tlog-tiles, "Pruning"). The
//! hashes over what went are in the tiles that stay, so that the root covers it for ever, each entry that is left has its proof,
//! and the log continues every checkpoint that covers at least what went. The checkpoint says, signed, where the rest begins;
//! it is on the disk before anything goes, so that nobody can pass a gap for room that was made.

use std::fs;
use std::io;

use super::{Error, LogDirectory, system};
use crate::Checkpoint;
use crate::folder::{CHECKPOINT, is_absent};
use crate::resource::{Resource, TILE_WIDTH, width_at};

impl LogDirectory {
    /// Keeps the log within so many bytes, the journal's mebibyte not counted: of what is older, the oldest entries
    /// go, 256 at a time, but never the newest 256. Readers' files are written when the journal is long, on
    /// [`Self::flush`], and not with each batch; [`crate::LogView`] reads both.
    #[must_use]
    pub fn kept_within(mut self, bytes: u64) -> Self {
        self.keep_within(bytes);
        self
    }

    /// The same for a log that is kept already: so many from now on.
    pub fn keep_within(&mut self, bytes: u64) {
        self.within = Some(bytes);
    }

    /// Writes what only the journal has where readers look for it.
    pub(super) fn publish(&mut self) -> Result<(), Error> {
        if self.within.is_none() {
            return Ok(());
        }
        let edge = self.appender.partial_files_now();
        let waiting = self
            .unpublished
            .iter()
            .chain(edge.iter().map(|(resource, bytes)| (resource, bytes)));
        for (resource, bytes) in waiting {
            self.files.put(&resource.to_string(), bytes)?;
        }
        self.unpublished.clear();
        self.files
            .put(CHECKPOINT, self.checkpoint.as_str().as_bytes())
    }

    /// The checkpoint of the log without what there is no room for; the present one, if there is room for all.
    pub(super) fn kept(&mut self) -> Result<Checkpoint, Error> {
        let (Some(within), size) = (self.within, self.checkpoint.size()) else {
            return Ok(self.checkpoint.clone());
        };
        let mut first = self.checkpoint.first();
        let mut bytes = 0u64;
        let last = size / TILE_WIDTH;
        for index in (first / TILE_WIDTH..=last).rev() {
            bytes = bytes.saturating_add(self.bytes_at(size, index)?);
            if bytes > within && index < last {
                // This one goes, and with it what is older.
                let end = index.saturating_add(1).saturating_mul(TILE_WIDTH);
                let newest = size.saturating_sub(1) / TILE_WIDTH;
                first = first.max(end.min(newest.saturating_mul(TILE_WIDTH)));
                break;
            }
        }
        if first == self.checkpoint.first() {
            return Ok(self.checkpoint.clone());
        }
        let head = self.checkpoint.head();
        let base = self.key.sign_from(head, first).map_err(Error::Key)?;
        self.files
            .put_durably(CHECKPOINT, base.as_str().as_bytes())?;
        Ok(base)
    }

    /// Bytes of a bundle and the hashes of its entries.
    fn bytes_at(&self, size: u64, index: u64) -> Result<u64, Error> {
        let width = width_at(size, 0, index);
        if width == 0 {
            return Ok(0);
        }
        let path = self
            .path
            .join(Resource::Entries { index, width }.to_string());
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata
                .len()
                .saturating_add(u64::from(width).saturating_mul(32))),
            Err(error) if is_absent(&error) => Ok(0),
            Err(error) => Err(system(&path, "read", error)),
        }
    }

    /// Removes what covers nothing but entries that were dropped. What a crash left of that goes the next time.
    pub(super) fn remove_dropped(&self) -> Result<(), Error> {
        let first = self.checkpoint.first();
        let mut covered = TILE_WIDTH;
        for level in 0u8.. {
            let gone = first.checked_div(covered).unwrap_or(0);
            if gone == 0 {
                break;
            }
            let names = |index| Resource::full_at(level, index);
            // The oldest first: what a crash leaves is a row that ends where the rest begins, and is found from there.
            let is_there = |index: &u64| names(*index).iter().any(|name| self.has(*name));
            let left: Vec<u64> = (0..gone).rev().take_while(is_there).collect();
            for name in left.into_iter().rev().flat_map(names) {
                self.remove(name)?;
            }
            covered = covered.saturating_mul(TILE_WIDTH);
        }
        Ok(())
    }

    fn has(&self, resource: Resource) -> bool {
        self.path.join(resource.to_string()).exists()
    }

    fn remove(&self, resource: Resource) -> Result<(), Error> {
        let path = self.path.join(resource.to_string());
        match fs::remove_file(&path) {
            Err(error) if !is_absent(&error) => Err(system(&path, "removed", error)),
            _ => Ok(()),
        }
    }
}

impl Error {
    /// Whether it is one of a disk without room.
    #[must_use]
    pub fn is_of_room(&self) -> bool {
        let Self::System { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

//! What stands behind the last record of a journal that has the form of one: what a power cut has left, or damage.
//!
//! Decides that by what a writer does: he adds behind what is there, and goes on behind what he waited for only when the disk has it.
//! So the end may lack any part of what nobody waited for, and of what was being waited for, as whole sectors that were never
//! written; a length that nobody wrote, before what this key has signed, is damage, and so is whatever spoils a record that was waited
//! for and has another behind it.

use super::journal::{self, next_batch};
use crate::MAX_NOTE_BYTES;
use crate::key::LogVerifier;

/// The least that a disk writes whole.
const SECTOR: usize = 512;

/// Most places that are taken for a checkpoint and looked at: with more, somebody has written them there.
const MAX_LOOKS: usize = 4_096;

/// The end of a journal.
pub(super) struct End<'a> {
    /// From the first byte on that is in no record.
    bytes: &'a [u8],
    /// How many stand before it.
    before: usize,
    verifier: &'a LogVerifier,
    /// The size of the log at the last record.
    signed: u64,
    looks: usize,
}

/// What a record says of itself in its first bytes.
enum Head {
    /// It ends here, and there is another, or nothing, or nothing that was written.
    Fits { end: usize, is_awaited: bool },
    /// Nothing was written.
    Hole,
    /// Neither.
    Wrong,
}

impl<'a> End<'a> {
    pub(super) fn new(
        (before, bytes): (usize, &'a [u8]),
        verifier: &'a LogVerifier,
        signed: u64,
    ) -> Self {
        Self {
            bytes,
            before,
            verifier,
            signed,
            looks: 0,
        }
    }

    /// Whether something that was acknowledged is not what was written.
    pub(super) fn has_damage(mut self) -> bool {
        let mut at = 0;
        while at < self.bytes.len() {
            match self.head(at) {
                Head::Fits { end, is_awaited } => {
                    if is_awaited && end < self.bytes.len() {
                        return true;
                    }
                    at = end;
                }
                head => match self.next_signed(at) {
                    Ok(None) => return false,
                    // What was not written is not what was acknowledged, as far as this shows.
                    Ok(Some(end)) if matches!(head, Head::Hole) => at = end,
                    Ok(Some(_)) | Err(TooManyLooks) => return true,
                },
            }
        }
        false
    }

    fn head(&self, at: usize) -> Head {
        let number = |at: usize| {
            let rest = self.bytes.get(at..)?;
            rest.first_chunk::<4>()
                .map(|bytes| u32::from_be_bytes(*bytes))
        };
        let (Some(length), entries) = (number(at), number(at.saturating_add(4))) else {
            return Head::Hole;
        };
        let entries = entries.unwrap_or(0);
        // What stands in two sectors can be lost by half.
        let place = self.before.saturating_add(at);
        let is_in_one = place / SECTOR == place.saturating_add(7) / SECTOR;
        let unfit = || match is_in_one && (length, entries) != (0, 0) {
            true => Head::Wrong,
            false => Head::Hole,
        };
        if length == 0 {
            return unfit();
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let end = at.saturating_add(4).saturating_add(length);
        let goes_on = match self.bytes.get(end..) {
            None => false,
            Some(mut rest) => {
                let is_hole = rest.iter().take(4).all(|byte| *byte == 0);
                is_hole || next_batch(&mut rest).is_some_and(|batch| self.signs(&batch.note))
            }
        };
        if !goes_on {
            return unfit();
        }
        // One without entries has nothing that could be missed, or its number was lost.
        let is_awaited = entries != 0 && journal::is_awaited(entries);
        Head::Fits { end, is_awaited }
    }

    fn signs(&self, note: &[u8]) -> bool {
        self.verifier.open(note).is_ok()
    }

    /// Where the next checkpoint ends behind this place that covers more than the log has up to there.
    fn next_signed(&mut self, at: usize) -> Result<Option<usize>, TooManyLooks> {
        let begin = format!("{}\n", self.verifier.origin().as_str());
        let rest = self.bytes.get(at..).unwrap_or_default();
        for (place, found) in rest.windows(begin.len()).enumerate() {
            if found != begin.as_bytes() {
                continue;
            }
            // Before it stands its length.
            let length = place.checked_sub(4).and_then(|before| rest.get(before..));
            let length = length.and_then(<[u8]>::first_chunk::<4>);
            let length =
                length.and_then(|length| usize::try_from(u32::from_be_bytes(*length)).ok());
            let Some(length) = length.filter(|length| *length <= MAX_NOTE_BYTES) else {
                continue;
            };
            let end = place.saturating_add(length);
            let Some(note) = rest.get(place..end) else {
                continue;
            };
            self.looks = self.looks.saturating_add(1);
            if self.looks > MAX_LOOKS {
                return Err(TooManyLooks);
            }
            let covers_more = |size| size > self.signed;
            let opened = self.verifier.open(note).ok();
            if opened.is_some_and(|signed| covers_more(signed.size())) {
                return Ok(Some(at.saturating_add(end)));
            }
        }
        Ok(None)
    }
}

/// Nobody's writing.
struct TooManyLooks;

//! Which hashes a proof is made of, and reading them out of tiles.

use std::ops::Range;

use crate::appender::read_hashes;
use crate::finding::VerifyError;
use crate::merkle::{root_over, subtree_root};
use crate::resource::{Resource, Source, TILE_HEIGHT, TILE_WIDTH, width_at};
use crate::{Digest, TreeHead};

/// The tree of the first `size` entries of a log, by its tiles. What they say is not verified here.
#[derive(Debug)]
pub(crate) struct Tiles<'a, S> {
    pub(crate) source: &'a S,
    pub(crate) size: u64,
}

impl<S: Source> Tiles<'_, S> {
    /// Root and size.
    pub(crate) fn head(&self) -> Result<TreeHead, VerifyError> {
        self.head_at(self.size)
    }

    /// Root and size as they were with the first `size` entries.
    pub(crate) fn head_at(&self, size: u64) -> Result<TreeHead, VerifyError> {
        Ok(TreeHead {
            size,
            root: self.root_of(0..size)?,
        })
    }

    /// The hashes over these ranges of entries.
    pub(crate) fn roots_of(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Digest>, VerifyError> {
        ranges
            .into_iter()
            .map(|range| self.root_of(range))
            .collect()
    }

    /// MTH(D\[start:end\]) of RFC 9162 §2.1.1, for a range that is a subtree: its start is a multiple of the power of
    /// two that is not below its length.
    fn root_of(&self, range: Range<u64>) -> Result<Digest, VerifyError> {
        let mut hashes = Vec::new();
        let mut at = range.start;
        while let Some(height) = range.end.saturating_sub(at).checked_ilog2() {
            hashes.push(self.node(height, at)?);
            at = at.saturating_add(1u64.checked_shl(height).unwrap_or(0));
        }
        Ok(root_over(hashes.iter()))
    }

    /// The root of the perfect subtree of 2^`height` entries that starts at entry `start`.
    fn node(&self, height: u32, start: u64) -> Result<Digest, VerifyError> {
        let level = height / TILE_HEIGHT;
        let below = level.saturating_mul(TILE_HEIGHT);
        let first = start.checked_shr(below).unwrap_or(0);
        let index = first / TILE_WIDTH;
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        let tile = Resource::Tile {
            level,
            index,
            width: width_at(self.size, level, index),
        };
        let hashes = read_hashes(self.source, tile)?;
        let from = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let to = from.saturating_add(1usize << (height % TILE_HEIGHT));
        hashes.get(from..to).map(subtree_root).ok_or_else(|| {
            // The sizes above make every subtree lie in its tile.
            crate::Finding::TileBroken { tile }.into()
        })
    }
}

/// PATH(m, D\[n\]) of RFC 9162 §2.1.3.1 as ranges of entries, from the leaf's sibling up. Empty for an index outside.
pub(crate) fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut subtree = 0..size;
    while let Some((left, right)) = split(&subtree)
        && subtree.contains(&index)
    {
        let (into, sibling) = if left.contains(&index) {
            (left, right)
        } else {
            (right, left)
        };
        ranges.push(sibling);
        subtree = into;
    }
    ranges.reverse();
    ranges
}

/// PROOF(m, D\[n\]) of RFC 9162 §2.1.4.1 as ranges of entries. Empty if `old` is 0 or not below `new`.
pub(crate) fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    if old == 0 || old >= new {
        return ranges;
    }
    let mut subtree = 0..new;
    // SUBPROOF's b: whether the subtree is the old tree itself, whose root the verifier has.
    let mut is_old_tree = true;
    while let Some((left, right)) = split(&subtree)
        && subtree.end != old
    {
        if old <= left.end {
            ranges.push(right);
            subtree = left;
        } else {
            ranges.push(left);
            subtree = right;
            is_old_tree = false;
        }
    }
    if !is_old_tree {
        ranges.push(subtree);
    }
    ranges.reverse();
    ranges
}

/// A subtree's two children: the left one has the largest power of two of entries that is below the whole.
fn split(range: &Range<u64>) -> Option<(Range<u64>, Range<u64>)> {
    let length = range.end.saturating_sub(range.start);
    let left = 1u64.checked_shl(length.checked_sub(1)?.checked_ilog2()?)?;
    let middle = range.start.checked_add(left)?;
    Some((range.start..middle, middle..range.end))
}

//! Who is right, where entries, tiles and checkpoint differ: a tile is believed if its root stands in a believed tile above
//! it, and the tiles of the right edge are believed if they lead to the root that the checkpoint signs. A believed tile
//! says of each of its entries what it was.

use std::collections::BTreeMap;

use super::{edge_at, missing_from};
use crate::appender::{peaks_of, read_hashes};
use crate::bundle::{self, Rest};
use crate::finding::{Finding, VerifyError, read};
use crate::merkle::{leaf_hash, root_over, subtree_root};
use crate::resource::{Resource, Source, TILE_HEIGHT, TILE_WIDTH, width_at};
use crate::{Appender, Checkpoint, Digest, TreeHead};

/// Finds out what of a log that is not sound can still be believed.
pub(super) struct Judge<'a, S> {
    source: &'a S,
    head: TreeHead,
    /// The first entry that the log still has.
    first: u64,
    earlier: &'a [Checkpoint],
    /// Of each level, the tile that was judged last: its index, and its hashes if they are believed.
    judged: BTreeMap<u8, (u64, Option<Vec<Digest>>)>,
    /// Whether the tiles of the right edge lead to the root.
    edge_is_sound: bool,
}

impl<'a, S: Source> Judge<'a, S> {
    pub(super) fn new(source: &'a S, checkpoint: &Checkpoint, earlier: &'a [Checkpoint]) -> Self {
        let head = checkpoint.head();
        let mut edge = Vec::new();
        let mut whole = true;
        for level in 0..=top_level(head.size) {
            let index = hashes_at(head.size, level) / TILE_WIDTH;
            let width = width_at(head.size, level, index);
            let tile = Resource::Tile {
                level,
                index,
                width,
            };
            edge.push(match width {
                0 => Vec::new(),
                _ => read_hashes(source, tile).unwrap_or_else(|_| {
                    whole = false;
                    Vec::new()
                }),
            });
        }
        let root = root_over(peaks_of(&edge).iter().map(|peak| &peak.hash));
        Self {
            source,
            head,
            first: checkpoint.first(),
            earlier,
            judged: BTreeMap::new(),
            edge_is_sound: whole && root == head.root,
        }
    }

    /// The first entry, or else the first tile, that is not what the checkpoint vouches for.
    pub(super) fn first_finding(&mut self) -> Result<Option<Finding>, VerifyError> {
        let mut index = self.first / TILE_WIDTH;
        while index < self.head.size.div_ceil(TILE_WIDTH) {
            if let Some(expected) = self.believed(0, index) {
                if let Some(finding) = self.judge_bundle(index, &expected)? {
                    return Ok(Some(finding));
                }
                index = index.saturating_add(1);
            } else {
                // The tile cannot be believed, but what is above it may tell whether the entries are right.
                let level = self.believed_above(index);
                let (finding, next) = self.judge_span(level, index)?;
                if finding.is_some() {
                    return Ok(finding);
                }
                index = next;
            }
        }
        // Every entry is right, so the tiles or the earlier checkpoints are not.
        Ok(None)
    }

    /// The hashes of a tile, if what is above it leads to the signed root.
    fn believed(&mut self, level: u8, index: u64) -> Option<Vec<Digest>> {
        if let Some((at, hashes)) = self.judged.get(&level)
            && *at == index
        {
            return hashes.clone();
        }
        let width = width_at(self.head.size, level, index);
        let tile = Resource::Tile {
            level,
            index,
            width,
        };
        let mut hashes = match width {
            0 => None,
            _ => read_hashes(self.source, tile).ok(),
        };
        let sound = if u64::from(width) == TILE_WIDTH {
            let position = usize::try_from(index % TILE_WIDTH).unwrap_or(usize::MAX);
            let above = level
                .checked_add(1)
                .and_then(|above| self.believed(above, index / TILE_WIDTH));
            let expected = above.and_then(|above| above.get(position).copied());
            expected.is_some() && expected == hashes.as_deref().map(subtree_root)
        } else {
            self.edge_is_sound
        };
        if !sound {
            hashes = None;
        }
        self.judged.insert(level, (index, hashes.clone()));
        hashes
    }

    /// The lowest level of a believed tile above the bundle, or one above the highest if there is none.
    fn believed_above(&mut self, bundle: u64) -> u8 {
        let top = top_level(self.head.size);
        for level in 1..=top {
            let index = shifted(bundle, level);
            if width_at(self.head.size, level, index) > 0
                && let Some(hashes) = self.believed(level, index)
                // The hash over the bundle must be in it: a tile that is not full may end before.
                && self.span(level, bundle).1.is_some_and(|position| position < hashes.len())
                && self.span(level, bundle).0 >= self.first
            {
                return level;
            }
        }
        top.saturating_add(1)
    }

    /// First entry below the hash of a tile at `level` that is above the bundle, and where in its tile that hash is.
    fn span(&self, level: u8, bundle: u64) -> (u64, Option<usize>) {
        let hash = shifted(bundle, level.saturating_sub(1));
        let first = hash.checked_shl(bits(level)).unwrap_or(0);
        (first, usize::try_from(hash % TILE_WIDTH).ok())
    }

    /// Compares the entries below one believed hash with it, or all entries with the root; says which bundle is next.
    fn judge_span(
        &mut self,
        level: u8,
        bundle: u64,
    ) -> Result<(Option<Finding>, u64), VerifyError> {
        let top = top_level(self.head.size);
        let (first, end, expected) = if level > top {
            (self.first, self.head.size, self.head.root)
        } else {
            let (first, position) = self.span(level, bundle);
            let tile = self.believed(level, shifted(bundle, level));
            let hash = tile.and_then(|tile| tile.get(position?).copied());
            let length = 1u64.checked_shl(bits(level)).unwrap_or(u64::MAX);
            (
                first,
                first.saturating_add(length),
                hash.unwrap_or(self.head.root),
            )
        };
        let next = end.div_ceil(TILE_WIDTH);
        let mut appender = match level > top {
            true => edge_at(self.source, self.head, first)?,
            false => Appender::new(),
        };
        for index in first / TILE_WIDTH..next {
            match self.bundle(index)? {
                Ok(entries) => drop(appender.append(&entries)),
                Err(finding) => return Ok((Some(finding), next)),
            }
        }
        let found = appender.head().root;
        if found == expected {
            return Ok((None, next));
        }
        let (agreed, disagreed) = self.narrow()?;
        let finding = Finding::Rewritten {
            first: first.max(agreed),
            last: end.min(disagreed).saturating_sub(1),
            expected,
            found,
        };
        Ok((Some(finding), next))
    }

    /// Up to which entry the earlier checkpoints agree with the entries, and at which size the first of them does not.
    fn narrow(&self) -> Result<(u64, u64), VerifyError> {
        let mut olds: Vec<TreeHead> = self.earlier.iter().map(Checkpoint::head).collect();
        olds.sort_by_key(|old| old.size);
        let mut appender = edge_at(self.source, self.head, self.first)?;
        let (mut index, mut agreed) = (self.first / TILE_WIDTH, self.first);
        for old in olds {
            // To the last whole bundle, and from there to the checkpoint in a copy.
            while index < old.size / TILE_WIDTH {
                let Ok(entries) = self.bundle(index)? else {
                    return Ok((agreed, u64::MAX));
                };
                drop(appender.append(&entries));
                index = index.saturating_add(1);
            }
            let mut until = appender.clone();
            let part = usize::try_from(old.size % TILE_WIDTH).unwrap_or(0);
            if part > 0 {
                let Ok(entries) = self.bundle(index)? else {
                    return Ok((agreed, u64::MAX));
                };
                drop(until.append(entries.get(..part).unwrap_or(&entries)));
            }
            if until.head() != old {
                return Ok((agreed, old.size));
            }
            agreed = old.size;
        }
        Ok((agreed, u64::MAX))
    }

    /// The entries of a bundle, as many as the log has in it.
    fn bundle(&self, index: u64) -> Result<Result<Vec<Vec<u8>>, Finding>, VerifyError> {
        let width = width_at(self.head.size, 0, index);
        let found = match read(self.source, Resource::Entries { index, width }) {
            Ok(found) => found,
            Err(VerifyError::Unsound(finding)) => return Ok(Err(finding)),
            Err(fault) => return Err(fault),
        };
        let (entries, _) = bundle::entries(&found.bytes);
        let first = index.saturating_mul(TILE_WIDTH);
        match entries.get(..usize::from(width)) {
            Some(entries) => Ok(Ok(entries.iter().map(|entry| entry.to_vec()).collect())),
            None => Ok(Err(missing_from(first, entries.len()))),
        }
    }

    /// Compares the entries of a bundle with the leaf hashes that they must have.
    fn judge_bundle(
        &mut self,
        index: u64,
        expected: &[Digest],
    ) -> Result<Option<Finding>, VerifyError> {
        let first = index.saturating_mul(TILE_WIDTH);
        let width = width_at(self.head.size, 0, index);
        let found = match self.source.read(&Resource::Entries { index, width }) {
            Ok(Some(found)) => found,
            Ok(None) => {
                return Ok(Some(Finding::Missing {
                    index: first,
                    expected: expected.first().copied(),
                }));
            }
            Err(source) => {
                let resource = Resource::Entries { index, width };
                return Err(VerifyError::Unreadable { resource, source });
            }
        };
        let (entries, rest) = bundle::entries(&found.bytes);
        let leaves: Vec<Digest> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        for (position, must_be) in expected.iter().enumerate() {
            let at = first.saturating_add(u64::try_from(position).unwrap_or(0));
            match leaves.get(position) {
                Some(leaf) if leaf == must_be => {}
                Some(_) => return Ok(Some(self.classify(at, position, expected, &leaves))),
                None => {
                    return Ok(Some(Finding::Missing {
                        index: at,
                        expected: Some(*must_be),
                    }));
                }
            }
        }
        let is_too_long = rest != Rest::Nothing || leaves.len() > usize::from(found.width);
        Ok(is_too_long.then(|| Finding::Trailing {
            index: first.saturating_add(u64::from(width)).saturating_sub(1),
        }))
    }

    /// Says what happened at an entry that is not the one that must stand there.
    fn classify(
        &mut self,
        index: u64,
        position: usize,
        expected: &[Digest],
        leaves: &[Digest],
    ) -> Finding {
        let (Some(must_be), Some(found)) = (expected.get(position), leaves.get(position)) else {
            return missing_from(index, 0);
        };
        let behind = leaves.get(position.saturating_add(1)..).unwrap_or_default();
        let (must_be, found) = (*must_be, *found);
        let belongs_at = self.find(found, index);
        let next = expected.get(position.saturating_add(1));
        match belongs_at {
            // Those behind have moved up, and the entry itself is not further down in its file.
            Some(_) if next == Some(&found) && !behind.contains(&must_be) => Finding::Missing {
                index,
                expected: Some(must_be),
            },
            Some(belongs_at) => Finding::Reordered {
                index,
                expected: must_be,
                belongs_at,
            },
            None if behind.first() == Some(&must_be) => Finding::Inserted {
                index,
                expected: must_be,
                found,
            },
            None => Finding::Altered {
                index,
                expected: must_be,
                found,
            },
        }
    }

    /// Where the log has an entry of this hash, by the tiles that are believed: the first place behind `index`, or
    /// else the first of all.
    fn find(&mut self, leaf: Digest, index: u64) -> Option<u64> {
        let mut before = None;
        for tile in self.first / TILE_WIDTH..self.head.size.div_ceil(TILE_WIDTH) {
            let first = tile.saturating_mul(TILE_WIDTH);
            for (at, hash) in (first..).zip(self.believed(0, tile).unwrap_or_default()) {
                if hash == leaf {
                    if at > index {
                        return Some(at);
                    }
                    before = before.or(Some(at));
                }
            }
        }
        before
    }
}

/// The highest level at which a tree of this size has a tile.
fn top_level(size: u64) -> u8 {
    let height = size.checked_ilog2().unwrap_or(0);
    u8::try_from(height / TILE_HEIGHT).unwrap_or(u8::MAX)
}

/// Hashes that a tree of this size has at a level of tiles.
fn hashes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(bits(level)).unwrap_or(0)
}

/// The index of what is `levels` levels of tiles above.
fn shifted(index: u64, levels: u8) -> u64 {
    index.checked_shr(bits(levels)).unwrap_or(0)
}

fn bits(level: u8) -> u32 {
    u32::from(level).saturating_mul(TILE_HEIGHT)
}

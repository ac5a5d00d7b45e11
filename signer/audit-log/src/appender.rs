//! Entries in, changed files and the new root out. Nothing here knows a disk.
//!
//! The state is the right edge of the tree: of each level the hashes of the tile that is not full, and the roots of the
//! perfect subtrees. An entry costs one hash of its own and, on average, one above it; nothing is hashed twice.

use crate::checkpoint::{MAX_ENTRIES, TreeHead};
use crate::finding::{Finding, VerifyError, read};
use crate::merkle::{Peak, leaf_hash, node_hash, root_over, subtree_root};
use crate::resource::{Resource, Source, TILE_HEIGHT, TILE_WIDTH, hashes, tile_bytes, width_at};
use crate::{Digest, MAX_ENTRY_BYTES, bundle};

/// A log's right edge, ready for more entries.
#[derive(Clone, Debug, Default)]
pub struct Appender {
    size: u64,
    /// Perfect subtrees, the largest first: one for each bit of `size` that is set.
    peaks: Vec<Peak>,
    /// For each level, from 0, the hashes of its last tile: fewer than 256.
    edge: Vec<Vec<Digest>>,
    /// The bytes of the last bundle, if it is not full.
    bundle: Vec<u8>,
}

/// What a batch of entries did to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Growth {
    /// Index of the batch's first entry; the others follow it.
    pub first: u64,
    /// Size and root with the batch in it.
    pub head: TreeHead,
    /// Every file that is new with this size, in the order in which they may be written.
    pub files: Vec<(Resource, Vec<u8>)>,
}

/// Why a batch was not taken. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryRefused {
    /// The log has as many entries as it may have.
    #[error("the log has {MAX_ENTRIES} entries and takes no more: start another one")]
    Full,
    /// An entry is too long.
    #[error(
        "entry {position} of the batch has {bytes} bytes, and the most is {MAX_ENTRY_BYTES}: log its digest, and keep it elsewhere"
    )]
    TooLong {
        /// Which entry of the batch, from 0.
        position: usize,
        /// Its length.
        bytes: usize,
    },
}

impl Appender {
    /// A log without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The right edge of an existing log, read from its files and compared with `head`: a tree of at most 2^56 entries
    /// takes fewer than 16 files.
    ///
    /// # Errors
    /// [`VerifyError`]: a [`Finding`] if the files of the right edge are not those of `head`.
    pub fn resume(source: &impl Source, head: TreeHead) -> Result<Self, VerifyError> {
        let mut appender = Self {
            size: head.size,
            ..Self::default()
        };
        let mut level = 0u8;
        while let Some(hashes) = head.size.checked_shr(bits(level)).filter(|n| *n > 0) {
            let index = hashes / TILE_WIDTH;
            let tile = Resource::Tile {
                level,
                index,
                width: width_at(head.size, level, index),
            };
            appender.edge.push(match tile.width() {
                0 => Vec::new(),
                _ => read_hashes(source, tile)?,
            });
            level = level.saturating_add(1);
        }
        appender.peaks = peaks_of(&appender.edge);
        if appender.head().root != head.root {
            return Err(Finding::Edge {
                size: head.size,
                expected: head.root,
                found: appender.head().root,
            }
            .into());
        }

        let bundle = Resource::Entries {
            index: head.size / TILE_WIDTH,
            width: width_at(head.size, 0, head.size / TILE_WIDTH),
        };
        if bundle.width() > 0 {
            let expected = appender.edge.first().map(Vec::as_slice).unwrap_or_default();
            appender.bundle = read_bundle(source, bundle, expected)?;
        }
        Ok(appender)
    }

    /// Size and root as they are.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.size,
            root: root_over(self.peaks.iter().map(|peak| &peak.hash)),
        }
    }

    /// Adds entries, all or none.
    ///
    /// # Errors
    /// [`EntryRefused`] if an entry is too long or the log is full.
    pub fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<Growth, EntryRefused> {
        let count = u64::try_from(entries.len()).map_err(|_| EntryRefused::Full)?;
        if self.size.saturating_add(count) > MAX_ENTRIES {
            return Err(EntryRefused::Full);
        }
        let too_long = |entry: &E| entry.as_ref().len() > MAX_ENTRY_BYTES;
        if let Some(position) = entries.iter().position(too_long) {
            return Err(EntryRefused::TooLong {
                position,
                bytes: entries
                    .get(position)
                    .map(|entry| entry.as_ref().len())
                    .unwrap_or_default(),
            });
        }

        let first = self.size;
        let mut files = Vec::new();
        for entry in entries {
            // Checked above, so that it is never `None`.
            let _whole = bundle::push(&mut self.bundle, entry.as_ref());
            self.add_leaf(leaf_hash(entry.as_ref()), &mut files);
        }
        self.partial_files(first, &mut files);
        Ok(Growth {
            first,
            head: self.head(),
            files,
        })
    }

    /// Adds one leaf, and with it every subtree and every tile that it completes.
    fn add_leaf(&mut self, leaf: Digest, files: &mut Vec<(Resource, Vec<u8>)>) {
        self.size = self.size.saturating_add(1);
        self.push_to_edge(0, leaf);
        let mut node = Peak {
            height: 0,
            hash: leaf,
        };
        while let Some(left) = self.peaks.pop_if(|peak| peak.height == node.height) {
            node = Peak {
                height: node.height.saturating_add(1),
                hash: node_hash(&left.hash, &node.hash),
            };
            if node.height.is_multiple_of(TILE_HEIGHT) {
                // The subtree is all of a tile: it is full, and its root goes into the one above.
                let level = u8::try_from(node.height / TILE_HEIGHT).unwrap_or(u8::MAX);
                self.close_tile(level.saturating_sub(1), files);
                self.push_to_edge(level, node.hash);
            }
        }
        self.peaks.push(node);
    }

    fn push_to_edge(&mut self, level: u8, hash: Digest) {
        match self.edge.get_mut(usize::from(level)) {
            Some(tile) => tile.push(hash),
            None => self.edge.push(vec![hash]),
        }
    }

    /// Takes the full tile out of the edge, and the full bundle that goes with it.
    fn close_tile(&mut self, level: u8, files: &mut Vec<(Resource, Vec<u8>)>) {
        let width = 256;
        let tiles = self.size.checked_shr(bits(level)).unwrap_or(0) / TILE_WIDTH;
        let index = tiles.saturating_sub(1);
        if level == 0 {
            let bundle = std::mem::take(&mut self.bundle);
            files.push((Resource::Entries { index, width }, bundle));
        }
        if let Some(tile) = self.edge.get_mut(usize::from(level)) {
            let bytes = tile_bytes(tile);
            tile.clear();
            files.push((
                Resource::Tile {
                    level,
                    index,
                    width,
                },
                bytes,
            ));
        }
    }

    /// The tiles and the bundle that are not full, as far as they have changed since the log had `before` entries.
    fn partial_files(&self, before: u64, files: &mut Vec<(Resource, Vec<u8>)>) {
        for (tile, bytes) in self.partial_tiles() {
            let Resource::Tile {
                level,
                index,
                width,
            } = tile
            else {
                continue;
            };
            if width == width_at(before, level, index) {
                continue;
            }
            if level == 0 {
                files.push((Resource::Entries { index, width }, self.bundle.clone()));
            }
            files.push((tile, bytes));
        }
    }

    /// Every file of the right edge that is not full.
    pub(crate) fn partial_files_now(&self) -> Vec<(Resource, Vec<u8>)> {
        let mut files = Vec::new();
        self.partial_files(0, &mut files);
        files
    }

    /// The tiles that are not full, one for a level at most.
    pub(crate) fn partial_tiles(&self) -> impl Iterator<Item = (Resource, Vec<u8>)> {
        (0u8..).zip(&self.edge).filter_map(|(level, tile)| {
            let index = self.size.checked_shr(bits(level)).unwrap_or(0) / TILE_WIDTH;
            let width = width_at(self.size, level, index);
            let resource = Resource::Tile {
                level,
                index,
                width,
            };
            (width > 0).then(|| (resource, tile_bytes(tile)))
        })
    }
}

/// By how many bits an entry's index is more than that of its hash at `level`.
fn bits(level: u8) -> u32 {
    u32::from(level).saturating_mul(TILE_HEIGHT)
}

/// The perfect subtrees in the tiles of the right edge.
pub(crate) fn peaks_of(edge: &[Vec<Digest>]) -> Vec<Peak> {
    let mut peaks = Vec::new();
    for (level, tile) in edge.iter().enumerate().rev() {
        let below = u32::try_from(level)
            .unwrap_or(0)
            .saturating_mul(TILE_HEIGHT);
        let mut rest = tile.as_slice();
        for bit in (0..TILE_HEIGHT).rev() {
            let width = 1usize << bit;
            if rest.len() >= width
                && let Some((subtree, right)) = rest.split_at_checked(width)
            {
                peaks.push(Peak {
                    height: below.saturating_add(bit),
                    hash: subtree_root(subtree),
                });
                rest = right;
            }
        }
    }
    peaks
}

/// A tile's hashes, exactly as many as it is wide.
pub(crate) fn read_hashes(
    source: &impl Source,
    tile: Resource,
) -> Result<Vec<Digest>, VerifyError> {
    let found = read(source, tile)?;
    if found.width < tile.width() {
        return Err(Finding::TileMissing { tile }.into());
    }
    let whole = hashes(&found.bytes)
        .filter(|hashes| hashes.len() == usize::from(found.width))
        .and_then(|mut hashes| {
            hashes.truncate(usize::from(tile.width()));
            (hashes.len() == usize::from(tile.width())).then_some(hashes)
        });
    whole.ok_or_else(|| Finding::TileBroken { tile }.into())
}

/// The bytes of a bundle's first entries, which must have the leaf hashes that are expected.
fn read_bundle(
    source: &impl Source,
    resource: Resource,
    expected: &[Digest],
) -> Result<Vec<u8>, VerifyError> {
    let found = read(source, resource)?;
    let (entries, _) = bundle::entries(&found.bytes);
    let mut bytes = Vec::new();
    let first = resource.index().saturating_mul(TILE_WIDTH);
    let mut entries = entries.into_iter();
    for (index, expected) in (first..).zip(expected) {
        let Some(entry) = entries.next() else {
            return Err(Finding::Missing {
                index,
                expected: Some(*expected),
            }
            .into());
        };
        let leaf = leaf_hash(entry);
        if leaf != *expected {
            return Err(Finding::Altered {
                index,
                expected: *expected,
                found: leaf,
            }
            .into());
        }
        // It was read from a bundle, so it is short enough.
        let _whole = bundle::push(&mut bytes, entry);
    }
    Ok(bytes)
}

//! The files of a log, as C2SP tlog-tiles names them, and where they are read from.

use crate::Digest;
use std::fmt;

/// Hashes in a full tile, and entries in a full bundle.
pub(crate) const TILE_WIDTH: u64 = 256;

/// The same as the number of bits by which one level of tiles is above another.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// One file of a log: a tile of the tree, or a bundle of entries. Its name is [`fmt::Display`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Hashes side by side, 32 bytes each. Level 0 has those of the entries; each hash of a level above is the root
    /// over a full tile of the level below.
    Tile {
        /// How many levels of tiles are below, 0 to 63.
        level: u8,
        /// Which tile of its level, from 0.
        index: u64,
        /// Hashes in it, 1 to 256.
        width: u16,
    },
    /// Entries side by side, each after its length.
    Entries {
        /// Which bundle, from 0.
        index: u64,
        /// Entries in it, 1 to 256.
        width: u16,
    },
}

impl Resource {
    /// Which one of its kind and level, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        match self {
            Self::Tile { index, .. } | Self::Entries { index, .. } => *index,
        }
    }

    /// Hashes or entries in it, 1 to 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        match self {
            Self::Tile { width, .. } | Self::Entries { width, .. } => *width,
        }
    }

    /// Whether it can grow no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width()) == TILE_WIDTH
    }

    /// The full ones at a place: the tile, and on the lowest level the entries below it.
    pub(crate) fn full_at(level: u8, index: u64) -> Vec<Self> {
        let width = 256;
        let tile = Self::Tile {
            level,
            index,
            width,
        };
        match level {
            0 => vec![tile, Self::Entries { index, width }],
            _ => vec![tile],
        }
    }

    /// The same with another width.
    pub(crate) fn with_width(self, width: u16) -> Self {
        match self {
            Self::Tile { level, index, .. } => Self::Tile {
                level,
                index,
                width,
            },
            Self::Entries { index, .. } => Self::Entries { index, width },
        }
    }

    /// The name of the full one, without the width: narrower ones lie in the folder of this name and `.p`.
    pub(crate) fn full_path(&self) -> String {
        match self {
            Self::Tile { level, index, .. } => format!("tile/{level}/{}", numbered(*index)),
            Self::Entries { index, .. } => format!("tile/entries/{}", numbered(*index)),
        }
    }
}

/// `tile/0/x001/x234/067`, and `.p/112` behind it if it is not full.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full_path())?;
        if !self.is_full() {
            write!(f, ".p/{}", self.width())?;
        }
        Ok(())
    }
}

/// Three digits an element, all but the last after an `x`.
fn numbered(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// What a [`Source`] has in place of what was asked for: the same, a wider one that starts with it, or else the widest
/// that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Hashes or entries that the bytes must have.
    pub width: u16,
    /// The file's bytes.
    pub bytes: Vec<u8>,
}

/// Where the files of a log are: a folder ([`crate::LogFolder`]), a database, a server.
pub trait Source {
    /// The resource, or a wider one of the same place, or the widest that there is, or `None` if there is nothing. What
    /// it says is believed only after it was compared with a checkpoint.
    ///
    /// # Errors
    /// What reading met, other than that there is no such file.
    fn read(&self, resource: &Resource) -> std::io::Result<Option<Found>>;
}

/// How many hashes of tile `index` at `level` a tree of `size` entries has; 0 if it has no such tile.
pub(crate) fn width_at(size: u64, level: u8, index: u64) -> u16 {
    let hashes = size
        .checked_shr(u32::from(level).saturating_mul(TILE_HEIGHT))
        .unwrap_or(0);
    let before = index.saturating_mul(TILE_WIDTH);
    u16::try_from(hashes.saturating_sub(before).min(TILE_WIDTH)).unwrap_or(0)
}

/// The hashes of a tile's bytes; `None` if they are not whole hashes.
pub(crate) fn hashes(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty()
        .then(|| hashes.iter().copied().map(Digest::from_bytes).collect())
}

/// A tile's bytes.
pub(crate) fn tile_bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes
        .iter()
        .flat_map(|hash| hash.as_bytes().iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        let tile = |level, index, width| Resource::Tile {
            level,
            index,
            width,
        };
        assert_eq!(tile(0, 1_234_067, 256).to_string(), "tile/0/x001/x234/067");
        assert_eq!(tile(0, 1_234, 5).to_string(), "tile/0/x001/234.p/5");
        assert_eq!(tile(7, 0, 255).to_string(), "tile/7/000.p/255");
        let entries = Resource::Entries {
            index: 999,
            width: 1,
        };
        assert_eq!(entries.to_string(), "tile/entries/999.p/1");
    }

    /// The specification's example: 70,000 entries.
    #[test]
    fn widths_are_those_of_the_specification() {
        assert_eq!(width_at(70_000, 0, 272), 256);
        assert_eq!(width_at(70_000, 0, 273), 112);
        assert_eq!(width_at(70_000, 0, 274), 0);
        assert_eq!(width_at(70_000, 1, 0), 256);
        assert_eq!(width_at(70_000, 1, 1), 17);
        assert_eq!(width_at(70_000, 2, 0), 1);
        assert_eq!(width_at(256, 1, 0), 1);
        assert_eq!(width_at(256, 0, 1), 0);
        assert_eq!(width_at(u64::MAX, 63, 0), 0);
    }
}

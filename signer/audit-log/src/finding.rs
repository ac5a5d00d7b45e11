//! What is wrong with a log, by the entry or file where it is wrong; and that a log could not be read, which is
//! something else.

use crate::Digest;
use crate::resource::{Found, Resource, Source};

/// The first thing about a log that is not what its checkpoint says. Indices count from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// An entry is not the one that was logged.
    #[error(
        "entry {index} was altered: its hash must be {expected}, and is {found}; restore the log from a copy, and look for who wrote to it"
    )]
    Altered {
        /// Which entry.
        index: u64,
        /// The leaf hash that the checkpoint vouches for.
        expected: Digest,
        /// That of the entry found.
        found: Digest,
    },
    /// An earlier checkpoint says something else than the log as it is.
    #[error(
        "the log does not continue the checkpoint of its first {size} entries, whose root is {expected}: with the log as it is, it would be {found}; history was rewritten, or the checkpoint is another log's"
    )]
    Diverges {
        /// Entries that the earlier checkpoint covers.
        size: u64,
        /// The root that it signs.
        expected: Digest,
        /// That of the same number of entries in the log.
        found: Digest,
    },
    /// The files of the right edge do not lead to the checkpoint's root.
    #[error(
        "the newest tiles lead to the root {found}, and the checkpoint of {size} entries says {expected}: verify the whole log to learn what was changed"
    )]
    Edge {
        /// Entries that the checkpoint covers.
        size: u64,
        /// The root that it signs.
        expected: Digest,
        /// The one that the tiles lead to.
        found: Digest,
    },
    /// There is an entry that was never logged.
    #[error(
        "what stands at {index} was never logged (its hash is {found}): the logged entry {expected} comes after it; restore the log from a copy"
    )]
    Inserted {
        /// Where it stands.
        index: u64,
        /// The leaf hash that must stand there.
        expected: Digest,
        /// That of the entry found.
        found: Digest,
    },
    /// An entry is not there: its file is gone, ends before it, or those behind it have moved up.
    #[error(
        "entry {index} is missing{}: restore the log from a copy",
        of_hash(expected)
    )]
    Missing {
        /// Which entry.
        index: u64,
        /// Its leaf hash, where that is known.
        expected: Option<Digest>,
    },
    /// An entry stands in the place of another.
    #[error(
        "entry {belongs_at} stands at {index}, where the entry with hash {expected} must be: entries were reordered; restore the log from a copy"
    )]
    Reordered {
        /// Where it stands.
        index: u64,
        /// The leaf hash that must stand there.
        expected: Digest,
        /// The index at which the entry found was logged.
        belongs_at: u64,
    },
    /// Entries and the hashes above them were changed together, so that there is no telling which one of them.
    #[error(
        "at least one of the entries {first} to {last} was altered, and the tiles above it with it: the hash over them must be {expected}, and is {found}; give earlier checkpoints to narrow this, and restore the log from a copy"
    )]
    Rewritten {
        /// The first that may be the altered one.
        first: u64,
        /// The last.
        last: u64,
        /// The hash that the checkpoint vouches for.
        expected: Digest,
        /// The one that the entries have.
        found: Digest,
    },
    /// A tile is not what the entries make of it; the entries are sound.
    #[error(
        "{tile} was altered, while the entries are sound: open the log for writing elsewhere and append them again, or restore the file"
    )]
    TileAltered {
        /// Which tile.
        tile: Resource,
    },
    /// A tile has another length than its width demands.
    #[error("{tile} does not have {} hashes: restore it from a copy", tile.width())]
    TileBroken {
        /// Which tile.
        tile: Resource,
    },
    /// A tile is not there; the entries are sound, as far as they were looked at.
    #[error("{tile} is missing: restore it from a copy")]
    TileMissing {
        /// Which tile.
        tile: Resource,
    },
    /// Behind the entries of a full bundle are bytes that are no part of the log.
    #[error(
        "there are bytes behind entry {index}, in its file, that were never logged: restore the file from a copy"
    )]
    Trailing {
        /// The last entry of the bundle.
        index: u64,
    },
}

impl Finding {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Altered { .. } | Self::Edge { .. } => "altered",
            Self::Diverges { .. } => "diverges",
            Self::Inserted { .. } => "inserted",
            Self::Missing { .. } => "missing",
            Self::Reordered { .. } => "reordered",
            Self::Rewritten { .. } => "rewritten",
            Self::TileAltered { .. } => "tile-altered",
            Self::TileBroken { .. } => "tile-broken",
            Self::TileMissing { .. } => "tile-missing",
            Self::Trailing { .. } => "trailing",
        }
    }

    /// The first entry that is not what it was, or may not be; none where the entries are sound.
    #[must_use]
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::Altered { index, .. }
            | Self::Inserted { index, .. }
            | Self::Missing { index, .. }
            | Self::Reordered { index, .. }
            | Self::Trailing { index } => Some(*index),
            Self::Rewritten { first, .. } => Some(*first),
            Self::Diverges { .. }
            | Self::Edge { .. }
            | Self::TileAltered { .. }
            | Self::TileBroken { .. }
            | Self::TileMissing { .. } => None,
        }
    }
}

fn of_hash(expected: &Option<Digest>) -> String {
    expected.map_or_else(String::new, |hash| format!(" (its hash is {hash})"))
}

/// Why a log was not found sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An earlier checkpoint ends before the first entry that the log still has, so that nothing can be said of the two.
    #[error(
        "the log has dropped its entries before {first}, so that it cannot show that it continues the checkpoint of {size}: give a later one, or verify a copy that was made before"
    )]
    Dropped {
        /// Entries that the earlier checkpoint covers.
        size: u64,
        /// The first entry that the log still has.
        first: u64,
    },
    /// It is not what its checkpoint says.
    #[error(transparent)]
    Unsound(#[from] Finding),
    /// A file could not be read, so that nothing is known about it.
    #[error("{resource} could not be read: {source}; this says nothing about the log: try again")]
    Unreadable {
        /// Which file.
        resource: Resource,
        /// What the system says.
        source: std::io::Error,
    },
}

impl VerifyError {
    /// What is wrong with the log, if that is why.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Unsound(finding) => Some(finding),
            Self::Dropped { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// Reads what must be there.
pub(crate) fn read(source: &impl Source, resource: Resource) -> Result<Found, VerifyError> {
    match source.read(&resource) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(match resource {
            Resource::Tile { .. } => Finding::TileMissing { tile: resource },
            Resource::Entries { index, .. } => Finding::Missing {
                index: index.saturating_mul(crate::resource::TILE_WIDTH),
                expected: None,
            },
        }
        .into()),
        Err(source) => Err(VerifyError::Unreadable { resource, source }),
    }
}

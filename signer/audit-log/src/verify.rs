//! Verifying a whole log against a checkpoint: the log is built once more from its entries, and every file compared.
//!
//! Where something differs, a second pass ([`judge`]) says which entry or file is not what it was.

mod judge;

use crate::appender::read_hashes;
use crate::bundle::{self, Rest};
use crate::finding::{Finding, VerifyError, read};
use crate::resource::{Resource, Source, TILE_WIDTH, hashes, width_at};
use crate::tree::Tiles;
use crate::{Appender, Checkpoint, TreeHead};
use judge::Judge;

/// Verifies every entry and every tile that `checkpoint` covers, and that the log continues each of the `earlier`
/// checkpoints, which were kept elsewhere. Reads the log once, 256 entries at a time. Of a log that dropped its oldest
/// entries it verifies those that are left, and that the tiles before them lead to the same root.
///
/// # Errors
/// [`VerifyError::Unsound`] names the first entry that is not what the checkpoint says; [`VerifyError::Unreadable`] a
/// file that the system would not give; [`VerifyError::Dropped`] an earlier checkpoint that ends before the first entry that
/// is left.
pub fn verify(
    source: &impl Source,
    checkpoint: &Checkpoint,
    earlier: &[Checkpoint],
) -> Result<(), VerifyError> {
    match compare(source, checkpoint, earlier) {
        Err(VerifyError::Unsound(difference)) => Err(Judge::new(source, checkpoint, earlier)
            .first_finding()?
            .unwrap_or(difference)
            .into()),
        other => other,
    }
}

/// Verifies by a log's tiles that `new` continues `old`, without reading entries. Both checkpoints must be of one log.
///
/// # Errors
/// [`Finding::Diverges`] if it does not; [`VerifyError`] for tiles that do not lead to `new`'s root, or are not there.
pub fn verify_consistency(
    source: &impl Source,
    old: &Checkpoint,
    new: &Checkpoint,
) -> Result<(), VerifyError> {
    if old.size() < new.first() {
        return Err(VerifyError::Dropped {
            size: old.size(),
            first: new.first(),
        });
    }
    let tiles = Tiles {
        source,
        size: new.size(),
    };
    let found = tiles.head()?;
    if found != new.head() {
        return Err(Finding::Edge {
            size: new.size(),
            expected: new.head().root,
            found: found.root,
        }
        .into());
    }
    let proof = crate::ConsistencyProof::make(source, old.size(), new)?;
    if proof.check(old, new).is_ok() {
        return Ok(());
    }
    let size = old.size();
    if size > new.size() {
        return Err(shorter(new.size()).into());
    }
    Err(Finding::Diverges {
        size,
        expected: old.head().root,
        found: tiles.head_at(size)?.root,
    }
    .into())
}

/// Entries that an earlier checkpoint covers, and the log does not have any more.
fn shorter(size: u64) -> Finding {
    Finding::Missing {
        index: size,
        expected: None,
    }
}

/// The one pass over a sound log. What it finds is a difference, not yet a verdict on who is wrong.
fn compare(
    source: &impl Source,
    checkpoint: &Checkpoint,
    earlier: &[Checkpoint],
) -> Result<(), VerifyError> {
    let (head, from) = (checkpoint.head(), checkpoint.first());
    let mut earlier: Vec<TreeHead> = earlier.iter().map(Checkpoint::head).collect();
    earlier.sort_by_key(|head| head.size);
    if earlier.last().is_some_and(|old| old.size > head.size) {
        return Err(shorter(head.size).into());
    }
    if let Some(old) = earlier.first().filter(|old| old.size < from) {
        return Err(VerifyError::Dropped {
            size: old.size,
            first: from,
        });
    }
    let mut appender = edge_at(source, head, from)?;
    let mut earlier = earlier.into_iter().peekable();
    while let Some(old) = earlier.next_if(|old| old.size <= from) {
        same_head(&appender, old)?;
    }
    for index in from / TILE_WIDTH..head.size.div_ceil(TILE_WIDTH) {
        let width = width_at(head.size, 0, index);
        let found = read(source, Resource::Entries { index, width })?;
        let (entries, rest) = bundle::entries(&found.bytes);
        let first = index.saturating_mul(TILE_WIDTH);
        if entries.len() < usize::from(found.width.max(width)) {
            return Err(missing_from(first, entries.len()).into());
        }
        if rest != Rest::Nothing || entries.len() > usize::from(found.width) {
            return Err(Finding::Trailing {
                index: first
                    .saturating_add(u64::from(found.width))
                    .saturating_sub(1),
            }
            .into());
        }
        let mut entries = entries.get(..usize::from(width)).unwrap_or_default();
        // An earlier checkpoint may end within this bundle.
        while let Some(old) =
            earlier.next_if(|old| old.size <= first.saturating_add(u64::from(width)))
        {
            let part = old.size.saturating_sub(appender.head().size);
            let (until, after) = entries
                .split_at_checked(usize::try_from(part).unwrap_or(usize::MAX))
                .unwrap_or((entries, &[]));
            add(source, head, &mut appender, until)?;
            entries = after;
            same_head(&appender, old)?;
        }
        add(source, head, &mut appender, entries)?;
    }
    for (tile, bytes) in appender.partial_tiles() {
        same_tile(source, tile, &bytes)?;
    }
    let found = appender.head().root;
    if found != head.root {
        return Err(Finding::Rewritten {
            first: from,
            last: head.size.saturating_sub(1),
            expected: head.root,
            found,
        }
        .into());
    }
    Ok(())
}

/// The tree as it was with the first `size` entries, by the tiles of the one with this head: where entries were dropped, all
/// that is known of them. Nothing of it is believed until the entries that follow lead to the signed root.
fn edge_at(source: &impl Source, head: TreeHead, size: u64) -> Result<Appender, VerifyError> {
    if size == 0 {
        return Ok(Appender::new());
    }
    let tiles = Tiles {
        source,
        size: head.size,
    };
    Appender::resume(source, tiles.head_at(size)?)
}

fn same_head(appender: &Appender, old: TreeHead) -> Result<(), VerifyError> {
    if appender.head() == old {
        return Ok(());
    }
    Err(Finding::Diverges {
        size: old.size,
        expected: old.root,
        found: appender.head().root,
    }
    .into())
}

fn missing_from(first: u64, entries: usize) -> Finding {
    Finding::Missing {
        index: first.saturating_add(u64::try_from(entries).unwrap_or(0)),
        expected: None,
    }
}

/// Adds entries, and compares the tiles that become full with them.
fn add(
    source: &impl Source,
    head: TreeHead,
    appender: &mut Appender,
    entries: &[&[u8]],
) -> Result<(), VerifyError> {
    let Ok(growth) = appender.append(entries) else {
        // Entries of a bundle are never too long, and a checkpoint's size has the bound of the log's.
        return Err(shorter(head.size).into());
    };
    for (resource, bytes) in growth.files {
        if matches!(resource, Resource::Tile { .. }) && resource.is_full() {
            same_tile(source, resource, &bytes)?;
        }
    }
    Ok(())
}

fn same_tile(source: &impl Source, tile: Resource, bytes: &[u8]) -> Result<(), VerifyError> {
    if Some(read_hashes(source, tile)?) != hashes(bytes) {
        return Err(Finding::TileAltered { tile }.into());
    }
    Ok(())
}

//! A registry that was put back from an old copy takes up what the audit log has more: certificates, as far as a leaf
//! tells of them, and revocations. Then it may issue and sign lists again.

use countersign_audit_log::{LogDirectory, VerifyError, verify};
use countersign_registry::{Found, Registry};

use crate::sequencer::same_entry;
use crate::{SequencerError, record};

/// Entries that are taken up in one transaction.
const PIECE: usize = 256;

/// Why a registry did not take up what the log has.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatchUpError {
    /// The log is not what its last checkpoint says.
    #[error("the audit log does not verify ({0}): restore it, or say that it is lost")]
    Log(#[from] VerifyError),
    /// An entry tells of a certificate, and not in the words of this program.
    #[error("entry {place} of the audit log cannot be read: use the program that wrote it")]
    Entry {
        /// Which.
        place: u64,
    },
    /// Records were taken over from a file, of which the log has the hash only.
    #[error(
        "entry {place} of the audit log says that a file with the SHA-256 {sha256:?} was imported, and its records are not here: \
         import the same file again, then say this again"
    )]
    Imported {
        /// Which entry.
        place: u64,
        /// Of the file.
        sha256: String,
    },
    /// Log and registry do not agree, or one of them does not answer.
    #[error(transparent)]
    Sequencer(#[from] SequencerError),
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] countersign_registry::Error),
}

/// Takes up every entry that the registry does not know of, and lets it go on; how many there were. `issuer` is SHA-256 of
/// the issuing key's SubjectPublicKeyInfo, `by` who says that it may go on, `now` in seconds since 1970. It reads the whole
/// log, and waits for the disk.
///
/// # Errors
/// [`CatchUpError`]. What was taken up before stays, and nothing is issued; say it again.
pub async fn catch_up(
    registry: &Registry,
    log: &LogDirectory,
    issuer: &[u8; 32],
    by: &str,
    now: u64,
) -> Result<u64, CatchUpError> {
    let (folder, head) = (log.folder(), log.checkpoint().head());
    verify(&folder, log.checkpoint(), &[])?;
    let (first, _) = registry.leaf_counts().await?;
    same_entry(registry, log, first.min(head.size)).await?;
    let mut place = first;
    let mut piece = Vec::with_capacity(PIECE);
    while place < head.size {
        piece.clear();
        let from = place;
        let mut missing = None;
        while place < head.size && piece.len() < PIECE {
            let leaf = folder
                .entry(place, head)
                .map_err(|source| SequencerError::Read { source })?
                .ok_or(CatchUpError::Entry { place })?;
            if let Some(sha256) = record::imported(&leaf)
                && !was_imported(registry, &sha256).await?
            {
                missing = Some(CatchUpError::Imported { place, sha256 });
                break;
            }
            let told = record::told(&leaf, now).ok_or(CatchUpError::Entry { place })?;
            piece.push(Found { leaf, told });
            place = place.saturating_add(1);
        }
        registry.take_up(from, &piece, issuer, now).await?;
        // The file may hang on what came before it.
        if let Some(missing) = missing {
            return Err(missing);
        }
    }
    registry.resume(&record::resumed(now, by, true)).await?;
    Ok(place.saturating_sub(first))
}

/// Whether the records of a file are here: its leaf was written with them.
async fn was_imported(registry: &Registry, sha256: &str) -> Result<bool, CatchUpError> {
    let leaves = registry.leaves_with(sha256.as_bytes()).await?;
    Ok(leaves
        .iter()
        .any(|leaf| record::imported(leaf).as_deref() == Some(sha256)))
}

/// Lets a registry go on though the log that was ahead of it is lost; `by` says who says so. What was issued since the copy
/// stays unknown, and what was revoked since must be revoked again.
///
/// # Errors
/// [`CatchUpError::Registry`].
pub async fn go_on_without_the_log(
    registry: &Registry,
    by: &str,
    now: u64,
) -> Result<(), CatchUpError> {
    let leaf = record::resumed(now, by, false);
    Ok(registry.resume_without_the_log(&leaf).await?)
}

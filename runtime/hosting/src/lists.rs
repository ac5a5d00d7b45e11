//! Revocation lists in files.

use std::path::Path;

use anyhow::Context as _;
use countersign_trust_store::{MAX_CRL_BYTES, pem};

use crate::read::{Read, read};

/// The revocation lists in a file, PEM or DER, as DER. None of them is judged.
///
/// # Errors
/// If the file cannot be read, is longer than the longest list, or holds none.
pub fn read_lists(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    // PEM is longer than the DER in it by a third, and its line ends.
    let limit = u64::try_from(MAX_CRL_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_mul(2);
    match read(path, limit)? {
        Read::Whole(bytes) => pem::crls(&bytes)
            .with_context(|| format!("{} holds no revocation list", path.display())),
        Read::TooLarge { size } => anyhow::bail!(
            "{} has {size} bytes, too many for a revocation list",
            path.display()
        ),
    }
}

//! The layout of the compiled-in section, shared by the host that reads it and the tool that fills it.
//!
//! ```text
//!   0  32  magic, by which a tool finds the section in a finished binary
//!  32   4  version of this layout      (little endian, as the other numbers)
//!  36   4  capacity: size of the whole section
//!  40   4  length of the content; 0 = no roots
//!  44  32  SHA-256 over every other byte of the section
//!  76   …  content, then zeros up to the capacity
//! ```
//!
//! The digest guards against damage (a bad flash block, a cut-off download), not against an attacker: who can write to
//! the host's binary can replace its roots, and must be kept out by the system (package signatures, verified boot).
//!
//! This file never spells the magic. It is compiled into the host, and the magic has to occur there once only.

use sha2::{Digest as _, Sha256};

/// Size of the section in bytes: room for some 60 roots with their first CRLs, small beside any host.
pub(crate) const CAPACITY: usize = 128 * 1024;
/// Bytes before the content.
pub(crate) const HEADER: usize = 76;
/// Bytes of the magic, which comes first.
pub(crate) const MAGIC: usize = 32;
/// The one version of this layout.
pub(crate) const VERSION: u32 = 1;
/// Where the digest stands.
pub(crate) const DIGEST: core::ops::Range<usize> = MAGIC + 12..HEADER;

/// Why a section cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// The bytes are not those that were written: the digest does not match.
    #[error(
        "the section of compiled-in roots is damaged: its digest does not match; install the host again"
    )]
    Damaged,
    /// A number in the header contradicts the size of the section.
    #[error(
        "the section of compiled-in roots is damaged: its {field} is {found}; install the host again"
    )]
    Header {
        /// The field of the header.
        field: &'static str,
        /// What stands there.
        found: u32,
    },
}

/// The content of a section, empty if it was never filled.
///
/// # Errors
/// [`SectionError`] if one byte of it, padding included, is not what was written.
pub(crate) fn open(section: &[u8]) -> Result<&[u8], SectionError> {
    let version = number(section, MAGIC)?;
    if version != VERSION {
        return Err(SectionError::Header {
            field: "version",
            found: version,
        });
    }
    let capacity = number(section, MAGIC + 4)?;
    if usize::try_from(capacity) != Ok(section.len()) {
        return Err(SectionError::Header {
            field: "capacity",
            found: capacity,
        });
    }
    let length = number(section, MAGIC + 8)?;
    let content = usize::try_from(length)
        .ok()
        .and_then(|length| section.get(HEADER..)?.get(..length))
        .ok_or(SectionError::Header {
            field: "length",
            found: length,
        })?;
    if section.get(DIGEST) != Some(digest(section)?.as_slice()) {
        return Err(SectionError::Damaged);
    }
    Ok(content)
}

/// SHA-256 over everything but the digest's own place.
///
/// # Errors
/// [`SectionError::Damaged`] if the section is shorter than its header.
pub(crate) fn digest(section: &[u8]) -> Result<[u8; 32], SectionError> {
    match (section.get(..DIGEST.start), section.get(DIGEST.end..)) {
        (Some(before), Some(after)) => Ok(Sha256::new()
            .chain_update(before)
            .chain_update(after)
            .finalize()
            .into()),
        _ => Err(SectionError::Damaged),
    }
}

fn number(section: &[u8], at: usize) -> Result<u32, SectionError> {
    let bytes = section
        .get(at..)
        .and_then(|rest| rest.first_chunk::<4>())
        .ok_or(SectionError::Damaged)?;
    Ok(u32::from_le_bytes(*bytes))
}

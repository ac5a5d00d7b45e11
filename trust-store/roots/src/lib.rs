//! The roots that are compiled into a host.
//!
//! `COUNTERSIGN_ROOTS` names, when this crate is built, a PEM file of roots or a `roots.toml`; both are described in
//! `countersign-roots-file`. Unset builds a host without roots, which refuses every component; set but bad fails the
//! build. The bytes lie in one link section of fixed size, so that `cargo xtask roots BINARY FILE` can fill the same
//! place in a finished binary, with the same checks.
//!
//! This crate decides that the section is undamaged. Whether its certificates may serve as trust anchors is decided
//! again at every start, by [`Anchors::new`].
//!
//! An embedder that does not want the section includes a file of its own with [`roots!`].

#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "a test may stop by panicking"
    )
)]

use std::time::{Duration, SystemTime};

use countersign_trust_store::{AnchorError, AnchorSource, Anchors, UnixTime, decode_sources, pem};

mod section;

pub use countersign_trust_store as trust_store;
pub use section::SectionError;

/// The section as the build script wrote it. Its content may have been replaced in the finished binary, so that
/// nothing may read it but [`section_bytes`].
#[used]
#[expect(
    unsafe_code,
    reason = "placing the roots in a link section of their own is what this crate is for"
)]
// SAFETY: the section is named by us alone, holds plain read-only bytes, and nothing depends on where it is loaded.
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__csroots"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".csroots"))]
static SECTION: [u8; section::CAPACITY] = *include_bytes!(concat!(env!("OUT_DIR"), "/section"));

/// The compiled-in trust anchors, checked; empty if the host was built without.
///
/// An expired root is among them: a host that has nothing else starts, admits nothing, and says why.
///
/// # Errors
/// [`RootsError`] if the section is damaged or holds something that may not be an anchor. A host treats that as it
/// treats having no root: it runs nothing.
pub fn anchors() -> Result<Anchors, RootsError> {
    Ok(Anchors::new(sources()?)?)
}

/// The compiled-in roots with their settings and first CRLs, not yet checked; empty if the host was built without.
///
/// # Errors
/// [`RootsError`] if the section is damaged.
pub fn sources() -> Result<Vec<AnchorSource>, RootsError> {
    let bytes = section_bytes();
    match section::open(&bytes)? {
        [] => Ok(Vec::new()),
        content => Ok(decode_sources(content)?),
    }
}

/// When this host was built (`SOURCE_DATE_EPOCH` where it was set): the earliest that "now" can be.
#[must_use]
pub fn build_time() -> UnixTime {
    // Written by the build script, which refuses to write anything but a number.
    UnixTime::from_secs(const_number(env!("COUNTERSIGN_BUILD_TIME")))
}

/// The system's clock in whole seconds since 1970; a clock before that reads as 0.
#[must_use]
pub fn system_time() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    UnixTime::from_secs(since.as_secs())
}

/// Roots from PEM text, each for components, without scope of its own and without grace for stale CRLs: what
/// [`roots!`] makes of a file.
///
/// # Errors
/// [`pem::PemError`] as [`pem::certificates`].
pub fn from_pem(text: &[u8]) -> Result<Vec<AnchorSource>, pem::PemError> {
    Ok(pem::certificates(text)?
        .into_iter()
        .map(AnchorSource::new)
        .collect())
}

/// Includes a PEM file of roots, named relative to the source file it stands in, and gives what [`from_pem`] makes
/// of it. The checks of a trust anchor follow in [`Anchors::new`](trust_store::Anchors::new):
///
/// ```text
/// let anchors = Anchors::new(countersign_roots::roots!("roots.pem")?)?;
/// ```
#[macro_export]
macro_rules! roots {
    ($file:expr) => {
        $crate::from_pem(::core::include_bytes!($file))
    };
}

/// Why the compiled-in roots cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// A certificate in it may not be a trust anchor, or the list itself is not well formed.
    #[error("a compiled-in root cannot be used: {0}")]
    Anchor(#[from] AnchorError),
    /// The section is not what was written.
    #[error(transparent)]
    Section(#[from] SectionError),
}

/// Reads the section as it lies in memory now.
fn section_bytes() -> Vec<u8> {
    let start = (&raw const SECTION).cast::<u8>();
    #[expect(
        unsafe_code,
        reason = "the compiler must not fold the content that it saw at build time"
    )]
    let read = |offset| {
        // SAFETY: `offset` is below the size of `SECTION`, a static of plain bytes that nobody writes while the
        // program runs. Volatile, because the file may have been filled after the compiler saw its content, and the
        // compiler must not reason from what it saw.
        unsafe { start.add(offset).read_volatile() }
    };
    (0..section::CAPACITY).map(read).collect()
}

const fn const_number(text: &str) -> u64 {
    match u64::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("the build script wrote a build time that is no number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        section_bytes()
    }

    #[test]
    fn the_built_section_opens_and_matches_its_static_size() {
        let bytes = sealed();
        assert_eq!(bytes.len(), section::CAPACITY);
        assert!(section::open(&bytes).is_ok());
    }

    #[test]
    fn one_changed_byte_anywhere_is_damage() {
        let good = sealed();
        for at in [
            0,
            31,
            32,
            36,
            40,
            43,
            44,
            75,
            76,
            200,
            section::CAPACITY - 1,
        ] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(section::open(&bad).is_err(), "byte {at}");
        }
        for size in [0, 1, 43, 75, 76, section::CAPACITY - 1] {
            assert!(section::open(&good[..size]).is_err(), "cut to {size}");
        }
    }

    #[test]
    fn the_build_time_lies_between_this_project_and_now() {
        assert!(build_time().as_secs() > 0);
        assert!(build_time() <= system_time(), "{:?}", build_time());
    }
}

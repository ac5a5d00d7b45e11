//! What the build script of `countersign-roots` does: from two environment variables to the bytes of the section.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use countersign_trust_store::{AnchorSource, Anchors, UnixTime};

use crate::error::RootsFileError;
use crate::fill::seal;
use crate::parse::parse_with_files;

const ROOTS: &str = "COUNTERSIGN_ROOTS";
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The environment of a build.
#[derive(Debug, Clone, Default)]
pub struct BuildInput {
    /// `COUNTERSIGN_ROOTS`: absolute path of a root file. Unset: a host that refuses everything.
    pub roots: Option<OsString>,
    /// `SOURCE_DATE_EPOCH`: seconds since 1970 that stand for the time of the build. Unset: the system's clock.
    pub source_date_epoch: Option<OsString>,
}

/// What a build needs.
#[derive(Debug, Clone)]
pub struct Built {
    /// The whole section.
    pub section: Vec<u8>,
    /// The time of the build, below which the host's "now" never falls.
    pub time: UnixTime,
    /// Every file that was read.
    pub files: Vec<PathBuf>,
}

/// Reads and checks the roots that `input` names.
///
/// # Errors
/// [`RootsFileError`]: the build must fail with it.
pub fn build(input: &BuildInput) -> Result<Built, RootsFileError> {
    let time = build_time(input.source_date_epoch.as_ref())?;
    let Some(path) = &input.roots else {
        return Ok(Built {
            section: seal(&[])?,
            time,
            files: Vec::new(),
        });
    };
    let path = Path::new(path);
    let wrong = |reason: &str| RootsFileError::Environment {
        variable: ROOTS,
        reason: reason.to_owned(),
    };
    if path.as_os_str().is_empty() {
        return Err(wrong(
            "is set but empty; name a root file, or unset it to build a host that refuses everything",
        ));
    }
    if !path.is_absolute() {
        // Cargo runs build scripts in the package's folder, so a relative path would name another file than was meant.
        return Err(wrong(
            "must be an absolute path, as in COUNTERSIGN_ROOTS=\"$PWD/roots.pem\"",
        ));
    }
    let (sources, files) = parse_with_files(path)?;
    check(path, &sources, time)?;
    Ok(Built {
        section: seal(&sources)?,
        time,
        files,
    })
}

/// Whether every one of `sources` may be a trust anchor and is valid at `time`.
///
/// # Errors
/// [`RootsFileError::Anchor`], which names `path`.
pub fn check(path: &Path, sources: &[AnchorSource], time: UnixTime) -> Result<(), RootsFileError> {
    let refuse = |reason| RootsFileError::Anchor {
        path: path.to_owned(),
        reason,
    };
    Anchors::new(sources.to_vec())
        .map_err(refuse)?
        .require_valid_at(time)
        .map_err(refuse)
}

fn build_time(epoch: Option<&OsString>) -> Result<UnixTime, RootsFileError> {
    let Some(epoch) = epoch else {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        return Ok(UnixTime::from_secs(since.as_secs()));
    };
    epoch
        .to_str()
        .and_then(|text| text.parse().ok())
        .map(UnixTime::from_secs)
        .ok_or_else(|| RootsFileError::Environment {
            variable: EPOCH,
            reason: format!(
                "is not a number of seconds since 1970: {}",
                epoch.to_string_lossy()
            ),
        })
}

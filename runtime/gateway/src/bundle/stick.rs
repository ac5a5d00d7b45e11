//! A folder, such as a stick's, that stands for the newest bundle of this gateway's line in it.
//!
//! Decides nothing about trust: a file is chosen by what it claims to be, and then judged like any other.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use countersign_trust_store::BundleReader;

/// Most names that are looked at in a folder.
const MOST: usize = 1_000;

/// A file in the folder that claims to be a bundle.
struct Claim {
    path: PathBuf,
    line: String,
    number: u64,
}

/// The file with the highest number of this line, and that number.
///
/// # Errors
/// If there is none, or two have it.
pub(super) fn newest(folder: &Path, line: &str) -> anyhow::Result<(PathBuf, u64)> {
    let shown = folder.display();
    let entries = fs::read_dir(folder).with_context(|| format!("{shown} cannot be read"))?;
    let mut claims = Vec::new();
    for (place, entry) in entries.enumerate() {
        if place == MOST {
            bail!("{shown} holds more than {MOST} files: name the bundle itself");
        }
        let entry = entry.with_context(|| format!("{shown} cannot be read"))?;
        claims.extend(claim(entry.path())?);
    }
    let (of_line, others): (Vec<_>, Vec<_>) =
        claims.into_iter().partition(|claim| claim.line == line);
    let Some(highest) = of_line.iter().map(|claim| claim.number).max() else {
        match others.first() {
            None => bail!("{shown} holds no bundle"),
            Some(other) => bail!(
                "{shown} holds no bundle of the line {line:?}, which this gateway takes; {} is one of {:?}",
                other.path.display(),
                other.line
            ),
        }
    };
    let mut newest = of_line.into_iter().filter(|claim| claim.number == highest);
    match (newest.next(), newest.next()) {
        (Some(one), None) => Ok((one.path, highest)),
        (Some(one), Some(other)) => bail!(
            "{} and {} both have the number {highest} of {line:?}: name the one that is meant",
            one.path.display(),
            other.path.display()
        ),
        (None, _) => bail!("{shown} holds no bundle"),
    }
}

/// What a file claims to be, if that is a bundle; no link is followed.
///
/// # Errors
/// If it cannot be opened: it may be the newest.
fn claim(path: PathBuf) -> anyhow::Result<Option<Claim>> {
    let unread = || format!("{} cannot be read: name the bundle itself", path.display());
    if !fs::symlink_metadata(&path).with_context(unread)?.is_file() {
        return Ok(None);
    }
    let file = File::open(&path).with_context(unread)?;
    let Ok(reader) = BundleReader::open(BufReader::new(file)) else {
        return Ok(None);
    };
    let fields = reader.bundle().claimed_index().fields();
    let (line, number) = (fields.line.clone(), fields.number);
    Ok(Some(Claim { path, line, number }))
}

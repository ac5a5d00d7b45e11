//! Folders and keys that are an authority's alone: not a link, of this user, and closed to all others.

use std::path::Path;

use anyhow::Context as _;

/// Refuses a folder that others may look into, or that is somebody else's.
pub(crate) fn check_folder(path: &Path) -> anyhow::Result<()> {
    let metadata = path
        .symlink_metadata()
        .with_context(|| format!("{} could not be read", path.display()))?;
    anyhow::ensure!(
        metadata.is_dir(),
        "{} is a link or no folder, and whoever can change where it leads is the authority: put the folder itself there",
        path.display()
    );
    check_owner(path, &metadata)?;
    check_mode(path, &metadata, "700")
}

/// Refuses a key that is a link or somebody else's. Its mode is checked by who opens it.
pub(crate) fn check_file(path: &Path) -> anyhow::Result<()> {
    let metadata = path
        .symlink_metadata()
        .with_context(|| format!("the key {} could not be read", path.display()))?;
    anyhow::ensure!(
        metadata.is_file(),
        "{} is a link or no file, and was not opened: put the key itself there",
        path.display()
    );
    check_owner(path, &metadata)
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &std::fs::Metadata, mode: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = metadata.permissions().mode() & 0o777;
    anyhow::ensure!(
        found & 0o077 == 0,
        "{} is open to others than its owner (mode {found:o}), and was not used: chmod {mode} {}",
        path.display(),
        path.display()
    );
    Ok(())
}

/// The owner of what this process makes is the user that it runs as.
#[cfg(unix)]
fn check_owner(path: &Path, metadata: &std::fs::Metadata) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let own = tempfile::tempfile()
        .and_then(|file| file.metadata())
        .context("no file can be made for a moment, to see which user this is")?
        .uid();
    anyhow::ensure!(
        metadata.uid() == own,
        "{} belongs to user {}, and this is user {own}: run as its owner, or take it over with chown",
        path.display(),
        metadata.uid()
    );
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _metadata: &std::fs::Metadata, _mode: &str) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(_path: &Path, _metadata: &std::fs::Metadata) -> anyhow::Result<()> {
    Ok(())
}

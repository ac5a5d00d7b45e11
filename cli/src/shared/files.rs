//! Reading inputs and writing outputs, with errors that name the file and say what to do.
//!
//! An output appears whole or not at all: it is written beside its place, synced, and renamed. An existing file is
//! refused unless the caller says otherwise.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
pub(crate) use countersign_durable::Existing;
use countersign_durable::{Access, DurableError, Unfinished, folder_of};
use countersign_format::{FormatError, limits};

use crate::shared::failure::Failure;

/// Largest text input (PEM, TOML, passphrase, signature) in bytes. A CRL of 100,000 entries is 3.6 MB; nothing else
/// comes near.
pub(crate) const MAX_SMALL_INPUT_BYTES: u64 = 32 << 20;

/// Largest signed file in bytes: component, payload of the signature section, and room for that section's header.
const MAX_SIGNED_BYTES: u64 = limits::MAX_COMPONENT_BYTES + limits::MAX_SIGNATURE_BYTES + 64;

/// Reads a whole file of at most `limit` bytes. `what` names its role: "component", "root certificates".
pub(crate) fn read(path: &Path, what: &str, limit: u64) -> Result<Vec<u8>, Failure> {
    let file = open(path, what)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the {what} {}", path.display()))
        .map_err(Failure::usage)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Failure::usage(anyhow!(
            "the {what} {} is larger than {limit} bytes, the most this program reads",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Reads a component, signed or not. One that is too large is a refusal, as it is in every host.
pub(crate) fn read_component(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = || format!("cannot read the component {}", path.display());
    let within = |actual: u64| {
        let error = FormatError::LimitExceeded {
            what: "file",
            limit: MAX_SIGNED_BYTES,
            actual,
        };
        (actual <= MAX_SIGNED_BYTES)
            .then_some(())
            .ok_or_else(|| Failure::refused(error))
    };
    let file = open(path, "component")?;
    // Asked before anything is read. A pipe tells no size, so what was read is counted all the same.
    let metadata = file
        .metadata()
        .with_context(unreadable)
        .map_err(Failure::usage)?;
    within(metadata.len())?;
    let mut bytes = Vec::new();
    file.take(MAX_SIGNED_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(unreadable)
        .map_err(Failure::usage)?;
    within(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
    Ok(bytes)
}

/// Opens a file for reading; a directory is refused by name, because reading one fails later and less clearly.
pub(crate) fn open(path: &Path, what: &str) -> Result<File, Failure> {
    let file = File::open(path)
        .with_context(|| format!("cannot open the {what} {}", path.display()))
        .map_err(Failure::usage)?;
    let metadata = file
        .metadata()
        .with_context(|| format!("cannot read the {what} {}", path.display()))
        .map_err(Failure::usage)?;
    if metadata.is_dir() {
        return Err(Failure::usage(anyhow!(
            "cannot read the {what} {}: it is a directory; name a file in it",
            path.display()
        )));
    }
    Ok(file)
}

/// What `--force` says of an output that exists.
pub(crate) fn forced(force: bool) -> Existing {
    if force {
        Existing::Replace
    } else {
        Existing::Refuse
    }
}

/// Refuses early what [`write()`] would refuse late, so that no passphrase is asked and no key used in vain.
pub(crate) fn check_output(path: &Path, existing: Existing) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(Failure::usage(anyhow!(
            "cannot write {}: it is a directory; name a file in it",
            path.display()
        ))),
        Ok(_) if existing == Existing::Refuse => Err(already_there(path)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder_of(path);
            if folder.is_dir() {
                Ok(())
            } else {
                Err(Failure::usage(anyhow!(
                    "cannot write {}: there is no folder {}; make it first",
                    path.display(),
                    folder.display()
                )))
            }
        }
        Err(error) => Err(Failure::usage(
            anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
        )),
    }
}

/// Writes `bytes` to `path`, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Failure> {
    write_with(path, existing, |file| Ok(file.write_all(bytes)?))
}

/// Writes to `path` what `fill` writes to the file it is handed, whole or not at all.
pub(crate) fn write_with(
    path: &Path,
    existing: Existing,
    fill: impl FnOnce(&mut File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    check_output(path, existing)?;
    let failed = |error: DurableError| match error {
        DurableError::Exists { path } => already_there(&path),
        error => Failure::usage(anyhow::Error::new(error)),
    };
    let mut file = Unfinished::create(path, Access::Umask, existing).map_err(failed)?;
    fill(file.file())?;
    match file.place() {
        // Not every file system can sync a folder; the content is safe.
        Err(error) if error.is_in_place() => Ok(()),
        placed => placed.map_err(failed),
    }
}

fn already_there(path: &Path) -> Failure {
    Failure::usage(anyhow!(
        "{} exists already; choose another --output, or say --force to overwrite it",
        path.display()
    ))
}

/// The output that was asked for, or the name derived from the input's.
pub(crate) fn output_or_beside(
    output: Option<&PathBuf>,
    input: &Path,
    ending: &str,
) -> Result<PathBuf, Failure> {
    output.map_or_else(|| beside(input, ending), |output| Ok(output.clone()))
}

/// `app.wasm` with ending `signed.wasm` is `app.signed.wasm`, in the same folder.
fn beside(path: &Path, ending: &str) -> Result<PathBuf, Failure> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            Failure::usage(anyhow!(
                "cannot derive an output name from {}; give --output",
                path.display()
            ))
        })?;
    let stem = name.strip_suffix(".wasm").unwrap_or(name);
    let stem = stem.strip_suffix(".signed").unwrap_or(stem);
    Ok(path.with_file_name(format!("{stem}.{ending}")))
}

#[cfg(test)]
mod tests {
    use super::{Existing, beside, write, write_with};
    use crate::shared::failure::Failure;
    use std::path::Path;

    #[test]
    fn the_signed_name_is_not_signed_twice() {
        let name = |path| beside(Path::new(path), "signed.wasm").ok();
        assert_eq!(
            name("a/app.wasm").as_deref(),
            Some(Path::new("a/app.signed.wasm"))
        );
        assert_eq!(
            name("app.signed.wasm").as_deref(),
            Some(Path::new("app.signed.wasm"))
        );
        assert_eq!(name("app").as_deref(), Some(Path::new("app.signed.wasm")));
        assert_eq!(name(".."), None);
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_an_existing_file_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out");
        let failed = write_with(&path, Existing::Refuse, |file| {
            std::io::Write::write_all(file, b"half")?;
            Err(Failure::usage(anyhow::anyhow!("stop")))
        });
        assert!(failed.is_err());
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("readable").count(),
            0
        );

        write(&path, b"one", Existing::Refuse).expect("new file");
        assert!(write(&path, b"two", Existing::Refuse).is_err());
        assert_eq!(std::fs::read(&path).expect("readable"), b"one");
        write(&path, b"two", Existing::Replace).expect("replaced");
        assert_eq!(std::fs::read(&path).expect("readable"), b"two");
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("readable").count(),
            1
        );
    }
}

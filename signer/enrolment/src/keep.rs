//! A chain on disk: the old one, then the new one, and at no moment neither.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use countersign_durable::{Access, DurableError, Existing, Unfinished, folder_of};
use der::pem::{self, LineEnding};

use crate::{EnrolError, IssuedChain, Received};

/// Where a chain went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where the chain is that was there before: the same name with `.previous` after it.
    pub previous: Option<PathBuf>,
}

/// Writes the chain in PEM, the device's certificate first, and forgets what was [`Received`] for it. What was at `path` stays beside it, and whoever opens `path`
/// meanwhile finds the old chain or the new one, whole.
///
/// # Errors
/// [`EnrolError::Write`]; then what was there before is there still.
pub fn keep(path: &Path, chain: &IssuedChain) -> Result<Kept, EnrolError> {
    let failed = |source| EnrolError::Write {
        path: path.display().to_string(),
        source,
    };
    let mut text = String::new();
    for certificate in chain.certificates() {
        let block = pem::encode_string("CERTIFICATE", LineEnding::LF, certificate)
            .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        text.push_str(&block);
    }
    let kept = write(path, text.as_bytes()).map_err(failed)?;
    Received::beside(path).clear();
    Ok(kept)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<Kept> {
    let mut file = Unfinished::create(path, Access::Owner, Existing::Replace)
        .map_err(DurableError::into_io)?;
    file.file().write_all(bytes)?;
    // Certificates are public; a service under another name has to read them.
    file.file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    // Before what is there gets its second name, which may be what is wanted.
    file.file().sync_all()?;
    let previous = set_aside(path, folder_of(path))?;
    file.place().map_err(DurableError::into_io)?;
    Ok(Kept { previous })
}

/// Gives what is at `path` a second name, and leaves it the first.
fn set_aside(path: &Path, folder: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
    name.push(".previous");
    let previous = path.with_file_name(name);
    // A name that nothing has, to be replaced: linking does not replace what is there.
    let spare = tempfile::Builder::new().make_in(folder, |spare| fs::hard_link(path, spare));
    match spare {
        Ok(spare) => {
            let (_, spare) = spare.into_parts();
            spare.persist(&previous).map_err(|error| error.error)?;
            Ok(Some(previous))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

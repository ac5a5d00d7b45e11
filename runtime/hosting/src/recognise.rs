//! Recognising a signed file that ran here before, with the code that was kept for it.
//!
//! Its bytes are seen once, in pieces that are not kept, and its signature section is read. Whether it may run is decided
//! elsewhere and anew; a file that is not recognised is read whole.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use countersign_runtime::{CodeAhead, Runtime};
use countersign_trust_store::{ClaimedComponent, UnverifiedComponent};

use crate::read::{MAX_FILE_BYTES, open_regular};

/// How much is read of a file's end, in bytes (16 KiB): several times what the signature of one signer has.
const END: usize = 16 << 10;

/// How much is seen at once, in bytes (128 KiB): it is still near the processor when it is hashed.
const PIECE: usize = 128 << 10;

/// What is known of a file that was not read whole.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recognised {
    /// The component, to be verified, if it is one that ran here before.
    pub component: Option<UnverifiedComponent>,
    /// Code that is being read for what the file claims to be.
    pub code: Option<CodeAhead>,
}

/// Looks whether the file at `path` is one that the runtime's cache holds code for. That it cannot be read is nobody's fault
/// here: who reads it whole says so.
#[must_use]
pub fn recognise(path: &Path, runtime: &Runtime) -> Recognised {
    let mut recognised = Recognised::default();
    // What was not seen to its end is not recognised.
    let _ = look(path, runtime, &mut recognised);
    recognised
}

fn look(path: &Path, runtime: &Runtime, found: &mut Recognised) -> anyhow::Result<()> {
    let mut file = open_regular(path)?;
    let size = file.metadata()?.len();
    if size > MAX_FILE_BYTES {
        return Ok(());
    }
    let length = usize::try_from(size).map_or(END, |size| size.min(END));
    let mut end = vec![0; length];
    file.read_exact_at(&mut end, size.saturating_sub(u64::try_from(length)?))?;
    let Some(claimed) = ClaimedComponent::at_end_of(&end, size) else {
        return Ok(());
    };
    let left = claimed.statement().component_size();
    let Some(code) = runtime.read_ahead(&claimed) else {
        return Ok(());
    };
    let mut recogniser = found.code.insert(code).recogniser(claimed);
    let mut component = (&mut file).take(left);
    let mut piece = vec![0; PIECE];
    loop {
        match component.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => recogniser.update(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.component = recogniser.finish();
    Ok(())
}

//! The signature apart from its component: the payload of S alone, as it is kept beside a component or in a registry.
//!
//! A desk matter: hosts take embedded signatures only.

use crate::sign::open;
use crate::staged::{OldSignature, Staged, reread, scan};
use crate::{Overwrite, SignError};
use countersign_durable::{Access, write};
use countersign_format::{Envelope, FormatError, Statement, limits};
use std::io::Read;
use std::path::Path;

/// Writes the signed file `input` without its signature: the component exactly as it was before signing.
///
/// # Errors
/// [`FormatError::SignatureMissing`] (in [`SignError::Component`]) for an unsigned file; else see [`SignError`].
pub fn strip(input: &Path, output: &Path, overwrite: Overwrite) -> Result<(), SignError> {
    let mut file = open(input)?;
    // Whether there is a signature shows at the end, so look before copying.
    let (scanned, _) = scan(&mut file, input, |_| Ok(()))?;
    if scanned.signature().is_none() {
        return Err(SignError::Component(FormatError::SignatureMissing));
    }
    Staged::copy(
        &mut open(input)?,
        input,
        output,
        overwrite,
        OldSignature::Drop,
    )?
    .finish_unsigned()
}

/// Writes the signature of the signed file `input` to `output`: a COSE_Sign in CBOR.
///
/// # Errors
/// [`FormatError::SignatureMissing`] (in [`SignError::Component`]) for an unsigned file; else see [`SignError`].
pub fn detach(input: &Path, output: &Path, overwrite: Overwrite) -> Result<(), SignError> {
    let mut file = open(input)?;
    let (scanned, _) = scan(&mut file, input, |_| Ok(()))?;
    let range = scanned
        .signature()
        .ok_or(SignError::Component(FormatError::SignatureMissing))?;
    let (_, payload) = reread(&mut file, range, input)?;
    Ok(write(output, &payload, Access::Umask, overwrite)?)
}

/// Writes the component `input` with the signature from the file `signature`, which must have been made for it.
/// An old signature is replaced only if `replace_signature` says so.
///
/// # Errors
/// [`SignError::ComponentDiffers`] if the signature covers another component; [`SignError::Component`] if it is no
/// signature of ours; else see [`SignError`].
pub fn attach(
    input: &Path,
    signature: &Path,
    output: &Path,
    replace_signature: bool,
    overwrite: Overwrite,
) -> Result<(), SignError> {
    let mut payload = Vec::new();
    open(signature)?
        .take(limits::MAX_SIGNATURE_BYTES.saturating_add(1))
        .read_to_end(&mut payload)
        .map_err(SignError::read(signature))?;
    let envelope = Envelope::decode(&payload).map_err(SignError::Component)?;
    let statement = Statement::decode(envelope.statement_bytes()).map_err(SignError::Component)?;
    let old = if replace_signature {
        OldSignature::Drop
    } else {
        OldSignature::Refuse
    };
    let staged = Staged::copy(&mut open(input)?, input, output, overwrite, old)?;
    if staged.digest != *statement.component_digest() || staged.size != statement.component_size() {
        return Err(SignError::ComponentDiffers {
            signed: *statement.component_digest(),
            actual: staged.digest,
        });
    }
    staged.finish(&payload)
}

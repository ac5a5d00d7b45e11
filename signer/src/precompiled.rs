//! Vouching for code that was compiled for a component.
//!
//! Who does so is trusted like the host itself: nothing checks native code when it runs. What this can check is that the
//! code is the one that the statement is about; that it was compiled from that component, only who compiled it knows.

use std::io::Read as _;
use std::path::Path;

use countersign_durable::{Access, write};
use countersign_format::{
    PrecompiledFile, PrecompiledSignature, PrecompiledStatement, limits, precompiled_to_be_signed,
};

use crate::sign::open;
use crate::{CertifiedKey, Overwrite, SignError};

/// The largest file that is read: the most code, its statement and its name.
const MAX_BYTES: u64 = limits::MAX_CODE_BYTES + limits::MAX_STATEMENT_BYTES + 64;

/// Signs the code in the file `input`, as a host's `precompile` wrote it, and writes the signed file to `output`.
///
/// The signature is verified before it leaves.
///
/// # Errors
/// [`SignError`]; see its variants.
pub fn sign_precompiled(
    input: &Path,
    output: &Path,
    signer: &CertifiedKey,
    overwrite: Overwrite,
) -> Result<PrecompiledStatement, SignError> {
    let mut bytes = Vec::new();
    open(input)?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(SignError::read(input))?;
    let (statement, code) =
        PrecompiledStatement::parse_unsigned(&bytes).map_err(SignError::Statement)?;
    let chain = signer.chain();
    let algorithm = chain.public_key().algorithm();
    let message = precompiled_to_be_signed(algorithm, chain.certificates(), &statement);
    let signature = signer.key().sign(&message)?;
    let signed = PrecompiledSignature::new(
        algorithm,
        chain.certificates().to_vec(),
        statement.clone(),
        *signature.as_bytes(),
    )
    .map_err(SignError::Statement)?;
    let file = PrecompiledFile::write(&signed, code);
    // Read back as a host reads it.
    let failed = |what| SignError::SelfCheck { what };
    let read = PrecompiledFile::parse(&file).map_err(|_| failed("the file cannot be read"))?;
    let message = read.signature().to_be_signed();
    if *read.signature() != signed
        || read.code() != code
        || chain
            .public_key()
            .verify(&message, signed.signature())
            .is_err()
    {
        return Err(failed("the signature does not verify"));
    }
    write(output, &file, Access::Umask, overwrite)?;
    Ok(statement)
}

//! Certificates and CRLs from files, and public keys to them.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use countersign_trust_store::pem;

use crate::shared::failure::Failure;
use crate::shared::files;

/// The certificates of a PEM chain file, signer's first, as DER.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let text = files::read(path, "certificate chain", files::MAX_SMALL_INPUT_BYTES)?;
    pem::certificates(&text)
        .with_context(|| format!("cannot use the certificate chain {}", path.display()))
        .map_err(Failure::usage)
}

/// The CRLs of a file, PEM or DER, as DER.
pub(crate) fn read_crls(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = files::read(path, "revocation list", files::MAX_SMALL_INPUT_BYTES)?;
    pem::crls(&bytes)
        .with_context(|| format!("cannot use the revocation list {}", path.display()))
        .map_err(Failure::usage)
}

/// DER as PEM, in the lines of 64 characters that RFC 7468 asks for.
pub(crate) fn to_pem(label: &'static str, der: &[u8]) -> Result<String, Failure> {
    der::pem::encode_string(label, der::pem::LineEnding::LF, der)
        .map_err(|error| Failure::usage(anyhow!("cannot write {label} as PEM: {error}")))
}

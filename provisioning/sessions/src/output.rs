//! What is handed over with a device, in a folder of its own: certificate, chain, public key and a summary. Nothing of it is
//! secret; a private key never gets here.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_durable::{Access, Existing};
use der::pem::{self, LineEnding};
use serde::Serialize;

use crate::Error;

/// The file with the whole chain.
pub(crate) const CHAIN: &str = "chain.pem";

/// The summary.
#[derive(Serialize)]
pub(crate) struct Summary<'a> {
    pub(crate) version: u32,
    pub(crate) device: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) device_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) revision: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) firmware: &'a str,
    pub(crate) key: String,
    pub(crate) attested_by: &'a str,
    /// SHA-256 of what identifies the hardware.
    pub(crate) hardware: Option<String>,
    pub(crate) serial: String,
    pub(crate) not_after: u64,
    /// SHA-256 of the certificate.
    pub(crate) certificate_sha256: String,
    /// PEM.
    pub(crate) certificate: String,
    /// PEM, the device's own certificate first.
    pub(crate) chain: String,
    /// SubjectPublicKeyInfo, PEM.
    pub(crate) public_key: String,
    /// The tables of keys that the device's tokens are made with; none where there are no tokens.
    pub(crate) tables: Vec<u16>,
}

/// One block of PEM.
pub(crate) fn to_pem(label: &'static str, der: &[u8]) -> Result<String, Error> {
    pem::encode_string(label, LineEnding::LF, der)
        .map_err(|_| Error::refused("it is too long for PEM; look at the certificate's size"))
}

/// Several.
pub(crate) fn chain_to_pem(chain: &[Vec<u8>]) -> Result<String, Error> {
    chain.iter().map(|der| to_pem("CERTIFICATE", der)).collect()
}

/// A folder for one device. Identities are safe as names of folders.
pub(crate) fn folder(output: &Path, device: &str) -> Result<PathBuf, Error> {
    let folder = output.join(device);
    fs::create_dir_all(&folder).map_err(Error::written(&folder))?;
    Ok(folder)
}

/// Replaces a file: what is there afterwards is the old one or the whole new one, on the disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    countersign_durable::write(path, bytes, Access::Owner, Existing::Replace)
        .map_err(|error| Error::written(path)(error.into_io()))
}

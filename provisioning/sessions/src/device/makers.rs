//! A folder of makers' certificates, which an operator trusts to say whose hardware is whose.
//!
//! Decided here: that nobody but its owner may change it, and how much is read. What leads to one of its roots is judged by
//! [`tpm`] and [`chip`], each by the rules of its makers.

pub(super) mod chip;
#[cfg(feature = "tpm")]
pub(super) mod tpm;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use der::Decode as _;
use x509_cert::Certificate;

use crate::Error;

/// The most files of a folder that are read, and the most bytes of one.
const MAX_FILES: usize = 256;
const MAX_BYTES: u64 = 64 * 1024;

/// Certificates as they lie there, DER.
#[derive(Debug, Default)]
struct MakerFolder {
    /// Those that name themselves as their issuer.
    roots: Vec<Vec<u8>>,
    /// The others.
    below: Vec<Vec<u8>>,
}

impl MakerFolder {
    /// The certificates in the files of a folder, PEM.
    ///
    /// # Errors
    /// [`Error::Refused`] for a folder or file that others may write to, for what is no certificate, and without a root.
    fn read(folder: &Path) -> Result<Self, Error> {
        let mut makers = Self::default();
        own(folder)?;
        let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
        for (count, entry) in entries.enumerate() {
            let path = entry.map_err(|error| unreadable(folder, &error))?.path();
            if count >= MAX_FILES {
                return Err(Error::refused(format!(
                    "{} has more than {MAX_FILES} files; name a folder with those of your makers alone",
                    folder.display()
                )));
            }
            makers.take(&path)?;
        }
        if makers.roots.is_empty() {
            return Err(Error::refused(format!(
                "{} has no root of a maker: put the makers' root certificates there, PEM",
                folder.display()
            )));
        }
        Ok(makers)
    }

    fn take(&mut self, path: &Path) -> Result<(), Error> {
        own(path)?;
        let size = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        let refused = |reason: &dyn std::fmt::Display| not_a_makers(path, reason);
        if size.len() > MAX_BYTES {
            return Err(refused(&format_args!("more than {MAX_BYTES} bytes")));
        }
        let text = fs::read(path).map_err(|error| unreadable(path, &error))?;
        let found =
            countersign_trust_store::pem::certificates(&text).map_err(|error| refused(&error))?;
        for certificate in found {
            let parsed = Certificate::from_der(&certificate).map_err(|error| refused(&error))?;
            let parsed = parsed.tbs_certificate();
            if parsed.subject() == parsed.issuer() {
                self.roots.push(certificate);
            } else {
                self.below.push(certificate);
            }
        }
        Ok(())
    }
}

/// What is said of a certificate that is of no use here.
fn not_a_makers(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::refused(format!(
        "{} is no maker's certificate in PEM ({reason}); take it out of the folder, or put another there",
        path.display()
    ))
}

/// Demands that nobody but its owner may change what is trusted.
fn own(path: &Path) -> Result<(), Error> {
    let mode = fs::metadata(path)
        .map_err(|error| unreadable(path, &error))?
        .mode();
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Error::refused(format!(
        "others may change {0}, and with it whose hardware is taken; run: chmod go-w {0}",
        path.display()
    )))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::refused(format!("{} could not be read: {error}", path.display()))
}

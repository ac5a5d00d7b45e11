//! What this machine has: every kind of store of this build, asked in turn.

use countersign_keys::Detected;

/// A kind of store that a machine may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An ATECC608 on an I2C bus.
    Atecc608,
    /// A token behind a PKCS#11 module.
    Pkcs11,
    /// A TPM 2.0.
    Tpm,
}

impl Kind {
    /// The scheme of its key URIs.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Atecc608 => "atecc608",
            Self::Pkcs11 => "pkcs11",
            Self::Tpm => "tpm",
        }
    }
}

/// Looks for every device that may hold keys: what is there, and why something is missing. PKCS#11 modules in the usual
/// places are loaded; I2C buses get a wake pulse.
#[must_use]
pub fn detect() -> Vec<(Kind, Detected)> {
    let of = |kind, found: Vec<Detected>| found.into_iter().map(move |found| (kind, found));
    of(Kind::Tpm, crate::tpm::detect())
        .chain(of(Kind::Atecc608, atecc608()))
        .chain(of(Kind::Pkcs11, countersign_backend_pkcs11::detect()))
        .collect()
}

#[cfg(target_os = "linux")]
fn atecc608() -> Vec<Detected> {
    countersign_backend_atecc608::detect()
}

#[cfg(not(target_os = "linux"))]
fn atecc608() -> Vec<Detected> {
    Vec::new()
}

//! The TPM, where this build has the feature; where it has not, the sentence that says so.

use countersign_keys::{Detected, Error, KeyProvider, Tcti};

#[cfg(feature = "tpm")]
pub(crate) fn store(tcti: Option<&Tcti>) -> Result<Box<dyn KeyProvider>, Error> {
    let tcti = tcti.cloned().unwrap_or_default();
    Ok(Box::new(countersign_backend_tpm::TpmProvider::open_tcti(
        tcti,
    )?))
}

#[cfg(feature = "tpm")]
pub(crate) fn detect() -> Vec<Detected> {
    countersign_backend_tpm::detect()
}

/// What is said of a `tpm:` key where the feature is absent.
#[cfg(not(feature = "tpm"))]
const ABSENT: &str = "this build has no TPM support: built without the feature tpm; install the package that has it, or build with --features tpm (libtss2-dev)";

#[cfg(not(feature = "tpm"))]
pub(crate) fn store(_: Option<&Tcti>) -> Result<Box<dyn KeyProvider>, Error> {
    Err(Error::new(countersign_keys::ErrorKind::Unsupported, ABSENT))
}

#[cfg(not(feature = "tpm"))]
pub(crate) fn detect() -> Vec<Detected> {
    vec![Detected {
        place: "TPM 2.0".to_owned(),
        found: countersign_keys::Found::Missing {
            reason: ABSENT.to_owned(),
        },
    }]
}

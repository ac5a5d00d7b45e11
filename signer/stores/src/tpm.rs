//! The TPM, where this build has the feature; where it has not, the sentence that says so.

use countersign_keys::{Detected, Error, KeyProvider, MonotonicCounter, Tcti};

#[cfg(feature = "tpm")]
pub(crate) fn store(tcti: Option<&Tcti>) -> Result<Box<dyn KeyProvider>, Error> {
    let tcti = tcti.cloned().unwrap_or_default();
    Ok(Box::new(countersign_backend_tpm::TpmProvider::open_tcti(
        tcti,
    )?))
}

/// The counter at an NV index; `make` makes one where there is nothing.
#[cfg(feature = "tpm")]
pub(crate) fn counter(
    index: u32,
    tcti: Option<&Tcti>,
    make: bool,
) -> Result<Box<dyn MonotonicCounter>, Error> {
    use countersign_backend_tpm::{CounterIndex, TpmProvider};
    use countersign_keys::ErrorKind;
    let at = CounterIndex::new(index).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "{index:#010x} is no place for a counter; use one from 0x01800000 to 0x0180ffff"
            ),
        )
    })?;
    let tpm = TpmProvider::open_tcti(tcti.cloned().unwrap_or_default())?;
    if make {
        match tpm.create_counter(at) {
            // What is there is looked at when it is read.
            Err(error) if error.kind() != ErrorKind::Exists => return Err(error),
            _ => {}
        }
    }
    Ok(Box::new(tpm.counter(at)))
}

#[cfg(not(feature = "tpm"))]
pub(crate) fn counter(
    _: u32,
    _: Option<&Tcti>,
    _: bool,
) -> Result<Box<dyn MonotonicCounter>, Error> {
    Err(Error::new(countersign_keys::ErrorKind::Unsupported, ABSENT))
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

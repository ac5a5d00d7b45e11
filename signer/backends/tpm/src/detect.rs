//! Looking for a TPM on this machine.

use crate::provider::TpmProvider;
use countersign_keys::{Detected, Found, KeyProvider as _, KeyUri, Tcti, TpmKey, TpmKeyName};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The TPMs that the kernel knows, each with what it is or why it cannot be used; one entry that says why there is none.
#[must_use]
pub fn detect() -> Vec<Detected> {
    let managed = numbered("/dev", "tpmrm");
    if !managed.is_empty() {
        let tctis: Vec<Tcti> = managed
            .iter()
            .filter_map(|path| format!("device:{path}").parse().ok())
            .collect();
        return detect_among(&tctis);
    }
    let raw = numbered("/dev", "tpm");
    let reason = match raw.first() {
        None => "this machine has no TPM that the kernel knows; switch it on in the firmware's setup (TPM, fTPM, PTT), and see `dmesg | grep -i tpm`".to_owned(),
        Some(path) if is_version_1() => format!(
            "the TPM at {path} is a TPM 1.2, which cannot do this; use a machine with a TPM 2.0"
        ),
        Some(path) => format!(
            "there is {path} and no /dev/tpmrm0, which keeps several programs apart; use a kernel with a resource manager (4.12 or later)"
        ),
    };
    vec![missing("/dev/tpmrm0".to_owned(), reason)]
}

/// The same for TPMs that are reached like this.
#[must_use]
pub fn detect_among(tctis: &[Tcti]) -> Vec<Detected> {
    tctis.iter().map(look).collect()
}

fn look(tcti: &Tcti) -> Detected {
    let place = match tcti.device() {
        Some(path) => path.to_owned(),
        None => tcti.to_string(),
    };
    match TpmProvider::new(tcti.clone()).describe() {
        Ok(description) => {
            let elsewhere = (*tcti != Tcti::default()).then(|| tcti.clone());
            let name = TpmKeyName::Name("signing".to_owned());
            Detected {
                place,
                found: Found::Ready {
                    description,
                    example: KeyUri::Tpm(TpmKey::new(name, elsewhere)),
                },
            }
        }
        Err(error) => missing(place, error.to_string()),
    }
}

fn missing(place: String, reason: String) -> Detected {
    Detected {
        place,
        found: Found::Missing { reason },
    }
}

/// The files of a folder that are called this and a number, ascending.
fn numbered(folder: &str, prefix: &str) -> Vec<String> {
    let mut paths: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.strip_prefix(prefix).is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        })
        .map(|name| format!("{folder}/{name}"))
        .collect();
    paths.sort();
    paths
}

fn is_version_1() -> bool {
    fs::read_to_string("/sys/class/tpm/tpm0/tpm_version_major")
        .is_ok_and(|version| version.trim() == "1")
}

/// The name of the group that owns a file, for people.
pub(crate) fn group_of(path: &str) -> Option<String> {
    let group = fs::metadata(Path::new(path)).ok()?.gid();
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == group).then(|| name.to_owned())
    })
}

//! What a TPM, or the way to it, reports: first as it is, then as the error that every store has.

use bitfield::BitRange as _;
use countersign_keys::{Error, ErrorKind, Tcti};
use std::io;
use tss_esapi::WrapperErrorKind;
use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind as Kind};

/// Why something did not work, before anybody is told.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller has stopped waiting; nothing more was done.
    Abandoned,
    /// Busy through all tries (TPM_RC_RETRY, YIELDED, TESTING, NV_RATE, NV_UNAVAILABLE).
    Busy(tss_esapi::Error),
    /// The TPM refused a command.
    Refused(Code),
    /// The library, the way to the TPM, or an answer that is none.
    Broken(tss_esapi::Error),
    /// The TPM answered what it must not.
    Wrong(&'static str),
    /// The TPM is not the one that it was.
    OtherDevice,
    /// Told already.
    Said(Error),
}

/// A response code of the TPM itself (TPM 2.0 part 2, §6.6), without the layers of the library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code {
    pub(crate) kind: Kind,
    error: tss_esapi::Error,
}

impl From<tss_esapi::Error> for Failure {
    fn from(error: tss_esapi::Error) -> Self {
        let tss_esapi::Error::Tss2Error(code) = error else {
            return Self::Broken(error);
        };
        // The library's kinds know no layers (bits 16 to 23): a code of its own would be read as one of the TPM.
        // Those of the TPM have bit 7 or bit 8 set (part 2, §6.6.2).
        let number = number(code);
        if number > 0xfff || number & 0x180 == 0 {
            return Self::Broken(error);
        }
        match code.kind() {
            Some(
                Kind::Retry | Kind::Yielded | Kind::Testing | Kind::NvRate | Kind::NvUnavailable,
            ) => Self::Busy(error),
            Some(kind) => Self::Refused(Code { kind, error }),
            None => Self::Broken(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

/// The number of a response code: 0x18b for "no such handle".
pub(crate) fn number(code: Tss2ResponseCode) -> u32 {
    match code {
        Tss2ResponseCode::Success => 0,
        Tss2ResponseCode::FormatZero(code) => code.bit_range(31, 0),
        Tss2ResponseCode::FormatOne(code) => code.bit_range(31, 0),
    }
}

/// TSS2_ESYS_RC_RSP_AUTH_FAILED: the HMAC of an answer is wrong.
const ANSWER_NOT_AUTHENTIC: u32 = 0x0007_001c;

impl Failure {
    /// What the TPM said, if it did.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Refused(code) => Some(code.kind),
            _ => None,
        }
    }

    /// Whether sessions, handles and connection are as they were, so that the next call may rely on them.
    pub(crate) fn leaves_device_sound(&self) -> bool {
        match self {
            Self::Abandoned | Self::Said(_) | Self::OtherDevice => true,
            Self::Busy(_) | Self::Broken(_) | Self::Wrong(_) => false,
            Self::Refused(code) => matches!(
                code.kind,
                Kind::Lockout
                    | Kind::AuthFail
                    | Kind::NvSpace
                    | Kind::NvDefined
                    | Kind::NvLocked
                    | Kind::NvAuthorization
                    | Kind::Hierarchy
            ),
        }
    }

    /// Whether the same call may succeed with a new connection and new sessions: after a reset, or when something was
    /// altered or lost on the way.
    pub(crate) fn is_worth_a_new_connection(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Wrong(_) => true,
            Self::Abandoned | Self::Busy(_) | Self::Said(_) | Self::OtherDevice => false,
            Self::Refused(code) => {
                !self.leaves_device_sound() && !matches!(code.kind, Kind::PolicyFail)
            }
        }
    }

    /// A session or an object is not there any more: somebody else, who uses the TPM without a resource manager too, made room for
    /// their own. Where that has the same handle by now, the TPM only says that the authorization is wrong (TPM_RC_BAD_AUTH, which it does
    /// not count).
    pub(crate) fn is_of_others(&self) -> bool {
        matches!(
            self.kind(),
            Some(
                Kind::BadAuth
                    | Kind::ReferenceH0
                    | Kind::ReferenceH1
                    | Kind::ReferenceS0
                    | Kind::ReferenceS1
                    | Kind::ReferenceS2
            )
        )
    }

    /// The TPM has no room for one more session or object that is not kept.
    pub(crate) fn is_full_memory(&self) -> bool {
        matches!(
            self.kind(),
            Some(
                Kind::ObjectMemory
                    | Kind::ObjectHandles
                    | Kind::SessionMemory
                    | Kind::SessionHandles
                    | Kind::Memory
            )
        )
    }

    /// A whole sentence. `what` says what was to be done: `the key tpm:door could not sign`.
    pub(crate) fn told(self, tcti: &Tcti, what: &str) -> Error {
        match self {
            Self::Said(error) => error,
            Self::Abandoned => Error::new(
                ErrorKind::Timeout,
                format!("{what}: nobody waits for the answer any more; try again"),
            ),
            Self::Busy(error) => Error::with_source(
                ErrorKind::Busy,
                format!(
                    "{what}: the TPM at {tcti} stays busy ({error}); try again later, and see who else uses it"
                ),
                error,
            ),
            Self::Wrong(wrong) => Error::new(
                ErrorKind::Device,
                format!(
                    "{what}: the TPM at {tcti} gave {wrong}; try again, and if it stays so, do not trust this TPM or the wires to it"
                ),
            ),
            Self::OtherDevice => Error::new(
                ErrorKind::OtherDevice,
                format!(
                    "{what}: the TPM at {tcti} was cleared or exchanged, for its storage root key is not the one from before; provision this device again"
                ),
            ),
            Self::Broken(error) => broken(tcti, what, error),
            Self::Refused(code) => refused(tcti, what, code),
        }
    }
}

fn broken(tcti: &Tcti, what: &str, error: tss_esapi::Error) -> Error {
    let number = match error {
        tss_esapi::Error::Tss2Error(code) => number(code),
        tss_esapi::Error::WrapperError(kind) => {
            let next = match kind {
                WrapperErrorKind::WrongValueFromTpm | WrapperErrorKind::WrongParamSize => {
                    "try again, and if it stays so, do not trust this TPM or the wires to it"
                }
                _ => "try again, and see whether this TPM does what is asked of it",
            };
            return Error::with_source(
                ErrorKind::Device,
                format!("{what}: the answer of the TPM at {tcti} cannot be read ({error}); {next}"),
                error,
            );
        }
    };
    if number == ANSWER_NOT_AUTHENTIC {
        return Error::with_source(
            ErrorKind::BadSignature,
            format!(
                "{what}: an answer of the TPM at {tcti} was altered on the way; look for what sits between the processor and the TPM"
            ),
            error,
        );
    }
    Error::with_source(
        ErrorKind::Device,
        format!(
            "{what}: the TPM at {tcti} does not answer as a TPM does (TSS code {number:#010x}); try again, and check that it is there and that nobody else holds it"
        ),
        error,
    )
}

fn refused(tcti: &Tcti, what: &str, code: Code) -> Error {
    let Code { kind, error } = code;
    let (is, next) = match kind {
        Kind::Lockout => (
            ErrorKind::LockedOut,
            "wait until it takes passwords again (tpm2_getcap properties-variable tells when), or let the holder of the lockout password run tpm2_dictionarylockout --clear-lockout",
        ),
        Kind::AuthFail | Kind::BadAuth => (
            ErrorKind::Permissions,
            "give the owner's password if this TPM has one; a key with a password of its own cannot be used here",
        ),
        Kind::PolicyFail | Kind::PcrChanged => (
            ErrorKind::StateChanged,
            "boot the state in which the key was made, or make a new key",
        ),
        Kind::NvSpace | Kind::NvSize => (
            ErrorKind::Full,
            "remove keys or NV indices that nobody needs (tpm2_getcap handles-persistent, handles-nv-index)",
        ),
        Kind::NvDefined => (ErrorKind::Exists, "name another handle or index"),
        Kind::NvLocked | Kind::NvAuthorization => (
            ErrorKind::Permissions,
            "unlock or define the index again; a lock may end with the next start of the machine",
        ),
        Kind::NvUninitialized => (
            ErrorKind::Malformed,
            "it was never written; remove it and create it anew",
        ),
        Kind::Hierarchy | Kind::Disabled | Kind::AuthUnavailable => (
            ErrorKind::Permissions,
            "switch on the owner hierarchy in the firmware's setup",
        ),
        Kind::Initialize | Kind::Failure | Kind::Upgrade | Kind::Reboot => (
            ErrorKind::Device,
            "restart the machine, and if it stays so, replace the TPM",
        ),
        Kind::CommandCode | Kind::Curve | Kind::Scheme | Kind::Hash | Kind::Symmetric => (
            ErrorKind::Unsupported,
            "use a TPM 2.0 with P-256 and SHA-256",
        ),
        Kind::ObjectMemory
        | Kind::ObjectHandles
        | Kind::SessionMemory
        | Kind::SessionHandles
        | Kind::Memory => (
            ErrorKind::Busy,
            "close what else uses it, or go through /dev/tpmrm0, which keeps its users apart",
        ),
        Kind::Integrity | Kind::Ticket => (
            ErrorKind::Permissions,
            "it was made for another TPM or key, or was altered; ask for a new one",
        ),
        _ => (
            ErrorKind::Device,
            "try again; if it stays so, restart the machine or replace the TPM",
        ),
    };
    Error::with_source(
        is,
        format!("{what}: the TPM at {tcti} refused it ({error}); {next}"),
        error,
    )
}

/// A device file that cannot be opened.
pub(crate) fn of_device(path: &str, group: Option<String>, error: io::Error) -> Error {
    let (kind, sentence) = match error.kind() {
        io::ErrorKind::NotFound => (
            ErrorKind::NotFound,
            format!(
                "there is no TPM at {path}; switch it on in the firmware's setup (TPM, fTPM, PTT), or name another with ?tcti="
            ),
        ),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::Permissions,
            format!(
                "the TPM at {path} may not be used by this user; add the user to the group {} and log in again",
                group.as_deref().unwrap_or("that owns it (on Debian: tss)")
            ),
        ),
        io::ErrorKind::ResourceBusy => (
            ErrorKind::Busy,
            format!(
                "the TPM at {path} is held by another program; use /dev/tpmrm0, which serves several at once"
            ),
        ),
        _ => (
            ErrorKind::Io,
            format!("the TPM at {path} cannot be opened; see what the system says below"),
        ),
    };
    Error::with_source(kind, sentence, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(number: u32) -> Failure {
        tss_esapi::Error::Tss2Error(Tss2ResponseCode::from(number)).into()
    }

    #[test]
    fn codes_of_the_library_are_not_taken_for_codes_of_the_tpm() {
        // TSS2_TCTI_RC_IO_ERROR ends like TPM_RC_TESTING, TSS2_ESYS_RC_GENERAL_FAILURE like TPM_RC_FAILURE.
        for library in [0x000a_000a, 0x0007_0001, 0x0009_0022] {
            assert!(
                matches!(failure(library), Failure::Broken(_)),
                "{library:#x}"
            );
        }
        assert_eq!(failure(0x99d).kind(), Some(Kind::PolicyFail));
        assert_eq!(failure(0x18b).kind(), Some(Kind::Handle));
        assert!(matches!(failure(0x922), Failure::Busy(_)));
        assert!(failure(0x902).is_full_memory());
    }

    #[test]
    fn tf01_no_permission_names_the_group() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = of_device("/dev/tpmrm0", Some("tss".to_owned()), denied);
        assert_eq!(error.kind(), ErrorKind::Permissions);
        assert!(error.to_string().contains("group tss"), "{error}");
    }

    #[test]
    fn tf03_lockout_says_how_it_ends() {
        let error = failure(0x921).told(&Tcti::default(), "the key tpm:door could not sign");
        assert_eq!(error.kind(), ErrorKind::LockedOut);
        assert!(error.to_string().contains("--clear-lockout"), "{error}");
    }
}

//! What a module reports, as the error that every store has.

use crate::pin::Tries;
use countersign_keys::{Error, ErrorKind};
use cryptoki::error::{Error as LibraryError, RvError};

/// Why a piece of work in a session did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The module said so.
    Library(LibraryError),
    /// It is said already, in words for people.
    Said(Error),
    /// The token wants its PIN first.
    PinNeeded(Tries),
    /// The token does not take this PIN.
    PinRefused(Error),
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Self {
        Self::Library(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

impl Failure {
    /// Whether the session, the login or the objects seen in it are gone, so that beginning anew may help.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Library(LibraryError::Pkcs11(
                RvError::SessionHandleInvalid
                    | RvError::SessionClosed
                    | RvError::DeviceRemoved
                    | RvError::TokenNotPresent
                    | RvError::TokenNotRecognized
                    | RvError::SlotIdInvalid
                    | RvError::UserNotLoggedIn
                    | RvError::ObjectHandleInvalid
                    | RvError::KeyHandleInvalid
                    | RvError::CryptokiNotInitialized,
                _,
            ))
        )
    }

    /// A whole sentence about `what`, such as `the token "build"`, with the module's own error below it.
    pub(crate) fn told_of(self, what: &str) -> Error {
        match self {
            Self::Library(error) => of_library(error, what),
            Self::Said(error) | Self::PinRefused(error) => error,
            Self::PinNeeded(_) => Error::new(
                ErrorKind::Passphrase,
                format!("{what} asks for its PIN; give it"),
            ),
        }
    }
}

/// The module's name of an error, such as `CKR_DEVICE_ERROR`.
pub(crate) fn name(error: RvError) -> String {
    let mut name = "CKR".to_owned();
    for letter in format!("{error:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn of_library(error: LibraryError, what: &str) -> Error {
    let LibraryError::Pkcs11(value, function) = error else {
        return Error::with_source(
            ErrorKind::Device,
            format!(
                "the module of {what} answered what it must not; see whether the maker has a newer one"
            ),
            error,
        );
    };
    let (kind, next) = match value {
        RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid => (ErrorKind::NotFound, "put the token in, and try again"),
        RvError::UserNotLoggedIn | RvError::UserAnotherAlreadyLoggedIn => (
            ErrorKind::Permissions,
            "log out whoever else uses the token in this program, and try again",
        ),
        RvError::TokenWriteProtected | RvError::SessionReadOnly | RvError::ActionProhibited => (
            ErrorKind::Permissions,
            "use a token, or a role in it, that may be changed",
        ),
        RvError::KeyFunctionNotPermitted => {
            (ErrorKind::Permissions, "use a key that may sign (CKA_SIGN)")
        }
        RvError::MechanismInvalid
        | RvError::CurveNotSupported
        | RvError::DomainParamsInvalid
        | RvError::FunctionNotSupported
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid
        | RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::KeySizeRange
        | RvError::KeyTypeInconsistent => (
            ErrorKind::Unsupported,
            "use another algorithm, or another token",
        ),
        RvError::SessionCount
        | RvError::SessionParallelNotSupported
        | RvError::OperationActive
        | RvError::DeviceMemory => (
            ErrorKind::Busy,
            "close other programs that use the token, remove keys that are no longer used, and try again",
        ),
        RvError::RandomNoRng => (
            ErrorKind::Random,
            "use a token that has a source of random numbers",
        ),
        RvError::Cancel | RvError::FunctionCanceled => (
            ErrorKind::Device,
            "try again, and confirm at the token if it asks",
        ),
        _ => (
            ErrorKind::Device,
            "try again; if it stays so, see the log of the module or of its device",
        ),
    };
    Error::with_source(
        kind,
        format!("{what} failed at C_{function:?} ({}); {next}", name(value)),
        LibraryError::Pkcs11(value, function),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    #[test]
    fn errors_have_the_names_of_the_standard() {
        assert_eq!(name(RvError::DeviceError), "CKR_DEVICE_ERROR");
        assert_eq!(
            name(RvError::SessionHandleInvalid),
            "CKR_SESSION_HANDLE_INVALID"
        );
    }

    #[test]
    fn a_module_that_fails_is_told_with_a_remedy_and_without_its_code_in_the_interface() {
        let failure = Failure::from(LibraryError::Pkcs11(RvError::DeviceError, Function::Sign));
        assert!(!failure.is_lost());
        let error = failure.told_of("the token \"build\"");
        assert_eq!(error.kind(), ErrorKind::Device);
        assert!(
            error
                .to_string()
                .starts_with("the token \"build\" failed at C_Sign (CKR_DEVICE_ERROR); "),
            "{error}"
        );
        let gone = Failure::from(LibraryError::Pkcs11(RvError::DeviceRemoved, Function::Sign));
        assert!(gone.is_lost());
        assert_eq!(gone.told_of("x").kind(), ErrorKind::NotFound);
    }
}

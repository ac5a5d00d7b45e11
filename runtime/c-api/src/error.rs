//! What is handed back where something was not done: a code, what happened, what to do, and an exit status.

use std::any::Any;
use std::ffi::{CStr, CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use countersign_runtime::trust_store::{Code, Rejection};
use countersign_runtime::{BuildError, LoadError, RunError};

use crate::passed::{Text, lent};

/// The code where a function was called wrongly. It is no refusal, and so not in the table of those.
const MISUSE: &str = "misuse";
const MISUSE_NEXT: &str = "Correct the call; the message says which of its arguments.";
/// The status of wrong use, everywhere in this project.
const MISUSE_STATUS: u8 = 2;

/// The code where another thread stopped a guest. It is no refusal either.
const STOPPED: &str = "stopped";
const STOPPED_NEXT: &str = "Start it again, if that was not meant.";
/// What a program that was told to stop ends with: it did not do what it was started for.
const STOPPED_STATUS: u8 = 1;

/// Most characters of a message.
const MAX_MESSAGE: usize = 4_096;

/// `countersign_error`.
pub(crate) struct Error {
    code: CString,
    message: CString,
    next_step: CString,
    exit_status: u8,
}

/// Why something was not done.
pub(crate) enum Failure {
    /// The function was called wrongly.
    Misuse(String),
    /// It was refused, or it failed.
    Refused(Code, String),
    /// Another thread stopped the guest.
    Stopped,
}

impl Failure {
    pub(crate) const fn misuse(message: String) -> Self {
        Self::Misuse(message)
    }

    pub(crate) fn host(message: String) -> Self {
        Self::Refused(Code::HostFailure, message)
    }

    fn panicked(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it said nothing");
        Self::host(format!("the library panicked: {message}"))
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection.code(), rejection.to_string())
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Refused(error.code(), error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Refused(error.code(), error.to_string())
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::host(error.to_string())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Misuse(message) => Self {
                code: c_string(MISUSE),
                message: c_string(&message),
                next_step: c_string(MISUSE_NEXT),
                exit_status: MISUSE_STATUS,
            },
            Failure::Refused(code, message) => Self {
                code: c_string(code.as_str()),
                message: c_string(&message),
                next_step: c_string(code.next_step()),
                exit_status: code.exit_status(),
            },
            Failure::Stopped => Self {
                code: c_string(STOPPED),
                message: c_string("the guest was stopped by this program"),
                next_step: c_string(STOPPED_NEXT),
                exit_status: STOPPED_STATUS,
            },
        }
    }
}

/// Does what a function is for. Whatever goes wrong, a panic included, becomes an object.
pub(crate) fn answer(work: impl FnOnce() -> Result<(), Failure>) -> Option<Box<Error>> {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return None,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::panicked(panic.as_ref()),
    };
    Some(Box::new(failure.into()))
}

/// Does what has no error: looks something up, or frees. `otherwise` is the answer where even that panics.
pub(crate) fn look<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}

/// Text for C, with everything escaped that a terminal would obey; a component's author chose some of it.
pub(crate) fn c_string(text: &str) -> CString {
    let escaped: String = text
        .chars()
        .take(MAX_MESSAGE)
        .flat_map(|c| match c {
            '\'' | '"' | '\\' => vec![c],
            _ => c.escape_debug().collect(),
        })
        .collect();
    // There is no NUL in it, having been escaped.
    CString::new(escaped).unwrap_or_default()
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_error_code(error: Option<&Error>) -> Text {
    lent(error.map_or(c"", |error| error.code.as_c_str()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_error_message(error: Option<&Error>) -> Text {
    lent(error.map_or(c"", |error| error.message.as_c_str()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_error_next_step(error: Option<&Error>) -> Text {
    lent(error.map_or(c"", |error| error.next_step.as_c_str()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_error_exit_status(error: Option<&Error>) -> c_int {
    error.map_or(0, |error| c_int::from(error.exit_status))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_error_free(error: Option<Box<Error>>) {
    look((), || drop(error));
}

/// The version of this library.
const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version holds no NUL"),
    };

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_version() -> Text {
    lent(VERSION)
}

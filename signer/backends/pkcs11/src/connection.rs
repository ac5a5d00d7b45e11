//! The session with a token, as the worker's thread holds it: opened when needed, logged in, and made anew when it was
//! lost.

use crate::failure::Failure;
use crate::pin::Tries;
use crate::slot::{self, Present};
use countersign_keys::{Error, ErrorKind, Pkcs11Token};
use cryptoki::error::{Error as LibraryError, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::types::RawAuthPin;

/// A token, with or without a session.
pub(crate) struct Connection {
    wanted: Pkcs11Token,
    open: Option<Open>,
    /// The serial number of the token that was there first: later it must be the same.
    serial: Option<String>,
    /// How many sessions there have been. Handles of objects are good within one.
    sessions: u64,
}

struct Open {
    token: Present,
    session: Session,
    writable: bool,
}

/// A session in which the user is logged in.
pub(crate) struct LoggedIn<'a> {
    pub(crate) session: &'a Session,
    /// Which session this is; a handle found in another one may mean another object here.
    pub(crate) number: u64,
}

impl Connection {
    pub(crate) fn new(wanted: Pkcs11Token) -> Self {
        Self {
            wanted,
            open: None,
            serial: None,
            sessions: 0,
        }
    }

    /// Gives the session up; the next piece of work begins with a new one.
    pub(crate) fn forget(&mut self) {
        self.open = None;
    }

    /// The token as it is now.
    pub(crate) fn token(&mut self) -> Result<Present, Failure> {
        let token = slot::select(&self.wanted)?;
        let serial = token.info.serial_number();
        match &self.serial {
            None => self.serial = Some(serial.to_owned()),
            Some(first) if first == serial => {}
            Some(first) => {
                return Err(Error::new(
                    ErrorKind::OtherDevice,
                    format!(
                        "{} with the serial number {first} was exchanged for one with {serial}; put the first one in again, or start anew to use the other",
                        token.name()
                    ),
                )
                .into());
            }
        }
        Ok(token)
    }

    /// Does `work` in a session that is logged in. If the session was lost, `work` is done once more in a new one.
    ///
    /// # Errors
    /// [`Failure::PinNeeded`] if a login is needed and `pin` is none. A PIN is given to the token once.
    pub(crate) fn with<T>(
        &mut self,
        writable: bool,
        pin: Option<&RawAuthPin>,
        work: &dyn Fn(&LoggedIn<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match self.attempt(writable, pin, work) {
            Err(failure) if failure.is_lost() => {
                self.forget();
                self.attempt(writable, pin, work)
            }
            result => result,
        }
        .inspect_err(|failure| {
            if failure.is_lost() {
                self.forget();
            }
        })
    }

    fn attempt<T>(
        &mut self,
        writable: bool,
        pin: Option<&RawAuthPin>,
        work: &dyn Fn(&LoggedIn<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self
            .open
            .as_ref()
            .is_none_or(|open| writable && !open.writable)
        {
            let token = self.token()?;
            let session = if writable {
                token.module.open_rw_session(token.slot)
            } else {
                token.module.open_ro_session(token.slot)
            }?;
            // The one before is closed only now: with the last session of a token its login ends.
            self.open = Some(Open {
                token,
                session,
                writable,
            });
            self.sessions = self.sessions.saturating_add(1);
        }
        let Some(open) = &self.open else {
            return Err(LibraryError::InvalidValue.into());
        };
        open.log_in(pin)?;
        work(&LoggedIn {
            session: &open.session,
            number: self.sessions,
        })
    }
}

impl Open {
    fn log_in(&self, pin: Option<&RawAuthPin>) -> Result<(), Failure> {
        let state = self.session.get_session_info()?.session_state();
        let token = &self.token;
        match state {
            SessionState::RoUser | SessionState::RwUser => return Ok(()),
            _ if !token.info.login_required() => return Ok(()),
            _ => {}
        }
        // As it is now, not as it was when the session was opened.
        let info = token.module.get_token_info(token.slot)?;
        if !info.user_pin_initialized() {
            return Err(Error::new(
                ErrorKind::Passphrase,
                format!(
                    "{} has no user PIN yet; let its security officer set one (pkcs11-tool --init-pin)",
                    token.name()
                ),
            )
            .into());
        }
        if info.user_pin_locked() {
            return Err(self.locked(None).into());
        }
        let result = if info.protected_authentication_path() {
            // The token, or its reader, asks by itself.
            self.session.login(UserType::User, None)
        } else {
            let pin = pin.ok_or(Failure::PinNeeded(Tries::told_by(&info)))?;
            self.session.login_with_raw(UserType::User, pin)
        };
        match result {
            Ok(()) | Err(LibraryError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn refused(&self, error: LibraryError) -> Failure {
        let LibraryError::Pkcs11(value, _) = &error else {
            return error.into();
        };
        let token = self.token.name();
        let refused =
            |message: String| Failure::PinRefused(Error::new(ErrorKind::Passphrase, message));
        match *value {
            RvError::PinIncorrect => {
                let info = self.token.module.get_token_info(self.token.slot);
                if info.as_ref().is_ok_and(|info| info.user_pin_locked()) {
                    return Failure::PinRefused(self.locked(Some(error)));
                }
                let left = info
                    .map_or(Tries::Unknown, |info| Tries::told_by(&info))
                    .left();
                refused(format!(
                    "{token} refused the PIN, and {left}; correct the PIN before you try again"
                ))
            }
            RvError::PinInvalid | RvError::PinLenRange => refused(format!(
                "{token} takes no PIN of this length or with these characters; correct the PIN before you try again"
            )),
            RvError::PinLocked => Failure::PinRefused(self.locked(Some(error))),
            RvError::PinExpired => refused(format!(
                "the PIN of {token} has expired; set a new one (pkcs11-tool --change-pin), and then try again"
            )),
            RvError::UserPinNotInitialized => refused(format!(
                "{token} has no user PIN yet; let its security officer set one (pkcs11-tool --init-pin)"
            )),
            _ => error.into(),
        }
    }

    fn locked(&self, cause: Option<LibraryError>) -> Error {
        let message = format!(
            "{} is locked after too many wrong PINs; let its security officer set a new PIN (pkcs11-tool --login --login-type so --init-pin)",
            self.token.name()
        );
        match cause {
            Some(cause) => Error::with_source(ErrorKind::LockedOut, message, cause),
            None => Error::new(ErrorKind::LockedOut, message),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

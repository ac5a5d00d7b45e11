//! PINs: where they come from, and how few tries there are.

use countersign_keys::{Error, ErrorKind, Pkcs11Token, Secret};
use cryptoki::slot::TokenInfo;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest PIN that is read from a file, in bytes; a longer file is the wrong one.
const MAX_PIN_BYTES: u64 = 256;

/// Which PIN is asked for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PinFor<'a> {
    /// The token's label.
    pub token: &'a str,
    /// How many wrong PINs it still takes.
    pub tries: Tries,
}

/// How many wrong PINs a token still takes, as far as it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tries {
    /// It does not say, and no wrong PIN was given of late.
    Unknown,
    /// A wrong PIN was given since the last right one, or few tries are left. It may have been the very PIN that lies in a
    /// file, and a supervisor may start its program again and again: only a person's PIN must be tried now.
    Fewer,
    /// The next wrong PIN locks the token. A PIN that no person has just typed must not be tried now.
    Last,
}

impl Tries {
    pub(crate) fn told_by(info: &TokenInfo) -> Self {
        if info.user_pin_final_try() {
            Self::Last
        } else if info.user_pin_count_low() {
            Self::Fewer
        } else {
            Self::Unknown
        }
    }

    /// Whether a PIN may be tried that no person has just typed, such as one in a file.
    #[must_use]
    pub const fn allow_stored(self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// What is left, for the sentence about a refused PIN.
    pub(crate) fn left(self) -> &'static str {
        match self {
            Self::Last => "one try is left before it locks itself",
            Self::Fewer => "fewer tries are left before it may lock itself",
            Self::Unknown => "it does not tell how many tries are left",
        }
    }
}

/// Where the PIN of a token comes from.
pub(crate) struct Source {
    file: Option<PathBuf>,
    ask: Box<Ask>,
}

type Ask = dyn Fn(PinFor<'_>) -> Result<Option<Secret>, Error> + Send + Sync;

impl Source {
    /// The file that the URI names (RFC 7512 §2.4, pin-source), or else whoever `ask` asks.
    pub(crate) fn new(
        token: &Pkcs11Token,
        ask: impl Fn(PinFor<'_>) -> Result<Option<Secret>, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        Ok(Self {
            file: token.get("pin-source").map(path_of).transpose()?,
            ask: Box::new(ask),
        })
    }

    pub(crate) fn pin(&self, wanted: PinFor<'_>) -> Result<Secret, Error> {
        let token = wanted.token;
        match &self.file {
            Some(file) if !wanted.tries.allow_stored() => Err(Error::new(
                ErrorKind::LockedOut,
                format!(
                    "the token \"{token}\" was given a wrong PIN, and {}, so the PIN in {} was not tried; log in once by hand (pkcs11-tool --login --list-objects), and then try again",
                    wanted.tries.left(),
                    file.display()
                ),
            )),
            Some(file) => read(file),
            None => (self.ask)(wanted)?.ok_or_else(|| {
                Error::new(
                    ErrorKind::Passphrase,
                    format!(
                        "the token \"{token}\" needs its PIN; name a file that holds it, as in pkcs11:…?pin-source=file:/run/secrets/pin"
                    ),
                )
            }),
        }
    }
}

fn path_of(source: &[u8]) -> Result<PathBuf, Error> {
    let text = std::str::from_utf8(source).unwrap_or_default();
    // RFC 7512 §2.4 leaves other forms to the application; a command to run ("|…") is none of ours.
    let path = text
        .strip_prefix("file://")
        .or_else(|| text.strip_prefix("file:"));
    let path = Path::new(path.unwrap_or(text));
    if !path.is_absolute() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "pin-source in a pkcs11: URI names something else than a file; give an absolute path, as in pin-source=file:/run/secrets/pin",
        ));
    }
    Ok(path.to_owned())
}

/// The first and only line of the file.
fn read(path: &Path) -> Result<Secret, Error> {
    let refuse = |why: &str| {
        Error::new(
            ErrorKind::Passphrase,
            format!(
                "the PIN file {} {why}; write the PIN alone into it, on one line",
                path.display()
            ),
        )
    };
    let failed = |source: std::io::Error| {
        let (kind, remedy) = match source.kind() {
            std::io::ErrorKind::NotFound => (ErrorKind::NotFound, "correct the path"),
            std::io::ErrorKind::PermissionDenied => {
                (ErrorKind::Permissions, "run this as the file's owner")
            }
            _ => (ErrorKind::Io, "check the disk and the path"),
        };
        Error::with_source(
            kind,
            format!(
                "the PIN file {} cannot be read: {source}; {remedy}",
                path.display()
            ),
            source,
        )
    };
    // Large enough at once: a growing vector would leave copies behind.
    let capacity = usize::try_from(MAX_PIN_BYTES).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity.saturating_add(64)));
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_PIN_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > capacity {
        return Err(refuse("is longer than any PIN"));
    }
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(refuse("is empty"));
    }
    if line.contains(&b'\n') {
        return Err(refuse("has several lines"));
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Result<Source, Error> {
        let token = Pkcs11Token::default().with("pin-source", text.as_bytes());
        Source::new(&token.expect("a token's attribute"), |_| Ok(None))
    }

    fn asked(source: &Source, tries: Tries) -> Result<Secret, Error> {
        source.pin(PinFor {
            token: "build",
            tries,
        })
    }

    #[test]
    fn a_file_gives_its_one_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pin");
        let named = source(&format!("file:{}", path.display())).expect("a file");
        assert_eq!(
            asked(&named, Tries::Unknown)
                .expect_err("none there")
                .kind(),
            ErrorKind::NotFound
        );
        for (contents, pin) in [
            ("1234", Some("1234")),
            ("12 34\n", Some("12 34")),
            ("1234\r\n", Some("1234")),
            ("", None),
            ("\n", None),
            ("1234\n5678\n", None),
            (&"1".repeat(300), None),
        ] {
            std::fs::write(&path, contents).expect("written");
            match (asked(&named, Tries::Unknown), pin) {
                (Ok(read), Some(pin)) => assert_eq!(read.expose(), pin.as_bytes()),
                (Err(error), None) => assert_eq!(error.kind(), ErrorKind::Passphrase),
                (result, _) => panic!("{contents:?}: {result:?}"),
            }
        }
    }

    #[test]
    fn tf03_no_try_is_spent_on_a_file_after_a_wrong_pin() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pin");
        std::fs::write(&path, "1234").expect("written");
        let named = source(&path.display().to_string()).expect("a file");
        asked(&named, Tries::Unknown).expect("nothing speaks against it");
        for (tries, left) in [
            (Tries::Fewer, "fewer tries"),
            (Tries::Last, "one try is left"),
        ] {
            let error = asked(&named, tries).expect_err("not tried");
            assert_eq!(error.kind(), ErrorKind::LockedOut);
            let message = error.to_string();
            assert!(
                message.contains("by hand") && message.contains(left),
                "{message}"
            );
        }
    }

    #[test]
    fn only_files_are_sources_and_nobody_to_ask_is_said() {
        for text in ["|cat /pin", "pin", "https://example.com/pin", ""] {
            let error = source(text).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{text}");
        }
        let nobody = Source::new(&Pkcs11Token::default(), |_| Ok(None)).expect("no file");
        let error = asked(&nobody, Tries::Unknown).expect_err("no PIN");
        assert_eq!(error.kind(), ErrorKind::Passphrase);
    }
}

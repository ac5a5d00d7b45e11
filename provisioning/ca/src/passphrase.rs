//! Where the passphrase of the authority's keys comes from: a file, or the terminal.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_keys::{Error, ErrorKind, Secret};
use countersign_stores::{SecretFor, Stores, Tries};
use zeroize::Zeroizing;

use crate::bounded;

/// The fewest characters of a new passphrase. The key file can be copied and guessed at in peace.
const MIN_CHARACTERS: usize = 8;

/// The most that is read of a file with a passphrase, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// How this run gets passphrases.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: Option<PathBuf>,
}

impl Source {
    pub(crate) fn new(file: Option<&Path>) -> Self {
        Self {
            file: file.map(Path::to_owned),
        }
    }

    /// For a new key in the directory: `None` only when `unencrypted` was asked for.
    pub(crate) fn for_new_key(&self, unencrypted: bool) -> anyhow::Result<Option<Secret>> {
        if unencrypted {
            return Ok(None);
        }
        self.new_secret(", or --unencrypted to protect the key by file permissions alone")
            .map(Some)
    }

    /// A passphrase for a new key; `otherwise` says what could be done without one.
    fn new_secret(&self, otherwise: &str) -> anyhow::Result<Secret> {
        let secret = match &self.file {
            Some(path) => first_line(path)?,
            None => {
                if !std::io::stdin().is_terminal() {
                    anyhow::bail!(
                        "no passphrase for the new key: give --passphrase-file FILE{otherwise}"
                    );
                }
                let first = prompt("Passphrase for the new key: ")?;
                let second = prompt("The same again: ")?;
                if *first != *second {
                    anyhow::bail!("the two passphrases differ: nothing was made");
                }
                first
            }
        };
        if secret.chars().count() < MIN_CHARACTERS {
            anyhow::bail!(
                "the passphrase has fewer than {MIN_CHARACTERS} characters: choose a longer one"
            );
        }
        Ok(Secret::new(secret.as_bytes()))
    }

    /// The stores of keys, whose passphrases and PINs come from here.
    pub(crate) fn stores(&self) -> Stores {
        let source = self.clone();
        Stores::new(move |wanted| match wanted {
            SecretFor::File(path) => source.for_key(&path.display().to_string()).map(Some),
            // A key file of one's own, by --key, is never unencrypted.
            SecretFor::NewFile(_) => source
                .new_secret("")
                .map(Some)
                .map_err(|error| Error::new(ErrorKind::Passphrase, format!("{error:#}"))),
            SecretFor::Pin { token, tries } => source.pin(token, tries).map(Some),
            _ => Ok(None),
        })
    }

    /// The PIN of a token.
    fn pin(&self, token: &str, tries: Tries) -> Result<Secret, Error> {
        let unavailable = |reason: String| Error::new(ErrorKind::Passphrase, reason);
        let pin = match &self.file {
            Some(path) if !tries.allow_stored() => {
                let why = match tries {
                    Tries::Last => "has one try left before it locks itself",
                    _ => "was given a wrong PIN and may lock itself",
                };
                return Err(Error::new(
                    ErrorKind::LockedOut,
                    format!(
                        "the token {token:?} {why}, so the PIN in {} was not tried; leave the file out, and type the PIN",
                        path.display()
                    ),
                ));
            }
            Some(path) => first_line(path).map_err(|error| unavailable(format!("{error:#}")))?,
            None if std::io::stdin().is_terminal() => {
                let warning = match tries {
                    Tries::Last => " (one wrong PIN more locks it)",
                    _ => "",
                };
                prompt(&format!("PIN of the token {token:?}{warning}: "))
                    .map_err(|error| unavailable(format!("{error:#}")))?
            }
            None => {
                return Err(unavailable(format!(
                    "the token {token:?} needs its PIN, and there is no terminal to ask at; give --pin-file FILE, or add pin-source=file:/PATH to the URI"
                )));
            }
        };
        Ok(Secret::new(pin.as_bytes()))
    }

    /// For a key that turns out to be encrypted.
    pub(crate) fn for_key(&self, what: &str) -> Result<Secret, Error> {
        let unavailable = |reason: String| Error::new(ErrorKind::Passphrase, reason);
        let secret = match &self.file {
            Some(path) => first_line(path).map_err(|error| unavailable(format!("{error:#}")))?,
            None if std::io::stdin().is_terminal() => {
                prompt(&format!("Passphrase for {what}: "))
                    .map_err(|error| unavailable(format!("{error:#}")))?
            }
            None => {
                return Err(unavailable(format!(
                    "the key of {what} is encrypted: give --passphrase-file FILE"
                )));
            }
        };
        Ok(Secret::new(secret.as_bytes()))
    }
}

fn first_line(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = bounded::read_text(path, MAX_FILE_BYTES)
        .map(Zeroizing::new)
        .context("the passphrase file cannot be used")?;
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default();
    anyhow::ensure!(
        !line.is_empty(),
        "the passphrase file {} has an empty first line",
        path.display()
    );
    // A second line is more likely a mistake than a part of the passphrase.
    anyhow::ensure!(
        lines.next().is_none(),
        "the passphrase file {} has several lines: it must have one",
        path.display()
    );
    Ok(Zeroizing::new(line.to_owned()))
}

fn prompt(text: &str) -> anyhow::Result<Zeroizing<String>> {
    rpassword::prompt_password(text)
        .map(Zeroizing::new)
        .context("the passphrase could not be read from the terminal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tf03_a_pin_in_a_file_is_not_tried_after_a_wrong_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pin");
        std::fs::write(&path, "1234\n").expect("written");
        let source = Source::new(Some(&path));
        let pin = source.pin("root", Tries::Unknown).expect("as it is");
        assert_eq!(pin.expose(), b"1234");
        for tries in [Tries::Fewer, Tries::Last] {
            let error = source.pin("root", tries).expect_err("not tried");
            assert_eq!(error.kind(), ErrorKind::LockedOut);
            assert!(error.to_string().contains("type the PIN"), "{error}");
        }
    }
}

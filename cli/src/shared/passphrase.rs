//! Passphrases: from a file or from the terminal, never from the command line or the environment, where other
//! processes of the machine can read them.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use countersign_keys::{Error, ErrorKind, Secret};

use crate::shared::failure::Failure;
use crate::shared::files;

/// Longest passphrase in bytes; a file beyond that is the wrong file.
const MAX_BYTES: u64 = 1024;

/// Fewest characters of a new passphrase: the key file can be copied, and guessed at in peace.
const MIN_CHARACTERS: usize = 8;

/// The passphrase in a file: its first and only line.
pub(crate) fn from_file(path: &Path) -> Result<Secret, Failure> {
    let mut bytes = files::read(path, "passphrase file", MAX_BYTES)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    let secret = Secret::new(bytes);
    if secret.is_empty() {
        return Err(Failure::usage(anyhow!(
            "the passphrase file {} is empty",
            path.display()
        )));
    }
    if secret.expose().contains(&b'\n') {
        return Err(Failure::usage(anyhow!(
            "the passphrase file {} has several lines; it must hold the passphrase alone",
            path.display()
        )));
    }
    Ok(secret)
}

/// Where the passphrase of an existing key comes from, should it turn out to need one.
pub(crate) fn to_open(file: Option<&PathBuf>, key: &str) -> Result<Secret, Error> {
    if let Some(path) = file {
        return from_file(path).map_err(|failure| match failure {
            Failure::Fault(_, error) | Failure::NotOurs(_, error) | Failure::Usage(error) => {
                Error::with_source(
                    ErrorKind::Passphrase,
                    format!("cannot take the passphrase of {key} from a file"),
                    error,
                )
            }
            Failure::Refused(rejection) => Error::new(ErrorKind::Passphrase, rejection.to_string()),
        });
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(
            ErrorKind::Passphrase,
            format!(
                "{key} is encrypted, and there is no terminal to ask for its passphrase; give --passphrase-file FILE"
            ),
        ));
    }
    ask(&format!("Passphrase of {key}: ")).map_err(|error| {
        Error::with_source(
            ErrorKind::Passphrase,
            "cannot read the passphrase from the terminal",
            error,
        )
    })
}

/// The passphrase for a new key: from a file, or typed twice.
pub(crate) fn for_new_key(file: Option<&PathBuf>, key: &str) -> Result<Secret, Failure> {
    let secret = match file {
        Some(path) => from_file(path)?,
        None => typed_twice(key)?,
    };
    let characters = std::str::from_utf8(secret.expose())
        .map_or(secret.expose().len(), |text| text.chars().count());
    if characters < MIN_CHARACTERS {
        return Err(Failure::usage(anyhow!(
            "a passphrase of fewer than {MIN_CHARACTERS} characters is soon guessed; choose a longer one, \
             or say --unencrypted to store the key without"
        )));
    }
    Ok(secret)
}

fn typed_twice(key: &str) -> Result<Secret, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "no passphrase for {key}, and no terminal to ask at; \
             give --passphrase-file FILE, or say --unencrypted to protect it by file permissions alone"
        )));
    }
    let read = |prompt: &str| {
        ask(prompt)
            .context("cannot read the passphrase from the terminal")
            .map_err(Failure::usage)
    };
    let first = read(&format!("Passphrase for {key}: "))?;
    let second = read("The same again: ")?;
    if first.expose() != second.expose() {
        return Err(Failure::usage(anyhow!(
            "the two passphrases differ; no key was made"
        )));
    }
    Ok(first)
}

/// Asks at the terminal, without showing what is typed.
pub(crate) fn ask(prompt: &str) -> std::io::Result<Secret> {
    rpassword::prompt_password(prompt).map(|text| Secret::new(text.into_bytes()))
}

//! The stores of keys, with their secrets from where every verb takes them: one file, or the terminal.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use countersign_keys::{Error, ErrorKind, Secret};
use countersign_stores::{SecretFor, Stores, Tries};

use crate::shared::failure::Failure;
use crate::shared::output::say;
use crate::shared::passphrase;

/// Where secrets come from, the same for every verb that opens a key.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct SecretArguments {
    /// File whose only line is the key's passphrase, or its token's PIN (default: ask at the terminal)
    #[arg(long, visible_alias = "pin-file", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl SecretArguments {
    /// As if this file had been given.
    pub(crate) fn of_file(file: PathBuf) -> Self {
        Self {
            passphrase_file: Some(file),
        }
    }

    /// The stores, for keys that are there already and for new ones.
    pub(crate) fn stores(&self) -> Stores {
        stores(self.passphrase_file.clone(), false)
    }

    /// The same; new key files are not encrypted.
    pub(crate) fn stores_unencrypted(&self) -> Stores {
        stores(self.passphrase_file.clone(), true)
    }

    /// The file, if one was given.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.passphrase_file.as_ref()
    }
}

/// The stores with their secrets from this file, or from the terminal.
pub(crate) fn stores(file: Option<PathBuf>, unencrypted: bool) -> Stores {
    Stores::new(move |wanted| match wanted {
        SecretFor::File(path) => {
            passphrase::to_open(file.as_ref(), &path.display().to_string()).map(Some)
        }
        SecretFor::NewFile(_) if unencrypted => Ok(None),
        SecretFor::NewFile(path) => {
            passphrase::for_new_key(file.as_ref(), &path.display().to_string())
                .map(Some)
                .map_err(said)
        }
        SecretFor::Pin { token, tries } => pin(file.as_ref(), token, tries).map(Some),
        _ => Ok(None),
    })
}

fn pin(file: Option<&PathBuf>, token: &str, tries: Tries) -> Result<Secret, Error> {
    if let Some(path) = file {
        if !tries.allow_stored() {
            let why = match tries {
                Tries::Last => "has one try left before it locks itself",
                _ => "was given a wrong PIN and may lock itself",
            };
            return Err(Error::new(
                ErrorKind::LockedOut,
                format!(
                    "the token \"{token}\" {why}, so the PIN in {} was not tried; leave the file out, and type the PIN",
                    path.display()
                ),
            ));
        }
        return passphrase::from_file(path).map_err(said);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(
            ErrorKind::Passphrase,
            format!(
                "the token \"{token}\" needs its PIN, and there is no terminal to ask at; give --pin-file FILE, or add pin-source=file:/PATH to the URI"
            ),
        ));
    }
    if tries == Tries::Last {
        say(&format!(
            "warning: one wrong PIN more locks the token \"{token}\""
        ));
    }
    passphrase::ask(&format!("PIN of the token \"{token}\": ")).map_err(|error| {
        Error::with_source(
            ErrorKind::Passphrase,
            "cannot read the PIN from the terminal",
            error,
        )
    })
}

/// A failure on the way to a secret, as the stores pass it on.
fn said(failure: Failure) -> Error {
    Error::new(ErrorKind::Passphrase, failure.to_string())
}

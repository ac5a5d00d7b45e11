//! `key generate`: a new key in a file.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::ValueEnum;
use countersign_backend_file::{FileKey, SystemRandom};
use countersign_format::Algorithm;
use countersign_keys::KeyUri;
use serde_json::json;

use super::show;
use crate::shared::failure::Failure;
use crate::shared::files::{self, Existing};
use crate::shared::output::{Output, say};
use crate::shared::passphrase;

/// Make a new signing key
///
/// A key file is PKCS#8 in PEM, readable by its owner alone (mode 0600), and encrypted unless you say otherwise.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign key generate build.key
  countersign key generate build.key --algorithm ed25519 --passphrase-file /run/secrets/build
  countersign key generate test.key --unencrypted")]
pub(crate) struct Arguments {
    /// Where the key is to live: a file, or a URI such as file:build.key
    #[arg(value_name = "KEY")]
    key: KeyUri,
    /// The kind of key; P-256 is what TPM and secure elements share
    #[arg(long, value_enum, default_value_t = Kind::P256)]
    algorithm: Kind,
    /// File whose only line is the passphrase (default: ask at the terminal)
    #[arg(long, value_name = "FILE", conflicts_with = "unencrypted")]
    passphrase_file: Option<PathBuf>,
    /// Store the key unencrypted, protected by file permissions alone
    #[arg(long)]
    unencrypted: bool,
    /// Overwrite an existing file; the key in it is lost
    #[arg(long)]
    force: bool,
    /// Print the public half as versioned JSON
    #[arg(long)]
    json: bool,
}

/// The names that `openssl` and people use for the algorithms.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    #[value(alias = "esp256")]
    P256,
    Ed25519,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let KeyUri::File(path) = &arguments.key else {
        return Err(Failure::usage(anyhow!(
            "cannot make a key in `{}`: this program makes keys in files only; \
             make it with the store's own tool, then use it here by its URI",
            arguments.key
        )));
    };
    let existing = Existing::from_force(arguments.force);
    files::check_output(path, existing)?;
    let passphrase = if arguments.unencrypted {
        None
    } else {
        Some(passphrase::for_new_key(
            arguments.passphrase_file.as_ref(),
            &path.display().to_string(),
        )?)
    };
    let algorithm = match arguments.algorithm {
        Kind::P256 => Algorithm::Esp256,
        Kind::Ed25519 => Algorithm::Ed25519,
    };
    let key = FileKey::generate(algorithm, &mut SystemRandom)?;
    key.save(path, passphrase.as_ref(), existing.into())?;
    if passphrase.is_none() {
        say(&format!(
            "note: {} is not encrypted; whoever can read the file can sign with it",
            path.display()
        ));
    }
    if arguments.json {
        let mut value = show::describe(key.public_key());
        value["key"] = json!(arguments.key.to_string());
        output.json(&value);
    } else {
        output.line(&format!("Made {}", path.display()));
        show::fields(key.public_key(), output);
    }
    Ok(())
}

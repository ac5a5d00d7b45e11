//! `key`: make a signing key, show its public half, make a certificate request.

mod csr;
mod generate;
mod show;

use std::path::PathBuf;

use clap::Subcommand;
use countersign_keys::{KeyUri, SigningKey};

use crate::shared::failure::Failure;
use crate::shared::output::Output;
use crate::shared::passphrase;

/// Make signing keys, show their public half, and make certificate requests
#[derive(clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Generate(generate::Arguments),
    Show(show::Arguments),
    Csr(Box<csr::Arguments>),
}

/// How an existing key is named and opened, the same for every verb that needs one.
#[derive(clap::Args)]
struct ExistingKey {
    /// The key: a file, or a key URI such as file:build.key, tpm:0x81010001, exec:COMMAND
    #[arg(value_name = "KEY")]
    key: KeyUri,
    /// File whose only line is the key's passphrase (default: ask at the terminal)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl ExistingKey {
    fn open(&self) -> Result<SigningKey, Failure> {
        open(&self.key, self.passphrase_file.as_ref())
    }
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Generate(arguments) => generate::run(arguments, output),
        Verb::Show(arguments) => show::run(arguments, output),
        Verb::Csr(arguments) => csr::run(arguments, output),
    }
}

/// Opens a key of any kind that this program was built with.
pub(crate) fn open(key: &KeyUri, passphrase_file: Option<&PathBuf>) -> Result<SigningKey, Failure> {
    countersign_signer::open_key(key, || {
        passphrase::to_open(passphrase_file, &key.to_string())
    })
    .map_err(Failure::key)
}

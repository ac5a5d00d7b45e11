//! `key`: make signing keys, look at them, make certificate requests, replace and remove keys.

mod csr;
mod delete;
mod generate;
mod list;
mod rotate;
mod show;

use clap::Subcommand;
use countersign_keys::{KeyProvider, KeyUri, SigningKey};

use crate::shared::failure::Failure;
use crate::shared::output::Output;
use crate::shared::secrets::SecretArguments;

/// Make signing keys, show their public half, make certificate requests, replace and remove keys
#[derive(clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Generate(generate::Arguments),
    List(list::Arguments),
    Show(show::Arguments),
    Csr(Box<csr::Arguments>),
    Rotate(rotate::Arguments),
    Delete(delete::Arguments),
}

/// How an existing key is named and opened, the same for every verb that needs one.
#[derive(clap::Args)]
pub(crate) struct ExistingKey {
    /// The key: a file, or a key URI such as tpm:NAME, pkcs11:token=…;object=…, atecc608:/dev/i2c-1?slot=0, exec:COMMAND
    #[arg(value_name = "KEY")]
    pub(crate) uri: KeyUri,
    #[command(flatten)]
    secrets: SecretArguments,
}

impl ExistingKey {
    pub(crate) fn open(&self) -> Result<SigningKey, Failure> {
        Ok(self.secrets.stores().open(&self.uri)?)
    }

    /// The store that it is in.
    pub(crate) fn store(&self) -> Result<Box<dyn KeyProvider>, Failure> {
        Ok(self.secrets.stores().of_key(&self.uri)?)
    }
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Generate(arguments) => generate::run(arguments, output),
        Verb::List(arguments) => list::run(arguments, output),
        Verb::Show(arguments) => show::run(arguments, output),
        Verb::Csr(arguments) => csr::run(arguments, output),
        Verb::Rotate(arguments) => rotate::run(arguments, output),
        Verb::Delete(arguments) => delete::run(arguments, output),
    }
}

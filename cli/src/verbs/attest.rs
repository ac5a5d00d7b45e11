//! `attest`: have a device say what it is, and judge what one said.

mod key;
mod make;
mod quote;
mod verify;

use clap::Subcommand;

pub(super) use self::make::NonceArgument;
pub(super) use self::verify::{ExpectedRegister, describe, print_hardware, said as print_said};
use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Have a device attest its state or one of its keys, and verify what one attested
#[derive(clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Quote(quote::Arguments),
    Key(key::Arguments),
    Verify(Box<verify::Arguments>),
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Quote(arguments) => quote::run(arguments, output),
        Verb::Key(arguments) => key::run(arguments, output),
        Verb::Verify(arguments) => verify::run(arguments, output),
    }
}

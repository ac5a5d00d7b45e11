//! `bundle`: many files for a gateway as one, signed; and what one claims, and whether that is true.

mod create;
mod inspect;
mod verify;

use clap::Subcommand;

use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Make bundles for gateways, show what one claims, and verify one
#[derive(clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Create(Box<create::Arguments>),
    Inspect(inspect::Arguments),
    Verify(verify::Arguments),
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Create(arguments) => create::run(arguments, output),
        Verb::Inspect(arguments) => inspect::run(arguments, output),
        Verb::Verify(arguments) => verify::run(arguments, output),
    }
}

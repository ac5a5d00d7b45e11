//! `receipt`: judge what a gateway said of its state on a stick.

mod show;
mod verify;

use clap::Subcommand;

use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Verify receipts of gateways: what runs on a machine that is never online
#[derive(clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Verify(Box<verify::Arguments>),
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Verify(arguments) => verify::run(arguments, output),
    }
}

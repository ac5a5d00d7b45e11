//! `device`: what hardware for keys this machine has, configuring it, and locking it.

mod configure;
mod detect;
mod lock;

use clap::Subcommand;

use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Find the hardware for keys that this machine has, configure it, and lock it
#[derive(clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Configure(configure::Arguments),
    Detect(detect::Arguments),
    Lock(lock::Arguments),
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Configure(arguments) => configure::run(arguments, output),
        Verb::Detect(arguments) => {
            detect::run(arguments, output);
            Ok(())
        }
        Verb::Lock(arguments) => lock::run(arguments, output),
    }
}

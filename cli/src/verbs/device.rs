//! `device`: what hardware for keys this machine has, configuring it, locking it, and the device's certificates.

mod configure;
mod detect;
mod enroll;
mod lock;
mod renew;
mod status;

use clap::Subcommand;

use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Find the hardware for keys that this machine has, configure and lock it, and get the device's certificates
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
    Enroll(Box<enroll::Arguments>),
    Lock(lock::Arguments),
    Renew(Box<renew::Arguments>),
    Status(status::Arguments),
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Configure(arguments) => configure::run(arguments, output),
        Verb::Detect(arguments) => {
            detect::run(arguments, output);
            Ok(())
        }
        Verb::Enroll(arguments) => enroll::run(arguments, output),
        Verb::Lock(arguments) => lock::run(arguments, output),
        Verb::Renew(arguments) => renew::run(arguments, output),
        Verb::Status(arguments) => status::run(arguments, output),
    }
}

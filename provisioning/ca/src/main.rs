//! `countersign-ca`: an offline certification authority in one directory.
//!
//! It decides when something is recorded and where it is written. What a certificate holds is decided by
//! `countersign-provisioning`; keys lie in files by `countersign-backend-file`, or elsewhere by `countersign-stores`. This file asks the clock and the random
//! number generator; nothing below it does.
#![forbid(unsafe_code)]

mod arguments;
mod authority;
mod bounded;
mod directory;
mod durable;
mod new_key;
mod output;
mod passphrase;
mod private;
mod records;
mod verbs;

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{CommandFactory as _, Parser as _};
use countersign_backend_file::SystemRandom;
use countersign_trust_store::UnixTime;

use crate::arguments::{Arguments, IntermediateVerb, Verb};
use crate::output::Console;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("countersign-ca: {error:#}");
            ExitCode::from(output::exit_status(&error))
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let console = Console::new(arguments.json);
    let context = verbs::Context {
        now: now()?,
        console: &console,
        passphrase: passphrase::Source::new(arguments.passphrase_file.as_deref()),
        passphrase_file: arguments.passphrase_file.clone(),
    };
    let rng = &mut SystemRandom;
    match &arguments.verb {
        Verb::Init(verb) => verbs::init::run(&context, &arguments.dir, verb, rng),
        Verb::Intermediate(verb) => match &verb.verb {
            None => verbs::intermediate::run(&context, &arguments.dir, &verb.new, rng),
            Some(IntermediateVerb::Rotate(verb)) => {
                verbs::rotate::run(&context, &arguments.dir, verb, rng)
            }
            Some(IntermediateVerb::Request(verb)) => {
                verbs::request::run(&context, &arguments.dir, verb, rng)
            }
            Some(IntermediateVerb::ImportChain(verb)) => {
                verbs::import_chain::run(&context, &arguments.dir, verb)
            }
        },
        Verb::Issue(verb) => verbs::issue::run(&context, &arguments.dir, verb, rng),
        Verb::Revoke(verb) => verbs::revoke::run(&context, &arguments.dir, verb),
        Verb::Crl(verb) => verbs::crl::run(&context, &arguments.dir, verb),
        Verb::Show(verb) => verbs::show::run(&context, &arguments.dir, verb),
        Verb::LintChain(verb) => verbs::lint_chain::run(&context, verb),
        Verb::Ceremony(verb) => verbs::ceremony::run(&context, &arguments.dir, verb),
        Verb::Dev(verb) => verbs::dev::run(&context, &arguments.dir, verb, rng),
        Verb::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(
                *shell,
                &mut command,
                "countersign-ca",
                &mut std::io::stdout(),
            );
            Ok(())
        }
    }
}

fn now() -> anyhow::Result<UnixTime> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| {
            anyhow::anyhow!(
                "the clock of this machine is before 1970: set it, certificates are dated by it"
            )
        })?;
    Ok(UnixTime::from_secs(since.as_secs()))
}

//! `countersign`: keys, devices, certificate requests, signing, verifying and inspecting components.
//!
//! This file decides only which verb runs and which status the process ends with. Each verb is a module of its own
//! in `verbs`; what several share (reading inputs, writing outputs, asking for passphrases, the shape of a failure)
//! is in `shared`. No verb here runs a component: `verify` answers a question and nothing else follows from it.
#![forbid(unsafe_code)]

mod shared;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::shared::output::Output;

#[derive(Parser)]
#[command(
    name = "countersign",
    version,
    about = "Sign WebAssembly components with keys in hardware or files, and verify them without a network",
    long_about = "Sign WebAssembly components with keys in hardware or files, and verify them without a network.\n\n\
        A signed component carries a statement (name, version, digest, what it asks for) and the certificate chain \
        of every signer. It is believed only if a chain leads to a root that the verifier already holds.\n\n\
        Any other VERB is carried out by the program `countersign-VERB` that lies beside this one.",
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  countersign device detect
  countersign key generate tpm:build        (or build.key, pkcs11:token=…;object=…, atecc608:/dev/i2c-1?slot=0)
  countersign key csr tpm:build --org Acme --device-id build-07 --output build.csr
  countersign sign app.wasm --key tpm:build --chain build-chain.pem
  countersign verify app.signed.wasm --roots roots.pem --crl issuing.crl --crl root.crl --explain
  countersign inspect app.signed.wasm
  countersign run app.signed.wasm        (executes countersign-run, found beside this program)

Exit status: 0 done; 2 usage or configuration; 110 to 119 a refusal, listed by `countersign codes`.";

#[derive(Subcommand)]
enum Verb {
    Key(verbs::key::Arguments),
    Device(verbs::device::Arguments),
    Sign(Box<verbs::sign::Arguments>),
    SignCode(Box<verbs::sign_code::Arguments>),
    Verify(verbs::verify::Arguments),
    Inspect(verbs::inspect::Arguments),
    Bundle(verbs::bundle::Arguments),
    Attest(verbs::attest::Arguments),
    Receipt(verbs::receipt::Arguments),
    Attach(verbs::attach::Arguments),
    Detach(verbs::detach::Arguments),
    Strip(verbs::strip::Arguments),
    Codes(verbs::codes::Arguments),
    Completions(verbs::completions::Arguments),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = Output::new();
    let result = match arguments.verb {
        Verb::Key(arguments) => verbs::key::run(&arguments, &mut output),
        Verb::Device(arguments) => verbs::device::run(&arguments, &mut output),
        Verb::Sign(arguments) => verbs::sign::run(&arguments, &mut output),
        Verb::SignCode(arguments) => verbs::sign_code::run(&arguments, &mut output),
        Verb::Verify(arguments) => verbs::verify::run(&arguments, &mut output),
        Verb::Inspect(arguments) => verbs::inspect::run(&arguments, &mut output),
        Verb::Bundle(arguments) => verbs::bundle::run(&arguments, &mut output),
        Verb::Attest(arguments) => verbs::attest::run(&arguments, &mut output),
        Verb::Receipt(arguments) => verbs::receipt::run(&arguments, &mut output),
        Verb::Attach(arguments) => verbs::attach::run(&arguments, &mut output),
        Verb::Detach(arguments) => verbs::detach::run(&arguments, &mut output),
        Verb::Strip(arguments) => verbs::strip::run(&arguments, &mut output),
        Verb::Codes(arguments) => verbs::codes::run(&arguments, &mut output),
        Verb::Completions(arguments) => verbs::completions::run(&arguments, &mut output),
        Verb::Other(words) => verbs::dispatch::run(&words),
    };
    // What was found out before a failure is data too (the checks that passed, the JSON form of a refusal).
    let result = output.flush().and(result);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_status())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}

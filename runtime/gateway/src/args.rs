//! The command line of `countersign-gateway`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::enrol::{First, Next};
use countersign_keys::CounterUri;
use countersign_runtime::CodeTarget;

const LONG_ABOUT: &str = "\
Runs signed components under supervision: starts each service of its configuration if its signature leads to a root that is \
compiled into this program, starts it again when it ends, and exchanges it when its file or the configuration changes. \
There is no option to run anything else.

It remembers, in a folder of its own, which versions proved healthy, which revocation lists it has seen, and a time that has \
certainly passed: an older component, an older list and a clock that was set back are noticed. An image of the whole machine \
that is put back is noticed if its memory is bound to a counter in hardware (`init --counter`).";

const AFTER_HELP: &str = "\
Examples:
  countersign-gateway init --state /var/lib/countersign
  countersign-gateway check --config /etc/countersign/gateway.toml
  countersign-gateway run --config /etc/countersign/gateway.toml
  countersign-gateway status --json
  countersign-gateway logs --service pump --follow
  countersign-gateway audit verify
  countersign-gateway trust
  countersign-gateway doctor
  countersign-gateway enroll tls --device-id gw-17 --server https://ca.example:8443 --roots root.pem --token-file token
  countersign-gateway renew tls --server https://ca.example:8443 --roots root.pem --only-if-due
  countersign-gateway verify /media/usb/pump.signed.wasm
  countersign-gateway apply /media/usb/plant-12.bundle --receipt /media/usb
  countersign-gateway receipt /media/usb
  countersign-gateway reload        (also by SIGHUP)
  countersign-gateway rollback pump
  countersign-gateway schema > gateway.schema.json

Exit status: 0 done; 2 usage or configuration, or something that `doctor` refuses; 110 to 119 a refusal, listed by
`countersign codes`. `apply` ends with that of the bundle; `check`, `verify`, `reload` and `rollback` end with that of the first
component that is refused.";

/// Runs signed components under supervision.
#[derive(Debug, Parser)]
#[command(
    name = "countersign-gateway",
    version,
    about = "Runs signed components under supervision",
    long_about = LONG_ABOUT,
    after_long_help = AFTER_HELP,
    after_help = "--help shows examples and the exit statuses."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make the folder of what a new gateway remembers
    Init {
        /// The folder; with --counter, one that is there already is bound to the counter
        #[arg(long, value_name = "DIR", default_value = "/var/lib/countersign")]
        state: PathBuf,
        /// A counter in hardware, which notices that the folder was put back from a copy; tpm:0x01800100 is made if it is not there
        #[arg(long, value_name = "URI")]
        counter: Option<CounterUri>,
    },
    /// Say whether a configuration is sound and its components verify now; what they may touch is held against their statements when they start
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Print the verdicts as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run until told to stop
    Run {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show what a running gateway runs, who signed it, and what was refused and why
    Status {
        #[command(flatten)]
        config: ConfigFile,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the last lines about each service: what became of it, and what its component wrote
    Logs {
        #[command(flatten)]
        config: ConfigFile,
        /// Only this service's
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// Go on until stopped, with each line when it comes
        #[arg(long)]
        follow: bool,
        /// Print each line as JSON
        #[arg(long)]
        json: bool,
    },
    /// Prove or print the records: every acceptance, refusal, signature and end on this machine
    #[command(subcommand)]
    Audit(Audit),
    /// Show what a running gateway trusts and remembers: roots, revocation lists, time, versions
    Trust {
        #[command(flatten)]
        config: ConfigFile,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Get the first certificate of a key of the configuration from an authority (EST, RFC 7030)
    Enroll {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        first: Box<First>,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Get the certificate that follows the present one of a key of the configuration
    Renew {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        next: Box<Next>,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at this machine, its configuration and what they trust: what is wrong or soon will be, and what to do; changes nothing
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Print what was found as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say whether this machine would admit a file now, by its clock, its lists and what its gateway remembers; runs nothing
    Verify {
        #[command(flatten)]
        config: ConfigFile,
        /// The signed file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print the verdicts as JSON
        #[arg(long)]
        json: bool,
    },
    /// Apply a bundle: all of it, or nothing; what ran before runs again if what it brings does not prove healthy
    Apply {
        #[command(flatten)]
        config: ConfigFile,
        /// The bundle: a file, a folder for the newest of this gateway's line in it, http://… or https://…, or oci://HOST/NAME:TAG in a registry (oci+http:// without TLS)
        #[arg(value_name = "BUNDLE")]
        source: String,
        /// Then write a receipt of what runs there: into a folder, such as the stick's, or as a new file
        #[arg(long, value_name = "PATH")]
        receipt: Option<PathBuf>,
        /// The nonce of whoever wants the receipt, 8 to 64 bytes in hexadecimal digits; if not given, SHA-256 of the bundle's index
        #[arg(long, value_name = "HEX", requires = "receipt")]
        nonce: Option<String>,
        /// Print what became of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a running gateway say what it runs and remembers, bound to this device, for whoever cannot ask it; `countersign receipt verify` judges it
    Receipt {
        #[command(flatten)]
        config: ConfigFile,
        /// Where it goes: a folder, such as a stick's, or a new file
        #[arg(value_name = "PATH")]
        into: PathBuf,
        /// The nonce of whoever wants it, 8 to 64 bytes in hexadecimal digits
        #[arg(long, value_name = "HEX")]
        nonce: Option<String>,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a running gateway read its configuration, its lists and its components again, and say what becomes of each
    Reload {
        #[command(flatten)]
        config: ConfigFile,
        /// Do not wait until what has to be compiled is compiled and has taken its place
        #[arg(long)]
        detach: bool,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Compile a component for gateways of this very build that have no compiler; `countersign sign-code` signs the result
    Precompile {
        /// The signed component, which is verified first
        component: PathBuf,
        /// What to compile for
        #[arg(long, value_enum, default_value = "baseline")]
        target: Target,
        /// Revocation lists, PEM or DER
        #[arg(long, value_name = "FILE")]
        list: Vec<PathBuf>,
        /// Where to write the code
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// How the gateway starts itself to compile a component
    #[command(hide = true)]
    CompileForParent,
    /// Have a running gateway go back to the version of a service before the one that runs; nothing comes back that is remembered as too old or revoked
    Rollback {
        #[command(flatten)]
        config: ConfigFile,
        /// The service
        #[arg(value_name = "SERVICE")]
        service: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON schema of the configuration
    Schema,
    /// Write the manual pages into a folder
    Man {
        /// The folder, which is there already
        #[arg(value_name = "DIR")]
        into: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
}

/// What is done with the records.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Prove that every record is the one that was written, and name the first that is not; needs no running gateway
    ///
    /// Ends with 0 when the records are sound, 111 when they were altered, 115 when they are older than the checkpoint that they
    /// are held against, and 119 when they could not be read.
    Verify {
        #[command(flatten)]
        config: ConfigFile,
        /// A checkpoint that was kept elsewhere; the records must continue it
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// Print the verdict as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the records, one line of JSON for each, the oldest first
    Show {
        #[command(flatten)]
        config: ConfigFile,
        /// From this entry on, counted from 0
        #[arg(long, value_name = "ENTRY", default_value_t = 0)]
        from: u64,
    },
}

/// What code is compiled for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Target {
    /// Any processor of this machine's kind
    Baseline,
    /// Processors with at least the features of this one
    Native,
    /// Wasmtime's interpreter, on any kind of machine
    Interpreter,
}

impl From<Target> for CodeTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::Baseline => Self::Baseline,
            Target::Native => Self::Native,
            Target::Interpreter => Self::Interpreter,
        }
    }
}

/// Which configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration
    #[arg(
        long = "config",
        value_name = "FILE",
        default_value = "/etc/countersign/gateway.toml"
    )]
    pub(crate) path: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::*;

    /// What is hidden below a command: verbs and options.
    fn hidden(command: &Command) -> Vec<String> {
        let options = command
            .get_arguments()
            .filter(|option| option.is_hide_set());
        let mut all: Vec<_> = options.map(|option| option.get_id().to_string()).collect();
        for verb in command.get_subcommands() {
            if verb.is_hide_set() {
                all.push(verb.get_name().to_owned());
            }
            all.extend(hidden(verb));
        }
        all
    }

    #[test]
    fn th18_nothing_is_hidden_but_what_this_program_asks_of_itself() {
        assert_eq!(hidden(&Cli::command()), ["compile-for-parent"]);
    }
}

//! `countersign-run`: runs one signed component, if it verifies against a compiled-in root.
//!
//! Decides what the operator allows, by the command line, and what every end means as an exit status. Whether a
//! component is trusted is decided in `countersign-trust-store`, what a guest may do in `countersign-runtime`. It
//! keeps no state, and says so.

#![forbid(unsafe_code)]

mod args;
mod ceiling;
mod device;
mod outputs;
mod report;
mod run;

use std::io;

use args::{Cli, Command};
use clap::{CommandFactory as _, Parser as _};

/// Usage or configuration.
const MISUSED: u8 = 2;

fn main() {
    let cli = Cli::parse();
    let status = match (cli.command, cli.run) {
        (Some(Command::Completions { shell }), _) => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "countersign-run",
                &mut io::stdout(),
            );
            0
        }
        (None, Some(run)) => run::run(&run).unwrap_or_else(|error| {
            eprintln!(
                "countersign-run: {}",
                countersign_hosting::printable(&format!("{error:#}"))
            );
            MISUSED
        }),
        (None, None) => {
            eprintln!("countersign-run: name a signed component; --help shows examples");
            MISUSED
        }
    };
    // Not by returning: a thread that waits for standard input must not keep the program.
    std::process::exit(i32::from(status));
}

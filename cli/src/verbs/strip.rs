//! `strip`: the component as its compiler wrote it, without the signature.

use std::path::PathBuf;

use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::Output;

/// Write a signed component without its signature
///
/// What is written is, byte for byte, what was signed. Every host refuses it until it is signed again.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign strip app.signed.wasm --output app.wasm")]
pub(crate) struct Arguments {
    /// The signed component; it stays as it is
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the component
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Overwrite an existing output
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let overwrite = files::forced(arguments.force);
    countersign_signer::strip(&arguments.file, &arguments.output, overwrite)?;
    output.line(&format!("Wrote {}", arguments.output.display()));
    Ok(())
}

//! `detach`: the signature alone, to be kept beside the component or in a registry.

use std::path::PathBuf;

use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::Output;

/// Write the signature of a signed component to a file of its own
///
/// A COSE_Sign in CBOR (RFC 9052). Hosts take embedded signatures only; `attach` puts it back.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign detach app.signed.wasm
  countersign detach app.signed.wasm --output signatures/app.sig")]
pub(crate) struct Arguments {
    /// The signed component; it stays as it is
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the signature (default: NAME.sig beside the file)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite an existing output
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let target = files::output_or_beside(arguments.output.as_ref(), &arguments.file, "sig")?;
    let overwrite = files::forced(arguments.force);
    countersign_signer::detach(&arguments.file, &target, overwrite)?;
    output.line(&format!("Wrote {}", target.display()));
    Ok(())
}

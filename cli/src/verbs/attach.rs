//! `attach`: a component and its detached signature become a signed component again.

use std::path::PathBuf;

use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::Output;

/// Put a detached signature back onto its component
///
/// The signature must have been made for exactly this component. Whether anyone trusts it is for `verify` to say.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign attach app.wasm app.sig
  countersign attach app.wasm app.sig --output /srv/app.signed.wasm --force")]
pub(crate) struct Arguments {
    /// The component
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    /// The detached signature
    #[arg(value_name = "SIGNATURE")]
    signature: PathBuf,
    /// Where to write the signed component (default: NAME.signed.wasm beside the component)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the signature of a component that is already signed
    #[arg(long)]
    replace: bool,
    /// Overwrite an existing output
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let target = files::output_or_beside(
        arguments.output.as_ref(),
        &arguments.component,
        "signed.wasm",
    )?;
    countersign_signer::attach(
        &arguments.component,
        &arguments.signature,
        &target,
        arguments.replace,
        files::forced(arguments.force),
    )?;
    output.line(&format!("Wrote {}", target.display()));
    Ok(())
}

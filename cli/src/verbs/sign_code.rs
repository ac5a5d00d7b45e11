//! `sign-code`: code that a host compiled for a component is vouched for.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueHint;
use countersign_keys::KeyUri;
use countersign_signer::{CertifiedKey, Chain, sign_precompiled};
use serde_json::json;

use crate::shared::certificates::read_chain;
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, Paint};
use crate::shared::secrets;

/// Sign code that was compiled for a component
///
/// The code comes from `countersign-gateway precompile`, and runs on hosts that were built without a compiler, beside the
/// signed component that it was compiled from. Nothing checks native code when it runs: whoever signs it is trusted like the
/// host itself, and needs a chain to a root that hosts have compiled in for precompiled code.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign-gateway precompile app.signed.wasm --target native --output app.code
  countersign sign-code app.code --key tpm:code --chain code-chain.pem --output app.signed.code")]
pub(crate) struct Arguments {
    /// The code, as `countersign-gateway precompile` wrote it
    #[arg(value_name = "CODE", value_hint = ValueHint::FilePath)]
    code: PathBuf,
    /// The signing key: a file or a key URI
    #[arg(long, value_name = "KEY")]
    key: KeyUri,
    /// Certificates of the key in PEM, signer's first, without the root
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    chain: PathBuf,
    /// File whose only line is the key's passphrase or PIN (default: ask)
    #[arg(long, visible_alias = "pin-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    passphrase_file: Option<PathBuf>,
    /// Where to write the signed code
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// Overwrite an existing output
    #[arg(long)]
    force: bool,
    /// Print what was signed as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let existing = files::forced(arguments.force);
    drop(files::open(&arguments.code, "code")?);
    files::check_output(&arguments.output, existing)?;
    let chain = Chain::from_der(read_chain(&arguments.chain)?)
        .with_context(|| arguments.chain.display().to_string())
        .map_err(Failure::usage)?;
    let key = secrets::stores(arguments.passphrase_file.clone(), false).open(&arguments.key)?;
    let signer = CertifiedKey::new(key, chain)
        .with_context(|| {
            let path = arguments.chain.display();
            format!("{path} does not belong to {}", arguments.key)
        })
        .map_err(Failure::usage)?;
    let statement = sign_precompiled(&arguments.code, &arguments.output, &signer, existing)?;
    let path = arguments.output.display().to_string();
    if arguments.json {
        output.json(&json!({
            "version": 1,
            "output": path,
            "component_sha256": statement.component_digest().to_string(),
            "code_sha256": statement.code_digest().to_string(),
            "build": statement.build(),
            "target": statement.target(),
            "cpu": statement.cpu(),
        }));
        return Ok(());
    }
    output.painted(Paint::Good, "signed", &format!(": {path}"));
    output.line(&format!("  component {}", statement.component_digest()));
    output.line(&format!(
        "  for {}, {}",
        statement.target(),
        statement.build()
    ));
    Ok(())
}

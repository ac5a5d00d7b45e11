//! `sign`: a component, a statement about it, and one or more keys become a signed component.

mod manifest;
mod two_step;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::ValueHint;
use countersign_keys::KeyUri;
use countersign_signer::{CertifiedKey, Chain, SignOptions, Signed, sign_file};
use serde_json::json;

use super::inspect::statement;
use crate::shared::certificates::read_chain;
use crate::shared::failure::Failure;
use crate::shared::files::{self, Existing};
use crate::shared::output::{Output, Paint};
use crate::shared::secrets;

/// Sign a component
///
/// The statement that is signed comes from component.toml beside the component, from --manifest, or from flags; flags
/// win. The component itself is not changed: the signature is appended to it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign sign app.wasm --key build.key --chain build-chain.pem
  countersign sign app.wasm --key tpm:0x81010001 --chain build-chain.pem --manifest Cargo.toml
  countersign sign app.wasm --key 'pkcs11:token=build;object=signing' --chain build-chain.pem --pin-file /run/secrets/pin
  countersign sign app.wasm --key a.key --chain a.pem --key b.key --chain b.pem
  countersign sign app.wasm --key build.key --chain build-chain.pem \\
      --name acme:pump --component-version 1.2.3 --security-version 4

With a key that no tool of ours may touch, in two steps (P-256 and OpenSSL here):
  countersign sign app.wasm --chain build-chain.pem --prepare app.prepared
  openssl dgst -sha256 -sign build.key -out app.sig1 app.prepared.1.tbs
  countersign sign app.wasm --finish app.prepared --signature app.sig1")]
pub(crate) struct Arguments {
    /// The component, as the compiler wrote it
    #[arg(value_name = "COMPONENT", value_hint = ValueHint::FilePath)]
    component: PathBuf,
    /// The signing key: a file or a key URI; once for each signer
    #[arg(long, value_name = "KEY", required_unless_present_any = ["prepare", "finish"], conflicts_with_all = ["prepare", "finish"])]
    key: Vec<KeyUri>,
    /// Certificates of the key in PEM, signer's first, without the root; once for each key, in the same order
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "finish", conflicts_with = "finish")]
    chain: Vec<PathBuf>,
    /// File whose only line is a key's passphrase or PIN; once for all keys, or once for each (default: ask)
    #[arg(long, visible_alias = "pin-file", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "key")]
    passphrase_file: Vec<PathBuf>,
    #[command(flatten)]
    statement: manifest::StatementArguments,
    /// Where to write the signed component (default: NAME.signed.wasm beside the component)
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "prepare")]
    output: Option<PathBuf>,
    /// Replace the signature of a component that is already signed
    #[arg(long)]
    replace: bool,
    /// Overwrite an existing output
    #[arg(long)]
    force: bool,
    /// Sign nothing yet: write what is to be signed to FILE, and each signer's message to FILE.1.tbs and so on
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "finish")]
    prepare: Option<PathBuf>,
    /// Finish what --prepare wrote, with the signatures made elsewhere
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "signature")]
    finish: Option<PathBuf>,
    /// A signature over FILE.1.tbs and so on, in any order: raw 64 bytes, or as OpenSSL writes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "finish")]
    signature: Vec<PathBuf>,
    /// Print what was signed as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let existing = files::forced(arguments.force);
    let options = SignOptions {
        replace_signature: arguments.replace,
        overwrite: existing,
        issued_at: source_date_epoch()?,
    };
    if let Some(target) = &arguments.prepare {
        let manifest = arguments.statement.manifest(&arguments.component)?;
        let chains = arguments
            .chain
            .iter()
            .map(|path| chain(path))
            .collect::<Result<_, _>>()?;
        let step = two_step::Preparation {
            component: &arguments.component,
            manifest: &manifest,
            options: &options,
            target,
        };
        return step.run(chains, existing, arguments.json, output);
    }
    let target = files::output_or_beside(
        arguments.output.as_ref(),
        &arguments.component,
        "signed.wasm",
    )?;
    let signed = match &arguments.finish {
        Some(prepared) => {
            files::check_output(&target, existing)?;
            two_step::finish(
                &arguments.component,
                prepared,
                &arguments.signature,
                &options,
                &target,
            )?
        }
        None => sign(arguments, &target, existing, &options)?,
    };
    report(&signed, arguments.json, output);
    Ok(())
}

/// Everything that can be wrong with the arguments is found before a passphrase is asked for or a device is touched.
fn sign(
    arguments: &Arguments,
    target: &Path,
    existing: Existing,
    options: &SignOptions,
) -> Result<Signed, Failure> {
    check_numbers(&arguments.key, &arguments.chain, &arguments.passphrase_file)?;
    let manifest = arguments.statement.manifest(&arguments.component)?;
    drop(files::open(&arguments.component, "component")?);
    files::check_output(target, existing)?;
    let signers = signers(&arguments.key, &arguments.chain, &arguments.passphrase_file)?;
    Ok(sign_file(
        &arguments.component,
        target,
        &manifest,
        &signers,
        options,
    )?)
}

/// Whether each key has its chain, and a passphrase if any has.
fn check_numbers(
    keys: &[KeyUri],
    chains: &[PathBuf],
    passphrase_files: &[PathBuf],
) -> Result<(), Failure> {
    if keys.len() != chains.len() {
        return Err(Failure::usage(anyhow!(
            "{} keys and {} chains: each --key needs its own --chain, in the same order",
            keys.len(),
            chains.len()
        )));
    }
    if passphrase_files.len() > 1 && passphrase_files.len() != keys.len() {
        return Err(Failure::usage(anyhow!(
            "{} passphrase files for {} keys: give one for all, or one for each in the same order",
            passphrase_files.len(),
            keys.len()
        )));
    }
    Ok(())
}

/// Opens the keys that sign, each with its chain.
pub(super) fn signers(
    keys: &[KeyUri],
    chain_files: &[PathBuf],
    passphrase_files: &[PathBuf],
) -> Result<Vec<CertifiedKey>, Failure> {
    check_numbers(keys, chain_files, passphrase_files)?;
    let chains: Vec<Chain> = chain_files
        .iter()
        .map(|path| chain(path))
        .collect::<Result<_, _>>()?;
    let mut signers = Vec::with_capacity(chains.len());
    for (index, (uri, chain)) in keys.iter().zip(chains).enumerate() {
        let passphrase_file = match passphrase_files {
            [one] => Some(one),
            several => several.get(index),
        };
        let key = secrets::stores(passphrase_file.cloned(), false).open(uri)?;
        let signer = CertifiedKey::new(key, chain)
            .with_context(|| {
                let path = chain_files
                    .get(index)
                    .map_or_else(String::new, |path| path.display().to_string());
                format!("{path} does not belong to {uri}")
            })
            .map_err(Failure::usage)?;
        signers.push(signer);
    }
    Ok(signers)
}

fn chain(path: &Path) -> Result<Chain, Failure> {
    let certificates = read_chain(path)?;
    Chain::from_der(certificates)
        .with_context(|| path.display().to_string())
        .map_err(Failure::usage)
}

/// The time to state, for builds that must come out the same every time: SOURCE_DATE_EPOCH, or none.
fn source_date_epoch() -> Result<Option<u64>, Failure> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let seconds = value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            Failure::usage(anyhow!(
                "SOURCE_DATE_EPOCH is `{}`, which is not a number of seconds since 1970",
                value.display()
            ))
        })?;
    Ok(Some(seconds))
}

fn report(signed: &Signed, as_json: bool, output: &mut Output) {
    if as_json {
        output.json(&json!({
            "version": 1,
            "output": signed.output.display().to_string(),
            "statement": statement::to_json(&signed.statement),
        }));
        return;
    }
    output.painted(
        Paint::Good,
        "signed",
        &format!(": {}", signed.output.display()),
    );
    statement::print(&signed.statement, output);
}

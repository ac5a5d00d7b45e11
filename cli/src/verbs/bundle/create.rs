//! `bundle create`: files, a number and an end become one signed file.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::anyhow;
use clap::ValueHint;
use countersign_format::{Audience, ComponentName, Minimum, PartKind};
use countersign_keys::KeyUri;
use countersign_signer::{BundlePlan, BundleSource, create_bundle};
use countersign_trust_store::UnixTime;
use serde_json::json;

use super::inspect;
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, Paint};
use crate::verbs::sign::signers;

/// Make a signed bundle of components, lists and a configuration for gateways
///
/// The bundle is signed by who may sign update packages and configurations (certificates of the profile `bundle`), never by
/// who signs components. A component in it is run for its own signature, which it must have already.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign bundle create --output plant-12.bundle --line plant --number 12 --until 2027-06-30T00:00:00Z \\
      --key tpm:releases --chain releases-chain.pem \\
      --component pump.signed.wasm --list lists.pem --configuration services.toml --document pump.cdx.json
  countersign bundle create --output recall.bundle --line plant --number 13 --until 2027-06-30T00:00:00Z \\
      --key tpm:releases --chain releases-chain.pem --minimum acme:pump=7")]
pub(crate) struct Arguments {
    /// Where to write the bundle
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// The line of bundles that it belongs to: a gateway takes one line
    #[arg(long, value_name = "NAME")]
    line: String,
    /// Its number, which must be higher than that of the bundle before it in the line
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// The last second at which a gateway takes it, such as 2027-06-30T00:00:00Z
    #[arg(long, value_name = "TIME")]
    until: UnixTime,
    /// The signing key: a file or a key URI; once for each signer
    #[arg(long, value_name = "KEY", required = true)]
    key: Vec<KeyUri>,
    /// Certificates of the key in PEM, signer's first, without the root; once for each key, in the same order
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    chain: Vec<PathBuf>,
    /// File whose only line is a key's passphrase or PIN; once for all keys, or once for each (default: ask)
    #[arg(long, visible_alias = "pin-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    passphrase_file: Vec<PathBuf>,
    /// A signed component; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    component: Vec<PathBuf>,
    /// A file of revocation lists; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    list: Vec<PathBuf>,
    /// The configuration of what the gateway runs
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    configuration: Option<PathBuf>,
    /// A document, such as an SBOM, that the gateway keeps beside the components; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    document: Vec<PathBuf>,
    /// Precompiled code of a component; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    precompiled: Vec<PathBuf>,
    /// Withdraw a component's versions: nothing below this security version runs any more; may be repeated
    #[arg(long, value_name = "NAME=VERSION")]
    minimum: Vec<Least>,
    /// Only for the device of this identity; may be repeated
    #[arg(long, value_name = "ID")]
    device: Vec<String>,
    /// Only for devices of this type; may be repeated
    #[arg(long, value_name = "TYPE")]
    device_type: Vec<String>,
    /// Overwrite an existing output
    #[arg(long)]
    force: bool,
    /// Print what was signed as versioned JSON
    #[arg(long)]
    json: bool,
}

/// `acme:pump=7`.
#[derive(Clone, Debug)]
struct Least(Minimum);

impl FromStr for Least {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = text
            .split_once('=')
            .ok_or("write a component's name, =, and a security version, as in acme:pump=7")?;
        Ok(Self(Minimum {
            name: ComponentName::parse(name).map_err(|error| error.to_string())?,
            security_version: version
                .parse()
                .map_err(|_| format!("{version:?} is no security version"))?,
        }))
    }
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let existing = files::forced(arguments.force);
    files::check_output(&arguments.output, existing)?;
    let of = |kind, paths: &[PathBuf]| -> Vec<BundleSource> {
        let source = |path: &PathBuf| BundleSource {
            kind,
            path: path.clone(),
        };
        paths.iter().map(source).collect()
    };
    let configuration = arguments.configuration.as_slice();
    let plan = BundlePlan {
        line: arguments.line.clone(),
        number: arguments.number,
        not_after: arguments.until.as_secs(),
        audience: Audience {
            devices: arguments.device.clone(),
            types: arguments.device_type.clone(),
        },
        parts: [
            of(PartKind::Lists, &arguments.list),
            of(PartKind::Configuration, configuration),
            of(PartKind::Component, &arguments.component),
            of(PartKind::Document, &arguments.document),
            of(PartKind::Precompiled, &arguments.precompiled),
        ]
        .concat(),
        minimums: arguments
            .minimum
            .iter()
            .map(|least| least.0.clone())
            .collect(),
    };
    if plan.parts.is_empty() && plan.minimums.is_empty() {
        return Err(Failure::usage(anyhow!(
            "the bundle would bring nothing: name --component, --list, --configuration, --document or --minimum"
        )));
    }
    let signers = signers(&arguments.key, &arguments.chain, &arguments.passphrase_file)?;
    let index = create_bundle(&plan, &signers, &arguments.output, existing)?;
    let path = arguments.output.display().to_string();
    if arguments.json {
        output.json(&json!({
            "version": 1,
            "output": path,
            "index": inspect::to_json(&index),
        }));
    } else {
        output.painted(Paint::Good, "signed", &format!(": {path}"));
        inspect::print(&index, output);
    }
    Ok(())
}

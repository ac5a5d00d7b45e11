//! `bundle inspect`: what a bundle claims. Nothing is checked but that it can be read.

use std::path::{Path, PathBuf};

use countersign_format::BundleIndex;
use countersign_trust_store::{BundleReadError, BundleReader, UnixTime};
use serde_json::{Value, json};

use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, Paint};

/// Show what a bundle claims, without verifying anything
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign bundle inspect plant-12.bundle
  countersign bundle inspect plant-12.bundle --json

Anyone can write such claims. `countersign bundle verify` says whether they are true.")]
pub(crate) struct Arguments {
    /// The bundle
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let path = &arguments.file;
    let reader =
        BundleReader::open(files::open(path, "bundle")?).map_err(|error| failure(error, path))?;
    let index = reader.bundle().claimed_index();
    if arguments.json {
        output.json(&json!({
            "version": 1,
            "file": path.display().to_string(),
            "verified": false,
            "index": to_json(index),
        }));
        return Ok(());
    }
    output.painted(
        Paint::Bad,
        "not verified",
        &format!(": what {} claims", path.display()),
    );
    print(index, output);
    Ok(())
}

/// A bundle that cannot be read is a matter of the file or the machine; one that is refused has a code.
pub(super) fn failure(error: BundleReadError, path: &Path) -> Failure {
    match error {
        BundleReadError::Refused(rejection) => Failure::refused(rejection),
        BundleReadError::Io(error) => Failure::usage(
            anyhow::Error::new(error).context(format!("cannot read {}", path.display())),
        ),
    }
}

pub(super) fn print(index: &BundleIndex, output: &mut Output) {
    let fields = index.fields();
    output.field("line", &fields.line);
    output.field("number", &fields.number.to_string());
    output.field("until", &UnixTime::from_secs(fields.not_after).to_string());
    for (label, list) in [
        ("devices", &fields.audience.devices),
        ("types", &fields.audience.types),
    ] {
        if !list.is_empty() {
            output.field(label, &list.join(", "));
        }
    }
    for part in &fields.parts {
        output.field(
            part.kind.as_str(),
            &format!(
                "{}, {} bytes, SHA-256 {}",
                part.name, part.size, part.digest
            ),
        );
    }
    for minimum in &fields.minimums {
        output.field(
            "withdrawn",
            &format!(
                "{} below security version {}",
                minimum.name, minimum.security_version
            ),
        );
    }
}

pub(super) fn to_json(index: &BundleIndex) -> Value {
    let fields = index.fields();
    let parts: Vec<_> = fields
        .parts
        .iter()
        .map(|part| {
            json!({
                "kind": part.kind.as_str(),
                "name": part.name,
                "size": part.size,
                "sha256": part.digest.to_string(),
            })
        })
        .collect();
    let minimums: Vec<_> = fields
        .minimums
        .iter()
        .map(|minimum| {
            json!({
                "component": minimum.name.as_str(),
                "security_version": minimum.security_version,
            })
        })
        .collect();
    json!({
        "line": fields.line,
        "number": fields.number,
        "until": UnixTime::from_secs(fields.not_after).to_string(),
        "devices": fields.audience.devices,
        "device_types": fields.audience.types,
        "parts": parts,
        "minimums": minimums,
    })
}

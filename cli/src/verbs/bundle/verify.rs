//! `bundle verify`: would a gateway with these anchors take this bundle? The same code as in the gateway answers.

use std::path::PathBuf;

use anyhow::Context as _;
use countersign_format::{DeviceIdentity, PartKind};
use countersign_trust_store::{
    BundleAnchors, BundleReader, Expectation, Now, Policy, TrustState, UnixTime, VerifiedBundle,
    pem,
};
use serde_json::json;

use super::inspect;
use crate::shared::certificates::{read_chain, read_crls};
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, Paint};
use crate::verbs::codes;
use crate::verbs::verify::wall_clock;

/// Verify a bundle and every part of it against anchors that you name, offline
///
/// Says whether the index was signed by who may sign it, and whether every part is the one that the index names. Whether the
/// components in it may run is another question, which each answers for itself: `countersign verify`. Whether the number is
/// higher than that of the last, only a gateway knows.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign bundle verify plant-12.bundle --anchors bundle-roots.pem --crl root.crl --crl issuing.crl
  countersign bundle verify plant-12.bundle --anchors bundle-roots.pem --device-id gw-7 --json

Exit status: 0 accepted; 2 usage or configuration; else that of the refusal (see `countersign codes`).")]
pub(crate) struct Arguments {
    /// The bundle
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The roots of those who sign bundles, in PEM
    #[arg(long, visible_alias = "roots", value_name = "FILE", required = true)]
    anchors: Vec<PathBuf>,
    /// A certificate revocation list, PEM or DER; once for each. The lists in the bundle count besides
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// Judge as of this time, such as 2027-01-01T00:00:00Z, instead of now
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,
    /// How many different devices must have signed, 1 to 4
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    signers: u8,
    /// Answer for the device of this identity, where the bundle names its audience
    #[arg(long, value_name = "ID")]
    device_id: Option<String>,
    /// The type of that device
    #[arg(long, value_name = "TYPE", requires = "device_id")]
    device_type: Option<String>,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let verdict = judge(arguments);
    let file = arguments.file.display().to_string();
    if arguments.json {
        let mut value = json!({ "version": 1, "file": file });
        match &verdict {
            Ok(bundle) => {
                value["verdict"] = json!("accepted");
                value["index"] = inspect::to_json(bundle.index());
                value["index_sha256"] = json!(bundle.digest().to_string());
                value["signers"] = bundle
                    .signers()
                    .iter()
                    .map(|signer| json!(signer.chain().leaf().subject()))
                    .collect();
            }
            Err(Failure::Refused(rejection)) => {
                value["verdict"] = json!("refused");
                value["refusal"] = codes::describe(rejection.code());
                value["refusal"]["reason"] = json!(rejection.to_string());
            }
            // No verdict.
            Err(_) => return verdict.map(|_| ()),
        }
        output.json(&value);
    } else if let Ok(bundle) = &verdict {
        output.painted(Paint::Good, "accepted", &format!(": {file}"));
        for signer in bundle.signers() {
            output.field("signed by", &signer.chain().leaf().subject());
        }
        inspect::print(bundle.index(), output);
    }
    verdict.map(|_| ())
}

fn judge(arguments: &Arguments) -> Result<VerifiedBundle, Failure> {
    let mut roots = Vec::new();
    for path in &arguments.anchors {
        roots.extend(read_chain(path)?);
    }
    let anchors = BundleAnchors::new(roots)
        .context("cannot use the anchors")
        .map_err(Failure::usage)?;
    let mut policy = Policy::default()
        .with_min_signers(arguments.signers)
        .context("--signers")
        .map_err(Failure::usage)?;
    if let Some(id) = &arguments.device_id {
        let identity = DeviceIdentity::parse(id)
            .context("--device-id")
            .map_err(Failure::usage)?;
        policy = policy.with_device(identity, arguments.device_type.clone());
    }
    let mut state = TrustState::default();
    for path in &arguments.crl {
        for list in read_crls(path)? {
            state
                .add_crl(&list)
                .with_context(|| format!("cannot use the revocation list {}", path.display()))
                .map_err(Failure::usage)?;
        }
    }
    let path = &arguments.file;
    let failed = |error| inspect::failure(error, path);
    let mut reader = BundleReader::open(files::open(path, "bundle")?).map_err(failed)?;
    loop {
        // Only lists are kept, and those are bounded.
        let parts = &reader.bundle().claimed_index().fields().parts;
        let keeps = parts.iter().any(|part| part.kind == PartKind::Lists);
        let mut bytes = Vec::new();
        let part = reader.next_part(&mut |piece| {
            if keeps {
                bytes.extend_from_slice(piece);
            }
            Ok(())
        });
        let Some(part) = part.map_err(failed)? else {
            break;
        };
        if part.kind == PartKind::Lists {
            let lists = pem::crls(&bytes)
                .with_context(|| format!("{} in the bundle holds no revocation list", part.name))
                .map_err(Failure::usage)?;
            for list in lists {
                state.add_crl(&list).map_err(Failure::refused)?;
            }
        }
    }
    let now = match arguments.at {
        Some(at) => Now::at(at),
        // A desk has no floor: its clock is believed.
        None => Now::new(UnixTime::from_secs(0), Some(wall_clock())),
    };
    anchors
        .verify(
            reader.bundle().clone(),
            &Expectation::default(),
            &policy,
            &now,
            &state,
        )
        .map_err(Failure::refused)
}

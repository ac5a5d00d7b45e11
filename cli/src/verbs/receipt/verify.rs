//! `receipt verify`: whether a receipt is of a device of these roots, and the one that is waited for.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use countersign_format::{DeviceIdentity, Digest, EvidenceNonce, limits};
use countersign_trust_store::{
    BundleReadError, BundleReader, Now, ReceiptPolicy, UnixTime, VerifiedReceipt,
};

use super::show;
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, say};
use crate::verbs::attest::{ExpectedRegister, NonceArgument};
use crate::verbs::verify;

/// Verify a receipt of a gateway against roots, offline
///
/// Accepted means: a key that one of the roots certifies for attestation signed it, the gateway of that device asked for the
/// signature, and not a byte was changed since. What runs there is the gateway's own word; expected registers show what the
/// device really started. That a receipt is new is shown by a nonce, by the bundle with whose application it was made, or by its
/// number.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign receipt verify gateway-7-3.receipt --roots roots.pem --crl all.crl --device-id gateway-7 --bundle plant-12.bundle --applied
  countersign receipt verify gateway-7-4.receipt --roots roots.pem --crl all.crl --nonce 8f4e1c77a2b95d03 --device-id gateway-7
  countersign receipt verify gateway-7-5.receipt --roots roots.pem --crl all.crl --device-id gateway-7 --after 4 --json

Exit status: 0 accepted; 2 usage or configuration; else that of the refusal (see `countersign codes`).")]
pub(super) struct Arguments {
    /// The receipt
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// The roots to trust for attestation keys: certificates in PEM, or a roots.toml
    #[arg(long, visible_alias = "anchors", value_name = "FILE", required = true)]
    roots: Vec<PathBuf>,
    /// A certificate revocation list, PEM or DER; once for each
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// The nonce that the receipt was asked for with, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    nonce: Option<NonceArgument>,
    /// The bundle with whose application the receipt was made
    #[arg(long, value_name = "FILE", conflicts_with = "nonce")]
    bundle: Option<PathBuf>,
    /// Refuse a receipt of a gateway that does not run that bundle
    #[arg(long, requires = "bundle")]
    applied: bool,
    /// The number of the last receipt that was seen of this device: only a higher one is accepted
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// The device that it must be of
    #[arg(long, value_name = "ID")]
    device_id: Option<String>,
    /// A register that must have been quoted with this value; again with the same number for another permitted value
    #[arg(long, value_name = "N=HEX", conflicts_with = "accept_software")]
    expect_pcr: Vec<ExpectedRegister>,
    /// The SHA-256 that the gateway must state of its own program; again for another permitted one
    #[arg(long, value_name = "SHA-256")]
    expect_runtime: Vec<Digest>,
    /// Accept also what no hardware vouches for
    #[arg(long)]
    accept_software: bool,
    /// Judge as of this time, such as 2027-01-01T00:00:00Z, instead of now
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let verdict = judge(arguments);
    if arguments.json {
        let verdict = match &verdict {
            Ok(receipt) => Ok(receipt),
            Err(Failure::Refused(rejection)) => Err(&**rejection),
            // No verdict.
            Err(_) => return verdict.map(|_| ()),
        };
        output.json(&show::to_json(&arguments.file, verdict));
    } else if let Ok(receipt) = &verdict {
        show::print(receipt, output);
    }
    if verdict.is_ok() && arguments.nonce.is_none() && arguments.bundle.is_none() {
        let least = match arguments.after {
            0 => "nothing shows that it is new".to_owned(),
            number => {
                format!("nothing but its number shows that it is newer than receipt {number}")
            }
        };
        say(&format!(
            "warning: {least}; ask for receipts with a nonce (--nonce), or give the bundle that brought it (--bundle)"
        ));
    }
    if verdict.is_ok()
        && arguments.device_id.is_none()
        && (arguments.applied || arguments.after > 0)
    {
        say("warning: it may be another device's receipt; say whose it must be (--device-id)");
    }
    verdict.map(|_| ())
}

fn judge(arguments: &Arguments) -> Result<VerifiedReceipt, Failure> {
    let anchors = verify::anchors(&arguments.roots)?;
    let state = verify::state(&arguments.crl)?;
    let policy = policy(arguments)?;
    let now = match arguments.at {
        Some(at) => Now::at(at),
        // A desk has no floor: its clock is believed.
        None => Now::new(UnixTime::from_secs(0), Some(verify::wall_clock())),
    };
    // One byte more than there may be, so that the verdict, not the reading, says that it is too large.
    let most = limits::MAX_RECEIPT_BYTES.saturating_add(1);
    let bytes = files::read(&arguments.file, "receipt", most)?;
    let verdict = anchors.verify_receipt(&bytes, &policy, &now, &state);
    for anchor in anchors.iter().filter(|anchor| anchor.is_development()) {
        say(&format!(
            "warning: {} is a development root; devices in the field refuse it",
            anchor.subject()
        ));
    }
    verdict.map_err(Failure::refused)
}

fn policy(arguments: &Arguments) -> Result<ReceiptPolicy, Failure> {
    let device = arguments.device_id.as_deref().map(DeviceIdentity::parse);
    let device = device
        .transpose()
        .context("--device-id")
        .map_err(Failure::usage)?;
    let mut policy = ReceiptPolicy::default()
        .after(arguments.after)
        .attested(|mut evidence| {
            if let Some(device) = device {
                evidence = evidence.of_device(device);
            }
            for ExpectedRegister(number, value) in &arguments.expect_pcr {
                evidence = evidence.expecting_register(*number, *value);
            }
            for digest in &arguments.expect_runtime {
                evidence = evidence.expecting_runtime(*digest);
            }
            if arguments.accept_software {
                evidence = evidence.allowing_keys_in_software();
            }
            evidence
        });
    if let Some(NonceArgument(nonce)) = &arguments.nonce {
        policy = policy.answering(nonce.clone());
    }
    if let Some(path) = &arguments.bundle {
        let index = index_of(path)?;
        // A digest is as long as a nonce may be.
        let nonce =
            EvidenceNonce::new(index.as_bytes()).map_err(|error| Failure::usage(anyhow!(error)))?;
        policy = policy.answering(nonce);
        if arguments.applied {
            policy = policy.running(index);
        }
    }
    Ok(policy)
}

/// SHA-256 of a bundle's index. The bundle is the operator's own, and not judged here.
fn index_of(path: &std::path::Path) -> Result<Digest, Failure> {
    let reader = BundleReader::open(files::open(path, "bundle")?).map_err(|error| {
        let error = match error {
            BundleReadError::Refused(rejection) => anyhow!(rejection),
            BundleReadError::Io(error) => anyhow!(error),
        };
        Failure::usage(error.context(format!("cannot use the bundle {}", path.display())))
    })?;
    Ok(reader.bundle().digest())
}

//! `attest verify`: whether an attestation answers, holds, and shows what is expected. The code that hosts use answers.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use countersign_format::{DeviceIdentity, Digest, EvidenceClaims, limits};
use countersign_keys::PublicKey;
use countersign_trust_store::firmware;
use countersign_trust_store::{
    AttestedHardware, Certificate, Check, EvidencePolicy, Now, Rejection, Step, TpmClock, UnixTime,
    VerifiedEvidence, pem,
};
use serde_json::{Value, json};

use super::make::{Hex, NonceArgument};
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, Paint, say};
use crate::verbs::codes;
use crate::verbs::verify::{self, explain, report};

/// A register and a value that is expected in it.
#[derive(Clone)]
pub(crate) struct ExpectedRegister(pub(crate) u8, pub(crate) [u8; 32]);

impl FromStr for ExpectedRegister {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write the register's number, 0 to 23, =, and 64 hexadecimal digits";
        let (number, value) = text.split_once('=').ok_or(FORM)?;
        let number: u8 = number.parse().map_err(|_| FORM)?;
        let Hex(value) = value.parse()?;
        let value = value.try_into().map_err(|_| FORM)?;
        if u64::from(number) >= limits::MAX_REGISTERS {
            return Err(FORM.to_owned());
        }
        Ok(Self(number, value))
    }
}

/// A key that hardware must vouch for.
#[derive(Clone)]
enum ExpectedKey {
    Digest(Digest),
    File(PathBuf),
}

impl FromStr for ExpectedKey {
    type Err = String;

    /// What has the form of a digest is one; a file of such a name is told by `./` in front.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(text
            .parse()
            .map_or_else(|_| Self::File(text.into()), Self::Digest))
    }
}

/// The serial number of a chip.
#[derive(Clone)]
struct ExpectedChip([u8; 9]);

impl FromStr for ExpectedChip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Hex(bytes) = text.parse()?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| "a chip's serial number is 18 hexadecimal digits".to_owned())
    }
}

/// The SHA-256 of the key in a file: a public key, or a certificate.
fn spki_sha256(path: &Path) -> Result<Digest, Failure> {
    let bytes = files::read(path, "key", files::MAX_SMALL_INPUT_BYTES)?;
    // Of a chain, the first certificate is that of its key.
    let der = match pem::certificates(&bytes) {
        Ok(chain) => chain.into_iter().next().unwrap_or_default(),
        Err(_) => match der::pem::decode_vec(&bytes) {
            Ok((_, der)) => der,
            Err(_) => bytes,
        },
    };
    let key = match Certificate::parse(&der) {
        Ok(certificate) => certificate.public_key().ok(),
        Err(_) => PublicKey::from_spki_der(&der).ok(),
    };
    key.map(|key| key.spki_sha256()).ok_or_else(|| {
        Failure::usage(anyhow!(
            "{} holds neither a public key nor a certificate that is accepted; give the key as `countersign key show` prints it",
            path.display()
        ))
    })
}

/// Verify an attestation against roots and a nonce, offline
///
/// Accepted means: a key that one of the roots certifies for attestation signed it, in answer to the nonce, and it shows
/// what --expect-… ask for. What the device's host says of itself is shown as self-reported: only expected registers
/// show what the device really started.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign attest verify state.eat --roots roots.pem --crl issuing.crl --crl root.crl --nonce 8f4e1c77a2b95d03
  countersign attest verify state.eat --roots roots.pem --crl all.crl --nonce 8f4e1c77a2b95d03 --device-id pump-07 \\
      --expect-pcr 7=65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e234eb3068 --explain
  countersign attest verify key.eat --roots roots.pem --crl all.crl --nonce 8f4e1c77a2b95d03 --expect-key door.pem

Exit status: 0 accepted; 2 usage or configuration; else that of the refusal (see `countersign codes`).")]
pub(super) struct Arguments {
    /// The attestation
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The roots to trust: certificates in PEM, or a roots.toml with purpose, scope and revocation lists
    #[arg(long, value_name = "FILE", required = true)]
    roots: Vec<PathBuf>,
    /// A certificate revocation list, PEM or DER; once for each
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// The nonce that was asked with, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    nonce: NonceArgument,
    /// Judge as of this time, such as 2027-01-01T00:00:00Z, instead of now
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,
    /// The device that must have answered
    #[arg(long, value_name = "ID")]
    device_id: Option<String>,
    /// A register that must have been quoted with this value; again with the same number for another permitted value
    #[arg(long, value_name = "N=HEX")]
    expect_pcr: Vec<ExpectedRegister>,
    /// The SHA-256 that the answering program must state of itself; again for another permitted one
    #[arg(long, value_name = "SHA-256")]
    expect_runtime: Vec<Digest>,
    /// The SHA-256 of the component that must have asked; again for another permitted one
    #[arg(long, value_name = "SHA-256")]
    expect_component: Vec<Digest>,
    /// The key that the hardware must vouch for: a file with the key or its certificate (PEM or DER), or the SHA-256 of its
    /// SubjectPublicKeyInfo
    #[arg(long, value_name = "FILE|SHA-256")]
    expect_key: Option<ExpectedKey>,
    /// The serial number of the ATECC608 that must have answered, 18 hexadecimal digits
    #[arg(long, value_name = "SERIAL")]
    expect_chip: Option<ExpectedChip>,
    /// Refuse anything but a key whose slot in an ATECC608 can take no new one
    #[arg(long)]
    unchangeable: bool,
    /// Accept also what no hardware vouches for
    #[arg(long)]
    accept_software: bool,
    /// Tell every check in its order, and how it went
    #[arg(long)]
    explain: bool,
    /// Print as versioned JSON; with --explain, the checks too
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let anchors = verify::anchors(&arguments.roots)?;
    let policy = policy(arguments)?;
    let state = verify::state(&arguments.crl)?;
    let time = arguments.at.unwrap_or_else(verify::wall_clock);
    let now = match arguments.at {
        Some(at) => Now::at(at),
        // A desk has no floor: its clock is believed.
        None => Now::new(UnixTime::from_secs(0), Some(time)),
    };
    // One byte more than there may be, so that the verdict, not the reading, says that it is too large.
    let most = limits::MAX_EVIDENCE_BYTES.saturating_add(1);
    let bytes = files::read(&arguments.file, "attestation", most)?;
    let mut steps = Vec::new();
    let verdict = anchors.verify_evidence_explained(&bytes, &policy, &now, &state, &mut |step| {
        steps.push(step);
    });
    for anchor in anchors.iter().filter(|anchor| anchor.is_development()) {
        say(&format!(
            "warning: {} is a development root; devices in the field refuse it",
            anchor.subject()
        ));
    }
    if let Ok(evidence) = &verdict
        && arguments.expect_key.is_none()
        && let AttestedHardware::TpmKey { key, .. } | AttestedHardware::Atecc608Key { key, .. } =
            evidence.hardware()
    {
        say(&format!(
            "warning: this vouches for the key {key}, which was compared with no key of yours; give --expect-key with the key that \
             you want vouched for"
        ));
    }
    if arguments.json {
        output.json(&to_json(arguments, time, &steps, verdict.as_ref()));
    } else {
        if arguments.explain {
            explain::print(Check::EVIDENCE, &steps, &anchors, time, output);
        }
        if let Ok(evidence) = &verdict {
            print(evidence, output);
        }
    }
    verdict.map(|_| ()).map_err(Failure::refused)
}

fn policy(arguments: &Arguments) -> Result<EvidencePolicy, Failure> {
    let mut policy = EvidencePolicy::answering(arguments.nonce.0.clone());
    if let Some(id) = &arguments.device_id {
        let device = DeviceIdentity::parse(id)
            .context("--device-id")
            .map_err(Failure::usage)?;
        policy = policy.of_device(device);
    }
    for ExpectedRegister(number, value) in &arguments.expect_pcr {
        policy = policy.expecting_register(*number, *value);
    }
    for digest in &arguments.expect_runtime {
        policy = policy.expecting_runtime(*digest);
    }
    for digest in &arguments.expect_component {
        policy = policy.expecting_component(*digest);
    }
    match &arguments.expect_key {
        Some(ExpectedKey::File(path)) => policy = policy.for_key_with(spki_sha256(path)?),
        Some(ExpectedKey::Digest(digest)) => policy = policy.for_key_with(*digest),
        None => {}
    }
    if let Some(ExpectedChip(serial)) = &arguments.expect_chip {
        policy = policy.of_chip(*serial);
    }
    if arguments.unchangeable {
        policy = policy.unchangeable();
    }
    if arguments.accept_software {
        let of_hardware = [
            (!arguments.expect_pcr.is_empty(), "--expect-pcr"),
            (arguments.expect_key.is_some(), "--expect-key"),
            (arguments.expect_chip.is_some(), "--expect-chip"),
            (arguments.unchangeable, "--unchangeable"),
        ];
        if let Some((_, option)) = of_hardware.into_iter().find(|(given, _)| *given) {
            return Err(Failure::usage(anyhow!(
                "--accept-software and {option} exclude each other: software shows nothing of that kind"
            )));
        }
        policy = policy.allowing_keys_in_software();
    }
    Ok(policy)
}

/// For people: first what hardware vouches for, then what is only said.
fn print(evidence: &VerifiedEvidence, output: &mut Output) {
    let claims = evidence.claims();
    output.painted(
        Paint::Good,
        "accepted",
        &format!(
            ": {} answers, by {}",
            claims.device(),
            claims.kind().as_str()
        ),
    );
    print_hardware(evidence, output);
    said(claims, output);
}

/// Whose key signed, and what the hardware vouches for.
pub(crate) fn print_hardware(evidence: &VerifiedEvidence, output: &mut Output) {
    output.field("signed by", &evidence.chain().leaf().subject());
    output.field("  under root", evidence.chain().anchor_subject());
    match evidence.hardware() {
        AttestedHardware::TpmBoot {
            registers,
            clock,
            firmware,
        } => {
            for (number, value) in registers {
                output.field(&format!("register {number}"), &hex::encode(value));
            }
            tpm(clock, *firmware, output);
        }
        AttestedHardware::TpmKey {
            key,
            clock,
            firmware,
        } => {
            output.field("key in the TPM", &key.to_string());
            tpm(clock, *firmware, output);
        }
        AttestedHardware::Atecc608Key {
            serial,
            slot,
            key,
            replaceable,
        } => {
            output.field("key in the chip", &key.to_string());
            output.field("  slot", &slot.to_string());
            output.field("  serial number", &hex::encode(serial));
            let fixed = if *replaceable {
                "a new key can be made in it"
            } else {
                "fixed"
            };
            output.field("  slot is", fixed);
        }
        _ => output.field("hardware", "none vouches for this"),
    }
}

fn tpm(clock: &TpmClock, version: u64, output: &mut Output) {
    output.field("TPM resets", &clock.resets().to_string());
    output.field("TPM firmware", &firmware::display(version));
}

/// What the host says.
pub(crate) fn said(claims: &EvidenceClaims, output: &mut Output) {
    let runtime = claims.runtime();
    output.line("Self-reported by its host:");
    output.field(
        "program",
        &format!("{} {}", runtime.name(), runtime.version()),
    );
    if let Some(digest) = runtime.digest() {
        output.field("  SHA-256", &digest.to_string());
    }
    if let Some(digest) = claims.configuration() {
        output.field("configuration", &digest.to_string());
    }
    if let Some(component) = claims.component() {
        output.field("component", component.name().as_str());
        output.field("  SHA-256", &component.digest().to_string());
    }
    output.field("boot", &hex::encode(claims.boot().as_bytes()));
    if let Some(seconds) = claims.issued_at() {
        output.field("its time", &UnixTime::from_secs(seconds).to_string());
    }
}

/// Version 1. `hardware` is what the device's hardware vouches for, `self_reported` what its host says.
fn to_json(
    arguments: &Arguments,
    time: UnixTime,
    steps: &[Step],
    verdict: Result<&VerifiedEvidence, &Rejection>,
) -> Value {
    let mut value = json!({
        "version": 1,
        "file": arguments.file.display().to_string(),
        "at": time.to_string(),
    });
    match verdict {
        Ok(evidence) => {
            value["verdict"] = json!("accepted");
            describe(evidence, &mut value);
        }
        Err(rejection) => {
            value["verdict"] = json!("refused");
            value["refusal"] = codes::describe(rejection.code());
            value["refusal"]["reason"] = json!(rejection.to_string());
        }
    }
    if arguments.explain {
        value["checks"] = steps.iter().map(report::step_to_json).collect();
    }
    value
}

/// Adds what was verified.
pub(crate) fn describe(evidence: &VerifiedEvidence, value: &mut Value) {
    let claims = evidence.claims();
    value["device_id"] = json!(claims.device().as_str());
    value["kind"] = json!(claims.kind().as_str());
    value["subject"] = json!(evidence.chain().leaf().subject());
    value["root"] = json!(evidence.chain().anchor_subject());
    value["hardware"] = hardware_to_json(evidence.hardware());
    value["self_reported"] = claims_to_json(claims);
}

fn hardware_to_json(hardware: &AttestedHardware) -> Value {
    match hardware {
        AttestedHardware::TpmBoot {
            registers,
            clock,
            firmware,
        } => json!({
            "registers": registers
                .iter()
                .map(|(number, value)| (number.to_string(), json!(hex::encode(value))))
                .collect::<serde_json::Map<_, _>>(),
            "clock": clock_to_json(clock),
            "firmware": firmware::display(*firmware),
        }),
        AttestedHardware::TpmKey {
            key,
            clock,
            firmware,
        } => json!({
            "spki_sha256": key.spki_sha256().to_string(),
            "clock": clock_to_json(clock),
            "firmware": firmware::display(*firmware),
        }),
        AttestedHardware::Atecc608Key {
            serial,
            slot,
            key,
            replaceable,
        } => json!({
            "spki_sha256": key.spki_sha256().to_string(),
            "serial_number": hex::encode(serial),
            "slot": slot,
            "replaceable": replaceable,
        }),
        _ => Value::Null,
    }
}

fn clock_to_json(clock: &TpmClock) -> Value {
    json!({
        "milliseconds": clock.milliseconds(),
        "resets": clock.resets(),
        "restarts": clock.restarts(),
        "safe": clock.is_safe(),
    })
}

fn claims_to_json(claims: &EvidenceClaims) -> Value {
    let runtime = claims.runtime();
    json!({
        "program": runtime.name(),
        "program_version": runtime.version(),
        "program_sha256": runtime.digest().map(|digest| digest.to_string()),
        "configuration_sha256": claims.configuration().map(|digest| digest.to_string()),
        "component": claims.component().map(|component| json!({
            "name": component.name().as_str(),
            "sha256": component.digest().to_string(),
            "signers": component.signers().iter().map(ToString::to_string).collect::<Vec<_>>(),
        })),
        "boot": hex::encode(claims.boot().as_bytes()),
        "time": claims.issued_at().map(|seconds| UnixTime::from_secs(seconds).to_string()),
    })
}

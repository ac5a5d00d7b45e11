//! A guest signs a reading with the key that the device lends it, and somebody else verifies it with the root alone.

use anyhow::{Result, ensure};

use super::signer::{Chip, Key};
use super::stage::Stage;
use super::{sign, step_aside};
use crate::process::target;

/// What the guest signs.
const READING: &str = "temperature=21.5";

/// Signs the guest as a component, lends it a key of the chip, and verifies what it printed.
pub(super) fn sign_and_verify(stage: &Stage, chip: &Chip, device: &Key) -> Result<()> {
    step_aside("lending a key of the chip to a guest, and verifying its signed reading elsewhere");
    stage.copy_guest("telemetry", "telemetry.toml")?;
    sign(
        stage,
        "telemetry.wasm",
        device,
        &["--manifest", "telemetry.toml"],
    )?;
    let key = chip.guests(stage)?;

    let mut run = stage.command("countersign-run");
    run.arg("telemetry.signed.wasm");
    run.args(["--device-key", &format!("telemetry={}", key.uri)]);
    run.args(["--device-chain", &format!("telemetry={}", key.chain)]);
    run.args(["--audit", "audit.jsonl", "--", READING]);
    let reading = stage.show(&mut run)?.must_succeed()?;
    stage.write("reading.hex", &reading.stdout)?;

    let verifier = target().join("debug/examples/verify_guest_data");
    stage.take(&verifier, "verify_guest_data")?;
    let mut verify = stage.command("verify_guest_data");
    verify.args(["--root", "pki/root.pem"]);
    verify.args(["--crl", "pki/root.crl.pem"]);
    verify.args(["--crl", "pki/intermediate.crl.pem", "reading.hex"]);
    let verified = stage.show(&mut verify)?.must_succeed()?;
    ensure!(
        verified.stdout.contains(READING) && verified.stdout.contains(super::DEVICE),
        "the verifier did not tell the reading and its device"
    );

    // One digit changed, and it is nobody's.
    let mut changed = reading.stdout.trim_end().to_owned();
    let last = if changed.ends_with('0') { "1" } else { "0" };
    changed.replace_range(changed.len() - 1.., last);
    stage.write("changed.hex", &changed)?;
    let mut verify = stage.command("verify_guest_data");
    verify.args(["--root", "pki/root.pem"]);
    verify.args(["--crl", "pki/root.crl.pem"]);
    verify.args(["--crl", "pki/intermediate.crl.pem", "changed.hex"]);
    let refused = stage.show(&mut verify)?;
    ensure!(
        refused.status != Some(0) && refused.stderr.contains("signature-invalid"),
        "a changed reading was not refused"
    );
    Ok(())
}

//! The five components that must not run, and what the host must say of each.

use anyhow::{Context, Result, ensure};

use super::signer::Key;
use super::stage::Stage;

/// One component that the host must refuse.
struct Refusal {
    why: &'static str,
    /// How far the machine's clock is ahead while the host runs, as faketime writes it.
    clock: Option<&'static str>,
    component: &'static str,
    code: &'static str,
    status: i32,
}

const REFUSALS: [Refusal; 5] = [
    Refusal {
        why: "unsigned",
        clock: None,
        component: "hello.wasm",
        code: "signature-missing",
        status: 110,
    },
    Refusal {
        why: "one byte changed after signing",
        clock: None,
        component: "changed.wasm",
        code: "digest-mismatch",
        status: 111,
    },
    Refusal {
        why: "signed under another root",
        clock: None,
        component: "stranger.wasm",
        code: "untrusted-root",
        status: 112,
    },
    Refusal {
        why: "signed with a certificate that was valid for one day, two days later",
        clock: Some("+2d"),
        component: "one-day.wasm",
        code: "expired",
        status: 114,
    },
    Refusal {
        why: "signed under a name that this signer may not use",
        clock: None,
        component: "acme-pump.wasm",
        code: "signer-not-authorised",
        status: 113,
    },
];

/// Makes the five, one of them with the device's own key, and has each refused; returns how many there were.
pub(super) fn all(stage: &Stage, device: &Key) -> Result<usize> {
    prepare(stage, device)?;
    for refusal in &REFUSALS {
        println!("\n-- {}", refusal.why);
        refusal.check(stage)?;
    }
    Ok(REFUSALS.len())
}

impl Refusal {
    fn check(&self, stage: &Stage) -> Result<()> {
        let mut command = match self.clock {
            None => stage.command("countersign-run"),
            Some(ahead) => stage.command_at(ahead, "countersign-run"),
        };
        command.args([self.component, "--", "nobody"]);
        let outcome = stage.show(&mut command)?;
        let status = outcome.status.context("the host was ended by a signal")?;
        println!("exit status {status}");
        ensure!(
            status == self.status,
            "{} should have ended with exit status {}, not {status}",
            self.component,
            self.status
        );
        ensure!(
            outcome.stderr.contains(self.code),
            "{} should have been refused with the code {}",
            self.component,
            self.code
        );
        ensure!(
            outcome.stdout.is_empty(),
            "{} ran all the same",
            self.component
        );
        Ok(())
    }
}

/// Makes what is to be refused.
fn prepare(stage: &Stage, device: &Key) -> Result<()> {
    // A bit in the middle of the component, far from the signature at the end.
    let mut bytes = std::fs::read(stage.path("hello.signed.wasm"))?;
    let middle = std::fs::metadata(stage.path("hello.wasm"))?.len() as usize / 2;
    let byte = bytes
        .get_mut(middle)
        .context("the signed component is shorter than the component")?;
    *byte ^= 1;
    stage.write("changed.wasm", bytes)?;

    let mut stranger = stage.command("countersign-ca");
    stranger.args(["dev", "--dir", "stranger", "--scope", "examples:*"]);
    quiet(stage, &mut stranger)?;
    sign(
        stage,
        "stranger.wasm",
        "stranger/device.key.pem",
        "stranger/device.chain.pem",
        &[],
    )?;

    let mut generate = stage.command("countersign");
    generate.args(["key", "generate", "one-day.key.pem", "--unencrypted"]);
    quiet(stage, &mut generate)?;
    let mut request = stage.command("countersign");
    request.args(["key", "csr", "one-day.key.pem"]);
    request.args([
        "--device-id",
        "demo-gateway-2",
        "--output",
        "one-day.csr.pem",
    ]);
    quiet(stage, &mut request)?;
    let mut issue = stage.command("countersign-ca");
    issue.args(["issue", "--dir", "pki/ca", "--profile", "component-signer"]);
    issue.args([
        "--csr",
        "one-day.csr.pem",
        "--scope",
        "examples:*",
        "--days",
        "1",
    ]);
    issue.args(["--out", "one-day.chain.pem"]);
    quiet(stage, &mut issue)?;
    sign(
        stage,
        "one-day.wasm",
        "one-day.key.pem",
        "one-day.chain.pem",
        &[],
    )?;

    let name = ["--name", "acme:pump"];
    sign(stage, "acme-pump.wasm", &device.uri, &device.chain, &name)
}

fn sign(stage: &Stage, output: &str, key: &str, chain: &str, more: &[&str]) -> Result<()> {
    let mut sign = stage.command("countersign");
    sign.args([
        "sign",
        "hello.wasm",
        "--key",
        key,
        "--chain",
        chain,
        "--output",
        output,
    ]);
    quiet(stage, sign.args(more))
}

/// Runs a step that only prepares, without showing it unless it fails.
fn quiet(stage: &Stage, command: &mut std::process::Command) -> Result<()> {
    crate::process::capture(command).with_context(|| {
        format!(
            "what is to be refused could not be made in {}",
            stage.folder().display()
        )
    })?;
    Ok(())
}

//! The verdict, for people and for programs.

use std::path::Path;

use countersign_trust_store::{
    Outcome, Rejection, Step, UnixTime, VerifiedComponent, VerifiedSigner,
};
use serde_json::{Value, json};

use crate::shared::output::{Output, Paint};
use crate::verbs::codes;
use crate::verbs::inspect::statement;

/// What was asked and what came out.
pub(super) struct Report<'a> {
    pub(super) file: &'a Path,
    pub(super) time: UnixTime,
    pub(super) steps: &'a [Step],
    pub(super) verdict: Result<&'a VerifiedComponent, &'a Rejection>,
}

impl Report<'_> {
    /// Short: what is it, who vouches for it, under which root. A refusal is told on standard error instead.
    pub(super) fn print(&self, output: &mut Output) {
        let Ok(component) = self.verdict else { return };
        let stated = component.statement();
        output.painted(
            Paint::Good,
            "accepted",
            &format!(
                ": {} {} (security version {})",
                stated.name(),
                stated.version(),
                stated.security_version()
            ),
        );
        output.field("SHA-256", &component.digest().to_string());
        for signer in component.signers() {
            let chain = signer.chain();
            output.field("signed by", &chain.leaf().subject());
            if let Some(device) = chain.device() {
                output.field("  device", device.identity().as_str());
            }
            output.field("  under root", chain.anchor_subject());
            output.field("  valid up to", &chain.valid_until().to_string());
        }
        for reason in component.uncounted() {
            output.field("not counted", reason);
        }
    }

    /// Version 1. `verdict` is "accepted" or "refused"; `refusal` says why in the words of `codes --json`.
    pub(super) fn to_json(&self, explain: bool) -> Value {
        let mut value = json!({
            "version": 1,
            "file": self.file.display().to_string(),
            "at": self.time.to_string(),
        });
        match self.verdict {
            Ok(component) => {
                value["verdict"] = json!("accepted");
                value["statement"] = statement::to_json(component.statement());
                value["signers"] = component.signers().iter().map(signer_to_json).collect();
                value["uncounted"] = json!(component.uncounted());
                value["development_root"] = json!(component.uses_development_root());
            }
            Err(rejection) => {
                value["verdict"] = json!("refused");
                value["refusal"] = codes::describe(rejection.code());
                value["refusal"]["reason"] = json!(rejection.to_string());
            }
        }
        if explain {
            value["checks"] = self.steps.iter().map(step_to_json).collect();
        }
        value
    }
}

fn signer_to_json(signer: &VerifiedSigner) -> Value {
    let chain = signer.chain();
    json!({
        "index": signer.index(),
        "subject": chain.leaf().subject(),
        "serial_number": chain.leaf().serial(),
        "spki_sha256": chain.leaf().spki_sha256().to_string(),
        "device_id": chain.device().map(|device| device.identity().as_str()),
        "device_type": chain.device_type(),
        "root": chain.anchor_subject(),
        "root_spki_sha256": chain.anchor_spki_sha256().to_string(),
        "development_root": chain.is_development(),
        "valid_until": chain.valid_until().to_string(),
    })
}

pub(in crate::verbs) fn step_to_json(step: &Step) -> Value {
    let outcome = match &step.outcome {
        Outcome::Passed => "passed",
        Outcome::NotCounted => "not-counted",
        Outcome::Refused(_) => "refused",
        // A newer trust store may know more outcomes; none of them is a pass.
        _ => "unknown",
    };
    json!({
        "check": step.check.as_str(),
        "question": step.check.question(),
        "signer": step.signer,
        "outcome": outcome,
        "detail": step.detail,
    })
}

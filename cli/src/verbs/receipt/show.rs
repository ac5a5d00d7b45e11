//! What a receipt says, for people and as JSON: first what hardware vouches for, then what the gateway says.

use std::path::Path;

use countersign_format::{ReceiptFields, ReceiptService};
use countersign_trust_store::{CrlNumber, Rejection, UnixTime, VerifiedReceipt};
use serde_json::{Value, json};

use crate::shared::output::{Output, Paint};
use crate::verbs::attest;
use crate::verbs::codes;

/// For people.
pub(super) fn print(receipt: &VerifiedReceipt, output: &mut Output) {
    let claims = receipt.evidence().claims();
    let fields = receipt.fields();
    output.painted(
        Paint::Good,
        "accepted",
        &format!(
            ": receipt {} of {}, by {}",
            fields.number,
            claims.device(),
            claims.kind().as_str()
        ),
    );
    attest::print_hardware(receipt.evidence(), output);
    attest::print_said(claims, output);
    if let Some(clock) = fields.clock {
        output.field("its time", &time(clock));
    }
    output.field("time passed for sure", &time(fields.floor));
    if let Some(nonce) = &fields.nonce {
        output.field("answers", &hex::encode(nonce.as_bytes()));
    }
    match &fields.bundle {
        Some(bundle) => {
            output.field("bundle", &format!("{} {}", bundle.line, bundle.number));
            output.field("  index", &bundle.index.to_string());
        }
        None => output.field("bundle", "none"),
    }
    if let Some(log) = &fields.log {
        // Origin, entries and root stand in its first lines (C2SP tlog-checkpoint).
        let head: Vec<&str> = log.lines().take(3).collect();
        output.field("records", &head.join(", "));
    }
    output.line("What runs there:");
    for service in &fields.services {
        print_service(service, output);
    }
    if !fields.refusals.is_empty() {
        output.line("What was refused since it started:");
    }
    for refusal in &fields.refusals {
        let whom = or(&refusal.service, "a bundle");
        output.field(
            &time(refusal.at),
            &format!("{whom}: {}", or(&refusal.code, "cannot be used")),
        );
        output.field("", &refusal.why);
    }
    output.line("What must not come back:");
    for (_, name, version) in &fields.versions {
        output.field(
            name.as_str(),
            &format!("no security version below {version}"),
        );
    }
    for minimum in &fields.minimums {
        let least = minimum.security_version;
        output.field(minimum.name.as_str(), &format!("withdrawn below {least}"));
    }
    for (issuer, number) in &fields.lists {
        output.field(
            "revocation list",
            &format!(
                "number {} of the issuer {issuer}",
                CrlNumber::from_be_bytes(*number)
            ),
        );
    }
}

fn print_service(service: &ReceiptService, output: &mut Output) {
    let health = if service.healthy {
        ", proved healthy"
    } else {
        ""
    };
    output.field(
        &service.name,
        &format!("{}{health}", service.state.as_str()),
    );
    if let Some(component) = &service.component {
        let signers: Vec<&str> = component
            .signers
            .iter()
            .map(|(who, _)| who.as_str())
            .collect();
        output.field(
            "  component",
            &format!(
                "{} {} (security version {}), signed by {}",
                component.name,
                component.version,
                component.security_version,
                signers.join(" and ")
            ),
        );
        output.field("  SHA-256", &component.digest.to_string());
    }
    if let Some(why) = &service.refused {
        output.field("  refused", why);
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn time(seconds: u64) -> String {
    UnixTime::from_secs(seconds).to_string()
}

/// Version 1. `hardware` is what the device's hardware vouches for; `self_reported` and `receipt`, what its gateway says.
pub(super) fn to_json(file: &Path, verdict: Result<&VerifiedReceipt, &Rejection>) -> Value {
    let mut value = json!({ "version": 1, "file": file.display().to_string() });
    match verdict {
        Ok(receipt) => {
            let evidence = receipt.evidence();
            value["verdict"] = json!("accepted");
            attest::describe(evidence, &mut value);
            value["receipt"] = fields_to_json(receipt.fields());
        }
        Err(rejection) => {
            value["verdict"] = json!("refused");
            value["refusal"] = codes::describe(rejection.code());
            value["refusal"]["reason"] = json!(rejection.to_string());
        }
    }
    value
}

fn fields_to_json(fields: &ReceiptFields) -> Value {
    json!({
        "number": fields.number,
        "generation": fields.generation,
        "floor": time(fields.floor),
        "clock": fields.clock.map(time),
        "nonce": fields.nonce.as_ref().map(|nonce| hex::encode(nonce.as_bytes())),
        "log_checkpoint": fields.log,
        "roots": fields.roots.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bundle": fields.bundle.as_ref().map(|bundle| json!({
            "line": bundle.line,
            "number": bundle.number,
            "index_sha256": bundle.index.to_string(),
        })),
        "services": fields.services.iter().map(service_to_json).collect::<Vec<_>>(),
        "refusals": fields.refusals.iter().map(|refusal| json!({
            "at": time(refusal.at),
            "service": refusal.service,
            "code": refusal.code,
            "why": refusal.why,
        })).collect::<Vec<_>>(),
        "lists": fields.lists.iter().map(|(issuer, number)| json!({
            "issuer_spki_sha256": issuer.to_string(),
            "number": CrlNumber::from_be_bytes(*number).to_string(),
        })).collect::<Vec<_>>(),
        "versions": fields.versions.iter().map(|(root, name, version)| json!({
            "root_spki_sha256": root.to_string(),
            "component": name.as_str(),
            "security_version": version,
        })).collect::<Vec<_>>(),
        "minimums": fields.minimums.iter().map(|minimum| json!({
            "component": minimum.name.as_str(),
            "security_version": minimum.security_version,
        })).collect::<Vec<_>>(),
    })
}

fn service_to_json(service: &ReceiptService) -> Value {
    json!({
        "name": service.name,
        "state": service.state.as_str(),
        "healthy": service.healthy,
        "refused": service.refused,
        "component": service.component.as_ref().map(|component| json!({
            "name": component.name.as_str(),
            "version": component.version,
            "security_version": component.security_version,
            "sha256": component.digest.to_string(),
            "file_sha256": component.file.to_string(),
            "signers": component.signers.iter().map(|(who, key)| json!({
                "name": who,
                "spki_sha256": key.to_string(),
            })).collect::<Vec<_>>(),
        })),
    })
}

//! What the operator reads on standard output: in words, or as JSON.

use std::io::{self, Write as _};

use countersign_hosting::printable;
use countersign_trust_store::Code;
use serde_json::Value;

use crate::check::Verdict;

/// The exit status where a component was admitted, and said or showed that it is not healthy: as for one that traps.
const NOT_EXCHANGED: u8 = 118;

/// The form of what `--json` prints of `check`.
const VERSION: u32 = 1;

/// Prints a line to standard output. Who reads it may have gone, which is no fault.
pub(crate) fn out(line: &str) {
    let _ = write(line);
}

/// The same for one of many lines: an error where nobody reads them any more.
pub(crate) fn write(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Prints the verdicts of `check`.
pub(crate) fn print_check(verdicts: &[Verdict], json: bool) {
    if json {
        out(&serde_json::json!({ "version": VERSION, "services": verdicts }).to_string());
        return;
    }
    for verdict in verdicts {
        match (&verdict.facts, &verdict.refused) {
            (_, Some(refused)) => {
                let code = refused.code.unwrap_or("cannot be used");
                out(&format!("{}: {code}", verdict.name));
                out(&format!("  why:  {}", printable(&refused.why)));
                out(&format!("  next: {}", refused.next));
            }
            (Some(facts), None) => {
                out(&format!(
                    "{}: {} {}, signed by {}, until {}",
                    verdict.name,
                    facts.component,
                    printable(&facts.version),
                    printable(&facts.signers.join(" and ")),
                    facts.valid_until
                ));
                if let Some(at) = &facts.judged_at_floor {
                    out(&judged_at_floor(at));
                }
            }
            (None, None) => {}
        }
    }
}

fn judged_at_floor(at: &str) -> String {
    format!(
        "  note: this machine's clock was not plausible, so it was judged as of {at}: what had expired since then was not noticed"
    )
}

/// Prints what a running gateway answered to `status`.
pub(crate) fn print(answer: &Value, json: bool) {
    if json {
        out(&answer.to_string());
        return;
    }
    let of = |value: &Value, key: &str| {
        value.get(key).map(|value| match value {
            Value::String(text) => printable(text),
            other => other.to_string(),
        })
    };
    let confined = |what| answer.pointer(what).and_then(Value::as_str);
    for (what, pointer) in [
        ("the file system", "/confinement/files"),
        ("system calls", "/confinement/calls"),
    ] {
        if let Some(extent) = confined(pointer).filter(|extent| *extent != "whole") {
            out(&format!(
                "note: {what}: confined {}; `countersign-gateway doctor` says more",
                if extent == "part" {
                    "in part"
                } else {
                    "not at all"
                }
            ));
        }
    }
    let services = answer.get("services").and_then(Value::as_array);
    for service in services.into_iter().flatten() {
        let get = |key| of(service, key).unwrap_or_default();
        out(&format!("{}: {}", get("name"), get("state")));
        if let Some(component) = of(service, "component") {
            let signers: Vec<_> = service
                .get("signers")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(printable)
                .collect();
            out(&format!(
                "  {component} {}, signed by {}, until {}",
                get("version"),
                signers.join(" and "),
                get("valid-until")
            ));
            if let Some(at) = of(service, "admitted-at") {
                out(&format!(
                    "  note: it runs because it was admitted on {at}; its certificates or their lists are not current any more"
                ));
            }
            if let Some(at) = of(service, "judged-at-floor") {
                out(&judged_at_floor(&at));
            }
        }
        for (key, word) in [
            ("since", "since"),
            ("due", "due"),
            ("messages", "messages"),
            ("ended", "last"),
            ("code", "code"),
            ("why", "why"),
            ("next", "next"),
            ("newer", "note"),
        ] {
            if let Some(text) = of(service, key).filter(|text| text != "null") {
                out(&format!("  {word}: {text}"));
            }
        }
    }
}

/// Prints what a running gateway answered to `trust`.
pub(crate) fn print_trust(answer: &Value, json: bool) {
    if json {
        out(&answer.to_string());
        return;
    }
    let text = |value: &Value, key: &str| match value.get(key) {
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let all = |value: &Value, key: &str| {
        let list = value.get(key).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    for root in all(answer, "roots") {
        out(&format!("root: {}", text(&root, "subject")));
        out(&format!("  key:  sha256 {}", text(&root, "spki-sha256")));
        out(&format!(
            "  from {} until {}",
            text(&root, "valid-from"),
            text(&root, "valid-until")
        ));
    }
    for list in all(answer, "lists") {
        out(&format!("list: {}", text(&list, "issuer")));
        out(&format!(
            "  number {}, made {}, good until {}",
            text(&list, "number"),
            text(&list, "made"),
            text(&list, "valid-until")
        ));
    }
    let nothing = Value::Null;
    let clock = answer.get("clock").unwrap_or(&nothing);
    out(&format!(
        "time: {} by {}; certainly past {}",
        text(clock, "now"),
        if text(clock, "from") == "clock" {
            "this machine's clock"
        } else {
            "what has certainly passed, because this machine's clock is behind it"
        },
        text(clock, "floor")
    ));
    let remembered = answer.get("remembered").unwrap_or(&nothing);
    out(&format!(
        "remembered: written {} times",
        text(remembered, "generation")
    ));
    for version in all(remembered, "versions") {
        out(&format!(
            "  {}: no security version below {} (root {})",
            text(&version, "component"),
            text(&version, "security-version"),
            text(&version, "root-spki-sha256")
        ));
    }
    for list in all(remembered, "lists") {
        out(&format!(
            "  lists of {}: no number below {}",
            text(&list, "issuer-spki-sha256"),
            text(&list, "number")
        ));
    }
}

/// Prints what became of a bundle, and gives the exit status: that of the refusal, if it was refused.
pub(crate) fn print_applied(answer: &Value, json: bool) -> u8 {
    let refused = answer.get("refused");
    let receipt = answer.get("receipt");
    if json {
        out(&answer.to_string());
    } else {
        let text = |key| answer.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = answer.get("number").and_then(Value::as_u64);
        let bundle = match number {
            Some(number) => format!("bundle {} {number}", printable(text("line"))),
            None => "the bundle".to_owned(),
        };
        out(&format!("{bundle}: {}", text("outcome")));
        if let Some(refusal) = refused {
            let of = |key| refusal.get(key).and_then(Value::as_str).unwrap_or_default();
            out(&format!("  code: {}", of("code")));
            out(&format!("  why:  {}", printable(of("why"))));
            out(&format!("  next: {}", printable(of("next"))));
        }
        if let Some(receipt) = receipt {
            print_receipt(receipt, false);
        }
    }
    // Of a receipt that is missing, where nothing else is wrong.
    let missing = receipt.and_then(|receipt| receipt.get("refused"));
    refused.or(missing).map_or(0, status_of)
}

/// Prints what came of a receipt, and gives the exit status: that of the refusal.
pub(crate) fn print_receipt(answer: &Value, json: bool) -> u8 {
    let refused = answer.get("refused");
    let of = |pointer: &str| {
        let text = answer.pointer(pointer).and_then(Value::as_str);
        printable(text.unwrap_or_default())
    };
    if json {
        out(&answer.to_string());
    } else if refused.is_some() {
        out(&format!("no receipt: {}", of("/refused/code")));
        out(&format!("  why:  {}", of("/refused/why")));
        out(&format!("  next: {}", of("/refused/next")));
    } else {
        let number = answer.get("number").and_then(Value::as_u64);
        out(&format!(
            "receipt {} of {}: {}",
            number.unwrap_or_default(),
            of("/device"),
            of("/file")
        ));
    }
    refused.map_or(0, status_of)
}

/// The exit status of a refusal.
fn status_of(refusal: &Value) -> u8 {
    let word = refusal.get("code").and_then(Value::as_str);
    let code = Code::ALL.iter().find(|code| word == Some(code.as_str()));
    code.map_or(2, |code| code.exit_status())
}

/// Prints what a reload did, and gives the exit status: that of the first component that was refused.
pub(crate) fn print_reload(answer: &Value, json: bool) -> u8 {
    let refused = answer.get("refused").and_then(Value::as_object);
    if json {
        out(&answer.to_string());
    } else {
        for what in ["started", "exchanged", "stopped", "unchanged", "pending"] {
            let names = answer.get(what).and_then(Value::as_array);
            for name in names.into_iter().flatten().filter_map(Value::as_str) {
                out(&format!("{name}: {what}"));
            }
        }
        let stayed = answer.get("stayed").and_then(Value::as_object);
        for (name, why) in stayed.into_iter().flatten() {
            let why = why.as_str().unwrap_or_default();
            out(&format!("{name}: not exchanged: {}", printable(why)));
        }
        for (name, refusal) in refused.into_iter().flatten() {
            let of = |key| refusal.get(key).and_then(Value::as_str).unwrap_or_default();
            out(&format!("{name}: refused {}", of("code")));
            out(&format!("  why:  {}", printable(of("why"))));
            out(&format!("  next: {}", printable(of("next"))));
        }
    }
    let stayed = answer.get("stayed").is_some();
    let first = refused.and_then(|refused| refused.values().next());
    first.map_or(if stayed { NOT_EXCHANGED } else { 0 }, status_of)
}

/// Prints what came of going back, and gives the exit status: that of the refusal.
pub(crate) fn print_rollback(answer: &Value, json: bool) -> u8 {
    let of = |pointer: &str| {
        let text = answer.pointer(pointer).and_then(Value::as_str);
        printable(text.unwrap_or_default())
    };
    let refused = answer.get("refused");
    if json {
        out(&answer.to_string());
    } else if refused.is_some() {
        out(&format!(
            "{}: refused {}",
            of("/service"),
            of("/refused/code")
        ));
        out(&format!("  why:  {}", of("/refused/why")));
        out(&format!("  next: {}", of("/refused/next")));
    } else {
        out(&format!(
            "{}: {} {} runs again; the version after it is held back until another file is in its place",
            of("/service"),
            of("/runs/component"),
            of("/runs/version")
        ));
    }
    refused.map_or(0, status_of)
}

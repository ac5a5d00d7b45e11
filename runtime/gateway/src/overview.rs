//! What the operator reads on standard output: in words, or as JSON.

use countersign_hosting::printable;
use serde_json::Value;

use crate::check::Verdict;

/// The form of what `--json` prints of `check`.
const VERSION: u32 = 1;

/// Prints the verdicts of `check`.
pub(crate) fn print_check(verdicts: &[Verdict], json: bool) {
    if json {
        println!(
            "{}",
            serde_json::json!({ "version": VERSION, "services": verdicts })
        );
        return;
    }
    for verdict in verdicts {
        match (&verdict.facts, &verdict.refused) {
            (_, Some(refused)) => {
                let code = refused.code.unwrap_or("cannot be used");
                println!("{}: {code}", verdict.name);
                println!("  why:  {}", printable(&refused.why));
                println!("  next: {}", refused.next);
            }
            (Some(facts), None) => println!(
                "{}: {} {}, signed by {}, until {}",
                verdict.name,
                facts.component,
                printable(&facts.version),
                printable(&facts.signers.join(" and ")),
                facts.valid_until
            ),
            (None, None) => {}
        }
    }
}

/// Prints what a running gateway answered to `status`.
pub(crate) fn print(answer: &Value, json: bool) {
    if json {
        println!("{answer}");
        return;
    }
    let of = |value: &Value, key: &str| {
        value.get(key).map(|value| match value {
            Value::String(text) => printable(text),
            other => other.to_string(),
        })
    };
    let services = answer.get("services").and_then(Value::as_array);
    for service in services.into_iter().flatten() {
        let get = |key| of(service, key).unwrap_or_default();
        println!("{}: {}", get("name"), get("state"));
        if let Some(component) = of(service, "component") {
            let signers: Vec<_> = service
                .get("signers")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(printable)
                .collect();
            println!(
                "  {component} {}, signed by {}, until {}",
                get("version"),
                signers.join(" and "),
                get("valid-until")
            );
        }
        for (key, word) in [
            ("since", "since"),
            ("ended", "last"),
            ("code", "code"),
            ("why", "why"),
            ("next", "next"),
            ("newer", "note"),
        ] {
            if let Some(text) = of(service, key).filter(|text| text != "null") {
                println!("  {word}: {text}");
            }
        }
    }
}

/// Prints what a reload did, and gives the exit status: 0 unless a component was refused.
pub(crate) fn print_reload(answer: &Value, json: bool) -> u8 {
    let refused = answer.get("refused").and_then(Value::as_object);
    if json {
        println!("{answer}");
    } else {
        for what in ["started", "exchanged", "stopped", "unchanged"] {
            let names = answer.get(what).and_then(Value::as_array);
            for name in names.into_iter().flatten().filter_map(Value::as_str) {
                println!("{name}: {what}");
            }
        }
        for (name, refusal) in refused.into_iter().flatten() {
            let of = |key| refusal.get(key).and_then(Value::as_str).unwrap_or_default();
            println!("{name}: refused {}", of("code"));
            println!("  why:  {}", printable(of("why")));
            println!("  next: {}", printable(of("next")));
        }
    }
    u8::from(refused.is_some_and(|refused| !refused.is_empty()))
}

//! A statement in words and in JSON. The same for a claimed one and a verified one.

use countersign_format::{Audience, Grants, GuestLimits, Statement};
use countersign_trust_store::UnixTime;
use serde_json::{Map, Value, json};

use crate::shared::output::Output;

/// The statement for people.
pub(crate) fn print(statement: &Statement, output: &mut Output) {
    output.field("name", &statement.name().to_string());
    output.field("version", &statement.version().to_string());
    output.field(
        "security version",
        &statement.security_version().to_string(),
    );
    output.field("size", &format!("{} bytes", statement.component_size()));
    output.field("SHA-256", &statement.component_digest().to_string());
    output.field("meant for", &audience(statement.audience()));
    let asked = grants(statement.grants());
    if asked.is_empty() {
        output.field("asks for", "nothing");
    }
    for (index, grant) in asked.iter().enumerate() {
        output.field(if index == 0 { "asks for" } else { "" }, grant);
    }
    for (name, value) in limits(statement.limits()) {
        output.field("at most", &format!("{value} {}", words(name)));
    }
    for document in statement.documents() {
        output.field(
            "document",
            &format!("{} {}", document.media_type, document.digest),
        );
    }
    if let Some(seconds) = statement.issued_at() {
        output.field(
            "issued",
            &format!("{} (says the signer)", UnixTime::from_secs(seconds)),
        );
    }
}

/// The statement for programs. Names follow `component.toml`, with underscores.
pub(crate) fn to_json(statement: &Statement) -> Value {
    let asked = statement.grants();
    json!({
        "component_sha256": statement.component_digest().to_string(),
        "component_size": statement.component_size(),
        "name": statement.name().to_string(),
        "version": statement.version().to_string(),
        "security_version": statement.security_version(),
        "signers": statement.signers().iter().map(|signer| json!({
            "algorithm": signer.algorithm.name(),
            "spki_sha256": signer.spki_sha256.to_string(),
            "chain_sha256": signer.chain_sha256.to_string(),
        })).collect::<Vec<_>>(),
        "audience": { "devices": statement.audience().devices, "types": statement.audience().types },
        "grants": {
            "args": asked.args,
            "env": asked.env,
            "stdio": { "stdin": asked.stdio.stdin, "stdout": asked.stdio.stdout, "stderr": asked.stdio.stderr },
            "directories": asked.directories.iter().map(|directory| json!({
                "guest": directory.guest,
                "writable": directory.writable,
            })).collect::<Vec<_>>(),
            "http_outgoing": asked.http_outgoing,
            "http_incoming": asked.http_incoming,
            "sockets": asked.sockets,
            "wall_clock": asked.wall_clock,
            "keys": asked.keys.iter().map(|key| json!({
                "name": key.name,
                "contexts": key.contexts,
                "per_minute": key.per_minute,
            })).collect::<Vec<_>>(),
        },
        "limits": limits(statement.limits()).into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect::<Map<_, _>>(),
        "documents": statement.documents().iter().map(|document| json!({
            "media_type": document.media_type,
            "sha256": document.digest.to_string(),
        })).collect::<Vec<_>>(),
        "issued_at": statement.issued_at().map(|seconds| UnixTime::from_secs(seconds).to_string()),
    })
}

fn audience(audience: &Audience) -> String {
    if audience.is_empty() {
        return "any device".to_owned();
    }
    let mut parts = Vec::new();
    if !audience.devices.is_empty() {
        parts.push(format!("devices {}", audience.devices.join(", ")));
    }
    if !audience.types.is_empty() {
        parts.push(format!("types {}", audience.types.join(", ")));
    }
    parts.join("; ")
}

/// What is asked for, one phrase each; empty if nothing.
fn grants(grants: &Grants) -> Vec<String> {
    let mut asked = Vec::new();
    if grants.args {
        asked.push("its arguments".to_owned());
    }
    if !grants.env.is_empty() {
        asked.push(format!("environment variables {}", grants.env.join(", ")));
    }
    for (wanted, name) in [
        (grants.stdio.stdin, "standard input"),
        (grants.stdio.stdout, "standard output"),
        (grants.stdio.stderr, "standard error"),
    ] {
        if wanted {
            asked.push(name.to_owned());
        }
    }
    for directory in &grants.directories {
        let access = if directory.writable {
            "to read and write"
        } else {
            "to read"
        };
        asked.push(format!("folder {} {access}", directory.guest));
    }
    asked.extend(network("outgoing HTTP", grants.http_outgoing.as_deref()));
    if grants.http_incoming {
        asked.push("incoming HTTP".to_owned());
    }
    asked.extend(network("sockets", grants.sockets.as_deref()));
    if grants.wall_clock {
        asked.push("the date and time".to_owned());
    }
    for key in &grants.keys {
        let rate = key
            .per_minute
            .map_or_else(String::new, |rate| format!(", {rate} times a minute"));
        asked.push(format!(
            "signing with key {} for {}{rate}",
            key.name,
            key.contexts.join(", ")
        ));
    }
    asked
}

fn network(what: &str, peers: Option<&[String]>) -> Option<String> {
    let peers = peers?;
    Some(if peers.is_empty() {
        format!("{what}, linked but every call denied")
    } else {
        format!("{what} to {}", peers.join(", "))
    })
}

/// The limits that are stated, by their name in JSON.
fn limits(limits: &GuestLimits) -> Vec<(&'static str, u64)> {
    [
        ("memory_bytes", limits.memory_bytes),
        ("table_elements", limits.table_elements),
        ("run_milliseconds", limits.run_milliseconds),
        ("cpu_milliseconds", limits.cpu_milliseconds),
        ("handles", limits.handles),
        ("hostcall_bytes", limits.hostcall_bytes),
        ("log_bytes", limits.log_bytes),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn words(name: &str) -> &'static str {
    match name {
        "memory_bytes" => "bytes of memory",
        "table_elements" => "table elements",
        "run_milliseconds" => "milliseconds of running",
        "cpu_milliseconds" => "milliseconds of processor time",
        "handles" => "handles",
        "hostcall_bytes" => "bytes in host calls",
        _ => "bytes of log",
    }
}

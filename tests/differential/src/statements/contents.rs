//! What our decoder read, as the other decoder's values: written from the grammar (`statement.cddl`, `envelope.cddl`), not
//! from our encoder.

use ciborium::Value;
use countersign_format::{
    Audience, Envelope, Grants, GuestLimits, KeyGrant, SignerEntry, StatementFields,
};

const SHA_256: i64 = -16;

pub(super) fn of_statement(fields: &StatementFields) -> Value {
    let signers = fields.signers.iter().map(|signer| {
        Value::Array(vec![
            signer.algorithm.cose_id().into(),
            bytes(signer.spki_sha256.as_bytes()),
            bytes(signer.chain_sha256.as_bytes()),
        ])
    });
    let documents = fields.documents.iter().map(|document| {
        Value::Array(vec![
            text(&document.media_type),
            SHA_256.into(),
            bytes(document.digest.as_bytes()),
        ])
    });
    map([
        (1, Some(1.into())),
        (2, Some(SHA_256.into())),
        (3, Some(bytes(fields.component_digest.as_bytes()))),
        (4, Some(fields.component_size.into())),
        (5, Some(text(fields.name.as_str()))),
        (6, Some(text(&fields.version.to_string()))),
        (7, Some(fields.security_version.into())),
        (8, Some(Value::Array(signers.collect()))),
        (9, filled(of_audience(&fields.audience))),
        (10, filled(of_grants(&fields.grants))),
        (11, filled(of_limits(&fields.limits))),
        (12, filled(Value::Array(documents.collect()))),
        (13, fields.issued_at.map(Value::from)),
    ])
}

fn of_audience(audience: &Audience) -> Value {
    map([
        (1, filled(texts(&audience.devices))),
        (2, filled(texts(&audience.types))),
    ])
}

fn of_grants(grants: &Grants) -> Value {
    let yes = |granted: bool| granted.then_some(Value::Bool(true));
    let stdio = [grants.stdio.stdin, grants.stdio.stdout, grants.stdio.stderr];
    let streams = stdio
        .iter()
        .zip(0_u64..)
        .filter_map(|(granted, number)| granted.then_some(Value::from(number)));
    let directories = grants.directories.iter().map(|directory| {
        Value::Array(vec![
            text(&directory.guest),
            Value::Bool(directory.writable),
        ])
    });
    map([
        (1, yes(grants.args)),
        (2, filled(texts(&grants.env))),
        (3, filled(Value::Array(streams.collect()))),
        (4, filled(Value::Array(directories.collect()))),
        (5, grants.http_outgoing.as_deref().map(texts)),
        (6, yes(grants.http_incoming)),
        (7, grants.sockets.as_deref().map(texts)),
        (8, yes(grants.wall_clock)),
        (
            9,
            filled(Value::Array(grants.keys.iter().map(of_key).collect())),
        ),
    ])
}

fn of_key(key: &KeyGrant) -> Value {
    map([
        (1, Some(text(&key.name))),
        (2, filled(texts(&key.contexts))),
        (3, key.per_minute.map(Value::from)),
    ])
}

fn of_limits(limits: &GuestLimits) -> Value {
    let number = |limit: Option<u64>| limit.map(Value::from);
    map([
        (1, number(limits.memory_bytes)),
        (2, number(limits.table_elements)),
        (3, number(limits.run_milliseconds)),
        (4, number(limits.cpu_milliseconds)),
        (5, number(limits.handles)),
        (6, number(limits.hostcall_bytes)),
        (7, number(limits.log_bytes)),
    ])
}

pub(super) fn of_envelope(envelope: &Envelope) -> Value {
    let header = map([(3, Some(text("application/vnd.countersign.statement+cbor")))]);
    let signers = envelope.signers().iter().map(of_signer).collect();
    let parts = vec![
        wrapped(&header),
        Value::Map(Vec::new()),
        bytes(envelope.statement_bytes()),
        Value::Array(signers),
    ];
    Value::Tag(98, Box::new(Value::Array(parts)))
}

fn of_signer(signer: &SignerEntry) -> Value {
    let chain = match signer.chain() {
        [leaf] => bytes(leaf),
        several => Value::Array(several.iter().map(|one| bytes(one)).collect()),
    };
    let header = map([
        (1, Some(signer.algorithm().cose_id().into())),
        (33, Some(chain)),
    ]);
    Value::Array(vec![
        wrapped(&header),
        Value::Map(Vec::new()),
        bytes(signer.signature()),
    ])
}

/// The value with every byte string in it that holds one whole value replaced by that value, so that headers are
/// compared by what they say.
pub(super) fn opened(value: &Value) -> Value {
    match value {
        Value::Bytes(octets) if octets.len() > 1 => match super::other(octets) {
            Some(inner @ Value::Map(_)) => opened(&inner),
            _ => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(opened).collect()),
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| (opened(key), opened(value)))
                .collect(),
        ),
        Value::Tag(tag, inner) => Value::Tag(*tag, Box::new(opened(inner))),
        other => other.clone(),
    }
}

/// A byte string that holds a value.
fn wrapped(value: &Value) -> Value {
    let mut octets = Vec::new();
    ciborium::into_writer(value, &mut octets).expect("a value encodes");
    Value::Bytes(octets)
}

/// The entries that are there.
fn map<const N: usize>(entries: [(u64, Option<Value>); N]) -> Value {
    Value::Map(
        entries
            .into_iter()
            .filter_map(|(key, value)| Some((key.into(), value?)))
            .collect(),
    )
}

/// A list or map, unless it is empty.
fn filled(value: Value) -> Option<Value> {
    match &value {
        Value::Array(items) if items.is_empty() => None,
        Value::Map(entries) if entries.is_empty() => None,
        _ => Some(value),
    }
}

fn bytes(octets: &[u8]) -> Value {
    Value::Bytes(octets.to_vec())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|one| text(one)).collect())
}

//! A line in the audit log for every bundle: which it was, who signed it, and what became of it.

use std::fmt::Write as _;
use std::io;

use countersign_hosting::AuditLog;
use countersign_runtime::audit::RECORD_VERSION;
use serde::Serialize;

use super::Staged;
use crate::admission::Refusal;

/// Most characters of a reason.
const MAX_REASON: usize = 1_024;

#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index_sha256: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    signers: &'a [String],
}

/// Records that a bundle was applied.
///
/// # Errors
/// If the record cannot be written: it is not applied then.
pub(crate) fn applied(records: &AuditLog, bundle: &Staged) -> io::Result<()> {
    write(records, "bundle-applied", Some(bundle), None)
}

/// Records that a bundle was refused, or that what it brought did not prove healthy.
///
/// # Errors
/// If the record cannot be written.
pub(crate) fn refused(
    records: &AuditLog,
    bundle: Option<&Staged>,
    refusal: &Refusal,
) -> io::Result<()> {
    write(records, "bundle-refused", bundle, Some(refusal))
}

fn write(
    records: &AuditLog,
    event: &'static str,
    bundle: Option<&Staged>,
    refusal: Option<&Refusal>,
) -> io::Result<()> {
    let fields = bundle.map(|bundle| bundle.index.fields());
    let line = serde_json::to_string(&Line {
        version: RECORD_VERSION,
        time: countersign_roots::system_time().to_string(),
        event,
        code: refusal.and_then(|refusal| refusal.code),
        reason: refusal.map(|refusal| refusal.why.chars().take(MAX_REASON).collect()),
        line: fields.map(|fields| fields.line.as_str()),
        number: fields.map(|fields| fields.number),
        index_sha256: bundle.map(|bundle| bundle.digest.to_string()),
        signers: bundle.map_or(&[], |bundle| bundle.signers.as_slice()),
    })?;
    records.append(&ascii(&line))
}

/// JSON as pure ASCII, and a line end: no letter of a stranger's looks like another, or is obeyed by a terminal.
fn ascii(json: &str) -> String {
    let mut line = String::with_capacity(json.len().saturating_add(1));
    for character in json.chars() {
        if character.is_ascii() {
            line.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a text does not fail.
            let _ = write!(line, "\\u{unit:04x}");
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_ascii_and_says_the_same() {
        let json = serde_json::json!({ "reason": "d\u{e4}\u{1f600}\u{1b}[2J" }).to_string();
        let line = ascii(&json);
        assert!(line.is_ascii() && line.ends_with('\n') && !line.contains('\u{1b}'));
        let back: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(back.to_string(), json);
    }
}

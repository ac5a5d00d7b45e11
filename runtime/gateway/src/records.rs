//! `audit`: proves the records of this gateway, and prints them, offline and without taking anything from a gateway that runs.
//!
//! Which entry or file is not what it was is for `countersign-audit-log` to find.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use countersign_audit_log::{
    Checkpoint, Error, LogVerifier, LogView, MAX_NOTE_BYTES, VerifyError, verify,
};
use serde_json::json;

use crate::config::Config;
use crate::overview;

/// The form of what `--json` prints.
const VERSION: u32 = 1;

/// As `countersign-authority audit verify` ends: altered, older than it may be, nothing is known.
const ALTERED: u8 = 111;
const OLDER: u8 = 115;
const UNREADABLE: u8 = 119;

/// Why the records are not accepted.
struct NotAccepted {
    status: u8,
    code: &'static str,
    entry: Option<u64>,
    message: String,
}

/// Verifies every record that is left, and that the log continues a checkpoint that was kept elsewhere; says which entry is the
/// first that is not what it was. The exit status.
///
/// # Errors
/// If there are no records, or the file of the checkpoint is none.
pub(crate) fn prove(config: &Config, since: Option<&Path>, as_json: bool) -> anyhow::Result<u8> {
    let place = config.records();
    let verifier = place.verifier()?;
    let since = match since {
        Some(path) => Some(earlier(&verifier, path)?),
        None => None,
    };
    match judged(&place.folder, &verifier, since.as_ref()) {
        Ok(checkpoint) => {
            let (head, first) = (checkpoint.head(), checkpoint.first());
            if as_json {
                overview::out(
                    &json!({
                        "version": VERSION,
                        "sound": true,
                        "origin": verifier.origin().as_str(),
                        "entries": head.size,
                        "first": first,
                        "root": head.root.to_string(),
                        "continues": since.map(|since| since.size()),
                    })
                    .to_string(),
                );
            } else {
                let left = match first {
                    0 => String::new(),
                    first => format!(" (those before {first} were dropped to make room)"),
                };
                overview::out(&format!(
                    "{}: {} records{left}, each of them below the root {} that the log's key signed",
                    verifier.origin(),
                    head.size,
                    head.root
                ));
            }
            Ok(0)
        }
        Err(wrong) => {
            let text = match as_json {
                true => json!({
                    "version": VERSION,
                    "sound": false,
                    "code": wrong.code,
                    "entry": wrong.entry,
                    "message": wrong.message,
                })
                .to_string(),
                false => format!("{}: {}", wrong.code, wrong.message),
            };
            overview::out(&text);
            Ok(wrong.status)
        }
    }
}

/// Prints the records from an entry on, one line of JSON for each.
///
/// # Errors
/// If there are none, or they cannot be read. Whether they are what was recorded, `audit verify` says.
pub(crate) fn show(config: &Config, from: u64) -> anyhow::Result<()> {
    let place = config.records();
    let view = LogView::new(&place.folder, &place.verifier()?)?;
    view.each_from(from, |_, entry| {
        // Lines are ASCII, as they were written.
        overview::write(&String::from_utf8_lossy(entry)).is_ok()
    })
    .with_context(|| format!("the records in {} are not whole", place.folder.display()))
}

/// The newest checkpoint of the records; none where no gateway has run yet.
///
/// # Errors
/// If it is not there, or what it signs is not.
pub(crate) fn newest(config: &Config) -> anyhow::Result<Option<Checkpoint>> {
    let place = config.records();
    if !place.key.exists() && !place.folder.exists() {
        return Ok(None);
    }
    let view = LogView::new(&place.folder, &place.verifier()?)?;
    Ok(Some(view.checkpoint().clone()))
}

fn judged(
    folder: &Path,
    verifier: &LogVerifier,
    since: Option<&Checkpoint>,
) -> Result<Checkpoint, NotAccepted> {
    let view = LogView::new(folder, verifier)?;
    let checkpoint = view.checkpoint().clone();
    if let Some(since) = since
        && since.size() > checkpoint.size()
    {
        return Err(NotAccepted {
            status: OLDER,
            code: "rollback",
            entry: Some(checkpoint.size()),
            message: format!(
                "the records end before entry {}, which the earlier checkpoint has: they were put back from an old copy, or cut off; restore their newest copy",
                checkpoint.size()
            ),
        });
    }
    verify(&view, &checkpoint, since.map_or(&[], std::slice::from_ref))?;
    Ok(checkpoint)
}

impl From<Error> for NotAccepted {
    fn from(error: Error) -> Self {
        let (code, entry) = match error {
            Error::Unsound { source, .. } => return source.into(),
            Error::Checkpoint { .. } => ("checkpoint", None),
            Error::Journal { first, .. } => ("altered", Some(first)),
            _ => {
                return Self {
                    status: UNREADABLE,
                    code: "unreadable",
                    entry: None,
                    message: error.to_string(),
                };
            }
        };
        Self {
            status: ALTERED,
            code,
            entry,
            message: error.to_string(),
        }
    }
}

impl From<VerifyError> for NotAccepted {
    fn from(error: VerifyError) -> Self {
        let (status, code, entry) = match error.finding() {
            Some(finding) => (ALTERED, finding.code(), finding.entry()),
            None => (UNREADABLE, "unreadable", None),
        };
        Self {
            status,
            code,
            entry,
            message: error.to_string(),
        }
    }
}

fn earlier(verifier: &LogVerifier, path: &Path) -> anyhow::Result<Checkpoint> {
    let failed = || format!("{} could not be read", path.display());
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_NOTE_BYTES)?.saturating_add(1);
    let mut file = File::open(path).with_context(failed)?.take(most);
    file.read_to_end(&mut bytes).with_context(failed)?;
    verifier
        .open(&bytes)
        .with_context(|| format!("{}", path.display()))
}

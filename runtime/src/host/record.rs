//! One record for every signature that a guest got, and for every one that it was refused.

use countersign_format::{BootId, ComponentName, Digest};
use countersign_trust_store::UnixTime;
use serde::Serialize;

use crate::audit;

/// What became of a guest's wish for a signature.
#[derive(Clone, Debug)]
pub struct SigningRecord {
    pub(super) component: ComponentName,
    pub(super) component_digest: Digest,
    pub(super) key: String,
    pub(super) context: String,
    pub(super) boot: BootId,
    /// SHA-256 of what was to be signed; of evidence, the challenge. Not known where it did not come to that.
    pub(super) payload: Option<Digest>,
    pub(super) outcome: SigningOutcome,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SigningOutcome {
    /// Evidence was given, with this sequence number.
    Attested(u64),
    /// Too many waiting, or the device did not come to it in time; which of them.
    Busy(String),
    /// The key store failed; what it said, which guests are not told.
    HardwareFailure(String),
    /// The key or the context was not granted to this component.
    NotGranted,
    /// The same, and so often that no more of it is recorded for some time.
    NotGrantedAgain,
    /// The component had had its signatures. Recorded once until it gets one again.
    QuotaExceeded,
    /// Signed, with this sequence number.
    Signed(u64),
}

impl SigningRecord {
    /// The component that asked.
    #[must_use]
    pub fn component(&self) -> &ComponentName {
        &self.component
    }

    /// The name of the key that it asked for, as far as that is one: guest text.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> &SigningOutcome {
        &self.outcome
    }

    /// The record as one line of JSON in ASCII, ended by a newline, dated `at`.
    #[must_use]
    pub fn line(&self, at: UnixTime) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            version: u32,
            time: String,
            event: &'a str,
            component: String,
            component_sha256: String,
            key: String,
            context: String,
            boot: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            payload_sha256: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sequence: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<String>,
        }
        let (event, sequence, reason) = match &self.outcome {
            SigningOutcome::Attested(sequence) => ("attested", Some(*sequence), None),
            SigningOutcome::Busy(reason) => ("signing-busy", None, Some(audit::cut(reason))),
            SigningOutcome::HardwareFailure(reason) => {
                ("signing-failed", None, Some(audit::cut(reason)))
            }
            SigningOutcome::NotGranted => ("signing-denied", None, None),
            SigningOutcome::NotGrantedAgain => {
                let reason = "it asks again and again; more of it is not recorded for some time";
                ("signing-denied", None, Some(reason.to_owned()))
            }
            SigningOutcome::QuotaExceeded => ("signing-quota", None, None),
            SigningOutcome::Signed(sequence) => ("signed", Some(*sequence), None),
        };
        audit::line(&Line {
            version: audit::RECORD_VERSION,
            time: at.to_string(),
            event,
            component: self.component.to_string(),
            component_sha256: self.component_digest.to_string(),
            key: audit::cut(&self.key),
            context: audit::cut(&self.context),
            boot: self
                .boot
                .as_bytes()
                .iter()
                .fold(String::new(), |mut hex, byte| {
                    hex.push_str(&format!("{byte:02x}"));
                    hex
                }),
            payload_sha256: self.payload.map(|payload| payload.to_string()),
            sequence,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te28_te29_guest_text_is_escaped_and_cut() {
        let record = SigningRecord {
            component: ComponentName::parse("acme:telemetry").unwrap(),
            component_digest: Digest::of(b"component"),
            key: "\u{1b}[2J\nforged\u{202e}".to_owned(),
            context: "x".repeat(1 << 20),
            boot: BootId::new([7; 16]),
            payload: None,
            outcome: SigningOutcome::NotGranted,
        };
        let line = record.line(UnixTime::from_secs(0));
        assert!(line.is_ascii() && line.len() < 2_000);
        assert_eq!(line.bytes().filter(u8::is_ascii_control).count(), 1);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["event"], "signing-denied");
        assert_eq!(parsed["key"], "\u{1b}[2J\nforged\u{202e}");
    }
}

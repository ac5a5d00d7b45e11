//! One record for every acceptance and refusal, as a line of JSON.
//!
//! Decides what is recorded and how it is escaped; where the line goes and what time it is, the host says. A line is
//! pure ASCII: whatever a stranger wrote into a component's name, a subject or a symbol reaches a log or a terminal as
//! `\u001b`, never as a control sequence or a letter that looks like another.

use std::io;

use countersign_format::Digest;
use countersign_trust_store::{
    Anchors, Code, UnixTime, VerifiedChain, VerifiedComponent, VerifiedPrecompiled,
};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::code::CodeOrigin;

/// The version of the record's form: raised when a field changes its meaning or disappears, not when one is added.
pub const RECORD_VERSION: u32 = 1;

/// Most characters of a reason that a record keeps. What goes on beyond that is cut: a stranger must not fill a log.
const MAX_REASON: usize = 1_024;

/// What happened to one component.
#[derive(Clone, Debug)]
pub struct Record {
    body: Body,
}

impl Record {
    /// `vouched` is for whom its code is believed, if that came with it.
    pub(crate) fn accepted(
        verified: &VerifiedComponent,
        origin: &CodeOrigin,
        vouched: Option<Vouched>,
    ) -> Self {
        let not_used = match origin {
            CodeOrigin::Recompiled { why } => Some(cut(why)),
            _ => None,
        };
        Self {
            body: Body {
                native_code: Some(origin.as_str()),
                recognised: verified.component().is_none(),
                cache_not_used: not_used,
                vouched,
                ..Body::of(verified, Event::Accepted, None, None)
            },
        }
    }

    pub(crate) fn refused(verified: &VerifiedComponent, code: Code, reason: &str) -> Self {
        Self {
            body: Body::of(verified, Event::Refused, Some(code), Some(reason)),
        }
    }

    /// Code that came with a component that verified, and that its host does not use.
    #[must_use]
    pub fn code_refused(verified: &VerifiedComponent, code: Option<Code>, reason: &str) -> Self {
        Self {
            body: Body::of(verified, Event::CodeRefused, code, Some(reason)),
        }
    }

    pub(crate) fn rejected(file: Digest, code: Code, reason: &str, anchors: &Anchors) -> Self {
        Self::refused_by_host(Some(file), code, reason, anchors)
    }

    /// A refusal that a host makes by itself, before or instead of asking a [`Runtime`](crate::Runtime): it has no
    /// root, or the file is too large to read. `file` is SHA-256 of the whole file, where it was read.
    #[must_use]
    pub fn refused_by_host(
        file: Option<Digest>,
        code: Code,
        reason: &str,
        anchors: &Anchors,
    ) -> Self {
        let anchors: Vec<_> = anchors.iter().collect();
        Self {
            body: Body {
                event: Event::Refused,
                code: Some(code.as_str()),
                reason: Some(cut(reason)),
                guest_status: None,
                file_sha256: file.map(|file| file.to_string()),
                component: None,
                native_code: None,
                recognised: false,
                cache_not_used: None,
                vouched: None,
                signers: Vec::new(),
                uncounted: Vec::new(),
                anchors: anchors
                    .iter()
                    .map(|anchor| anchor.spki_sha256().to_string())
                    .collect(),
                development: anchors.iter().any(|anchor| anchor.is_development()),
                admitted_at: None,
                judged_at_floor: None,
            },
        }
    }

    /// A component that verified and that its host does not start: what the operator allows it cannot be had, which has
    /// no code where his own words are wrong.
    #[must_use]
    pub fn not_started(verified: &VerifiedComponent, code: Option<Code>, reason: &str) -> Self {
        Self {
            body: Body::of(verified, Event::Refused, code, Some(reason)),
        }
    }

    /// The end of a guest that was accepted by this record: it exited with a status of its own.
    #[must_use]
    pub fn exited(&self, status: u8) -> Self {
        Self {
            body: Body {
                event: Event::Exited,
                guest_status: Some(status),
                ..self.body.clone()
            },
        }
    }

    /// The end of a guest that was accepted by this record: it was stopped, at a limit or by a trap (which have a
    /// code), or by its operator.
    #[must_use]
    pub fn stopped(&self, code: Option<Code>, reason: &str) -> Self {
        Self {
            body: Body {
                event: Event::Stopped,
                code: code.map(Code::as_str),
                reason: Some(cut(reason)),
                ..self.body.clone()
            },
        }
    }

    /// Whether the component was accepted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self.body.event, Event::Accepted)
    }

    /// The code of a refusal, as it stands in the line.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.body.code
    }

    /// The record as one line of JSON, ended by a newline, dated `at`.
    #[must_use]
    pub fn line(&self, at: UnixTime) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            version: u32,
            time: String,
            #[serde(flatten)]
            body: &'a Body,
        }
        line(&Line {
            version: RECORD_VERSION,
            time: at.to_string(),
            body: &self.body,
        })
    }
}

#[derive(Clone, Debug, Serialize)]
struct Body {
    event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// With which status the guest itself exited.
    #[serde(skip_serializing_if = "Option::is_none")]
    guest_status: Option<u8>,
    /// Of the whole file, where nothing in it could be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<Component>,
    /// Where the code came from that runs: `compiled`, `cached`, `precompiled` or `recompiled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    native_code: Option<&'static str>,
    /// Whether the component's SHA-256 is that which was computed when it was admitted here before, its bytes being the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recognised: bool,
    /// Why the code in the cache was not used, where there is some.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_not_used: Option<String>,
    /// For whom code is believed that came with the component.
    #[serde(flatten)]
    vouched: Option<Vouched>,
    signers: Vec<Signer>,
    /// Why signers beside them do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uncounted: Vec<String>,
    /// SHA-256 of the public keys: of the roots that the signers led to, or of all that this host trusts where the
    /// file was refused.
    anchors: Vec<String>,
    development: bool,
    /// When it was admitted on this machine, where that counts because its certificates or lists are not current any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    admitted_at: Option<String>,
    /// As of when it was judged, where this machine's clock was not plausible.
    #[serde(skip_serializing_if = "Option::is_none")]
    judged_at_floor: Option<String>,
}

/// Code that came with a component, and who vouches for it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Vouched {
    code_sha256: String,
    code_signer: Signer,
    /// When the code was admitted on this machine, where that counts because its certificates or lists are not current any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_admitted_at: Option<String>,
    /// As of when the code was judged, where this machine's clock was not plausible.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_judged_at_floor: Option<String>,
}

impl Vouched {
    pub(crate) fn of(code: &VerifiedPrecompiled) -> Self {
        let admitted_at = code.chain().admitted_at();
        Self {
            code_sha256: code.statement().code_digest().to_string(),
            code_signer: signer(code.chain()),
            code_admitted_at: admitted_at.map(|at| at.to_string()),
            code_judged_at_floor: (code.chain().judged_at_floor()).map(|at| at.to_string()),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Accepted,
    CodeRefused,
    Exited,
    Refused,
    Stopped,
}

#[derive(Clone, Debug, Serialize)]
struct Component {
    sha256: String,
    name: String,
    version: String,
    security_version: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Signer {
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    key_sha256: String,
    anchor: String,
}

impl Body {
    fn of(
        verified: &VerifiedComponent,
        event: Event,
        code: Option<Code>,
        reason: Option<&str>,
    ) -> Self {
        let statement = verified.statement();
        let mut anchors: Vec<_> = verified
            .signers()
            .iter()
            .map(|signer| signer.chain().anchor_spki_sha256().to_string())
            .collect();
        anchors.sort_unstable();
        anchors.dedup();
        Self {
            event,
            code: code.map(Code::as_str),
            reason: reason.map(cut),
            guest_status: None,
            file_sha256: None,
            component: Some(Component {
                sha256: verified.digest().to_string(),
                name: statement.name().to_string(),
                version: statement.version().to_string(),
                security_version: statement.security_version(),
            }),
            native_code: None,
            recognised: false,
            cache_not_used: None,
            vouched: None,
            signers: (verified.signers().iter())
                .map(|by| signer(by.chain()))
                .collect(),
            uncounted: verified
                .uncounted()
                .iter()
                .map(|reason| cut(reason))
                .collect(),
            anchors,
            development: verified.uses_development_root(),
            admitted_at: verified.admitted_at().map(|at| at.to_string()),
            judged_at_floor: verified.judged_at_floor().map(|at| at.to_string()),
        }
    }
}

fn signer(chain: &VerifiedChain) -> Signer {
    Signer {
        subject: chain.leaf().subject(),
        device: chain.device().map(|device| device.identity().to_string()),
        key_sha256: chain.key().spki_sha256().to_string(),
        anchor: chain.anchor_subject().to_owned(),
    }
}

/// A record as one line of ASCII, ended by a newline.
pub(crate) fn line(record: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, Ascii);
    record
        .serialize(&mut serializer)
        .expect("strings, numbers and lists always serialise into memory");
    text.push(b'\n');
    String::from_utf8(text).expect("the formatter writes ASCII only")
}

pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

/// JSON in ASCII: everything beyond is written as `\uXXXX`.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        text: &str,
    ) -> io::Result<()> {
        for c in text.chars() {
            // DEL is ASCII, and a control character that JSON lets through.
            if c.is_ascii() && c != '\u{7f}' {
                write!(writer, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te28_a_line_is_one_line_of_ascii() {
        let reason = "\u{1b}[2J\nfake line\u{202e}\u{9b}31m\u{1f600}\u{7f}\"\\";
        let record = Record::rejected(Digest::of(b"x"), Code::Malformed, reason, &Anchors::none());
        let line = record.line(UnixTime::from_secs(0));
        assert!(
            line.bytes()
                .all(|byte| byte.is_ascii() && (byte == b'\n' || !byte.is_ascii_control())),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["reason"], reason);
        assert_eq!(parsed["code"], "malformed");
        assert_eq!(parsed["event"], "refused");
        assert_eq!(parsed["version"], 1);
        assert_eq!(parsed["time"], "1970-01-01T00:00:00Z");
        assert_eq!(parsed["development"], false);
    }

    #[test]
    fn te29_a_long_reason_is_cut() {
        let reason = "x".repeat(1 << 20);
        let record = Record::rejected(Digest::of(b"x"), Code::Malformed, &reason, &Anchors::none());
        assert!(record.line(UnixTime::from_secs(0)).len() < 2_000);
    }
}

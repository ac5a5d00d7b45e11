//! C2SP signed-note: a text, an empty line, and lines of signatures.
//!
//! Decided here: the form. Whose signature counts is [`crate::LogVerifier`]'s.

use base64ct::{Base64, Encoding};

/// What stands before each signature: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Signatures that are looked at. The specification asks for at least 16.
const MAX_SIGNATURES: usize = 64;

/// A note's parts. Nothing about them is verified.
#[derive(Debug)]
pub(crate) struct Note<'a> {
    /// With its last line end, without the empty line behind it.
    pub(crate) text: &'a str,
    pub(crate) signatures: Vec<NoteSignature<'a>>,
}

/// One line of a signature.
#[derive(Debug)]
pub(crate) struct NoteSignature<'a> {
    pub(crate) name: &'a str,
    pub(crate) key_id: [u8; 4],
    pub(crate) bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    /// Takes a note apart; `None` for anything that is not one.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let note = std::str::from_utf8(bytes).ok()?;
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return None;
        }
        // The last empty line separates; the text keeps its own line end.
        let at = note.rfind("\n\n")?;
        let (text, rest) = note.split_at_checked(at.checked_add(1)?)?;
        let lines = rest.strip_prefix('\n')?.strip_suffix('\n')?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() >= MAX_SIGNATURES {
                return None;
            }
            let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
            if !is_key_name(name) {
                return None;
            }
            let decoded = Base64::decode_vec(encoded).ok()?;
            let (key_id, bytes) = decoded.split_first_chunk::<4>()?;
            if bytes.is_empty() {
                return None;
            }
            signatures.push(NoteSignature {
                name,
                key_id: *key_id,
                bytes: bytes.to_vec(),
            });
        }
        Some(Self { text, signatures })
    }
}

/// The line of a signature, with its line end.
pub(crate) fn signature_line(name: &str, key_id: [u8; 4], signature: &[u8]) -> String {
    let encoded = Base64::encode_string(&[&key_id, signature].concat());
    format!("{SIGNATURE_MARK}{name} {encoded}\n")
}

/// Not empty, and without spaces, plus signs and control characters.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|c| c == '+' || c.is_whitespace() || c.is_control())
}

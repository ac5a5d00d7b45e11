//! Why bytes are not a signed file, one variant for each question a person would ask.
//!
//! Codes and exit statuses are left to `countersign-trust-store`, which maps each variant to one.

use core::fmt;

/// Why bytes were refused. Offsets count bytes from the start of what was given: the file for the layout, the
/// payload of S for the envelope, the statement for the statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// An algorithm that the format does not have.
    #[error(
        "{what} {found} is not allowed: signatures are Ed25519 (-19) or ESP256 (-9), digests SHA-256 (-16); \
         sign again with one of these"
    )]
    AlgorithmForbidden {
        /// Which algorithm: of a signature or a digest.
        what: &'static str,
        /// The number found, from the registry "COSE Algorithms".
        found: i64,
    },

    /// A limit of [`crate::limits`] is exceeded.
    #[error("{what} is too large: {actual}, and at most {limit} is allowed")]
    LimitExceeded {
        /// What is too large.
        what: &'static str,
        /// The most that is allowed, in bytes or entries.
        limit: u64,
        /// What was claimed or found, in the same unit.
        actual: u64,
    },

    /// The bytes do not follow the format.
    #[error(
        "malformed at byte {offset}: {what}; the file is damaged or was not made by a signing tool"
    )]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        offset: u64,
    },

    /// The bytes say something allowed in a form that is not the one canonical form.
    #[error(
        "not in canonical form at byte {offset}: {what}; the same content has exactly one valid encoding, \
         so the file was altered or written by a faulty tool"
    )]
    Noncanonical {
        /// What is not canonical.
        what: &'static str,
        /// Where.
        offset: u64,
    },

    /// The file is something else than a WebAssembly component.
    #[error("not a WebAssembly component, but {found}")]
    NotAComponent {
        /// What it looks like.
        found: Found,
    },

    /// The file is something else than a bundle.
    #[error("not a bundle: it does not begin as one; make one with `countersign bundle create`")]
    NotABundle,

    /// A well-formed message, made for another purpose than the one it is given for.
    #[error("the signature was made for another purpose: it covers {found}, not {expected}")]
    Purpose {
        /// What the message says it is, shortened to 80 characters and escaped.
        found: String,
        /// The content type that it should have.
        expected: &'static str,
    },

    /// More than one signature section at top level.
    #[error(
        "two signature sections, at bytes {first} and {second}: a signed file has exactly one; \
         strip the file and sign it again"
    )]
    SignatureDuplicate {
        /// Offset of the first.
        first: u64,
        /// Offset of the second.
        second: u64,
    },

    /// No signature section at top level; nested ones count for nothing.
    #[error(
        "the component is not signed: it has no top-level section \"component-signature\"; sign it first"
    )]
    SignatureMissing,

    /// Another section follows the signature section.
    #[error(
        "the signature section at byte {signature} is not the last: another section follows at byte {next}, \
         which no signature covers"
    )]
    SignaturePosition {
        /// Offset of the signature section.
        signature: u64,
        /// Offset of the first section after it.
        next: u64,
    },

    /// A text field holds something that such a field may not hold.
    #[error("{what} {text:?} is not valid: {why}")]
    Text {
        /// Which field.
        what: &'static str,
        /// What it holds, shortened to 80 characters.
        text: String,
        /// The rule that it breaks.
        why: &'static str,
    },

    /// Bytes that are no section follow the signature section.
    #[error(
        "bytes follow the end of the signed file at byte {offset}; nothing covers them: \
         cut the file there, or fetch it again"
    )]
    TrailingBytes {
        /// Offset of the first byte too many.
        offset: u64,
    },

    /// A version of the statement, or of a bundle's index, that this program does not know.
    #[error(
        "version {found} of what was signed is unknown, this program reads version {supported}: \
         it was signed by a newer tool; update this program, or sign with an older tool"
    )]
    VersionUnknown {
        /// The version found.
        found: u64,
        /// The version that this crate reads and writes.
        supported: u64,
    },
}

impl FormatError {
    /// A message of another purpose. Foreign text is shortened and escaped.
    pub(crate) fn purpose(found: &str, expected: &'static str) -> Self {
        Self::Purpose {
            found: found
                .chars()
                .take(80)
                .flat_map(char::escape_default)
                .collect(),
            expected,
        }
    }

    /// A text error, its text shortened so that a log line stays a line.
    pub(crate) fn text(what: &'static str, text: &str, why: &'static str) -> Self {
        Self::Text {
            what,
            text: text.chars().take(80).collect(),
            why,
        }
    }
}

/// What a file that is no component looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A core WebAssembly module.
    CoreModule,
    /// Nothing: zero bytes.
    Empty,
    /// Anything else.
    Other,
    /// A WebAssembly preamble of a version or layer that is neither module nor component.
    OtherWasm,
    /// Native code: an ELF file, which is what Wasmtime precompiles to (`.cwasm`).
    Precompiled,
    /// WebAssembly text.
    Text,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CoreModule => {
                "a core module: make a component of it first, for example with `wasm-tools component new`"
            }
            Self::Empty => "an empty file",
            Self::Other => "something without a WebAssembly preamble",
            Self::OtherWasm => "WebAssembly of an unknown version or layer",
            Self::Precompiled => {
                "precompiled native code (ELF or .cwasm): sign and distribute the component it was compiled from"
            }
            Self::Text => "WebAssembly text: assemble it first, for example with `wasm-tools parse`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ta06_what_a_file_is_instead_is_said() {
        for (found, word) in [
            (Found::CoreModule, "core module"),
            (Found::Empty, "empty"),
            (Found::Other, "without a WebAssembly preamble"),
            (Found::OtherWasm, "unknown version"),
            (Found::Precompiled, "native code"),
            (Found::Text, "WebAssembly text"),
        ] {
            let error = FormatError::NotAComponent { found }.to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}

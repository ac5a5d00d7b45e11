//! C2SP tlog-checkpoint: how many entries a log has and the root over them, signed.

use base64ct::{Base64, Encoding};

use crate::Digest;
use crate::key::Origin;
use crate::resource::TILE_WIDTH;

/// The most entries a log can have: 2^56, more than disks hold, and little enough that no sum of sizes overflows.
pub const MAX_ENTRIES: u64 = 1 << 56;

/// The largest checkpoint that is read, in bytes. Ours have below 600; the rest is room for the signatures of
/// witnesses, of which post-quantum ones take some 7,000 bytes each in base64, and 16 must be possible.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;

/// What begins the line that says which entries a log still has (C2SP tlog-checkpoint, "extension lines").
const FIRST: &str = "first ";

/// How many entries a tree has, and the root over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Entries.
    pub size: u64,
    /// The Merkle tree hash over them (RFC 9162 §2.1.1).
    pub root: Digest,
}

impl TreeHead {
    /// The text that is signed: origin, size and root, one line each, and one for the first entry that the log still has,
    /// where that is not its very first.
    pub(crate) fn text(&self, origin: &Origin, first: u64) -> String {
        let root = Base64::encode_string(self.root.as_bytes());
        let mut text = format!("{origin}\n{}\n{root}\n", self.size);
        if first > 0 {
            text.push_str(&format!("{FIRST}{first}\n"));
        }
        text
    }

    /// Reads that text: origin, head, and the first entry that the log still has. Other lines behind the three are for others,
    /// and must not be empty.
    pub(crate) fn parse(text: &str) -> Option<(&str, Self, u64)> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let mut first = None;
        for line in lines {
            match line.strip_prefix(FIRST) {
                Some(number) if first.is_none() => first = Some(decimal(number)?),
                Some(_) => return None,
                None if line.is_empty() => return None,
                None => {}
            }
        }
        if origin.is_empty() {
            return None;
        }
        let root = Base64::decode_vec(root).ok()?;
        let head = Self {
            size: decimal(size).filter(|size| *size <= MAX_ENTRIES)?,
            root: Digest::from_bytes(root.try_into().ok()?),
        };
        // Whole bundles go, and never the last entry: of an empty log nothing can.
        let first = match first {
            None => 0,
            Some(first) if first > 0 && first < head.size && first.is_multiple_of(TILE_WIDTH) => {
                first
            }
            Some(_) => return None,
        };
        Some((origin, head, first))
    }
}

/// A number in its one decimal form.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A checkpoint whose signature was verified, or that was signed here: there is no other way to have one.
///
/// ```compile_fail,E0451
/// # use countersign_audit_log::{Checkpoint, TreeHead};
/// # fn tg24_no_checkpoint_without_a_signature(head: TreeHead) -> Checkpoint {
/// Checkpoint { head, first: 0, note: String::new() } // `LogVerifier::open` makes them
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    head: TreeHead,
    first: u64,
    note: String,
}

impl Checkpoint {
    /// For [`crate::LogVerifier::open`] and [`crate::LogKey::sign`] only.
    pub(crate) fn of_verified(head: TreeHead, first: u64, note: String) -> Self {
        Self { head, first, note }
    }

    /// What it says.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.head
    }

    /// The entries that it covers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.head.size
    }

    /// The first entry that the log still has: what lies before it was dropped to make room, and is below the root all the
    /// same. A multiple of 256, and 0 for a log that is whole.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The signed note, as it is kept, shown and sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.note
    }
}

/// Why bytes are not a checkpoint of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointInvalid {
    /// The signature names the log's key, and is not its.
    #[error("the checkpoint's signature is not the log's: it was altered or forged; get it anew")]
    Forged,
    /// What is signed is not origin, size and root.
    #[error("the log's key signed something that is no checkpoint: use a key for the log alone")]
    NotACheckpoint,
    /// The bytes are not a signed note.
    #[error("this is not a signed note: name the file `checkpoint` of the log")]
    NotANote,
    /// Nobody signed it by the key that must.
    #[error(
        "the checkpoint is not signed by the log's key, only by {}: give the key and the name of this very log",
        signers.join(", ")
    )]
    NotSigned {
        /// The names on it.
        signers: Vec<String>,
    },
    /// It is signed by the log's key, and is another log's.
    #[error("this is a checkpoint of the log {origin}, not of the one that was asked for")]
    OtherLog {
        /// The log that it is of.
        origin: String,
    },
    /// It is longer than any checkpoint.
    #[error("the checkpoint has {bytes} bytes, and the most is {MAX_NOTE_BYTES}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

//! Proofs: that an entry is in a log, and that one checkpoint continues another.

use base64ct::{Base64, Encoding};

use crate::checkpoint::{CheckpointInvalid, decimal};
use crate::finding::VerifyError;
use crate::key::LogVerifier;
use crate::merkle::{empty_root, leaf_hash, node_hash};
use crate::resource::Source;
use crate::tree::{Tiles, consistency_ranges, inclusion_ranges};
use crate::{Checkpoint, Digest, MAX_NOTE_BYTES, TreeHead};

/// The first line of C2SP tlog-proof.
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Hashes in a proof of either kind; a tree of 2^56 entries needs no more.
const MAX_HASHES: usize = 64;

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofInvalid {
    /// The checkpoint in the proof is none of the log.
    #[error("the proof's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointInvalid),
    /// The later checkpoint does not continue the earlier one.
    #[error(
        "the log with {new} entries does not continue the one with {old}: history was rewritten, or the proof is of other checkpoints"
    )]
    Inconsistent {
        /// Entries in the earlier checkpoint.
        old: u64,
        /// Entries in the later one.
        new: u64,
    },
    /// The text is not a proof.
    #[error("this is not a proof of inclusion: it has the form of a file `.tlog-proof`")]
    Malformed,
    /// The proof leads to another root.
    #[error(
        "this is not entry {index} of the log with {size} entries: the entry, the index or the proof was altered"
    )]
    NotIncluded {
        /// The index that the proof is for.
        index: u64,
        /// The entries that its checkpoint covers.
        size: u64,
    },
}

/// Proof that a log has an entry, with the checkpoint that it leads to. Its checkpoint is verified; the entry is
/// compared by [`Self::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    index: u64,
    path: Vec<Digest>,
    checkpoint: Checkpoint,
}

impl InclusionProof {
    /// Makes the proof for the entry at `index` out of a log's tiles (RFC 9162 §2.1.3.1).
    ///
    /// # Errors
    /// [`crate::Finding::Missing`] for an index that the checkpoint does not cover; others for tiles that are missing
    /// or broken. Tiles that were altered make a proof that does not pass [`Self::check`].
    pub fn make(
        source: &impl Source,
        checkpoint: &Checkpoint,
        index: u64,
    ) -> Result<Self, VerifyError> {
        let size = checkpoint.size();
        if index >= size {
            return Err(crate::Finding::Missing {
                index,
                expected: None,
            }
            .into());
        }
        Ok(Self {
            index,
            path: Tiles { source, size }.roots_of(inclusion_ranges(index, size))?,
            checkpoint: checkpoint.clone(),
        })
    }

    /// Reads a proof in the form of C2SP tlog-proof, and verifies the checkpoint in it.
    ///
    /// # Errors
    /// [`ProofInvalid::Malformed`] or [`ProofInvalid::Checkpoint`].
    pub fn parse(text: &str, verifier: &LogVerifier) -> Result<Self, ProofInvalid> {
        let (proof, note) = text.split_once("\n\n").ok_or(ProofInvalid::Malformed)?;
        // Base64 lines of 44 bytes, and room for extra data that others put in.
        if proof.len() > MAX_NOTE_BYTES {
            return Err(ProofInvalid::Malformed);
        }
        let (index, path) = parse_proof(proof).ok_or(ProofInvalid::Malformed)?;
        Ok(Self {
            index,
            path,
            checkpoint: verifier.open(note.as_bytes())?,
        })
    }

    /// The form of C2SP tlog-proof, which stands alone: index, hashes and checkpoint.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nindex {}\n", self.index);
        for hash in &self.path {
            text.push_str(&Base64::encode_string(hash.as_bytes()));
            text.push('\n');
        }
        format!("{text}\n{}", self.checkpoint.as_str())
    }

    /// The entry's index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The hashes, from the leaf's sibling up.
    #[must_use]
    pub fn path(&self) -> &[Digest] {
        &self.path
    }

    /// The checkpoint that the proof leads to.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Compares the entry with the proof: it is in the log, at this index, if this passes (RFC 9162 §2.1.3.2).
    ///
    /// # Errors
    /// [`ProofInvalid::NotIncluded`].
    pub fn check(&self, entry: &[u8]) -> Result<(), ProofInvalid> {
        let TreeHead { size, root } = self.checkpoint.head();
        let led_to = root_from_path(self.index, size, leaf_hash(entry), &self.path);
        if led_to != Some(root) {
            return Err(ProofInvalid::NotIncluded {
                index: self.index,
                size,
            });
        }
        Ok(())
    }
}

fn parse_proof(proof: &str) -> Option<(u64, Vec<Digest>)> {
    let mut lines = proof.split('\n').peekable();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    if let Some(extra) = lines.peek().and_then(|line| line.strip_prefix("extra ")) {
        // Nothing authenticates it, so that it is read over, being base64.
        Base64::decode_vec(extra).ok()?;
        lines.next();
    }
    let index = decimal(lines.next()?.strip_prefix("index ")?)?;
    let mut path = Vec::new();
    for line in lines {
        if path.len() >= MAX_HASHES {
            return None;
        }
        let hash = Base64::decode_vec(line).ok()?;
        path.push(Digest::from_bytes(hash.try_into().ok()?));
    }
    Some((index, path))
}

/// The root that a path leads to (RFC 9162 §2.1.3.2); `None` if it is longer or shorter than the tree is high.
fn root_from_path(index: u64, size: u64, leaf: Digest, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    // fn and sn of the clause.
    let (mut node, mut last) = (index, size.checked_sub(1)?);
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Proof that a larger tree starts with a smaller one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    path: Vec<Digest>,
}

impl ConsistencyProof {
    /// Makes the proof from the first `old` entries of a log to those that `new` covers (RFC 9162 §2.1.4.1).
    ///
    /// # Errors
    /// [`VerifyError`] for tiles that are missing or broken.
    pub fn make(source: &impl Source, old: u64, new: &Checkpoint) -> Result<Self, VerifyError> {
        let size = new.size();
        Ok(Self {
            path: Tiles { source, size }.roots_of(consistency_ranges(old, size))?,
        })
    }

    /// A proof that came as hashes.
    #[must_use]
    pub fn from_hashes(path: Vec<Digest>) -> Self {
        Self { path }
    }

    /// The hashes.
    #[must_use]
    pub fn path(&self) -> &[Digest] {
        &self.path
    }

    /// Checks that `new` continues `old` (RFC 9162 §2.1.4.2). A log without entries is continued by every log.
    ///
    /// # Errors
    /// [`ProofInvalid::Inconsistent`].
    pub fn check(&self, old: &Checkpoint, new: &Checkpoint) -> Result<(), ProofInvalid> {
        if is_continued(old.head(), new.head(), &self.path) {
            return Ok(());
        }
        Err(ProofInvalid::Inconsistent {
            old: old.size(),
            new: new.size(),
        })
    }
}

fn is_continued(old: TreeHead, new: TreeHead, path: &[Digest]) -> bool {
    if old.size == 0 {
        // The clause begins at one entry; of none there is only one root.
        return path.is_empty() && old.root == empty_root();
    }
    if old.size == new.size {
        return path.is_empty() && old.root == new.root;
    }
    if old.size > new.size {
        return false;
    }
    roots_from_path(old, new.size, path) == Some((old.root, new.root))
}

/// The two roots that a path leads to; `None` if it has the wrong length.
fn roots_from_path(old: TreeHead, new_size: u64, path: &[Digest]) -> Option<(Digest, Digest)> {
    // Step 2: of a perfect tree the proof does not repeat the root.
    let (start, rest) = if old.size.is_power_of_two() {
        (old.root, path)
    } else {
        let (start, rest) = path.split_first()?;
        (*start, rest)
    };
    if path.is_empty() {
        return None;
    }
    let (mut node, mut last) = (old.size.checked_sub(1)?, new_size.checked_sub(1)?);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (start, start);
    for sibling in rest {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some((old_hash, new_hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Digest {
        Digest::from_bytes(Base64::decode_vec(text).unwrap().try_into().unwrap())
    }

    /// The log had 961,984,011 entries, and 3,654,490 in the earlier of the two heads.
    #[test]
    fn proofs_of_a_public_log_hold() {
        let lines = include_str!("proof/public-log.txt").lines();
        let all: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
        let one = |kind| all.iter().find(|line| line.0 == kind).unwrap().1;
        let hashes = |kind| -> Vec<Digest> {
            let these = all.iter().filter(|line| line.0 == kind);
            these.map(|line| decode(line.1)).collect()
        };
        let number = |kind| one(kind).parse::<u64>().unwrap();
        let head = TreeHead {
            size: number("size"),
            root: decode(one("root")),
        };
        let old = TreeHead {
            size: number("old-size"),
            root: decode(one("old-root")),
        };

        let (path, leaf) = (hashes("inclusion"), decode(one("leaf")));
        let root = |index, leaf, path: &[Digest]| root_from_path(index, head.size, leaf, path);
        assert_eq!(root(10_000, leaf, &path), Some(head.root));
        assert_ne!(root(10_001, leaf, &path), Some(head.root));
        assert_ne!(root(10_000, head.root, &path), Some(head.root));
        assert_eq!(root(10_000, leaf, &path[1..]), None);

        let path = hashes("consistency");
        assert!(is_continued(old, head, &path));
        assert!(!is_continued(head, old, &path));
        assert!(!is_continued(old, head, &path[1..]));
        let one_less = TreeHead {
            size: old.size - 1,
            ..old
        };
        assert!(!is_continued(one_less, head, &path));
    }
}

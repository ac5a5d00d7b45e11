//! The hashes of RFC 9162 §2.1 (the same as those of RFC 6962), and perfect subtrees.

use crate::Digest;
use countersign_format::DigestWriter;

/// The hash of an entry as a leaf: SHA-256(0x00 ‖ entry) (RFC 9162 §2.1.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hash = DigestWriter::new();
    hash.update(&[0x00]);
    hash.update(entry);
    hash.finish()
}

/// The hash of two subtrees: SHA-256(0x01 ‖ left ‖ right) (RFC 9162 §2.1.1). The first byte keeps a node from passing as
/// an entry.
pub(crate) fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hash = DigestWriter::new();
    hash.update(&[0x01]);
    hash.update(left.as_bytes());
    hash.update(right.as_bytes());
    hash.finish()
}

/// The root of the tree without entries: SHA-256 of nothing (RFC 9162 §2.1.1).
pub(crate) fn empty_root() -> Digest {
    Digest::of(b"")
}

/// A perfect subtree: 2^`height` leaves, and the hash over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peak {
    pub(crate) height: u32,
    pub(crate) hash: Digest,
}

/// The root over perfect subtrees that stand side by side, the largest first: MTH of RFC 9162 §2.1.1, whose split at
/// the largest power of two makes the first of them the left child.
pub(crate) fn root_over<'a>(hashes: impl DoubleEndedIterator<Item = &'a Digest>) -> Digest {
    hashes
        .rev()
        .fold(None, |right: Option<Digest>, left| match right {
            Some(right) => Some(node_hash(left, &right)),
            None => Some(*left),
        })
        .unwrap_or_else(empty_root)
}

/// The root over hashes of subtrees of one size. For a power of two of them it is that of a perfect tree.
pub(crate) fn subtree_root(hashes: &[Digest]) -> Digest {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                // An odd one at the end moves up as it is; it is met again, being the smaller right subtree.
                rest => rest.first().copied().unwrap_or_else(empty_root),
            })
            .collect();
    }
    level.first().copied().unwrap_or_else(empty_root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of the reference implementation's tests of Certificate Transparency.
    const ENTRIES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];

    /// The roots over the first 0 to 8 of them.
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_of_certificate_transparencys_own_tests() {
        let leaves: Vec<Digest> = ENTRIES
            .iter()
            .map(|entry| leaf_hash(&hex::decode(entry).unwrap()))
            .collect();
        for (size, root) in ROOTS.iter().enumerate() {
            assert_eq!(subtree_root(&leaves[..size]).to_string(), *root, "{size}");
            let mut appender = crate::Appender::new();
            let entries: Vec<Vec<u8>> = ENTRIES[..size]
                .iter()
                .map(|entry| hex::decode(entry).unwrap())
                .collect();
            appender.append(&entries).unwrap();
            assert_eq!(appender.head().root.to_string(), *root, "{size}");
        }
    }
}

//! Proofs, by every size and index of small logs.

use countersign_audit_log::{
    ConsistencyProof, Digest, Finding, InclusionProof, LogDirectory, ProofInvalid, leaf_hash,
    verify_consistency,
};
use proptest::prelude::*;

use crate::support::{Log, entries, entry, key, verifier};

/// Sizes around those at which a tree or a tile changes its form.
const SIZES: [u64; 12] = [1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 600];

#[test]
fn tg24_every_entry_has_a_proof_and_no_other_entry_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogDirectory::create(&folder.path().join("log"), key()).unwrap();
    for size in SIZES {
        let at = log.checkpoint().size();
        log.append(&entries(at, size)).unwrap();
        let checkpoint = log.checkpoint().clone();
        for index in (0..size).filter(|index| size < 20 || index % 37 == 0 || index + 2 > size) {
            let proof = InclusionProof::make(&log.folder(), &checkpoint, index).unwrap();
            let read = InclusionProof::parse(&proof.to_text(), &verifier()).unwrap();
            assert_eq!(read, proof);
            read.check(&entry(index)).unwrap();
            assert_eq!(
                read.check(&entry(index + 1)),
                Err(ProofInvalid::NotIncluded { index, size })
            );
        }
        let outside = InclusionProof::make(&log.folder(), &checkpoint, size).unwrap_err();
        assert_eq!(
            outside.finding(),
            Some(&Finding::Missing {
                index: size,
                expected: None
            })
        );
    }
}

/// Another index, one hash more, one fewer, two exchanged, one bit.
#[test]
fn tg24_no_change_of_a_proof_is_accepted() {
    let log = Log::of(300);
    let proof = InclusionProof::make(&log.folder(), &log.checkpoint(), 299).unwrap();
    let text = proof.to_text();
    let lines: Vec<&str> = text.lines().collect();
    let is_accepted = |text: &str| {
        InclusionProof::parse(text, &verifier()).is_ok_and(|proof| proof.check(&entry(299)).is_ok())
    };
    assert!(is_accepted(&text));
    assert!(is_accepted(&text.replacen("index", "extra YWJj\nindex", 1)));
    for (from, to) in [
        ("index 299", "index 298"),
        ("index 299", "index 555"),
        ("index 299", "index 0299"),
        ("index 299", "index +299"),
        ("index 299", "index 18446744073709551615"),
        ("proof@v1", "proof@v2"),
        ("index", "extra !\nindex"),
        ("\n\n", "\n"),
        (lines[2], lines[3]),
        (&format!("{}\n", lines[3]), ""),
        (&format!("{}\n", lines[3]), &format!("{0}\n{0}\n", lines[3])),
    ] {
        assert!(
            !is_accepted(&text.replacen(from, to, 1)),
            "{from:?} to {to:?}"
        );
    }
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let mut bent = bytes.to_vec();
        bent[at] ^= 1;
        if let Ok(bent) = String::from_utf8(bent) {
            assert!(!is_accepted(&bent), "byte {at}");
        }
    }
}

#[test]
fn tg24_every_two_checkpoints_are_proved_consistent_and_forks_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogDirectory::create(&folder.path().join("log"), key()).unwrap();
    // The same but for one entry in the middle of each of its batches.
    let mut fork = LogDirectory::create(&folder.path().join("fork"), key()).unwrap();
    let mut kept = vec![log.checkpoint().clone()];
    let mut forked = vec![fork.checkpoint().clone()];
    for size in (1..40).chain([255, 256, 257, 511, 513, 700]) {
        let mut batch = entries(log.checkpoint().size(), size);
        kept.push(log.append(&batch).unwrap().clone());
        let middle = batch.len() / 2;
        batch[middle].push(b'!');
        forked.push(fork.append(&batch).unwrap().clone());
    }
    for (number, new) in kept.iter().enumerate() {
        for (old, forked) in kept.iter().zip(&forked) {
            let is_older = old.size() <= new.size();
            verify_consistency(&log.folder(), old, new)
                .map_err(|error| error.to_string())
                .err()
                .map_or_else(|| assert!(is_older), |error| assert!(!is_older, "{error}"));
            if !is_older {
                continue;
            }
            let proof = ConsistencyProof::make(&log.folder(), old.size(), new).unwrap();
            proof.check(old, new).unwrap();
            if old.size() == 0 {
                continue;
            }
            let sizes = ProofInvalid::Inconsistent {
                old: old.size(),
                new: new.size(),
            };
            assert_eq!(proof.check(forked, new), Err(sizes.clone()), "{number}");
            let found = verify_consistency(&log.folder(), forked, new).unwrap_err();
            assert_eq!(
                found.finding(),
                Some(&Finding::Diverges {
                    size: old.size(),
                    expected: forked.head().root,
                    found: old.head().root,
                })
            );
            let mut path = proof.path().to_vec();
            path.push(Digest::of(b"one more"));
            assert!(
                ConsistencyProof::from_hashes(path.clone())
                    .check(old, new)
                    .is_err()
            );
            path.truncate(path.len().saturating_sub(2));
            assert!(
                proof.path().is_empty()
                    || ConsistencyProof::from_hashes(path).check(old, new).is_err()
            );
            assert!(proof.check(new, old).is_err() || old == new);
        }
    }
}

/// Checkpoints of a log of 20 entries whose proofs are tried with anything.
fn some_log() -> &'static Log {
    static LOG: std::sync::OnceLock<Log> = std::sync::OnceLock::new();
    LOG.get_or_init(|| Log::of(20))
}

proptest! {
    #[test]
    fn tg24_no_text_is_a_proof_by_chance(text: String, lines: Vec<String>) {
        let _ = InclusionProof::parse(&text, &verifier());
        let checkpoint = some_log().checkpoint();
        let made = format!("c2sp.org/tlog-proof@v1\n{}\n\n{}", lines.join("\n"), checkpoint.as_str());
        let accepted = InclusionProof::parse(&made, &verifier())
            .is_ok_and(|proof| proof.check(b"never logged").is_ok());
        prop_assert!(!accepted);
    }

    #[test]
    fn tg24_no_hashes_make_another_entry_part_of_the_log(
        index in 0u64..30,
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..8),
        real in 0u64..20,
        cut in 0usize..8,
    ) {
        let checkpoint = some_log().checkpoint();
        let proof = InclusionProof::make(&some_log().folder(), &checkpoint, real).unwrap();
        // A real path that is cut off and goes on with others.
        let mut path: Vec<Digest> = proof.path().iter().take(cut).copied().collect();
        path.extend(hashes.into_iter().map(Digest::from_bytes));
        let mut text = format!("c2sp.org/tlog-proof@v1\nindex {index}\n");
        for hash in &path {
            use base64ct::{Base64, Encoding};
            text.push_str(&Base64::encode_string(hash.as_bytes()));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(checkpoint.as_str());
        let read = InclusionProof::parse(&text, &verifier()).unwrap();
        prop_assert!(read.check(b"never logged").is_err());
        let is_the_proof = index == real && path == proof.path();
        prop_assert_eq!(read.check(&entry(real)).is_ok(), is_the_proof);
        prop_assert_ne!(leaf_hash(b"never logged"), leaf_hash(&entry(real)));
    }
}

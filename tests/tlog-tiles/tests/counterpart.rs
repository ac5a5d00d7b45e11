//! Other implementations of the same specifications read our files, and we read what they make.

use std::cell::RefCell;

use countersign_audit_log::{
    ConsistencyProof, Digest, InclusionProof, LogFolder, LogVerifier, Resource, Source,
};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Hash, HashReader, Tile, TileHashReader, TileReader};

use support::{Log, entry, key_of, verifier};

#[path = "../../../signer/audit-log/tests/log/support.rs"]
#[allow(dead_code, reason = "the log's own tests use more of it")]
mod support;

/// Our files as the other library asks for them.
struct Tiles {
    folder: LogFolder,
    read: RefCell<Vec<String>>,
}

impl TileReader for Tiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        tiles
            .iter()
            .map(|tile| {
                let path = tile.path().replacen("tile/8/", "tile/", 1);
                self.read.borrow_mut().push(path.clone());
                let resource = Resource::Tile {
                    level: tile.level(),
                    index: tile.level_index(),
                    width: tile.width().try_into().unwrap(),
                };
                assert_eq!(resource.to_string(), path, "the same names");
                let found = self.folder.read(&resource).unwrap().expect("a tile");
                assert_eq!(found.width, resource.width());
                Ok(found.bytes)
            })
            .collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn hash(digest: &Digest) -> Hash {
    Hash(*digest.as_bytes())
}

#[test]
fn tlog_tiles_makes_the_same_proofs_out_of_our_tiles() {
    let sizes = [1, 2, 3, 255, 256, 257, 700, 66_000];
    let mut olds = Vec::new();
    for size in sizes {
        let log = Log::of(size);
        let checkpoint = log.checkpoint();
        let root = hash(&checkpoint.head().root);
        let tiles = Tiles {
            folder: log.folder(),
            read: RefCell::default(),
        };
        let reader = TileHashReader::new(size, root, &tiles);
        assert_eq!(tlog_tiles::tree_hash(size, &reader).unwrap(), root);
        for index in [0, size / 3, size / 2, size - 1] {
            let theirs = tlog_tiles::prove_record(size, index, &reader).unwrap();
            let ours = InclusionProof::make(&log.folder(), &checkpoint, index).unwrap();
            let ours: Vec<Hash> = ours.path().iter().map(hash).collect();
            assert_eq!(ours, theirs);
            let leaf = tlog_tiles::record_hash(&entry(index));
            tlog_tiles::check_record(&ours, size, root, index, leaf).unwrap();
            let stored = tlog_tiles::stored_hash_index(0, index);
            assert_eq!(reader.read_hashes(&[stored]).unwrap(), [leaf]);
        }
        olds.push(checkpoint.clone());
        for old in &olds {
            let theirs = tlog_tiles::prove_tree(size, old.size(), &reader).unwrap();
            let ours = ConsistencyProof::make(&log.folder(), old.size(), &checkpoint).unwrap();
            assert_eq!(ours.path().iter().map(hash).collect::<Vec<_>>(), theirs);
            ours.check(old, &checkpoint).unwrap();
            let old_root = hash(&old.head().root);
            tlog_tiles::check_tree(&theirs, size, root, old.size(), old_root).unwrap();
        }
        assert!(!tiles.read.borrow().is_empty());
    }
}

#[test]
fn tlog_tiles_names_every_tile_of_a_log_as_we_do() {
    for size in [1, 255, 256, 257, 65_536, 70_000] {
        let log = Log::of(size);
        for tile in Tile::new_tiles(8, 0, size) {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            assert!(log.path.join(&path).is_file(), "{size}: {path}");
        }
    }
}

#[test]
fn signed_note_verifies_our_checkpoints_and_reads_our_keys() {
    let log = Log::of(300);
    let checkpoint = log.checkpoint();
    let note = Note::from_bytes(checkpoint.as_str().as_bytes()).unwrap();
    let known =
        |vkey: &str| VerifierList::new(vec![Box::new(StandardVerifier::new(vkey).unwrap())]);
    let (verified, rest) = note.verify(&known(&verifier().to_vkey())).unwrap();
    assert_eq!((verified.len(), rest.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(read.origin(), verifier().origin().as_str());
    assert_eq!(
        (read.size(), *read.hash()),
        (300, hash(&checkpoint.head().root))
    );
    assert_eq!(read.extension(), "");

    let other = key_of(countersign_keys::Algorithm::Ed25519, 5);
    assert!(note.verify(&known(&other.verifier().to_vkey())).is_err());
}

/// The key and note of the reference implementation's documentation (golang.org/x/mod/sumdb/note).
const PETER_NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

#[test]
fn keys_of_the_reference_implementation_are_read_and_written_alike() {
    let verifier = LogVerifier::from_vkey(PETER_NEUMANN).unwrap();
    assert_eq!(verifier.to_vkey(), PETER_NEUMANN);
    assert_eq!(verifier.origin().as_str(), "PeterNeumann");
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    // The signature is good, and what it signs is no checkpoint.
    assert_eq!(
        verifier.open(note.as_bytes()),
        Err(countersign_audit_log::CheckpointInvalid::NotACheckpoint)
    );
    let altered = note.replace("answer", "Answer");
    assert_eq!(
        verifier.open(altered.as_bytes()),
        Err(countersign_audit_log::CheckpointInvalid::Forged)
    );
    for wrong in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        &PETER_NEUMANN.replace("c74f20a3", "c74f20a4"),
        &PETER_NEUMANN.replace("c74f20a3", "C74F20A3"),
        &PETER_NEUMANN.replace("Peter", "Petra"),
        &PETER_NEUMANN.replace("ARpc", "Ahpc"),
        &PETER_NEUMANN.replace("ARpc", "Axpc"),
        &PETER_NEUMANN[..PETER_NEUMANN.len() - 4],
        "log+00000000+AQ==",
        "log+00000000+",
    ] {
        assert!(LogVerifier::from_vkey(wrong).is_err(), "{wrong}");
    }
}

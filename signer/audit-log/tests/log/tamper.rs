//! Whoever may write to the folder and does not have the key: what verifying calls what they did.

use std::fs;
use std::path::Path;

use countersign_audit_log::{
    Checkpoint, Digest, Error, Finding, LogDirectory, LogFolder, VerifyError, leaf_hash, verify,
};
use countersign_keys::Algorithm;
use proptest::prelude::*;

use crate::support::{Log, checkpoint_of, copy, entries, entry, files, key, key_of, verifier};

/// 700 entries: two full bundles and a part of one.
const SIZE: u64 = 700;

fn finding_of(log: &Log) -> Finding {
    finding_with(&log.folder(), &log.checkpoint(), &[])
}

fn finding_with(folder: &LogFolder, checkpoint: &Checkpoint, earlier: &[Checkpoint]) -> Finding {
    match verify(folder, checkpoint, earlier) {
        Err(VerifyError::Unsound(finding)) => finding,
        other => panic!("{other:?}"),
    }
}

fn hash(index: u64) -> Digest {
    leaf_hash(&entry(index))
}

/// Where the bundle with this entry is.
fn bundle_of(index: u64) -> &'static str {
    [
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/188",
    ][(index / 256) as usize]
}

/// Writes a bundle with other entries.
fn rewrite(log: &Log, index: u64, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let first = index / 256 * 256;
    let mut all = entries(first, (first + 256).min(SIZE));
    change(&mut all);
    let bytes: Vec<u8> = all
        .iter()
        .flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat())
        .collect();
    fs::write(log.path.join(bundle_of(index)), bytes).expect("written");
}

#[test]
fn tg24_an_altered_entry_is_named() {
    for index in [0, 1, 255, 256, 500, 511, 512, 699] {
        let log = Log::of(SIZE);
        rewrite(&log, index, |all| {
            all[(index % 256) as usize] = b"forged".to_vec()
        });
        let expected = Finding::Altered {
            index,
            expected: hash(index),
            found: leaf_hash(b"forged"),
        };
        assert_eq!(finding_of(&log), expected);
        assert!(
            expected
                .to_string()
                .contains(&format!("entry {index} was altered"))
        );
    }
}

#[test]
fn tg24_an_entry_that_was_taken_out_is_named() {
    for index in [0, 100, 256, 512, 698] {
        let log = Log::of(SIZE);
        rewrite(&log, index, |all| drop(all.remove((index % 256) as usize)));
        let expected = Finding::Missing {
            index,
            expected: Some(hash(index)),
        };
        assert_eq!(finding_of(&log), expected, "{index}");
    }
}

#[test]
fn tg24_the_last_entries_cut_off_are_named() {
    for index in [255, 256 + 17, 699] {
        let log = Log::of(SIZE);
        rewrite(&log, index, |all| all.truncate((index % 256) as usize));
        let expected = Finding::Missing {
            index,
            expected: Some(hash(index)),
        };
        assert_eq!(finding_of(&log), expected);
    }
    // In the middle of an entry, too.
    let log = Log::of(SIZE);
    let path = log.path.join(bundle_of(600));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let expected = Finding::Missing {
        index: 699,
        expected: Some(hash(699)),
    };
    assert_eq!(finding_of(&log), expected);
}

#[test]
fn tg24_a_bundle_that_is_gone_is_named() {
    for index in [0, 256, 512] {
        let log = Log::of(SIZE);
        fs::remove_file(log.path.join(bundle_of(index))).unwrap();
        let expected = Finding::Missing {
            index,
            expected: Some(hash(index)),
        };
        assert_eq!(finding_of(&log), expected);
    }
}

#[test]
fn tg24_reordered_entries_are_named() {
    let log = Log::of(SIZE);
    rewrite(&log, 300, |all| all.swap(300 - 256, 310 - 256));
    let expected = Finding::Reordered {
        index: 300,
        expected: hash(300),
        belongs_at: 310,
    };
    assert_eq!(finding_of(&log), expected);
    // Neighbours, and in different bundles.
    let log = Log::of(SIZE);
    rewrite(&log, 300, |all| all.swap(300 - 256, 301 - 256));
    let expected = Finding::Reordered {
        index: 300,
        expected: hash(300),
        belongs_at: 301,
    };
    assert_eq!(finding_of(&log), expected);
    let log = Log::of(SIZE);
    rewrite(&log, 7, |all| all[7] = entry(600));
    rewrite(&log, 600, |all| all[600 - 512] = entry(7));
    let expected = Finding::Reordered {
        index: 7,
        expected: hash(7),
        belongs_at: 600,
    };
    assert_eq!(finding_of(&log), expected);
}

#[test]
fn tg24_an_entry_that_was_put_in_is_named() {
    for index in [0, 256, 650] {
        let log = Log::of(SIZE);
        rewrite(&log, index, |all| {
            all.insert((index % 256) as usize, b"forged".to_vec())
        });
        let expected = Finding::Inserted {
            index,
            expected: hash(index),
            found: leaf_hash(b"forged"),
        };
        assert_eq!(finding_of(&log), expected);
    }
    let log = Log::of(SIZE);
    rewrite(&log, 100, |all| all.push(b"forged".to_vec()));
    assert_eq!(finding_of(&log), Finding::Trailing { index: 255 });
    rewrite(&log, 0, |_| ());
    rewrite(&log, 600, |all| all.push(b"forged".to_vec()));
    assert_eq!(finding_of(&log), Finding::Trailing { index: 699 });
}

#[test]
fn tg24_an_altered_or_missing_tile_is_told_from_an_altered_entry() {
    for name in [
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/188",
        "tile/1/000.p/2",
    ] {
        let log = Log::of(SIZE);
        let path = log.path.join(name);
        let good = fs::read(&path).unwrap();
        let mut bent = good.clone();
        bent[40] ^= 1;
        fs::write(&path, &bent).unwrap();
        match finding_of(&log) {
            Finding::TileAltered { tile } => assert_eq!(tile.to_string(), name),
            other => panic!("{name}: {other:?}"),
        }
        fs::write(&path, &good[..good.len() - 32]).unwrap();
        match finding_of(&log) {
            Finding::TileBroken { tile } => assert_eq!(tile.to_string(), name),
            other => panic!("{name}: {other:?}"),
        }
        fs::remove_file(&path).unwrap();
        match finding_of(&log) {
            Finding::TileMissing { tile } => assert_eq!(tile.to_string(), name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A log that somebody without the key made over, with every hash computed anew; and its root.
fn made_over(index: u64, path: &Path) -> Digest {
    let other = key_of(Algorithm::Ed25519, 9);
    let mut forged = LogDirectory::create(path, other).expect("a log");
    let mut all = entries(0, SIZE);
    all[index as usize] = b"forged".to_vec();
    let root = forged.append(&all).expect("appended").head().root;
    forged.flush().expect("flushed");
    root
}

#[test]
fn tg24_entries_and_hashes_changed_together_are_narrowed_down() {
    for index in [0, 300, 600] {
        let good = Log::of(SIZE);
        let folder = tempfile::tempdir().unwrap();
        let forged = folder.path().join("log");
        let forged_root = made_over(index, &forged);
        let checkpoint = good.checkpoint();
        // All of it: no tile leads to the signed root any more.
        let finding = finding_with(&LogFolder::new(&forged), &checkpoint, &[]);
        let whole = Finding::Rewritten {
            first: 0,
            last: 699,
            expected: checkpoint.head().root,
            found: forged_root,
        };
        assert_eq!(finding, whole);
        // With checkpoints that were kept elsewhere.
        let earlier: Vec<Checkpoint> = [100, 290, 310, 650]
            .map(|size| Log::of(size).checkpoint())
            .into();
        let (first, last) = match index {
            0 => (0, 99),
            300 => (290, 309),
            _ => (310, 649),
        };
        match finding_with(&LogFolder::new(&forged), &checkpoint, &earlier) {
            Finding::Rewritten {
                first: found_first,
                last: found_last,
                ..
            } => assert_eq!((found_first, found_last), (first, last)),
            other => panic!("{other:?}"),
        }
        // Only the lowest tile: the one above it still tells which 256 they are.
        let name = bundle_of(index);
        fs::copy(forged.join(name), good.path.join(name)).unwrap();
        let tile = name.replace("entries", "0");
        fs::copy(forged.join(&tile), good.path.join(&tile)).unwrap();
        match finding_of(&good) {
            Finding::Rewritten { first, last, .. } => {
                let expected = if index < 512 {
                    (index / 256 * 256, index / 256 * 256 + 255)
                } else {
                    // The tile that is not full has nothing above it but the root.
                    (0, 699)
                };
                assert_eq!((first, last), expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Three levels of tiles, so that a tile in the middle is judged by the one above it.
#[test]
fn tg24_in_a_large_log_the_entry_is_found_as_well() {
    let log = Log::of(66_000);
    let path = log.path.join("tile/entries/200");
    let good = fs::read(&path).unwrap();
    let mut bent = good.clone();
    let last = bent.len() - 1;
    bent[last] ^= 1;
    fs::write(&path, &bent).unwrap();
    let index = 200 * 256 + 255;
    let mut forged = entry(index);
    *forged.last_mut().unwrap() ^= 1;
    let expected = Finding::Altered {
        index,
        expected: hash(index),
        found: leaf_hash(&forged),
    };
    assert_eq!(finding_of(&log), expected);
    // With its tile made to fit: one bundle of 258.
    let tile = log.path.join("tile/0/200");
    let mut hashes = fs::read(&tile).unwrap();
    hashes[255 * 32..].copy_from_slice(leaf_hash(&forged).as_bytes());
    fs::write(&tile, &hashes).unwrap();
    match finding_of(&log) {
        Finding::Rewritten { first, last, .. } => {
            assert_eq!((first, last), (200 * 256, 200 * 256 + 255));
        }
        other => panic!("{other:?}"),
    }
    fs::write(&path, &good).unwrap();
    match finding_of(&log) {
        Finding::TileAltered { tile } => assert_eq!(tile.to_string(), "tile/0/200"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tg24_a_log_put_back_from_an_old_copy_is_noticed_by_a_later_checkpoint() {
    let old = Log::of(300);
    let new = Log::of(500).checkpoint();
    verify(&old.folder(), &old.checkpoint(), &[]).unwrap();
    let finding = finding_with(&old.folder(), &old.checkpoint(), std::slice::from_ref(&new));
    assert_eq!(
        finding,
        Finding::Missing {
            index: 300,
            expected: None
        }
    );
    // Beneath the later checkpoint itself, too.
    let finding = finding_with(&old.folder(), &new, &[]);
    assert!(
        matches!(finding, Finding::Missing { index: 300, .. }),
        "{finding:?}"
    );
}

#[test]
fn tg24_the_holder_of_the_key_cannot_rewrite_what_an_exported_checkpoint_covers() {
    let exported = Log::of(256).checkpoint();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut rewritten = LogDirectory::create(&path, key()).unwrap();
    let mut all = entries(0, 400);
    all[13] = b"forged".to_vec();
    rewritten.append(&all).unwrap();
    let checkpoint = checkpoint_of(&path);
    verify(&rewritten.folder(), &checkpoint, &[]).unwrap();
    let finding = finding_with(
        &rewritten.folder(),
        &checkpoint,
        std::slice::from_ref(&exported),
    );
    match finding {
        Finding::Diverges { size, expected, .. } => {
            assert_eq!((size, expected), (256, exported.head().root));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn tg24_no_change_of_a_checkpoint_is_accepted() {
    let log = Log::of(10);
    let note = log.checkpoint().as_str().to_owned();
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut bent = note.clone().into_bytes();
            bent[at] ^= 1 << bit;
            assert!(verifier().open(&bent).is_err(), "byte {at}, bit {bit}");
        }
        assert!(verifier().open(&note.as_bytes()[..at]).is_err());
    }
    // A witness's line behind it changes nothing.
    let witnessed = format!("{note}\u{2014} witness.example AAAAAWJ5dGVz\n");
    assert_eq!(
        verifier().open(witnessed.as_bytes()).unwrap().head(),
        log.checkpoint().head()
    );
    // Nor does a line of our own in its text go unnoticed.
    let (text, line) = note.split_once("\n\n").unwrap();
    assert!(
        verifier()
            .open(format!("{text}\nmore\n\n{line}").as_bytes())
            .is_err()
    );
}

/// What the writer does with a folder that was tampered with while it was closed.
#[test]
fn tg24_a_log_whose_signed_end_is_gone_is_not_opened() {
    let open = |log: &Log| match LogDirectory::open(&log.path, key()) {
        Err(Error::Unsound { source, .. }) => source.finding().cloned().unwrap(),
        other => panic!("{other:?}"),
    };
    // The last bundle.
    let log = Log::of(SIZE);
    fs::remove_file(log.path.join(bundle_of(600))).unwrap();
    assert!(matches!(open(&log), Finding::Missing { index: 512, .. }));
    let log = Log::of(SIZE);
    rewrite(&log, 600, |all| all[600 - 512] = b"forged".to_vec());
    assert!(matches!(open(&log), Finding::Altered { index: 600, .. }));
    // A tile of the right edge.
    let log = Log::of(SIZE);
    let path = log.path.join("tile/1/000.p/2");
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(open(&log), Finding::Edge { size: SIZE, .. }));
    // The journal of 500 entries, with the checkpoint of 700.
    let (log, old) = (Log::of(SIZE), Log::of(500));
    fs::copy(old.path.join(".journal"), log.path.join(".journal")).unwrap();
    copy(
        &old.path.join("tile/entries"),
        &log.path.join("tile/entries"),
    );
    copy(&old.path.join("tile/0"), &log.path.join("tile/0"));
    copy(&old.path.join("tile/1"), &log.path.join("tile/1"));
    assert!(matches!(open(&log), Finding::Missing { index: 500, .. }));
    // The checkpoint of another history, signed by the same key.
    let log = Log::of(SIZE);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut other = LogDirectory::create(&path, key()).unwrap();
    other.append(&["another history"]).unwrap();
    fs::copy(path.join("checkpoint"), log.path.join("checkpoint")).unwrap();
    assert!(matches!(open(&log), Finding::Diverges { size: 1, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Any one byte of any file that a checkpoint covers, changed, cut off or added.
    #[test]
    fn tg24_any_change_of_any_file_is_noticed(file: prop::sample::Index, at: prop::sample::Index, bit in 0u8..8, how in 0u8..3) {
        let log = small_log();
        let folder = tempfile::tempdir().unwrap();
        copy(&log.path, folder.path());
        let names = files(&folder.path().join("tile"));
        let path = file.get(&names);
        let mut bytes = fs::read(path).unwrap();
        let position = at.index(bytes.len());
        match how {
            0 => bytes[position] ^= 1 << bit,
            1 => bytes.truncate(position),
            _ => bytes.insert(position, bit),
        }
        fs::write(path, &bytes).unwrap();
        let checkpoint = log.checkpoint();
        let result = verify(&LogFolder::new(folder.path()), &checkpoint, &[]);
        let is_unsound = matches!(&result, Err(VerifyError::Unsound(_)));
        prop_assert!(is_unsound, "{}: {:?}", path.display(), result);
        // Whatever a writer makes of it, it signs no other history.
        if let Ok((opened, _)) = LogDirectory::open(folder.path(), key()) {
            prop_assert_eq!(opened.checkpoint().head(), checkpoint.head());
        }
    }

    /// Any bytes in place of the journal: an error or the log as it was, and never a panic.
    #[test]
    fn tg24_any_journal_is_read_without_a_panic(bytes: Vec<u8>, keep: prop::sample::Index) {
        let log = small_log();
        let folder = tempfile::tempdir().unwrap();
        copy(&log.path, folder.path());
        let path = folder.path().join(".journal");
        let good = fs::read(&path).unwrap();
        let kept = good.get(..keep.index(good.len() + 1)).unwrap();
        fs::write(&path, [kept, &bytes].concat()).unwrap();
        if let Ok((opened, _)) = LogDirectory::open(folder.path(), key()) {
            prop_assert_eq!(opened.checkpoint().head(), log.checkpoint().head());
        }
    }

    #[test]
    fn tg24_any_bytes_are_no_checkpoint(bytes: Vec<u8>, text: String) {
        prop_assert!(verifier().open(&bytes).is_err());
        let note = format!("{text}\n\n\u{2014} {} {text}\n", crate::support::ORIGIN);
        prop_assert!(verifier().open(note.as_bytes()).is_err());
    }
}

/// A log of three hundred entries that nobody changes.
fn small_log() -> &'static Log {
    static LOG: std::sync::OnceLock<Log> = std::sync::OnceLock::new();
    LOG.get_or_init(|| Log::of(300))
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_and_no_finding() {
    let log = Log::of(300);
    let path = log.path.join("tile/entries/000");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(Path::new("000"), &path).unwrap();
    let result = verify(&log.folder(), &log.checkpoint(), &[]);
    assert!(
        matches!(result, Err(VerifyError::Unreadable { .. })),
        "{result:?}"
    );
}

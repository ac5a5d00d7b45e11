//! What is written, and what is refused.

use std::fs;

use countersign_audit_log::{
    EntryRefused, Error, LogDirectory, MAX_BATCH_BYTES, MAX_ENTRY_BYTES, Recovery, verify,
};
use countersign_keys::Algorithm;

use crate::support::{Log, checkpoint_of, entries, entry, files, key, key_of, verifier};

/// The specification's own example, with the names of its tiles.
#[test]
fn seventy_thousand_entries_lie_where_the_specification_says() {
    let log = Log::of(70_000);
    let names: Vec<String> = files(&log.path)
        .iter()
        .filter_map(|path| {
            path.strip_prefix(&log.path)
                .ok()?
                .to_str()
                .map(String::from)
        })
        .collect();
    let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
    assert_eq!(count("tile/0/"), 274, "{names:?}");
    assert_eq!(count("tile/entries/"), 274);
    for name in [
        "tile/0/000",
        "tile/0/272",
        "tile/0/273.p/112",
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
        "tile/entries/273.p/112",
    ] {
        assert!(names.contains(&name.to_owned()), "{name}");
    }
    assert_eq!(fs::read(log.path.join("tile/1/000")).unwrap().len(), 8192);
    verify(&log.folder(), &log.checkpoint(), &[]).unwrap();
    for index in [0, 255, 256, 65_535, 69_999] {
        let found = log.folder().entry(index, log.checkpoint().head()).unwrap();
        assert_eq!(found, Some(entry(index)));
    }
    let head = log.checkpoint().head();
    assert_eq!(log.folder().entry(70_000, head).unwrap(), None);
}

#[test]
fn however_it_is_cut_into_batches_the_log_is_the_same() {
    let whole = Log::in_batches(800, 800);
    for batch in [5, 255, 256, 257, 600] {
        let log = Log::in_batches(800, batch);
        assert_eq!(
            log.checkpoint().head(),
            whole.checkpoint().head(),
            "{batch}"
        );
        verify(&log.folder(), &log.checkpoint(), &[]).unwrap();
    }
}

#[test]
fn tg24_every_acknowledged_checkpoint_continues_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = LogDirectory::create(&path, key()).unwrap();
    let mut kept = vec![log.checkpoint().clone()];
    for batch in 0..40 {
        let signed = log.append(&entries(batch * 23, batch * 23 + 23)).unwrap();
        kept.push(signed.clone());
        assert_eq!(checkpoint_of(&path), *log.checkpoint(), "readers see it");
    }
    verify(&log.folder(), log.checkpoint(), &kept).unwrap();
}

#[test]
fn opening_again_continues_where_it_was() {
    let log = Log::of(300);
    for (from, to) in [(300, 511), (511, 512), (512, 513), (513, 2000)] {
        let (mut again, recovery) = LogDirectory::open(&log.path, key()).unwrap();
        assert_eq!(recovery.dropped_bytes, 0);
        assert_eq!(again.checkpoint().size(), from);
        again.append(&entries(from, to)).unwrap();
    }
    let (again, recovery) = LogDirectory::open(&log.path, key()).unwrap();
    assert_eq!(again.checkpoint().size(), 2000);
    assert_eq!(recovery.replayed, 2000 - 513);
    drop(again);
    let (_, recovery) = LogDirectory::open(&log.path, key()).unwrap();
    assert_eq!(
        recovery,
        Recovery::default(),
        "the second time there is nothing to do"
    );
    verify(&log.folder(), &log.checkpoint(), &[]).unwrap();
    assert_eq!(log.checkpoint().head(), Log::of(2000).checkpoint().head());
}

#[test]
fn an_empty_batch_changes_nothing_and_an_empty_entry_is_one() {
    let log = Log::of(3);
    let before = log.checkpoint();
    let (mut again, _) = LogDirectory::open(&log.path, key()).unwrap();
    assert_eq!(again.append::<&[u8]>(&[]).unwrap(), &before);
    assert_eq!(again.append(&[b""]).unwrap().size(), 4);
    verify(&log.folder(), &log.checkpoint(), &[]).unwrap();
}

#[test]
fn what_is_too_large_is_refused_whole() {
    let log = Log::of(1);
    let (mut again, _) = LogDirectory::open(&log.path, key()).unwrap();
    let long = vec![0u8; MAX_ENTRY_BYTES + 1];
    let refused = again.append(&[&b"short"[..], &long]);
    assert!(
        matches!(
            refused,
            Err(Error::Entry(EntryRefused::TooLong { position: 1, .. }))
        ),
        "{refused:?}"
    );
    let many = vec![&long[1..]; MAX_BATCH_BYTES / MAX_ENTRY_BYTES + 1];
    assert!(matches!(
        again.append(&many),
        Err(Error::BatchTooLarge { .. })
    ));
    assert_eq!(again.checkpoint().size(), 1);
    again.append(&[&long[1..]]).unwrap();
    drop(again);
    let (again, _) = LogDirectory::open(&log.path, key()).unwrap();
    assert_eq!(again.checkpoint().size(), 2);
    verify(&log.folder(), &log.checkpoint(), &[]).unwrap();
}

#[test]
fn one_writer_at_a_time() {
    let log = Log::of(1);
    let (first, _) = LogDirectory::open(&log.path, key()).unwrap();
    assert!(matches!(
        LogDirectory::open(&log.path, key()),
        Err(Error::Locked { .. })
    ));
    drop(first);
    LogDirectory::open(&log.path, key()).unwrap();
}

#[test]
fn only_the_logs_own_key_opens_it_and_only_a_log_is_opened() {
    let log = Log::of(5);
    let other = LogDirectory::open(&log.path, key_of(Algorithm::Ed25519, 2));
    assert!(matches!(other, Err(Error::Checkpoint { .. })), "{other:?}");
    assert!(matches!(
        LogDirectory::create(&log.path, key()),
        Err(Error::Exists { .. })
    ));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        LogDirectory::open(empty.path(), key()),
        Err(Error::NotALog { .. })
    ));
    assert!(matches!(
        LogDirectory::open(&empty.path().join("none"), key()),
        Err(Error::NotALog { .. })
    ));
    // Another's files stay as they are.
    fs::write(empty.path().join("letter"), "dear").unwrap();
    assert!(matches!(
        LogDirectory::create(empty.path(), key()),
        Err(Error::Exists { .. })
    ));
    assert_eq!(fs::read(empty.path().join("letter")).unwrap(), b"dear");
}

#[test]
fn a_p256_key_signs_checkpoints_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let key = key_of(Algorithm::Esp256, 7);
    let verifier = key.verifier().clone();
    let mut log = LogDirectory::create(&path, key).unwrap();
    let signed = log.append(&entries(0, 300)).unwrap().clone();
    assert_eq!(verifier.open(signed.as_str().as_bytes()).unwrap(), signed);
    assert!(
        crate::support::verifier()
            .open(signed.as_str().as_bytes())
            .is_err()
    );
    verify(&log.folder(), &signed, &[]).unwrap();
}

/// The narrower forms of full tiles go, and those that some checkpoint may need stay.
#[test]
fn what_became_full_leaves_no_narrow_tiles() {
    let log = Log::in_batches(515, 5);
    let narrow: Vec<_> = files(&log.path)
        .into_iter()
        .filter(|path| path.to_str().unwrap().contains(".p/"))
        .filter_map(|path| {
            path.strip_prefix(&log.path)
                .ok()?
                .to_str()
                .map(String::from)
        })
        .collect();
    assert_eq!(
        narrow,
        [
            "tile/0/002.p/3",
            "tile/1/000.p/1",
            "tile/1/000.p/2",
            "tile/entries/002.p/3",
        ]
    );
    let folder = log.folder();
    let head = verifier()
        .open(&folder.checkpoint().unwrap())
        .unwrap()
        .head();
    assert_eq!(head.size, 515);
}

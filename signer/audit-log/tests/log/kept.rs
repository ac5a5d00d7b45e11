//! A log that one machine keeps for years: seldom published, of bounded size, and what a power cut makes of it.

use std::fs;
use std::path::Path;

use countersign_audit_log::{
    Error, Finding, InclusionProof, LogDirectory, LogFolder, LogView, VerifyError, verify,
};

use crate::python::judge;
use crate::support::{copy, entries, entry, files, key, verifier};

/// Bytes of entries and hashes that stay: some 900 of them.
const WITHIN: u64 = 96 << 10;

fn made(path: &Path) -> LogDirectory {
    let log = LogDirectory::create(path, key()).expect("a log");
    log.kept_within(WITHIN)
}

fn view(path: &Path) -> LogView {
    LogView::new(path, &verifier()).expect("a log")
}

fn is_sound(path: &Path, size: u64) {
    let view = view(path);
    assert_eq!(view.checkpoint().size(), size);
    verify(&view, view.checkpoint(), &[]).expect("sound");
}

/// Before anything is published, everything that was acknowledged can be read and verified by the journal.
#[test]
fn what_is_only_in_the_journal_is_read_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = made(&path);
    for at in 0..600 {
        log.append_soon(&entries(at, at + 1)).unwrap();
    }
    assert!(
        !path.join("tile").exists(),
        "nothing was written for readers"
    );
    is_sound(&path, 600);
    let mut seen = Vec::new();
    let from_590 = |index, found: &[u8]| {
        assert_eq!(found, entry(index));
        seen.push(index);
        true
    };
    view(&path).each_from(590, from_590).unwrap();
    assert_eq!(seen, (590..600).collect::<Vec<_>>());
    log.flush().unwrap();
    // Now readers without a journal see it too.
    fs::remove_file(path.join(".journal")).unwrap();
    is_sound(&path, 600);
}

/// The oldest go, and of what is left everything is proved: entries, tiles, that earlier checkpoints are continued.
#[test]
fn tg24_of_a_log_that_dropped_its_oldest_the_rest_is_proved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = made(&path);
    let mut kept = Vec::new();
    for at in (0..6_000).step_by(100) {
        kept.push(log.append(&entries(at, at + 100)).unwrap().clone());
    }
    log.flush().unwrap();
    let checkpoint = log.checkpoint().clone();
    let first = checkpoint.first();
    assert!(first > 4_000 && first.is_multiple_of(256), "{first}");
    let bytes: u64 = files(&path.join("tile"))
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!(bytes < WITHIN + (16 << 10), "{bytes} are left");
    let read = LogFolder::new(&path);
    for old in &kept {
        let judged = verify(&read, &checkpoint, std::slice::from_ref(old));
        match judged {
            Ok(()) => assert!(old.size() >= first),
            Err(VerifyError::Dropped { size, .. }) => assert!(size < first && size == old.size()),
            Err(other) => panic!("{other}"),
        }
    }
    for index in [first, first + 1, 5_999] {
        let proof = InclusionProof::make(&read, &checkpoint, index).unwrap();
        proof.check(&entry(index)).unwrap();
    }
    InclusionProof::make(&read, &checkpoint, first - 1).expect_err("it went");
    let other = judge(&verifier().to_vkey(), &[&path]);
    let said = String::from_utf8_lossy(&other.stdout);
    let expected = format!("verified {} entries, from {first} on\n", 6_000 - first);
    assert_eq!(said, expected);

    // Every entry that is left: altered, it is named; taken away with its whole file, too.
    let bundle = |index: u64| path.join(format!("tile/entries/{:03}", index / 256));
    for index in [first, first + 300] {
        let good = fs::read(bundle(index)).unwrap();
        let mut bent = good.clone();
        let within: usize = (index / 256 * 256..index)
            .map(|before| entry(before).len() + 2)
            .sum();
        bent[within + 2] ^= 1;
        fs::write(bundle(index), &bent).unwrap();
        let found = verify(&read, &checkpoint, &[]).unwrap_err();
        assert!(
            matches!(found.finding(), Some(Finding::Altered { index: at, .. }) if *at == index),
            "{found}"
        );
        fs::remove_file(bundle(index)).unwrap();
        let found = verify(&read, &checkpoint, &[]).unwrap_err();
        let start = index / 256 * 256;
        assert!(
            matches!(found.finding(), Some(Finding::Missing { index: at, .. }) if *at == start),
            "{found}"
        );
        fs::write(bundle(index), &good).unwrap();
    }
    // What stands for those that went cannot be exchanged either.
    let above = path.join("tile/1/000.p/23");
    let good = fs::read(&above).unwrap();
    let mut bent = good.clone();
    bent[0] ^= 1;
    fs::write(&above, &bent).unwrap();
    verify(&read, &checkpoint, &[]).expect_err("the hash over entries that went was altered");
    fs::write(&above, &good).unwrap();

    // It goes on, after a restart too.
    drop(log);
    let (log, recovery) = LogDirectory::open(&path, key()).unwrap();
    assert_eq!(recovery.replayed, 0);
    let mut log = log.kept_within(WITHIN);
    log.append(&entries(6_000, 6_400)).unwrap();
    log.flush().unwrap();
    assert!(log.checkpoint().first() > first);
    let now = log.checkpoint().clone();
    let before = [checkpoint];
    verify(&read, &now, &before).expect("it continues the one before");
    // Once all that it covered has gone, nothing is left to show that.
    log.append(&entries(6_400, 7_000)).unwrap();
    log.flush().unwrap();
    let now = log.checkpoint().clone();
    let found = verify(&read, &now, &before).unwrap_err();
    assert!(matches!(found, VerifyError::Dropped { .. }), "{found}");
}

/// A power cut takes any part of what nobody waited for; what was waited for is there, and the tree is never another one.
#[test]
fn th01_what_was_not_waited_for_may_go_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = made(&path);
    log.append(&entries(0, 10)).unwrap();
    let waited = fs::read(path.join(".journal")).unwrap().len();
    for at in 10..14 {
        log.append_soon(&entries(at, at + 1)).unwrap();
    }
    let soon = fs::read(path.join(".journal")).unwrap();
    // Cut at any byte, or a hole of zeros in its middle while what follows is there.
    for at in (waited..soon.len()).step_by(61) {
        let cut = soon[..at].to_vec();
        let mut hole = soon.clone();
        let end = (at + 40).min(hole.len());
        hole[at..end].fill(0);
        for bytes in [cut, hole] {
            let other = folder.path().join("cut");
            let _ = fs::remove_dir_all(&other);
            copy(&path, &other);
            fs::write(other.join(".journal"), &bytes).unwrap();
            let (opened, _) = LogDirectory::open(&other, key()).unwrap();
            let size = opened.checkpoint().size();
            assert!((10..14).contains(&size) || bytes == soon, "{size}");
            verify(&opened.folder(), opened.checkpoint(), &[]).unwrap();
        }
    }
    // Once something behind it was waited for, it is on the disk, and a hole is somebody's doing.
    let vouched = log.vouched().unwrap().clone();
    assert_eq!(vouched.size(), 14);
    log.append_soon(&entries(14, 15)).unwrap();
    let now = fs::read(path.join(".journal")).unwrap();
    drop(log);
    let mut bent = now.clone();
    bent[waited + 4 + 4 + 2] ^= 1;
    fs::write(path.join(".journal"), &bent).unwrap();
    let refused = LogDirectory::open(&path, key());
    assert!(
        matches!(refused, Err(Error::Journal { first: 10, .. })),
        "{refused:?}"
    );
    let refused = LogView::new(&path, &verifier());
    assert!(matches!(refused, Err(Error::Journal { first: 10, .. })));
    fs::write(path.join(".journal"), &now).unwrap();
    let (opened, _) = LogDirectory::open(&path, key()).unwrap();
    verify(&opened.folder(), opened.checkpoint(), &[vouched]).unwrap();
}

/// At each step of making room the power may fail: what is left is the log before or after, and nothing is left lying.
#[test]
fn th01_making_room_is_cut_off_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = made(&path);
    for at in (0..1_500).step_by(100) {
        log.append(&entries(at, at + 100)).unwrap();
    }
    let before = folder.path().join("before");
    copy(&path, &before);
    log.flush().unwrap();
    let first = log.checkpoint().first();
    assert!(first > 0);
    let after = |name: &str| fs::read(path.join(name)).unwrap();
    let published = folder.path().join("published");
    // The new files and the checkpoint are there; then the journal; then some of the old files are gone.
    for step in 0..3 {
        let _ = fs::remove_dir_all(&published);
        copy(&before, &published);
        for file in files(&path.join("tile")) {
            let to = published.join(file.strip_prefix(&path).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, to).unwrap();
        }
        for bundle in 0..first / 256 {
            // What the log had before it made room: as the journal has it.
            let name = format!("tile/entries/{bundle:03}");
            let all: Vec<u8> = entries(bundle * 256, bundle * 256 + 256)
                .iter()
                .flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat())
                .collect();
            if step < 2 || bundle > 0 {
                fs::write(published.join(name), all).unwrap();
            }
        }
        fs::write(published.join("checkpoint"), after("checkpoint")).unwrap();
        if step > 0 {
            fs::write(published.join(".journal"), after(".journal")).unwrap();
        }
        let (opened, _) = LogDirectory::open(&published, key()).unwrap();
        let mut opened = opened.kept_within(WITHIN);
        verify(&opened.folder(), opened.checkpoint(), &[]).unwrap();
        opened.flush().unwrap();
        assert_eq!(opened.checkpoint().first(), first, "step {step}");
        verify(&opened.folder(), opened.checkpoint(), &[]).unwrap();
        for bundle in 0..first / 256 {
            let name = format!("tile/entries/{bundle:03}");
            assert!(!published.join(name).exists(), "step {step}: {bundle}");
        }
    }
}

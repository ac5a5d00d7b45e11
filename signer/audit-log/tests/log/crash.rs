//! What a crash or a power cut leaves, and what opening the log makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use countersign_audit_log::{Error, LogDirectory, LogFolder, verify};

use crate::support::{checkpoint_of, copy, entries, entry, files, key, verifier};

/// A folder's files.
fn snapshot(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(path)
        .into_iter()
        .map(|file| {
            (
                file.strip_prefix(path).expect("as it should be").to_owned(),
                fs::read(file).expect("as it should be"),
            )
        })
        .collect()
}

/// Opens a folder as it was left, and sees that everything acknowledged is there.
fn recovers(path: &Path, acknowledged: u64) {
    let (mut log, _) = LogDirectory::open(path, key()).expect("as it should be");
    assert!(log.checkpoint().size() >= acknowledged);
    assert_eq!(
        log.checkpoint().size(),
        acknowledged,
        "nothing was unfinished"
    );
    verify(&log.folder(), log.checkpoint(), &[]).expect("as it should be");
    // And it goes on from there.
    let next = log.checkpoint().size();
    log.append(&entries(next, next + 300))
        .expect("as it should be");
    verify(&log.folder(), log.checkpoint(), &[]).expect("as it should be");
    for index in (0..next + 300).step_by(41) {
        let found = log
            .folder()
            .entry(index, log.checkpoint().head())
            .expect("as it should be");
        assert_eq!(found, Some(entry(index)));
    }
}

/// After each batch the power fails, and the disk has of everything but the journal what it had when the log was
/// flushed: nothing new, new files that are empty, cut off, or full of zeros; renamed or not.
#[test]
fn tg13_what_was_acknowledged_survives_the_loss_of_every_unsynced_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = LogDirectory::create(&path, key()).unwrap();
    log.append(&entries(0, 200)).unwrap();
    log.flush().unwrap();
    let durable = snapshot(&path);
    let mut at = 200;
    for batch in [1, 30, 24, 1, 1, 300, 256, 7] {
        log.append(&entries(at, at + batch)).unwrap();
        at += batch;
        let now = snapshot(&path);
        for way in 0..5 {
            let cut = folder.path().join(format!("cut-{at}-{way}"));
            copy(&path, &cut);
            for (name, bytes) in &now {
                let before = durable.get(name);
                if name == Path::new(".journal") || before == Some(bytes) {
                    continue;
                }
                let file = cut.join(name);
                match (way, before) {
                    (0, None) => fs::remove_file(&file).unwrap(),
                    (0, Some(before)) => fs::write(&file, before).unwrap(),
                    (1, _) => fs::write(&file, []).unwrap(),
                    (2, _) => fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
                    (3, _) => fs::write(&file, vec![0; bytes.len()]).unwrap(),
                    // The disk got everything.
                    _ => {}
                }
            }
            // A file on its way.
            fs::write(cut.join(".new"), "half").unwrap();
            recovers(&cut, at);
        }
    }
}

/// The journal's last record cut off anywhere: the batch was never acknowledged, and is told.
#[test]
fn tg13_a_half_written_batch_is_dropped_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = LogDirectory::create(&path, key()).unwrap();
    log.append(&entries(0, 10)).unwrap();
    let before = snapshot(&path);
    let whole = fs::read(path.join(".journal")).unwrap().len();
    log.append(&entries(10, 13)).unwrap();
    let journal = fs::read(path.join(".journal")).unwrap();
    let lengths = (whole + 1..journal.len()).step_by(13);
    for length in lengths.chain([journal.len() - 1]) {
        // At that time nothing else had been written.
        let cut = folder.path().join(format!("cut-{length}"));
        for (name, bytes) in &before {
            let file = cut.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        fs::write(cut.join(".journal"), &journal[..length]).unwrap();
        let (opened, recovery) = LogDirectory::open(&cut, key()).unwrap();
        assert_eq!(opened.checkpoint().size(), 10);
        assert_eq!(recovery.dropped_bytes, (length - whole) as u64);
        assert_eq!(recovery.replayed, 10);
        verify(&opened.folder(), opened.checkpoint(), &[]).unwrap();
        drop(opened);
        // The same bytes, but a checkpoint covers the batch: somebody took it away.
        fs::write(cut.join(".journal"), &journal[..length]).unwrap();
        fs::copy(path.join("checkpoint"), cut.join("checkpoint")).unwrap();
        let refused = LogDirectory::open(&cut, key());
        assert!(
            matches!(&refused, Err(Error::Unsound { source, .. })
                if source.to_string().contains("entry 10 is missing")),
            "{refused:?}"
        );
        fs::remove_dir_all(cut).unwrap();
    }
}

/// A record that is whole and not what was signed is dropped only if it is the last, and nobody vouches for it.
#[test]
fn tg24_an_altered_journal_is_named_by_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = LogDirectory::create(&path, key()).unwrap();
    let mut ends = vec![fs::read(path.join(".journal")).unwrap().len()];
    for batch in 0..3 {
        log.append(&entries(batch * 10, batch * 10 + 10)).unwrap();
        ends.push(fs::read(path.join(".journal")).unwrap().len());
    }
    drop(log);
    let journal = fs::read(path.join(".journal")).unwrap();
    for (batch, end) in ends.iter().enumerate().take(3) {
        // A letter of an entry: behind two lengths, the number of entries and the entry's length.
        let mut bent = journal.clone();
        bent[end + 4 + 4 + 2] ^= 1;
        fs::write(path.join(".journal"), &bent).unwrap();
        match LogDirectory::open(&path, key()) {
            Err(Error::Journal { first, .. }) => assert_eq!(first, batch as u64 * 10),
            Err(Error::Unsound { source, .. }) => {
                assert_eq!(batch, 2, "only the last is taken for unfinished");
                assert!(
                    source.to_string().contains("entry 20 is missing"),
                    "{source}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    fs::write(path.join(".journal"), &journal).unwrap();
    let (log, _) = LogDirectory::open(&path, key()).unwrap();
    assert_eq!(log.checkpoint().size(), 30);
}

/// The length of a record that was acknowledged is damaged: no power cut does that, and nothing is dropped for it. No checkpoint of
/// readers' covers the records, as in a log that is kept.
#[test]
fn tg24_th08_a_damaged_length_in_the_journal_is_told_and_drops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = LogDirectory::create(&path, key()).unwrap();
    let mut log = log.kept_within(1 << 20);
    let mut ends = vec![fs::read(path.join(".journal")).unwrap().len()];
    for batch in 0..3 {
        log.append(&entries(batch * 10, batch * 10 + 10)).unwrap();
        ends.push(fs::read(path.join(".journal")).unwrap().len());
    }
    drop(log);
    let journal = fs::read(path.join(".journal")).unwrap();
    let opened = |bytes: &[u8]| {
        let cut = tempfile::tempdir().unwrap();
        let cut = cut.path().join("log");
        copy(&path, &cut);
        fs::write(cut.join(".journal"), bytes).unwrap();
        LogDirectory::open(&cut, key()).map(|(log, recovery)| (log.checkpoint().size(), recovery))
    };
    for (batch, end) in ends.iter().enumerate().take(3) {
        for (octet, bit) in [(0, 0x40), (1, 1), (2, 1), (3, 1), (3, 0x80)] {
            let mut bent = journal.clone();
            bent[end + octet] ^= bit;
            match opened(&bent) {
                Err(Error::Journal { first, .. }) => assert_eq!(first, batch as u64 * 10),
                other => panic!("{batch}, {octet}: {other:?}"),
            }
        }
        // Alone it is not lost, unless a sector ends there.
        let mut bent = journal.clone();
        bent[*end..end + 4].fill(0);
        let is_told = matches!(opened(&bent), Err(Error::Journal { .. }));
        assert!(is_told || end / 512 != (end + 7) / 512, "{batch}");
    }
    // What was cut off, or is a hole from somewhere on, was being written.
    for at in (ends[2] + 1..ends[3]).step_by(7) {
        let (size, recovery) = opened(&journal[..at]).unwrap();
        assert_eq!((size, recovery.dropped_bytes), (20, (at - ends[2]) as u64));
        let mut hole = journal.clone();
        hole[at..].fill(0);
        assert_eq!(opened(&hole).unwrap().0, 20, "{at}");
    }
}

/// Of what nobody waited for the disk may lack any sector: what stands before it is there, and no more is said to be.
#[test]
fn tg13_a_hole_in_what_nobody_waited_for_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = LogDirectory::create(&path, key()).unwrap();
    let mut log = log.kept_within(1 << 20);
    log.append(&entries(0, 10)).unwrap();
    let awaited = fs::read(path.join(".journal")).unwrap().len();
    for batch in 1..9 {
        log.append_soon(&entries(batch * 10, batch * 10 + 10))
            .unwrap();
    }
    drop(log);
    let journal = fs::read(path.join(".journal")).unwrap();
    for sector in awaited.div_ceil(512)..journal.len() / 512 {
        let mut hole = journal.clone();
        hole[sector * 512..(sector + 1) * 512].fill(0);
        let cut = folder.path().join(format!("cut-{sector}"));
        copy(&path, &cut);
        fs::write(cut.join(".journal"), &hole).unwrap();
        let (log, recovery) = LogDirectory::open(&cut, key()).unwrap();
        assert!(log.checkpoint().size() >= 10 && recovery.dropped_bytes > 0);
    }
}

/// Before readers get a checkpoint, the journal has been waited for up to it: a power cut would leave one that is ahead otherwise, and
/// the log would not be opened any more.
#[test]
fn th08_a_checkpoint_for_readers_is_never_ahead_of_the_journal_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = LogDirectory::create(&path, key()).unwrap();
    let mut log = log.kept_within(1 << 20);
    log.append_soon(&entries(0, 10)).unwrap();
    let written = fs::read(path.join(".journal")).unwrap().len();
    // Nothing can take the checkpoint's name.
    let before = fs::read(path.join("checkpoint")).unwrap();
    fs::remove_file(path.join("checkpoint")).unwrap();
    fs::create_dir_all(path.join("checkpoint/in-the-way")).unwrap();
    log.flush().unwrap_err();
    // The last record is one that was waited for, without entries.
    let journal = fs::read(path.join(".journal")).unwrap();
    assert_eq!(journal.get(written + 4..written + 8), Some(&[0; 4][..]));
    drop(log);
    fs::remove_dir_all(path.join("checkpoint")).unwrap();
    fs::write(path.join("checkpoint"), before).unwrap();
    recovers(&path, 10);
}

/// A lost or damaged file `checkpoint` is made anew from what the journal has, and that is told.
#[test]
fn tg13_a_lost_checkpoint_file_is_made_anew() {
    for damage in ["", "half a check"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogDirectory::create(&path, key()).unwrap();
        log.append(&entries(0, 10)).unwrap();
        let signed = log.checkpoint().clone();
        drop(log);
        fs::write(path.join("checkpoint"), damage).unwrap();
        let (_, recovery) = LogDirectory::open(&path, key()).unwrap();
        assert!(recovery.checkpoint_replaced);
        assert_eq!(checkpoint_of(&path), signed);
        let (_, recovery) = LogDirectory::open(&path, key()).unwrap();
        assert!(!recovery.checkpoint_replaced);
    }
}

/// A copy of what readers see, without the journal, is a whole log.
#[test]
fn a_flushed_log_is_whole_without_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = LogDirectory::create(&path, key()).unwrap();
    log.append(&entries(0, 777)).unwrap();
    log.flush().unwrap();
    let copied = folder.path().join("copy");
    copy(&path, &copied);
    for name in [".journal", ".lock"] {
        fs::remove_file(copied.join(name)).unwrap();
    }
    let folder = LogFolder::new(&copied);
    let checkpoint = verifier().open(&folder.checkpoint().unwrap()).unwrap();
    verify(&folder, &checkpoint, &[]).unwrap();
    recovers(&copied, 777);
}

/// An interrupted start leaves a lock or half a file, and is taken up again.
#[test]
fn an_interrupted_start_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".lock"), "").unwrap();
    fs::write(folder.path().join(".new"), "half").unwrap();
    let log = LogDirectory::create(folder.path(), key()).unwrap();
    drop(log);
    // Killed before the journal was there.
    fs::remove_file(folder.path().join(".journal")).unwrap();
    recovers(folder.path(), 0);
}

/// A write that fails acknowledges nothing, and nothing more is taken until the log is opened anew.
#[test]
fn tg14_after_a_failed_write_nothing_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = LogDirectory::create(&path, key()).unwrap();
    log.append(&entries(0, 10)).unwrap();
    // A folder in the place of a bundle: the rename fails, for root too.
    fs::create_dir_all(path.join("tile/entries/000.p/11/in-the-way")).unwrap();
    let failed = log.append(&entries(10, 11));
    assert!(matches!(failed, Err(Error::System { .. })), "{failed:?}");
    let refused = log.append(&entries(11, 12));
    assert!(matches!(refused, Err(Error::Broken { .. })), "{refused:?}");
    assert!(matches!(log.flush(), Err(Error::Broken { .. })));
    assert_eq!(log.checkpoint().size(), 10);
    drop(log);
    fs::remove_dir_all(path.join("tile/entries/000.p/11")).unwrap();
    // The journal had it, so it is there; had it not, it would not be.
    recovers(&path, 11);
}

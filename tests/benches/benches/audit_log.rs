//! Appending to the audit log, beside bare SHA-256 of the same entries; and what the disk makes of it.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use countersign_audit_log::{Appender, LogDirectory, LogKey, Origin, verify};
use countersign_backend_file::{FileKey, SystemRandom};
use countersign_benches::{Bound, Report, Table, compare};
use countersign_keys::{Algorithm, SigningKey};
use sha2::{Digest, Sha256};

/// Entries of each figure in memory, in batches of this many.
const ENTRIES: usize = 65_536;
const BATCH: usize = 256;

/// How long one row is measured on disk.
const SECONDS: u64 = 3;

fn main() -> ExitCode {
    let mut report = Report::default();
    in_memory(&mut report);
    report.print(
        "Entries of 500 bytes on disk, each batch signed (Ed25519, in software) and waited for, beside a bare file that gets the same bytes and is waited for as often; the wall's time, on the disk of the folder for temporary files.",
        on_disk(),
    );
    report.finish()
}

fn in_memory(report: &mut Report) {
    let mut table = Table::new(&["entries of", "append", "SHA-256", "ratio", "at most"]);
    for (bytes, at_most) in [(100, 6.0), (500, 3.0), (2000, 2.5)] {
        let entries: Vec<Vec<u8>> = (0..ENTRIES)
            .map(|index| {
                let mut entry = vec![b'x'; bytes];
                entry[..8].copy_from_slice(&index.to_be_bytes());
                entry
            })
            .collect();
        let append = |mut log: Appender| {
            for batch in entries.chunks(BATCH) {
                log.append(batch).expect("appended");
            }
            log.head()
        };
        let hash = |()| {
            entries
                .iter()
                .map(Sha256::digest)
                .fold(0u8, |sum, hash| sum ^ hash[0])
        };
        let costs = compare(11, (Appender::new, append), (|| (), hash));
        table.ratio(&format!("{bytes} bytes"), costs, Bound::Ratio(at_most), &[]);
    }
    report.print(
        "65,536 entries into a log in memory, 256 a batch, with every tile and bundle that a disk would get, from an empty log on: nothing is hashed twice, however long the log is.",
        table,
    );
}

fn on_disk() -> Table {
    let mut table = Table::new(&[
        "batch",
        "entries a second",
        "bare file",
        "ratio of times",
        "waits a second",
    ]);
    let entry = vec![b'x'; 500];
    for batch in [1, 16, 256, 1024] {
        let folder = tempfile::tempdir().expect("a folder");
        let key = FileKey::generate(Algorithm::Ed25519, &mut SystemRandom).expect("a key");
        let origin = Origin::new("bench.example/audit").expect("a name");
        let key = LogKey::new(origin, SigningKey::new(key)).expect("a log key");
        let path = folder.path().join("log");
        let mut log = LogDirectory::create(&path, key).expect("a log");
        let mut file = File::create(folder.path().join("bare")).expect("a file");
        let entries = vec![&entry; batch];
        let bytes = entry.repeat(batch);
        let (mut ours, mut bare, mut batches) = (Duration::ZERO, Duration::ZERO, 0);
        // In turns, so that both see the same disk.
        while ours < Duration::from_secs(SECONDS) {
            let started = Instant::now();
            log.append(&entries).expect("appended");
            ours += started.elapsed();
            let started = Instant::now();
            file.write_all(&bytes).expect("written");
            file.sync_data().expect("on the disk");
            bare += started.elapsed();
            batches += 1;
        }
        verify(&log.folder(), log.checkpoint(), &[]).expect("a sound log");
        let (ours, bare) = (ours.as_secs_f64(), bare.as_secs_f64());
        let size = f64::from(batches) * batch as f64;
        table.row(&[
            batch.to_string(),
            format!("{:.0}", size / ours),
            format!("{:.0}", size / bare),
            format!("{:.3}", ours / bare),
            format!("{:.0}", f64::from(batches) / ours),
        ]);
    }
    table
}

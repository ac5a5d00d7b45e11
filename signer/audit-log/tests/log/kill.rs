//! A process that appends, killed at random points, again and again over one log.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use countersign_audit_log::{LogDirectory, LogFolder, verify};

use crate::support::{checkpoint_of, entries, entry, key};

const FOLDER: &str = "COUNTERSIGN_TEST_AUDIT_LOG";

/// How often the process is killed.
const KILLS: u64 = 200;

/// The child: appends until it is killed, and says on standard output how many entries were acknowledged.
#[test]
fn appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(FOLDER) else {
        return;
    };
    let path = Path::new(&path);
    let mut log = match LogDirectory::open(path, key()) {
        Ok((log, _)) => log,
        Err(countersign_audit_log::Error::NotALog { .. }) => {
            LogDirectory::create(path, key()).unwrap()
        }
        Err(error) => panic!("{error}"),
    };
    let mut output = std::io::stdout().lock();
    loop {
        let at = log.checkpoint().size();
        let batch = 1 + at * 31 % 60;
        let size = log.append(&entries(at, at + batch)).unwrap().size();
        // One write, so that a line is whole or not there.
        output
            .write_all(format!("acknowledged {size}\n").as_bytes())
            .unwrap();
        output.flush().unwrap();
        if batch % 7 == 0 {
            log.flush().unwrap();
        }
    }
}

/// Kills the process when dropped, also when the test fails.
struct Appending(Child);

impl Drop for Appending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn tg12_tg24_what_was_acknowledged_is_there_whenever_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut acknowledged = 0;
    let mut checked = 0;
    let mut checkpoint = None;
    // A fixed sequence that does not repeat: when the next kill comes.
    let mut random = 0x2545_f491_4f6c_dd1du64;
    for round in 0..KILLS {
        let mut child = Appending(
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "kill::appends_until_it_is_killed", "--nocapture"])
                .env(FOLDER, &path)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let output = child.0.stdout.take().unwrap();
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let mut sizes = std::iter::from_fn(|| {
            lines.find_map(|line| line.split_once("acknowledged ")?.1.parse::<u64>().ok())
        });
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Now and then while it starts, opens and replays; mostly some time after a batch.
        let mut last = None;
        for _ in 0..random % 6 {
            last = sizes.next().or(last);
        }
        std::thread::sleep(Duration::from_micros((random >> 8) % 12_000));
        let _ = child.0.kill();
        // What it still had said before it died.
        last = sizes.last().or(last);
        drop(child);
        if let Some(size) = last {
            assert!(size >= acknowledged, "round {round}");
            acknowledged = size;
        }
        if !path.join("checkpoint").exists() {
            assert_eq!(acknowledged, 0);
            continue;
        }
        // As a reader finds it, with nobody having opened it for writing: nothing has been lost but to be published.
        let found = checkpoint_of(&path);
        verify(&LogFolder::new(&path), &found, checkpoint.as_slice())
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        checkpoint = Some(found);
        if round % 10 == 9 || round + 1 == KILLS {
            let (log, _) = LogDirectory::open(&path, key()).unwrap();
            let head = log.checkpoint().head();
            assert!(
                head.size >= acknowledged,
                "round {round}: {} of {acknowledged}",
                head.size
            );
            verify(&log.folder(), log.checkpoint(), checkpoint.as_slice()).unwrap();
            for index in checked..acknowledged {
                let found = log.folder().entry(index, head).unwrap();
                assert_eq!(found, Some(entry(index)), "round {round}");
            }
            checked = acknowledged;
        }
    }
    assert!(
        acknowledged > 200,
        "only {acknowledged} entries were appended in all"
    );
}

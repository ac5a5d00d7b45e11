//! SQLite on a disk that is full, read-only, does not keep what it was given, or loses power: a child process works behind
//! `disk.c`, which stands between it and its files.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use countersign_registry::{CertificateState, Commit, Error, Registry};

use crate::database::{Database, NOW, approve, asking, id, issue, made, reserve, serial};

/// What the child does, by name.
const CHILD: &str = "DISK_CHILD";

/// What stands between, built once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("disk-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/disk.c");
        let status = Command::new("cc")
            .args([
                "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o",
            ])
            .args([&path, &source])
            .status();
        assert!(status.expect("a C compiler").success());
        path
    })
}

/// A child on a disk of its own.
fn behind(what: &str, folder: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child
        .args(["--exact", "disk::child", "--nocapture"])
        .env(CHILD, what)
        .env("LD_PRELOAD", library())
        .env("DISK_FOLDER", folder.join("data"))
        .env("DISK_FAULT", folder.join("fault"))
        .env("DISK_KEPT", folder.join("kept"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    child
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["data", "kept"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    folder
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("registry.db").display())
}

/// Runs a child to its end.
fn succeeds(what: &str) {
    let folder = folder();
    let output = behind(what, folder.path()).output().expect("ran");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("did it"),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn tg15_a_full_disk_loses_nothing_and_is_used_again_when_there_is_space() {
    succeeds("full");
}

#[test]
fn tg15_a_disk_that_became_read_only_loses_nothing() {
    succeeds("read-only");
}

#[test]
fn tg14_what_could_not_be_flushed_is_not_acknowledged() {
    succeeds("not flushed");
}

/// The process is killed, and the disk has of each file what was flushed, or what was written too.
#[test]
fn tg13_tg14_what_was_acknowledged_survives_the_loss_of_everything_unflushed() {
    for round in 0..3 {
        let folder = folder();
        let mut child = behind("issue", folder.path()).spawn().expect("starts");
        let random = serial().as_bytes()[1];
        // The log is taken over into the database within the first ones.
        let last = 40 + usize::from(random) / 4;
        let mut acknowledged = BTreeSet::new();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        for line in output.lines() {
            let line = line.expect("text");
            if let Some((_, serial)) = line.split_once("acknowledged ") {
                acknowledged.insert(serial.to_owned());
            }
            if acknowledged.len() == last {
                child.kill().expect("killed");
            }
        }
        let output = child.wait_with_output().expect("ended");
        assert!(
            acknowledged.len() >= last,
            "{} {}",
            acknowledged.len(),
            String::from_utf8_lossy(&output.stderr)
        );
        let (data, kept) = (folder.path().join("data"), folder.path().join("kept"));
        for (number, [database, log]) in [
            [&kept, &kept],
            [&kept, &data],
            [&data, &kept],
            [&data, &data],
        ]
        .into_iter()
        .enumerate()
        {
            let left = folder.path().join(format!("left-{number}"));
            std::fs::create_dir(&left).expect("made");
            std::fs::copy(database.join("registry.db"), left.join("registry.db")).expect("there");
            std::fs::copy(log.join("registry.db-wal"), left.join("registry.db-wal"))
                .expect("there");
            crate::run(Database::sqlite(), |_| async {
                let registry = Registry::open(&url(&left)).await.expect("opens");
                let mut issued = BTreeSet::new();
                registry
                    .export(|line| {
                        if line.contains("\"state\":\"issued\"")
                            && let Some((_, rest)) = line.split_once("\"serial\":\"")
                            && let Some((serial, _)) = rest.split_once('"')
                        {
                            issued.insert(serial.to_owned());
                        }
                        Ok(())
                    })
                    .await
                    .expect("exported");
                let lost: Vec<&String> = acknowledged.difference(&issued).collect();
                assert!(lost.is_empty(), "round {round}, case {number}: {lost:?}");
                let (_, leaves) = registry.leaf_counts().await.expect("counted");
                assert_eq!(u64::try_from(issued.len()), Ok(leaves), "case {number}");
                registry.close().await;
            });
        }
    }
}

/// What a child does; nothing in the test's own process.
#[test]
fn child() {
    let Ok(what) = std::env::var(CHILD) else {
        return;
    };
    let folder = PathBuf::from(std::env::var("DISK_FOLDER").expect("its folder"));
    let disk = Disk(PathBuf::from(
        std::env::var("DISK_FAULT").expect("its file"),
    ));
    crate::run(Database::sqlite(), |_| async move {
        let registry = Registry::open(&url(&folder)).await.expect("opens");
        match what.as_str() {
            "full" => full(&registry, &disk).await,
            "read-only" => read_only(registry, &disk, &folder).await,
            "not flushed" => not_flushed(&registry, &disk).await,
            "issue" => issue_on(&registry).await,
            other => panic!("{other}"),
        }
    });
    println!("did it");
}

/// What says how the disk fails.
struct Disk(PathBuf);

impl Disk {
    fn fails(&self, how: &str) {
        std::fs::write(&self.0, how).expect("written");
    }

    fn works(&self) {
        std::fs::remove_file(&self.0).expect("removed");
    }
}

async fn full(registry: &Registry, disk: &Disk) {
    approve(registry, &["a", "b", "c"]).await;
    let (before, pending) = (asking("a", 1), asking("b", 2));
    issue(registry, &before, NOW).await;
    assert!(reserve(registry, &pending, NOW).await.is_ok());
    disk.fails("full");
    for _ in 0..3 {
        let reserved = registry.reserve(&[asking("c", 3)], NOW).await;
        let committed = registry.commit(&[made(&pending)], NOW).await;
        for error in [reserved.err(), committed.err()] {
            let error = error.expect("nothing is acknowledged");
            let text = error.to_string();
            assert!(
                text.contains("full") && text.contains("look at its disk"),
                "{text}"
            );
            assert!(!error.is_disk_failure(), "{text}");
        }
        // What is there can be read all the while.
        let found = registry.certificate(&before.serial).await.expect("read");
        assert_eq!(found.expect("there").state, CertificateState::Issued);
    }
    disk.works();
    // At once, by the same process; and what failed left nothing behind.
    registry
        .commit(&[made(&pending)], NOW)
        .await
        .expect("there is space");
    issue(registry, &asking("c", 3), NOW).await;
    let counts = registry.statistics().await.expect("counted");
    assert_eq!(counts.certificates, [("issued".to_owned(), 3)]);
    assert_eq!(counts.leaves_waiting, 3);
}

async fn read_only(registry: Registry, disk: &Disk, folder: &Path) {
    approve(&registry, &["a", "b"]).await;
    let before = asking("a", 1);
    issue(&registry, &before, NOW).await;
    disk.fails("read-only");
    let outcome = registry.reserve(&[asking("b", 2)], NOW).await;
    assert!(
        matches!(outcome, Err(Error::Unavailable { .. })),
        "{outcome:?}"
    );
    let found = registry.certificate(&before.serial).await.expect("read");
    assert_eq!(found.expect("there").state, CertificateState::Issued);
    registry.close().await;
    drop(registry);
    // Nor does a process start on it.
    let outcome = Registry::open(&url(folder)).await;
    let text = outcome.expect_err("read-only").to_string();
    assert!(text.to_lowercase().contains("read-only"), "{text}");
    disk.works();
    let registry = Registry::open(&url(folder)).await.expect("opens");
    let found = registry.certificate(&before.serial).await.expect("read");
    assert_eq!(found.expect("there").state, CertificateState::Issued);
    issue(&registry, &asking("b", 2), NOW).await;
}

async fn not_flushed(registry: &Registry, disk: &Disk) {
    approve(registry, &["a", "b"]).await;
    let before = asking("a", 1);
    issue(registry, &before, NOW).await;
    let what = asking("b", 2);
    assert!(reserve(registry, &what, NOW).await.is_ok());
    disk.fails("sync");
    let error = registry
        .commit(&[made(&what)], NOW)
        .await
        .expect_err("it is not on the disk");
    assert!(error.is_disk_failure(), "{error}");
    // Who asks meanwhile is not told that it was issued.
    let found = registry.certificate(&what.serial).await.expect("read");
    assert_eq!(found.expect("there").state, CertificateState::Reserved);
    let found = registry.certificate(&before.serial).await.expect("read");
    assert_eq!(found.expect("there").state, CertificateState::Issued);
}

/// Issues without end, and says what it was told to be on the disk.
async fn issue_on(registry: &Registry) {
    for number in 0..100_000_u32 {
        let name = format!("d{number}");
        approve(registry, &[&name]).await;
        let mut what = asking(&name, 0);
        what.key[..4].copy_from_slice(&number.to_be_bytes());
        assert!(reserve(registry, &what, NOW).await.is_ok());
        assert_eq!(what.device, id(&name));
        // Large enough that the log is soon taken over into the database.
        let commit = Commit {
            der: vec![0x55; 400_000],
            ..made(&what)
        };
        registry.commit(&[commit], NOW).await.expect("committed");
        println!("acknowledged {}", what.serial);
    }
}

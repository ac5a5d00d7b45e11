//! Leaves on their way into the audit log.

use std::time::{Duration, Instant};

use countersign_audit_log::{LogDirectory, LogFolder, LogKey, LogVerifier, Origin, verify};
use countersign_backend_file::FileKey;
use countersign_issuing::{
    CatchUpError, Clock, Error, Issuing, Sequencer, SequencerError, catch_up,
};
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::Reason;
use countersign_registry::{Refusal, Registry};
use countersign_testing::throwaway_key;

use crate::house::{House, ask, now};

fn log(house: &House) -> (LogDirectory, LogVerifier) {
    let origin = Origin::new("factory.example/audit").expect("a name");
    let key = LogKey::new(origin, throwaway_key(Algorithm::Ed25519)).expect("a key");
    let verifier = key.verifier().clone();
    let log = LogDirectory::create(&house.path("log"), key).expect("a log");
    (log, verifier)
}

pub(crate) async fn tg24_every_certificate_is_in_the_log(house: House) {
    let issuing = house.issuing(20).await;
    let (log, verifier) = log(&house);
    let sequencer = Sequencer::start(issuing.registry().clone(), log)
        .await
        .expect("starts");
    let mut certificates = Vec::new();
    for number in 0..20 {
        certificates.push(issuing.issue(ask(number)).await.expect("issued"));
    }
    let started = Instant::now();
    while sequencer.head().size() < 20 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{:?}",
            sequencer.failure()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sequencer.stop().await;
    let folder = LogFolder::new(&house.path("log"));
    let checkpoint = verifier
        .open(&folder.checkpoint().expect("there"))
        .expect("signed");
    assert_eq!(checkpoint.size(), 20);
    verify(&folder, &checkpoint, &[]).expect("sound");
    let leaves = issuing.registry().leaves(0, 100).await.expect("listed");
    for certificate in certificates {
        let serial = certificate.serial.to_string();
        let found = leaves
            .iter()
            .filter(|leaf| String::from_utf8_lossy(&leaf.bytes).contains(&serial));
        assert_eq!(found.count(), 1);
    }
}

pub(crate) async fn tg16_a_log_that_the_registry_does_not_know_is_left_alone(house: House) {
    let registry = house.open().await;
    let (mut log, verifier) = log(&house);
    log.append(&["from a registry that is gone"])
        .expect("appended");
    let outcome = Sequencer::start(registry, log).await;
    assert!(
        matches!(
            outcome,
            Err(SequencerError::Ahead {
                log: 1,
                registry: 0
            })
        ),
        "{outcome:?}"
    );
    let folder = LogFolder::new(&house.path("log"));
    let checkpoint = verifier
        .open(&folder.checkpoint().expect("there"))
        .expect("signed");
    assert_eq!(checkpoint.size(), 1);
}

/// Entries that the registry never had, and leaves that wait: they would get the places of those and never be logged.
pub(crate) async fn tg16_a_log_ahead_of_the_registry_costs_no_leaf_its_place(house: House) {
    let registry = house.open().await;
    let (mut log, _) = log(&house);
    log.append(&["from a registry", "that is gone"])
        .expect("appended");
    let waiting: Vec<&[u8]> = vec![b"one", b"two", b"three"];
    registry.record(&waiting).await.expect("recorded");
    let outcome = Sequencer::start(registry.clone(), log).await;
    assert!(
        matches!(
            outcome,
            Err(SequencerError::Ahead {
                log: 2,
                registry: 0
            })
        ),
        "{outcome:?}"
    );
    assert_eq!(registry.leaf_counts().await.expect("counted"), (0, 3));
}

/// As many entries as the registry has, and more, but not the same.
pub(crate) async fn tg16_a_log_of_another_registry_is_left_alone(house: House) {
    let registry = house.open().await;
    let (mut log, verifier) = log(&house);
    log.append(&["one", "another"]).expect("appended");
    let leaves: Vec<&[u8]> = vec![b"one", b"two", b"three"];
    registry.record(&leaves).await.expect("recorded");
    registry.place_leaves(3).await.expect("placed");
    let outcome = Sequencer::start(registry, log).await;
    assert!(
        matches!(outcome, Err(SequencerError::Differs { place: 1 })),
        "{outcome:?}"
    );
    let folder = LogFolder::new(&house.path("log"));
    let checkpoint = verifier
        .open(&folder.checkpoint().expect("there"))
        .expect("signed");
    assert_eq!(checkpoint.size(), 2);
}

/// The registry is put back from a copy of before anything was issued; the log is not.
pub(crate) async fn tg16_a_registry_from_an_old_copy_catches_up_with_the_log(house: House) {
    let log = LogDirectory::create(&house.path("log"), same_key()).expect("a log");
    let issuing = house.issuing(4).await;
    let registry = issuing.registry().clone();
    let copy = exported(&registry).await;
    let sequencer = Sequencer::start(registry.clone(), log)
        .await
        .expect("starts");
    let mut serials = Vec::new();
    for number in 0..3 {
        let issued = issuing.issue(ask(number)).await.expect("issued");
        serials.push(issued.serial);
    }
    for (serial, reason) in serials
        .iter()
        .zip([Reason::KeyCompromise, Reason::Superseded])
    {
        let revoked = issuing.revoke(serial, reason, "operator").await;
        assert!(revoked.expect("revoked").is_some());
    }
    sequencer.stop().await;
    let revoked = registry.revocations(issuing.issuer(), 0).await;
    let mut revoked = revoked.expect("listed");
    let before = issuing.sign_list(7).await.expect("signed").expect("leads");
    let issuer = *issuing.issuer();
    issuing.drain().await;
    registry.close().await;
    drop((issuing, registry));

    // The copy, and what it does not know of.
    let elsewhere = if house.url.starts_with("sqlite:") {
        House::sqlite()
    } else {
        House::postgresql()
    };
    let registry = elsewhere.open().await;
    registry
        .import(
            copy.iter().map(String::as_str),
            &issuer,
            now(),
            |_| b"imported".to_vec(),
            |_, _| b"revoked".to_vec(),
        )
        .await
        .expect("put back");
    let outcome = Sequencer::start(registry.clone(), reopened(&house)).await;
    assert!(
        matches!(
            outcome,
            Err(SequencerError::Ahead {
                log: 5,
                registry: 0
            })
        ),
        "{outcome:?}"
    );
    let issuing = Issuing::start(registry.clone(), house.authority(), Clock::system(0))
        .await
        .expect("starts");
    for outcome in [
        issuing.issue(ask(3)).await.map(|_| ()),
        issuing.sign_list(7).await.map(|_| ()),
    ] {
        let text = outcome.expect_err("it is behind").to_string();
        assert!(text.contains("old copy"), "{text}");
    }

    let log = reopened(&house);
    let taken = catch_up(&registry, &log, &issuer, "operator", now()).await;
    assert_eq!(taken.expect("caught up"), 5);
    let sequencer = Sequencer::start(registry.clone(), log)
        .await
        .expect("in step");
    // The next list has what was revoked since, and its number is above all before it.
    let mut again = registry.revocations(&issuer, 0).await.expect("listed");
    for list in [&mut revoked, &mut again] {
        list.sort_by(|one, other| one.serial.cmp(&other.serial));
    }
    assert_eq!(again, revoked);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let after = issuing.sign_list(7).await.expect("signed").expect("leads");
    assert!(after.number > before.number);
    // A device that has its certificate gets no second one, a lost key none at all, and others go on.
    let third = issuing.issue(ask(2)).await;
    assert!(
        matches!(third, Err(Error::Refused(Refusal::AlreadyIssued { .. }))),
        "{third:?}"
    );
    let lost = issuing.issue(ask(0)).await;
    assert!(
        matches!(lost, Err(Error::Refused(Refusal::KeyRevoked { .. }))),
        "{lost:?}"
    );
    issuing.issue(ask(3)).await.expect("issued");
    sequencer.stop().await;
    let folder = LogFolder::new(&house.path("log"));
    let leaves = registry.leaves(0, 100).await.expect("listed");
    let log = reopened(&house);
    assert_eq!(
        log.checkpoint().size(),
        u64::try_from(leaves.len()).expect("few")
    );
    for leaf in leaves {
        let entry = folder.entry(leaf.place, log.checkpoint().head());
        assert_eq!(entry.expect("read"), Some(leaf.bytes));
    }
}

/// Of what was imported since the copy was made the log has the file's hash only.
pub(crate) async fn tg16_what_was_imported_since_the_copy_must_be_imported_again(house: House) {
    let imported = |at: u64, sha256: &str| {
        format!("{{\"event\":\"imported\",\"at\":{at},\"sha256\":\"{sha256}\"}}")
    };
    let (file, other) = ("ab".repeat(32), "cd".repeat(32));
    let mut log = LogDirectory::create(&house.path("log"), same_key()).expect("a log");
    let leaf = imported(1, &file);
    log.append(&["before", leaf.as_str(), "after"])
        .expect("appended");
    let registry = house.open().await;
    let issuer = [7; 32];
    for again in [None, Some(&other)] {
        if let Some(again) = again {
            let none: [&str; 0] = [];
            let leaf = |_: &_| imported(2, again).into_bytes();
            let done = registry.import(none, &issuer, now(), leaf, |_, _| Vec::new());
            done.await.expect("imported");
        }
        let refused = catch_up(&registry, &log, &issuer, "operator", now()).await;
        assert!(
            matches!(&refused, Err(CatchUpError::Imported { place: 1, sha256 }) if *sha256 == file),
            "{refused:?}"
        );
        // What came before it is here, for what hangs on it.
        let (placed, _) = registry.leaf_counts().await.expect("counted");
        assert_eq!(placed, 1);
    }
    let none: [&str; 0] = [];
    let leaf = |_: &_| imported(3, &file).into_bytes();
    let done = registry.import(none, &issuer, now(), leaf, |_, _| Vec::new());
    done.await.expect("imported");
    let taken = catch_up(&registry, &log, &issuer, "operator", now()).await;
    assert_eq!(taken.expect("caught up"), 2);
}

/// A key that is the same each time.
fn same_key() -> LogKey {
    let origin = Origin::new("factory.example/audit").expect("a name");
    let key = FileKey::from_seed(Algorithm::Ed25519, &[0x33; 32]).expect("a key");
    LogKey::new(origin, SigningKey::new(key)).expect("a key")
}

fn reopened(house: &House) -> LogDirectory {
    LogDirectory::open(&house.path("log"), same_key())
        .expect("opens")
        .0
}

async fn exported(registry: &Registry) -> Vec<String> {
    let mut lines = Vec::new();
    registry
        .export(|line| {
            lines.push(line.to_owned());
            Ok(())
        })
        .await
        .expect("exported");
    lines
}

//! Leaves on their way into the audit log.

use std::time::{Duration, Instant};

use countersign_audit_log::{LogDirectory, LogFolder, LogKey, LogVerifier, Origin, verify};
use countersign_issuing::{Sequencer, SequencerError};
use countersign_keys::Algorithm;
use countersign_testing::throwaway_key;

use crate::house::{House, ask};

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

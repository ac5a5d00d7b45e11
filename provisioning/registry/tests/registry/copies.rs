//! A registry that was put back from an old copy, and the audit log that was not.

use countersign_provisioning::{Profile, Reason, Revocation, Serial};
use countersign_registry::{
    Certificate, CertificateState, Error, Found, Leaf, Listed, Refusal, Registry, Reservation, Told,
};
use countersign_trust_store::UnixTime;

use crate::carrying::{exported, without_der};
use crate::database::{Database, NOW, approve, asking, id, issue, reserve, serial};

const ISSUER: [u8; 32] = [7; 32];

/// What the log has of it.
fn issued(what: &Reservation) -> Told {
    Told::Issued(Box::new(certificate(what)))
}

fn certificate(what: &Reservation) -> Certificate {
    Certificate {
        serial: what.serial.clone(),
        device: what.device.clone(),
        profile: what.profile,
        issuer: what.issuer,
        key: what.key,
        not_before: what.not_before,
        not_after: what.not_after,
        state: CertificateState::Issued,
        revoked: None,
        der: None,
        reserved_at: NOW,
    }
}

/// What a registry does not do while it is behind.
async fn issues_nothing(registry: &Registry, log: u64, known: u64) {
    let reserved = registry.reserve(&[asking("d", 40)], NOW).await.map(|_| ());
    let numbered = registry.next_crl_number(&ISSUER, NOW).await.map(|_| ());
    let placed = registry.place_leaves(10).await.map(|_| ());
    for outcome in [reserved, numbered, placed, registry.compare_log(log).await] {
        let error = outcome.expect_err("it is behind");
        assert!(
            matches!(error, Error::Behind { log: found, registry } if (found, registry) == (log, known)),
            "{error}"
        );
        assert!(error.to_string().contains("take up"), "{error}");
    }
}

pub(crate) async fn tg16_an_old_copy_is_noticed_and_issues_nothing_before_it_knows_what_the_log_has(
    database: Database,
) {
    let registry = database.open().await;
    approve(&registry, &["a", "b", "c", "d"]).await;
    let (first, second, renewal) = (asking("a", 1), asking("b", 2), asking("c", 30));
    let third = asking("c", 3);
    issue(&registry, &first, NOW).await;
    issue(&registry, &third, NOW).await;
    assert_eq!(registry.place_leaves(1).await.expect("placed"), 1);
    // The second leaf waits still, and a certificate is on its way.
    assert!(reserve(&registry, &second, NOW).await.is_ok());
    registry.close().await;
    drop(registry);
    let copy = database.copy();

    let registry = database.open().await;
    registry
        .abandon(&[(second.serial.clone(), b"abandoned".to_vec())])
        .await
        .expect("closed");
    let renewal = Reservation {
        renews: Some(third.serial.clone()),
        ..renewal
    };
    issue(&registry, &renewal, NOW).await;
    let later = asking("b", 20);
    issue(&registry, &later, NOW).await;
    for (serial, reason) in [
        (&first.serial, Reason::KeyCompromise),
        (&later.serial, Reason::Superseded),
    ] {
        let revoked = registry
            .revoke(serial, reason, NOW, |serial| serial.as_bytes().to_vec())
            .await;
        assert!(revoked.expect("revoked").is_some());
    }
    assert_eq!(registry.place_leaves(100).await.expect("placed"), 6);
    let log: Vec<Leaf> = registry.leaves(0, 100).await.expect("listed");
    let number = registry
        .next_crl_number(&ISSUER, NOW)
        .await
        .expect("a number");
    let listed = registry.revocations(&ISSUER, NOW).await.expect("listed");
    assert_eq!(listed.len(), 2);
    registry.close().await;

    // The copy is put back. Nothing says so but the log.
    let registry = copy.open().await;
    let outcome = registry.compare_log(7).await;
    assert!(
        matches!(
            outcome,
            Err(Error::Behind {
                log: 7,
                registry: 1
            })
        ),
        "{outcome:?}"
    );
    issues_nothing(&registry, 7, 1).await;
    registry.close().await;
    drop(registry);
    // A later process knows it as well.
    let registry = copy.open().await;
    issues_nothing(&registry, 7, 1).await;
    assert!(matches!(
        registry.resume(b"go on").await,
        Err(Error::Behind { .. })
    ));

    let told = [
        issued(&third),
        Told::Abandoned(second.serial.clone()),
        issued(&renewal),
        issued(&later),
        Told::Revoked {
            serial: first.serial.clone(),
            reason: Reason::KeyCompromise,
            at: NOW,
        },
        Told::Revoked {
            serial: later.serial.clone(),
            reason: Reason::Superseded,
            at: NOW,
        },
    ];
    let found: Vec<Found> = log[1..]
        .iter()
        .zip(told)
        .map(|(leaf, told)| Found {
            leaf: leaf.bytes.clone(),
            told,
        })
        .collect();
    // From the wrong place nothing is taken up.
    let wrong = registry.take_up(2, &found[1..], &ISSUER, NOW).await;
    assert!(matches!(wrong, Err(Error::Behind { .. })), "{wrong:?}");
    registry
        .take_up(1, &found[..2], &ISSUER, NOW)
        .await
        .expect("taken up");
    assert!(matches!(
        registry.resume(b"go on").await,
        Err(Error::Behind {
            log: 7,
            registry: 3
        })
    ));
    registry
        .take_up(3, &found[2..], &ISSUER, NOW)
        .await
        .expect("taken up");
    // Knowing is not being allowed.
    assert!(matches!(
        registry.reserve(&[asking("d", 40)], NOW).await,
        Err(Error::Behind { .. })
    ));
    registry.resume(b"go on").await.expect("everything is here");

    // Every leaf has the place that it has in the log, and the next one follows.
    assert_eq!(registry.leaves(0, 100).await.expect("listed"), log);
    registry.compare_log(7).await.expect("in step");
    assert_eq!(registry.place_leaves(100).await.expect("placed"), 1);
    assert_eq!(
        registry.leaves(7, 100).await.expect("listed")[0].bytes,
        b"go on"
    );
    // What was revoked since is on the next list, whose number is above all before it.
    let mut serials: Vec<_> = registry
        .revocations(&ISSUER, NOW)
        .await
        .expect("listed")
        .into_iter()
        .map(|revocation| revocation.serial)
        .collect();
    serials.sort();
    let mut expected = vec![first.serial.clone(), later.serial.clone()];
    expected.sort();
    assert_eq!(serials, expected);
    let next = registry
        .next_crl_number(&ISSUER, NOW + 1)
        .await
        .expect("a number");
    assert!(next > number);
    // What was issued since is taken, and what was lost since is lost.
    let state = |serial| {
        let registry = registry.clone();
        async move {
            let found = registry.certificate(&serial).await.expect("found");
            found.expect("it is there").state
        }
    };
    assert_eq!(state(third.serial).await, CertificateState::Superseded);
    assert_eq!(state(second.serial).await, CertificateState::Abandoned);
    let current = registry
        .current(&id("c"), Profile::Tls)
        .await
        .expect("found");
    assert_eq!(current.expect("there").serial, renewal.serial);
    let lost = reserve(&registry, &asking("a", 1), NOW).await;
    assert!(matches!(lost, Err(Refusal::KeyRevoked { .. })), "{lost:?}");
    let known = reserve(&registry, &asking("d", 30), NOW).await;
    assert!(matches!(known, Err(Refusal::KeyKnown { .. })), "{known:?}");
    let taken = Reservation {
        serial: later.serial.clone(),
        ..asking("d", 40)
    };
    let outcome = reserve(&registry, &taken, NOW).await;
    assert!(
        matches!(outcome, Err(Refusal::SerialTaken { .. })),
        "{outcome:?}"
    );
    issue(&registry, &asking("d", 40), NOW).await;
}

/// Records that came from a file, and the log that tells of them again: also where the file had the last of them alone.
pub(crate) async fn tg16_what_was_imported_is_not_ended_by_the_log_that_tells_of_it_again(
    database: Database,
) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let first = asking("a", 1);
    issue(&registry, &first, NOW).await;
    let renewal = Reservation {
        renews: Some(first.serial.clone()),
        not_before: NOW + 60,
        ..asking("a", 2)
    };
    issue(&registry, &renewal, NOW + 60).await;
    registry.place_leaves(100).await.expect("placed");
    let log = registry.leaves(0, 100).await.expect("listed");
    let earlier = first.serial.to_string();
    let lines: Vec<String> = exported(&registry)
        .await
        .iter()
        // These tests' certificates are not such that an import reads them.
        .map(|line| without_der(line))
        .collect();
    let told = [
        issued(&first),
        // The clock of who takes it up is behind.
        Told::Issued(Box::new(Certificate {
            reserved_at: NOW - 60,
            ..certificate(&renewal)
        })),
    ];
    let later = renewal.serial.to_string();
    for left_out in ["nothing", &earlier, &later] {
        let copy = database.another();
        let copied = copy.open().await;
        let kept: Vec<String> = lines
            .iter()
            .filter(|line| !line.contains(left_out))
            .map(|line| match left_out == later {
                true => line.replace("superseded", "issued"),
                false => line.clone(),
            })
            .collect();
        let kept = kept.iter().map(String::as_str);
        let leaf = |_: &Serial, _| b"leaf".to_vec();
        let imported = copied.import(kept, &ISSUER, NOW + 60, |_| b"imported".to_vec(), leaf);
        imported.await.expect("imported");
        let found: Vec<Found> = log
            .iter()
            .zip(told.clone())
            .map(|(leaf, told)| Found {
                leaf: leaf.bytes.clone(),
                told,
            })
            .collect();
        let taken = copied.take_up(0, &found, &ISSUER, NOW + 60).await;
        taken.expect("taken up");
        let state = async |what: &Reservation| {
            let found = copied.certificate(&what.serial).await.expect("found");
            found.expect("there").state
        };
        assert_eq!(state(&renewal).await, CertificateState::Issued);
        assert_eq!(state(&first).await, CertificateState::Superseded);
    }
}

pub(crate) async fn tg16_who_lost_the_log_says_so_and_goes_on(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["d"]).await;
    assert!(registry.compare_log(3).await.is_err());
    // A log that was seen larger is not forgotten over a smaller one.
    assert!(registry.compare_log(2).await.is_err());
    issues_nothing(&registry, 3, 0).await;
    // Revoking goes on.
    let revocation = Revocation {
        serial: serial(),
        at: UnixTime::from_secs(NOW),
        reason: Reason::Superseded,
    };
    let listed = registry.revoke_listed(&ISSUER, &revocation, b"leaf").await;
    assert_eq!(listed.expect("revoked"), Listed::Unrecorded);
    registry
        .resume_without_the_log(b"the log is lost")
        .await
        .expect("gone on");
    issue(&registry, &asking("d", 40), NOW).await;
    assert_eq!(registry.place_leaves(10).await.expect("placed"), 3);
}

pub(crate) async fn tg16_tg23_a_serial_that_is_not_recorded_is_revoked_on_somebodys_word(
    database: Database,
) {
    let registry = database.open().await;
    approve(&registry, &["a", "b"]).await;
    let (known, closed) = (asking("a", 1), asking("b", 2));
    issue(&registry, &known, NOW).await;
    // As far as is known here, this one was never handed out.
    assert!(reserve(&registry, &closed, NOW).await.is_ok());
    registry
        .abandon(&[(closed.serial.clone(), b"closed".to_vec())])
        .await
        .expect("closed");
    let unknown = serial();
    let word = |serial: &countersign_provisioning::Serial, reason| {
        let registry = registry.clone();
        let revocation = Revocation {
            serial: serial.clone(),
            at: UnixTime::from_secs(NOW),
            reason,
        };
        async move {
            registry
                .revoke_listed(&ISSUER, &revocation, b"leaf")
                .await
                .expect("revoked")
        }
    };
    let (_, before) = registry.leaf_counts().await.expect("counted");
    let all = [
        (&known.serial, Listed::Recorded),
        (&closed.serial, Listed::Unrecorded),
        (&unknown, Listed::Unrecorded),
    ];
    for (serial, expected) in all {
        assert_eq!(word(serial, Reason::Superseded).await, expected);
        // That the key is lost, too, is learned later.
        assert_eq!(word(serial, Reason::KeyCompromise).await, expected);
        for reason in [Reason::KeyCompromise, Reason::Superseded] {
            assert_eq!(word(serial, reason).await, Listed::Already);
        }
    }
    let (_, after) = registry.leaf_counts().await.expect("counted");
    assert_eq!(after - before, 6, "two leaves each");
    let again = Reservation {
        key: closed.key,
        ..asking("b", 0)
    };
    let lost = reserve(&registry, &again, NOW).await;
    assert!(matches!(lost, Err(Refusal::KeyRevoked { .. })), "{lost:?}");
    // They are on the list, and what nobody knows the end of stays there.
    for (at, count) in [(NOW, 3), (known.not_after + 1, 2)] {
        let listed = registry.revocations(&ISSUER, at).await.expect("listed");
        assert_eq!(listed.len(), count);
        let reasons = listed.iter().map(|revocation| revocation.reason);
        assert!(
            reasons
                .into_iter()
                .all(|reason| reason == Reason::KeyCompromise)
        );
    }
    let others = registry.revocations(&[8; 32], NOW).await.expect("listed");
    assert!(others.is_empty());
    // One that is recorded afterwards is revoked, and on the list once.
    let device = format!(
        "{{\"kind\":\"device\",\"id\":\"z\",\"hardware_hash\":null,\"device_type\":\"\",\"family\":\"\",\"revision\":\"\",\
         \"firmware\":\"\",\"state\":\"approved\",\"order\":null,\"recorded_at\":{NOW}}}"
    );
    let lines = [
        device,
        format!(
            "{{\"kind\":\"certificate\",\"serial\":\"{unknown}\",\"device\":\"z\",\"profile\":\"tls\",\"issuer\":\"{}\",\
         \"key\":\"{}\",\"not_before\":{NOW},\"not_after\":{},\"state\":\"superseded\",\"revoked_at\":null,\
         \"reason\":null,\"der\":null,\"reserved_at\":{NOW}}}",
            hex::encode(ISSUER),
            "0c".repeat(32),
            NOW + 5000,
        ),
    ];
    let imported = registry
        .import(
            lines.iter().map(String::as_str),
            &[9; 32],
            NOW,
            |_| b"imported".to_vec(),
            |_, _| b"revoked".to_vec(),
        )
        .await
        .expect("imported");
    assert_eq!(imported.added, 2);
    let found = registry.certificate(&unknown).await.expect("found");
    let found = found.expect("there");
    assert_eq!(found.state, CertificateState::Revoked);
    assert_eq!(found.revoked, Some((NOW, Reason::KeyCompromise)));
    let lost = reserve(&registry, &asking("z", 12), NOW).await;
    assert!(matches!(lost, Err(Refusal::KeyRevoked { .. })), "{lost:?}");
    let listed = registry.revocations(&ISSUER, NOW).await.expect("listed");
    assert_eq!(listed.len(), 3);
}

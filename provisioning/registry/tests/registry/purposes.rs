//! What keys are for, which are lost, and what changes between the two steps of issuing.

use countersign_provisioning::{Profile, Reason};
use countersign_registry::{
    CertificateState, Commit, DeviceState, Error, Refusal, Reservation, Reserved,
};

use crate::database::{Database, NOW, approve, asking, id, issue, made, reserve};

pub(crate) async fn tg04_a_key_has_one_purpose(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a", "b"]).await;
    let first = asking("a", 1);
    issue(&registry, &first, NOW).await;
    let other = |device, key| Reservation {
        profile: Profile::GuestData,
        ..asking(device, key)
    };
    let outcome = reserve(&registry, &other("a", 1), NOW).await;
    let refusal = outcome.expect_err("it serves TLS");
    assert_eq!(
        refusal,
        Refusal::KeyKnown {
            device: id("a"),
            serves: Some(Profile::Tls)
        }
    );
    assert!(refusal.to_string().contains("for tls"), "{refusal}");
    // Nor both at once; and the one that was first is not worse for it.
    let outcomes = registry
        .reserve(&[asking("b", 2), other("b", 2)], NOW)
        .await
        .expect("available");
    let serves = |outcome: &Result<Reserved, Refusal>| match outcome {
        Ok(_) => None,
        Err(Refusal::KeyKnown { serves, .. }) => *serves,
        Err(other) => panic!("{other}"),
    };
    let refused: Vec<Profile> = outcomes.iter().filter_map(serves).collect();
    assert_eq!(refused.len(), 1, "{outcomes:?}");
    // It may be renewed over the same key, and another purpose has another one.
    let renewal = Reservation {
        renews: Some(first.serial.clone()),
        ..asking("a", 1)
    };
    issue(&registry, &renewal, NOW).await;
    issue(&registry, &other("a", 3), NOW).await;
}

pub(crate) async fn tg04_a_key_is_lost_also_where_its_certificate_was_revoked_before(
    database: Database,
) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let first = asking("a", 1);
    issue(&registry, &first, NOW).await;
    for (reason, later, recorded, leaves) in [
        (
            Reason::CessationOfOperation,
            0,
            Reason::CessationOfOperation,
            2,
        ),
        // The time stays, and what was learned is on the list, in the log and in what is exported.
        (Reason::KeyCompromise, 9, Reason::KeyCompromise, 3),
        (Reason::KeyCompromise, 9, Reason::KeyCompromise, 3),
        (Reason::CaCompromise, 9, Reason::KeyCompromise, 3),
        (Reason::Superseded, 9, Reason::KeyCompromise, 3),
    ] {
        let revoked = registry
            .revoke(&first.serial, reason, NOW + later, |_| b"leaf".to_vec())
            .await;
        let revoked = revoked.expect("revoked").expect("it is there").revoked;
        assert_eq!(revoked, Some((NOW, recorded)));
        let listed = registry
            .revocations(&first.issuer, NOW)
            .await
            .expect("listed");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].reason, recorded);
        let (_, all) = registry.leaf_counts().await.expect("counted");
        assert_eq!(all, leaves);
    }
    let refusal = reserve(&registry, &asking("a", 1), NOW).await;
    let refusal = refusal.expect_err("its key is lost");
    assert_eq!(refusal, Refusal::KeyRevoked { device: id("a") });
}

pub(crate) async fn tg04_a_lost_key_gets_no_certificate_any_more(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a", "b", "c"]).await;
    for (device, key, reason, is_lost) in [
        ("a", 1, Reason::KeyCompromise, true),
        ("b", 2, Reason::CaCompromise, true),
        ("c", 3, Reason::Superseded, false),
    ] {
        let (_, leaves) = registry.leaf_counts().await.expect("counted");
        // The earlier certificate is revoked, and the key is the current one's as well.
        let first = asking(device, key);
        issue(&registry, &first, NOW).await;
        let renewal = Reservation {
            renews: Some(first.serial.clone()),
            ..asking(device, key)
        };
        issue(&registry, &renewal, NOW).await;
        let revoked = registry
            .revoke(&first.serial, reason, NOW, |_| b"leaf".to_vec())
            .await;
        assert!(revoked.expect("revoked").is_some());
        let again = Reservation {
            renews: Some(renewal.serial.clone()),
            ..asking(device, key)
        };
        let outcome = reserve(&registry, &again, NOW).await;
        let current = registry.certificate(&renewal.serial).await.expect("found");
        let current = current.expect("it is there").state;
        if !is_lost {
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(current, CertificateState::Issued);
            continue;
        }
        // Whoever has the key would renew the current one over a key of their own. It is revoked, too, with a leaf of its own.
        assert_eq!(current, CertificateState::Revoked);
        assert!(
            matches!(outcome, Err(Refusal::NotCurrent { .. })),
            "{outcome:?}"
        );
        let told = registry.leaf_counts().await.expect("counted");
        assert_eq!(told.1, leaves + 4, "two issued, two revoked");
        let refusal = reserve(&registry, &asking(device, key), NOW).await;
        let refusal = refusal.expect_err("its key is lost");
        assert_eq!(refusal, Refusal::KeyRevoked { device: id(device) });
        for profile in [Profile::Tls, Profile::GuestData] {
            for other in ["a", "b", "c"] {
                let what = Reservation {
                    profile,
                    ..asking(other, key)
                };
                let outcome = reserve(&registry, &what, NOW).await;
                assert!(outcome.is_err(), "{other} {profile}: {outcome:?}");
            }
        }
        // With a new key it begins anew, and that one is none the worse when this is said again.
        let fresh = asking(device, key + 100);
        issue(&registry, &fresh, NOW).await;
        registry
            .revoke(&first.serial, reason, NOW, |_| b"leaf".to_vec())
            .await
            .expect("revoked");
        let state = registry.certificate(&fresh.serial).await.expect("found");
        assert_eq!(state.expect("there").state, CertificateState::Issued);
    }
}

pub(crate) async fn tg05_what_changed_since_it_was_reserved_is_not_committed(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a", "b", "c", "d"]).await;
    let refused = |commits: Vec<Commit>| {
        let registry = registry.clone();
        async move {
            match registry.commit(&commits, NOW).await {
                Err(Error::Refused { serial, refusal }) => (serial, *refusal),
                other => panic!("{other:?}"),
            }
        }
    };
    let fine = asking("d", 4);
    assert!(reserve(&registry, &fine, NOW).await.is_ok());

    // The device was retired.
    let retired = asking("a", 1);
    assert!(reserve(&registry, &retired, NOW).await.is_ok());
    let set = registry
        .set_device(&id("a"), DeviceState::Retired, None)
        .await;
    assert!(set.expect("set"));
    let (serial, refusal) = refused(vec![made(&fine), made(&retired)]).await;
    assert_eq!(serial, retired.serial);
    assert_eq!(refusal, Refusal::NotApproved { device: id("a") });

    // What is renewed was revoked: who renews was let in by it.
    let first = asking("b", 2);
    issue(&registry, &first, NOW).await;
    let renewal = Reservation {
        renews: Some(first.serial.clone()),
        ..asking("b", 20)
    };
    assert!(reserve(&registry, &renewal, NOW).await.is_ok());
    let revoked = registry
        .revoke(&first.serial, Reason::PrivilegeWithdrawn, NOW, |_| {
            b"leaf".to_vec()
        })
        .await;
    assert!(revoked.expect("revoked").is_some());
    let (serial, refusal) = refused(vec![made(&fine), made(&renewal)]).await;
    assert_eq!(serial, renewal.serial);
    assert_eq!(
        refusal,
        Refusal::NotCurrent {
            device: id("b"),
            profile: Profile::Tls,
            serial: first.serial.clone()
        }
    );

    // The key was lost: an earlier certificate over it is revoked, and the current one is over another.
    let oldest = asking("c", 3);
    issue(&registry, &oldest, NOW).await;
    let current = Reservation {
        renews: Some(oldest.serial.clone()),
        ..asking("c", 30)
    };
    issue(&registry, &current, NOW).await;
    let renewal = Reservation {
        renews: Some(current.serial.clone()),
        ..asking("c", 3)
    };
    assert!(reserve(&registry, &renewal, NOW).await.is_ok());
    let revoked = registry
        .revoke(&oldest.serial, Reason::KeyCompromise, NOW, |_| {
            b"leaf".to_vec()
        })
        .await;
    assert!(revoked.expect("revoked").is_some());
    let (serial, refusal) = refused(vec![made(&renewal), made(&fine)]).await;
    assert_eq!(serial, renewal.serial);
    assert_eq!(refusal, Refusal::KeyRevoked { device: id("c") });

    // Nothing of the refused batches was written, and the other one is none the worse.
    let state = |serial| {
        let registry = registry.clone();
        async move {
            let found = registry.certificate(&serial).await.expect("found");
            found.expect("it is there").state
        }
    };
    assert_eq!(state(current.serial).await, CertificateState::Issued);
    assert_eq!(state(renewal.serial).await, CertificateState::Reserved);
    let (_, leaves) = registry.leaf_counts().await.expect("counted");
    registry
        .commit(&[made(&fine)], NOW)
        .await
        .expect("committed");
    let (_, more) = registry.leaf_counts().await.expect("counted");
    // Three issued and two revoked before, and this one.
    assert_eq!((leaves, more), (5, 6));
}

//! Who gets a serial, and what becomes of it.

use countersign_provisioning::{Profile, Reason};
use countersign_registry::{CertificateState, Device, Error, Refusal, Reservation, Reserved};

use crate::database::{
    Database, NOW, approve, asking, commit, id, issue, made, request, reserve, serial,
};

pub(crate) async fn tg02_one_serial_is_recorded_once(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a", "b"]).await;
    let first = asking("a", 1);
    issue(&registry, &first, NOW).await;
    let second = Reservation {
        serial: first.serial.clone(),
        ..asking("b", 2)
    };
    let outcome = reserve(&registry, &second, NOW).await;
    assert!(
        matches!(&outcome, Err(Refusal::SerialTaken { serial }) if *serial == first.serial),
        "{outcome:?}"
    );
    // A second commit of the same one changes nothing either.
    let again = registry.commit(&[made(&first)], NOW).await;
    assert!(matches!(again, Err(Error::NotReserved { .. })), "{again:?}");
    assert_eq!(registry.leaf_counts().await.expect("counted"), (0, 1));
}

pub(crate) async fn tg04_a_key_belongs_to_one_device(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a", "b", "c", "d"]).await;
    issue(&registry, &asking("a", 1), NOW).await;
    let outcome = reserve(&registry, &asking("b", 1), NOW).await;
    assert_eq!(
        outcome.expect_err("another's key"),
        Refusal::KeyKnown {
            device: id("b"),
            serves: None
        }
    );
    // Two with one key in one batch: one of them.
    let outcomes = registry
        .reserve(&[asking("c", 9), asking("d", 9)], NOW)
        .await
        .expect("available");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(
        registry.device_by_key(&[1; 32]).await.expect("found"),
        Some(id("a"))
    );
}

pub(crate) async fn tg04_a_refused_request_claims_no_key(database: Database) {
    let registry = database.open().await;
    let order = registry.order("small", None, 0).await.expect("made");
    registry
        .register(&[Device::approved(id("x"), &order)], NOW)
        .await
        .expect("registered");
    approve(&registry, &["a"]).await;
    let refused = reserve(&registry, &asking("x", 1), NOW).await;
    assert!(matches!(refused, Err(Refusal::QuotaExhausted { .. })));
    assert_eq!(registry.device_by_key(&[1; 32]).await.expect("found"), None);
    issue(&registry, &asking("a", 1), NOW).await;
    assert!(
        registry
            .certificates(&id("x"))
            .await
            .expect("found")
            .is_empty()
    );
}

pub(crate) async fn tg05_a_hundred_at_once_have_one_place(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let mut tasks = Vec::new();
    for number in 0..100 {
        let registry = registry.clone();
        tasks.push(tokio::spawn(async move {
            let what = asking("a", number);
            let outcome = reserve(&registry, &what, NOW).await;
            if outcome.is_ok() {
                commit(&registry, &what, NOW).await;
            }
            outcome
        }));
    }
    let mut issued = 0;
    for task in tasks {
        match task.await.expect("ends") {
            Ok(_) => issued += 1,
            Err(Refusal::AlreadyIssued { .. } | Refusal::InProgress { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(issued, 1);
    let certificates = registry.certificates(&id("a")).await.expect("found");
    assert_eq!(certificates.len(), 1);
    // A batch is no way around it.
    approve(&registry, &["b"]).await;
    let batch: Vec<Reservation> = (100..110).map(|number| asking("b", number)).collect();
    let outcomes = registry.reserve(&batch, NOW).await.expect("available");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

pub(crate) async fn tg05_a_renewal_takes_the_place_of_the_current_one(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let first = asking("a", 1);
    issue(&registry, &first, NOW).await;
    let again = reserve(&registry, &asking("a", 2), NOW).await;
    assert_eq!(
        again.expect_err("it has one"),
        Refusal::AlreadyIssued {
            device: id("a"),
            profile: Profile::Tls,
            serial: first.serial.clone()
        }
    );
    let second = Reservation {
        renews: Some(first.serial.clone()),
        ..asking("a", 2)
    };
    issue(&registry, &second, NOW).await;
    let state = |serial| {
        let registry = registry.clone();
        async move {
            let found = registry.certificate(&serial).await.expect("found");
            found.expect("it is there").state
        }
    };
    assert_eq!(
        state(first.serial.clone()).await,
        CertificateState::Superseded
    );
    assert_eq!(state(second.serial.clone()).await, CertificateState::Issued);
    // The first one is no longer the one to renew.
    let third = Reservation {
        renews: Some(first.serial.clone()),
        ..asking("a", 3)
    };
    let outcome = reserve(&registry, &third, NOW).await;
    assert!(
        matches!(outcome, Err(Refusal::NotCurrent { .. })),
        "{outcome:?}"
    );
    let unknown = Reservation {
        renews: Some(serial()),
        ..asking("a", 3)
    };
    let outcome = reserve(&registry, &unknown, NOW).await;
    assert!(
        matches!(outcome, Err(Refusal::NotCurrent { .. })),
        "{outcome:?}"
    );
}

pub(crate) async fn tg05_what_expired_makes_room(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let first = asking("a", 1);
    issue(&registry, &first, NOW).await;
    let second = Reservation {
        not_after: NOW + 5000,
        ..asking("a", 2)
    };
    assert!(reserve(&registry, &second, first.not_after).await.is_err());
    issue(&registry, &second, first.not_after + 1).await;
    let current = registry
        .current(&id("a"), Profile::Tls)
        .await
        .expect("found")
        .expect("it has one");
    assert_eq!(current.serial, second.serial);
}

pub(crate) async fn tg12_what_a_dead_process_reserved_is_closed_and_its_serial_stays_taken(
    database: Database,
) {
    let what = Reservation {
        request: request("client key", 1),
        ..asking("a", 1)
    };
    {
        let registry = database.open().await;
        approve(&registry, &["a", "b"]).await;
        assert!(reserve(&registry, &what, NOW).await.is_ok());
        assert!(registry.orphans().await.expect("listed").is_empty());
        registry.close().await;
    }
    let registry = database.open().await;
    let orphans = registry.orphans().await.expect("listed");
    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].serial, what.serial);
    registry
        .abandon(&[(what.serial.clone(), b"abandoned".to_vec())])
        .await
        .expect("closed");
    assert!(registry.orphans().await.expect("listed").is_empty());
    assert_eq!(registry.leaf_counts().await.expect("counted"), (0, 1));
    // Its owner, were it alive after all, does not get to hand it out.
    let late = registry.commit(&[made(&what)], NOW).await;
    assert!(matches!(late, Err(Error::NotReserved { .. })), "{late:?}");
    let taken = Reservation {
        serial: what.serial.clone(),
        ..asking("b", 2)
    };
    let outcome = reserve(&registry, &taken, NOW).await;
    assert!(
        matches!(outcome, Err(Refusal::SerialTaken { .. })),
        "{outcome:?}"
    );
    // Place and idempotency key are free.
    let again = Reservation {
        request: request("client key", 1),
        ..asking("a", 1)
    };
    issue(&registry, &again, NOW).await;
}

pub(crate) async fn tg17_the_same_idempotency_key_gets_the_same_certificate(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let first = Reservation {
        request: request("client key", 1),
        ..asking("a", 1)
    };
    assert!(reserve(&registry, &first, NOW).await.is_ok());
    let again = Reservation {
        serial: serial(),
        ..first.clone()
    };
    let outcome = reserve(&registry, &again, NOW).await;
    assert!(
        matches!(outcome, Err(Refusal::InProgress { .. })),
        "{outcome:?}"
    );
    registry
        .commit(&[made(&first)], NOW)
        .await
        .expect("committed");
    match reserve(&registry, &again, NOW).await {
        Ok(Reserved::Answered(certificate)) => {
            assert_eq!(certificate.serial, first.serial);
            assert_eq!(certificate.der, Some(made(&first).der));
        }
        other => panic!("{other:?}"),
    }
    let other = Reservation {
        request: request("client key", 2),
        ..again.clone()
    };
    let outcome = reserve(&registry, &other, NOW).await;
    assert_eq!(outcome.expect_err("reused"), Refusal::RequestReused);
    // What was revoked since is no answer.
    let revoked = registry
        .revoke(&first.serial, Reason::Superseded, NOW, |_| b"leaf".to_vec())
        .await;
    assert!(revoked.expect("revoked").is_some());
    let outcome = reserve(&registry, &again, NOW).await;
    assert_eq!(
        outcome.expect_err("revoked"),
        Refusal::AnswerRevoked {
            serial: first.serial
        }
    );
}

pub(crate) async fn tg26_a_manufacturer_has_devices_of_its_own_orders(database: Database) {
    let registry = database.open().await;
    for (manufacturer, device) in [("north", "n"), ("south", "s")] {
        let order = registry
            .order(manufacturer, Some(manufacturer), 10)
            .await
            .expect("made");
        registry
            .register(&[Device::approved(id(device), &order)], NOW)
            .await
            .expect("registered");
    }
    let asked = |device: &str, key| Reservation {
        manufacturer: Some("north".to_owned()),
        ..asking(device, key)
    };
    let others = reserve(&registry, &asked("s", 1), NOW).await;
    let unknown = reserve(&registry, &asked("u", 1), NOW).await;
    assert_eq!(
        others.expect_err("another's"),
        Refusal::NotApproved { device: id("s") }
    );
    assert_eq!(
        unknown.expect_err("unknown"),
        Refusal::NotApproved { device: id("u") }
    );
    issue(&registry, &asked("n", 1), NOW).await;
}

pub(crate) async fn a_device_that_nobody_approved_gets_nothing(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let unknown = reserve(&registry, &asking("b", 1), NOW).await;
    assert_eq!(
        unknown.expect_err("unknown"),
        Refusal::NotApproved { device: id("b") }
    );
    let state = countersign_registry::DeviceState::Retired;
    assert!(
        registry
            .set_device(&id("a"), state, Some("2.0"))
            .await
            .expect("set")
    );
    let retired = reserve(&registry, &asking("a", 1), NOW).await;
    assert!(matches!(retired, Err(Refusal::NotApproved { .. })));
    assert!(
        !registry
            .set_device(&id("b"), state, None)
            .await
            .expect("asked")
    );
}

pub(crate) async fn an_order_is_used_up_once_for_each_device(database: Database) {
    let registry = database.open().await;
    let order = registry.order("three", None, 3).await.expect("made");
    let names = ["a", "b", "c", "d", "e"];
    let devices: Vec<Device> = names
        .iter()
        .map(|name| Device::approved(id(name), &order))
        .collect();
    registry.register(&devices, NOW).await.expect("registered");
    // Two certificates of one device count once.
    issue(&registry, &asking("a", 1), NOW).await;
    let second = Reservation {
        profile: Profile::GuestData,
        ..asking("a", 2)
    };
    issue(&registry, &second, NOW).await;
    let batch: Vec<Reservation> = names[1..]
        .iter()
        .zip(10..)
        .map(|(name, key)| asking(name, key))
        .collect();
    let outcomes = registry.reserve(&batch, NOW).await.expect("available");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2);
    assert!(outcomes.iter().all(|outcome| matches!(
        outcome,
        Ok(Reserved::New) | Err(Refusal::QuotaExhausted { quota: 3, .. })
    )));
    assert_eq!(registry.orders().await.expect("listed")[0].used, 3);
    // With a larger quota the others get theirs.
    registry.order("three", None, 5).await.expect("raised");
    let again = registry.reserve(&batch, NOW).await.expect("available");
    assert_eq!(again.iter().filter(|outcome| outcome.is_ok()).count(), 2);
    assert_eq!(registry.orders().await.expect("listed")[0].used, 5);
}

//! What the service does for who asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_issuing::{Ask, Clock, Contents, Error, Issuing, Proof};
use countersign_provisioning::{Issuer, Reason};
use countersign_registry::Refusal;

use crate::house::{self, House, ask, key, now};

pub(crate) async fn tg02_a_batch_of_requests_gets_a_serial_each(house: House) {
    let issuing = house.issuing(60).await;
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let issuing = issuing.clone();
            tokio::spawn(async move { issuing.issue(ask(number)).await })
        })
        .collect();
    let mut serials = BTreeSet::new();
    for (number, task) in (0..).zip(tasks) {
        let certificate = task.await.expect("ends").expect("issued");
        assert_eq!(certificate.device.as_str(), house::name(number));
        let recorded = issuing.registry().certificate(&certificate.serial).await;
        assert_eq!(
            recorded.expect("found").expect("there").der,
            certificate.der
        );
        assert!(serials.insert(certificate.serial));
    }
    // Whoever asks without approval gets nothing.
    let outcome = issuing.issue(ask(1000)).await;
    assert!(
        matches!(outcome, Err(Error::Refused(Refusal::NotApproved { .. }))),
        "{outcome:?}"
    );
}

pub(crate) async fn tg03_a_request_that_its_key_did_not_sign_takes_nothing(house: House) {
    let issuing = house.issuing(1).await;
    let mut request = house::request(0);
    *request.last_mut().expect("bytes") ^= 1;
    let forged = Ask {
        proof: Proof::Request(request),
        ..ask(0)
    };
    let outcome = issuing.issue(forged).await;
    assert!(
        matches!(
            outcome,
            Err(Error::Request {
                without_possession: true,
                ..
            })
        ),
        "{outcome:?}"
    );
    assert_eq!(
        issuing.registry().last_written().await.expect("asked"),
        None
    );
    // For another device than the asker's.
    let other = Ask {
        device: Some("another".parse().expect("an id")),
        ..ask(0)
    };
    let outcome = issuing.issue(other).await;
    assert!(
        matches!(
            outcome,
            Err(Error::Request {
                without_possession: false,
                ..
            })
        ),
        "{outcome:?}"
    );
    issuing.issue(ask(0)).await.expect("issued");
}

pub(crate) async fn tg05_a_hundred_at_once_get_one_certificate(house: House) {
    const ROUNDS: u32 = 10;
    let issuing = house.issuing(ROUNDS).await;
    for round in 0..ROUNDS {
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let issuing = issuing.clone();
                tokio::spawn(async move { issuing.issue(ask(round)).await })
            })
            .collect();
        let mut issued = 0;
        for task in tasks {
            match task.await.expect("ends") {
                Ok(_) => issued += 1,
                Err(Error::Refused(Refusal::AlreadyIssued { .. } | Refusal::InProgress { .. })) => {
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(issued, 1, "round {round}");
    }
}

pub(crate) async fn tg17_a_lost_answer_is_given_again(house: House) {
    let issuing = house.issuing(2).await;
    let asked = |number| Ask {
        request: Some(format!("client\n{number}")),
        ..ask(number)
    };
    let first = issuing.issue(asked(0)).await.expect("issued");
    let again = issuing.issue(asked(0)).await.expect("answered");
    assert_eq!((again.serial, again.der), (first.serial, first.der));
    let other = Ask {
        contents: Contents {
            days: 10,
            ..Contents::default()
        },
        ..asked(0)
    };
    let outcome = issuing.issue(other).await;
    assert!(
        matches!(outcome, Err(Error::Refused(Refusal::RequestReused))),
        "{outcome:?}"
    );
}

pub(crate) async fn tg20_what_hosts_would_refuse_leaves_no_reservation(house: House) {
    let issuing = house.issuing(1).await;
    // Beyond what the kind may live.
    let wrong = Ask {
        contents: Contents {
            days: 3000,
            ..Contents::default()
        },
        ..ask(0)
    };
    let outcome = issuing.issue(wrong).await;
    assert!(matches!(outcome, Err(Error::Request { .. })), "{outcome:?}");
    // The place becomes free as soon as that is on record.
    let mut waited = 0;
    loop {
        match issuing.issue(ask(0)).await {
            Ok(_) => break,
            Err(Error::Refused(Refusal::InProgress { .. })) if waited < 100 => waited += 1,
            Err(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let counts = issuing.registry().statistics().await.expect("counted");
    assert_eq!(
        counts.certificates,
        [("abandoned".to_owned(), 1), ("issued".to_owned(), 1)]
    );
    assert_eq!(counts.leaves_waiting, 2);
}

pub(crate) async fn tg21_nothing_is_issued_by_a_wrong_clock(house: House) {
    let time = Arc::new(AtomicU64::new(now()));
    let clock = {
        let time = Arc::clone(&time);
        Clock::new(
            move || time.load(Ordering::SeqCst),
            || Duration::ZERO,
            now() - 10,
        )
    };
    let registry = house.open().await;
    house::approve(&registry, 2).await;
    let issuing = Issuing::start(registry.clone(), house.authority(), clock)
        .await
        .expect("starts");
    issuing.issue(ask(0)).await.expect("issued");
    for wrong in [now() - 1000, now() + 1000] {
        time.store(wrong, Ordering::SeqCst);
        let outcome = issuing.issue(ask(1)).await;
        assert!(matches!(outcome, Err(Error::Clock { .. })), "{outcome:?}");
        assert!(issuing.sign_list(7).await.is_err());
    }
    time.store(now(), Ordering::SeqCst);
    issuing.issue(ask(1)).await.expect("issued");
    // One that is behind the last certificate does not start.
    let early = Clock::new(|| now() - 1000, || Duration::ZERO, 0);
    let outcome = Issuing::start(registry, house.authority(), early).await;
    assert!(matches!(outcome, Err(Error::Clock { .. })), "{outcome:?}");
}

pub(crate) async fn tg22_numbers_of_lists_rise(house: House) {
    let issuing = house.issuing(2).await;
    let certificate = issuing.issue(ask(0)).await.expect("issued");
    let first = issuing.sign_list(7).await.expect("signed").expect("leads");
    let revoked = issuing
        .revoke(&certificate.serial, Reason::KeyCompromise, "operator")
        .await
        .expect("revoked");
    assert!(revoked.is_some());
    let second = issuing.sign_list(7).await.expect("signed").expect("leads");
    assert!(second.number > first.number);
    assert!(second.der.len() > first.der.len());
    let serial = certificate.serial.as_bytes();
    assert!(
        second
            .der
            .windows(serial.len())
            .any(|window| window == serial)
    );
    let kept = issuing
        .registry()
        .crl(issuing.issuer())
        .await
        .expect("found");
    assert_eq!(kept, Some(second));
    // A renewal of what is revoked is none.
    let renewal = Ask {
        renews: Some(certificate.serial),
        ..ask(0)
    };
    let outcome = issuing.issue(renewal).await;
    assert!(
        matches!(outcome, Err(Error::Refused(Refusal::NotCurrent { .. }))),
        "{outcome:?}"
    );
}

pub(crate) async fn what_waits_is_answered_before_the_end(house: House) {
    let issuing = house.issuing(30).await;
    let tasks: Vec<_> = (0..30)
        .map(|number| {
            let issuing = issuing.clone();
            tokio::spawn(async move { issuing.issue(ask(number)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    issuing.drain().await;
    for task in tasks {
        match task.await.expect("ends") {
            Ok(_) | Err(Error::Stopped) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let outcome = issuing.issue(ask(0)).await;
    assert!(matches!(outcome, Err(Error::Stopped)), "{outcome:?}");
    assert!(
        issuing
            .registry()
            .orphans()
            .await
            .expect("listed")
            .is_empty()
    );
}

/// About SQLite's lock, and the same for every database that does not answer.
#[test]
fn tg15_nothing_is_signed_while_the_registry_is_locked() {
    crate::run(House::sqlite(), |house| async move {
        use sqlx::Connection;
        let registry = house.open().await;
        house::approve(&registry, 1).await;
        let signatures = Arc::new(AtomicU64::new(0));
        let counting = Counting(key(), Arc::clone(&signatures));
        let authority = house.authority_with(countersign_keys::SigningKey::new(counting));
        let issuing = Issuing::start(registry, authority, Clock::system(0))
            .await
            .expect("starts");
        let path = house.path("registry.db");
        let url = format!("sqlite://{}?mode=rw", path.display());
        let mut other = sqlx::AnyConnection::connect(&url).await.expect("connects");
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut other)
            .await
            .expect("locked");
        let outcome = issuing.issue(ask(0)).await;
        assert!(
            matches!(outcome, Err(Error::Unavailable { .. })),
            "{outcome:?}"
        );
        assert_eq!(signatures.load(Ordering::SeqCst), 0);
        sqlx::query("ROLLBACK")
            .execute(&mut other)
            .await
            .expect("released");
        issuing.issue(ask(0)).await.expect("issued");
        assert_eq!(signatures.load(Ordering::SeqCst), 1);
    });
}

/// A key that counts.
struct Counting(countersign_keys::SigningKey, Arc<AtomicU64>);

impl countersign_keys::Signer for Counting {
    fn public_key(&self) -> &countersign_keys::PublicKey {
        self.0.public_key()
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], countersign_keys::Error> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(*self.0.sign(message)?.as_bytes())
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_at_start() {
    crate::run(House::sqlite(), |house| async move {
        let other = countersign_testing::throwaway_key(countersign_keys::Algorithm::Esp256);
        let authority = house.authority_with(other);
        assert!(Issuer::new(&authority.key, &authority.certificate).is_err());
        let outcome = Issuing::start(house.open().await, authority, Clock::system(0)).await;
        assert!(matches!(outcome, Err(Error::Request { .. })), "{outcome:?}");
    });
}

//! What the service does for who asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use countersign_issuing::{
    Ask, Authority, Beside, Clock, Contents, Error, Issuing, Proof, Step, Steps,
};
use countersign_provisioning::{
    CaName, ForeignChain, Intermediate, Issuer, Reason, Revocation, RevocationList, Validity,
};
use countersign_registry::Refusal;
use countersign_testing::SystemRandom;
use countersign_trust_store::{Certificate as Parsed, UnixTime};

use crate::house::{self, House, ask, key, now};

pub(crate) async fn tg02_a_batch_of_requests_gets_a_serial_each(house: House) {
    let issuing = house.issuing(60).await;
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let issuing = issuing.clone();
            tokio::spawn(async move { house::issue_soon(&issuing, ask(number)).await })
        })
        .collect();
    let mut serials = BTreeSet::new();
    for (number, task) in (0..).zip(tasks) {
        let certificate = task.await.expect("ends");
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
    // A longer run says more by this variable.
    let rounds = std::env::var("COUNTERSIGN_ROUNDS").ok();
    let rounds = rounds
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(10_u32);
    let issuing = house.issuing(rounds).await;
    for round in 0..rounds {
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
    let counts = issuing.registry().statistics().await.expect("counted");
    assert_eq!(
        counts.certificates,
        [("issued".to_owned(), u64::from(rounds))]
    );
    println!("{rounds} rounds of a hundred: one certificate in each");
}

/// The first batch is held until the others wait, so that they are one.
pub(crate) async fn tg05_two_asks_of_one_device_in_one_batch_get_one_certificate(house: House) {
    let registry = house.open().await;
    house::approve(&registry, 3).await;
    let is_held = Arc::new(AtomicBool::new(true));
    let (held, verified) = (Arc::clone(&is_held), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&verified);
    let steps = Steps::to(move |step| match step {
        Step::Verified => drop(count.fetch_add(1, Ordering::SeqCst)),
        Step::Reserving => {
            while held.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        _ => {}
    });
    let issuing = Issuing::start_with(registry, house.authority(), Clock::system(0), steps)
        .await
        .expect("starts");
    let start = |asked: Ask| {
        let issuing = issuing.clone();
        tokio::spawn(async move { issuing.issue(asked).await })
    };
    let with = |number: u32, request: &str| Ask {
        request: Some(request.to_owned()),
        ..ask(number)
    };
    let first = start(ask(0));
    while verified.load(Ordering::SeqCst) < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Two of one device by two askers, and one request of another device that is sent twice.
    let tasks = [
        start(with(1, "a")),
        start(with(1, "b")),
        start(with(2, "c")),
        start(with(2, "c")),
    ];
    while verified.load(Ordering::SeqCst) < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    is_held.store(false, Ordering::SeqCst);
    first.await.expect("ends").expect("issued");
    let mut issued = BTreeSet::new();
    for task in tasks {
        match task.await.expect("ends") {
            Ok(certificate) => assert!(issued.insert(certificate.device.to_string())),
            Err(Error::Refused(Refusal::InProgress { .. })) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(issued.len(), 2);
    let counts = issuing.registry().statistics().await.expect("counted");
    assert_eq!(counts.certificates, [("issued".to_owned(), 3)]);
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
    house::approve(&registry, 3).await;
    let issuing = Issuing::start(registry.clone(), house.authority(), clock)
        .await
        .expect("starts");
    let first = issuing.issue(ask(0)).await.expect("issued");
    for wrong in [now() - 1000, now() + 1000] {
        time.store(wrong, Ordering::SeqCst);
        let outcome = issuing.issue(ask(1)).await;
        assert!(matches!(outcome, Err(Error::Clock { .. })), "{outcome:?}");
        assert!(issuing.sign_list(7).await.is_err());
    }
    time.store(now(), Ordering::SeqCst);
    issuing.issue(ask(1)).await.expect("issued");
    // One that the database's contradicts issues nothing; what is revoked meanwhile is revoked.
    let late = Clock::new(|| now() + 400, || Duration::ZERO, 0);
    let issuing = Issuing::start(registry.clone(), house.authority(), late.clone())
        .await
        .expect("starts");
    let theirs = registry.clock().await.expect("told");
    assert_eq!(theirs.is_some(), house.url.starts_with("postgres:"));
    late.compare(Beside::Database, Some(theirs.unwrap_or_else(now)));
    let outcome = issuing.issue(ask(2)).await;
    assert!(matches!(outcome, Err(Error::Clock { .. })), "{outcome:?}");
    assert!(issuing.sign_list(7).await.is_err());
    let revoked = issuing
        .revoke(&first.serial, Reason::KeyCompromise, "a test")
        .await
        .expect("recorded");
    assert!(revoked.is_some());
    // One that is behind the last certificate does not start.
    let early = Clock::new(|| now() - 1000, || Duration::ZERO, 0);
    let outcome = Issuing::start(registry, house.authority(), early).await;
    assert!(matches!(outcome, Err(Error::Clock { .. })), "{outcome:?}");
}

/// A clock that was two years ahead for one certificate. Set right, it is believed after somebody says so once.
pub(crate) async fn tg21_a_clock_that_was_ahead_once_is_no_measure_for_ever(house: House) {
    const AHEAD: u64 = 2 * 365 * 86_400;
    let registry = house.open().await;
    house::approve(&registry, 4).await;
    let clock = |ahead: u64| Clock::new(move || now() + ahead, || Duration::ZERO, 0);
    let issue = async |clock: Clock, number: u32| {
        let issuing = Issuing::start(registry.clone(), house.authority(), clock).await?;
        let certificate = issuing.issue(ask(number)).await;
        issuing.drain().await;
        while registry.place_leaves(100).await.expect("placed") > 0 {}
        certificate
    };
    issue(clock(AHEAD), 0).await.expect("issued");
    let outcome = issue(clock(0), 1).await;
    assert!(matches!(outcome, Err(Error::Clock { .. })), "{outcome:?}");
    issue(clock(0).confirmed(), 1).await.expect("issued");
    // From now on the right one is the measure.
    issue(clock(0), 2).await.expect("issued");
    let outcome = issue(clock(AHEAD), 3).await;
    assert!(matches!(outcome, Err(Error::Clock { .. })), "{outcome:?}");
}

pub(crate) async fn certificates_begin_a_little_earlier_and_not_before_their_issuer(house: House) {
    let issuing = house.issuing(1).await;
    let before = now();
    let certificate = issuing.issue(ask(0)).await.expect("issued");
    assert!((before - 300..=now() - 300).contains(&certificate.not_before));
    let parsed = Parsed::parse(&certificate.der.expect("there")).expect("a certificate");
    assert_eq!(parsed.not_before().as_secs(), certificate.not_before);
    assert_eq!(
        certificate.not_after,
        certificate.not_before + 365 * 86_400 - 1
    );

    // An authority that was made just now.
    let registry = issuing.registry().clone();
    issuing.drain().await;
    let from = now() - 100;
    let authority = house.authority_from(from, 30);
    let issuing = Issuing::start(registry.clone(), authority, Clock::system(0))
        .await
        .expect("starts");
    house::approve(&registry, 2).await;
    let asked = Ask {
        contents: Contents {
            days: 20,
            ..Contents::default()
        },
        ..ask(1)
    };
    let certificate = issuing.issue(asked).await.expect("issued");
    assert_eq!(certificate.not_before, from);
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

/// An authority whose certificate has ended, or not begun, issues nothing, whatever the profile.
#[test]
fn tg21_an_authority_outside_its_own_period_issues_nothing() {
    crate::run(House::sqlite(), |house| async move {
        let registry = house.open().await;
        house::approve(&registry, 1).await;
        let endless = || Ask {
            profile: countersign_provisioning::Profile::IDevId,
            ..ask(0)
        };
        for from in [now() - 40 * 86_400, now() + 1000] {
            let authority = house.authority_from(from, 30);
            let issuing = Issuing::start(registry.clone(), authority, Clock::system(0))
                .await
                .expect("starts");
            for asked in [ask(0), endless()] {
                let outcome = issuing.issue(asked).await;
                assert!(
                    matches!(outcome, Err(Error::Authority { .. })),
                    "{outcome:?}"
                );
            }
            issuing.drain().await;
        }
        assert_eq!(registry.last_written().await.expect("asked"), None);
    });
}

/// An intermediate that its root revoked, or of which nobody knows any more, issues nothing until there is a list that
/// says otherwise.
#[test]
fn tg20_a_revoked_authority_issues_nothing() {
    crate::run(House::sqlite(), |house| async move {
        let rng = &mut SystemRandom;
        let root = house.authority();
        let root_issuer = Issuer::new(&root.key, &root.certificate).expect("an issuer");
        let period =
            |from: u64, days| Validity::days(UnixTime::from_secs(from), days).expect("days");
        let own = Arc::new(countersign_testing::throwaway_key(
            countersign_keys::Algorithm::Esp256,
        ));
        let intermediate = Intermediate {
            name: CaName::new("Acme", "Devices", None).expect("a name"),
            validity: period(now() - 3600, 600),
            path_length: 0,
            scope: None,
        };
        let made = root_issuer
            .intermediate(own.public_key(), &intermediate, rng)
            .expect("an intermediate");
        let list = |number, validity, revoked: &[Revocation]| {
            let list = RevocationList {
                number,
                validity,
                revoked,
            };
            root_issuer.crl(&list).expect("a list")
        };
        let chain = |lists: Vec<Vec<u8>>| {
            ForeignChain::new(vec![made.certificate.clone(), root.certificate.clone()])
                .with_revocation_lists(lists)
        };
        let revocation = Revocation {
            serial: made.serial.clone(),
            at: UnixTime::from_secs(now() - 60),
            reason: Reason::KeyCompromise,
        };
        let clean = list(1, period(now() - 3600, 30), &[]);
        let revoking = list(2, period(now() - 1800, 30), &[revocation]);
        let stale = list(1, period(now() - 50 * 86_400, 30), &[]);

        let authority = Authority {
            key: own,
            certificate: made.certificate.clone(),
        };
        let registry = house.open().await;
        house::approve(&registry, 2).await;
        let issuing = Issuing::start(registry, authority, Clock::system(0))
            .await
            .expect("starts");
        issuing.judge(&chain(vec![clean.clone()])).expect("sound");
        issuing.issue(ask(0)).await.expect("issued");
        for lists in [vec![revoking], vec![stale], Vec::new()] {
            let outcome = issuing.judge(&chain(lists));
            assert!(
                matches!(outcome, Err(Error::Authority { .. })),
                "{outcome:?}"
            );
            let outcome = issuing.issue(ask(1)).await;
            assert!(
                matches!(outcome, Err(Error::Authority { .. })),
                "{outcome:?}"
            );
        }
        // Another's chain says nothing about this one.
        let other = ForeignChain::new(vec![root.certificate.clone()]);
        let outcome = issuing.judge(&other);
        assert!(matches!(outcome, Err(Error::Request { .. })), "{outcome:?}");
        assert!(issuing.issue(ask(1)).await.is_err());
        issuing.judge(&chain(vec![clean])).expect("sound");
        issuing.issue(ask(1)).await.expect("issued");
    });
}

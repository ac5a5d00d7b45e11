//! What goes wrong around the service, and what it does then: answers that are lost, processes that die beside it, disks
//! that fail, keys whose store panics.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use countersign_issuing::{Ask, Clock, Error, Issuing};
use countersign_keys::{Error as KeyError, PublicKey, Signer, SigningKey};
use countersign_provisioning::{Profile, Reason};
use countersign_registry::{Refusal, Registry, Reservation};
use countersign_testing::postgres::Postgres;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::house::{self, House, ask, issue_soon, key, now};

/// Passes on what goes to PostgreSQL and back; once armed, the answer to the next COMMIT never comes.
struct Between {
    folder: tempfile::TempDir,
    is_armed: Arc<AtomicBool>,
}

impl Between {
    async fn start(url: &str) -> (Self, String) {
        let server = PathBuf::from(url.split_once("host=").expect("a socket").1);
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
        let is_armed = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&is_armed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server.clone(), Arc::clone(&armed)));
            }
        });
        let through = url.replace(
            url.split_once("host=").expect("a socket").1,
            &folder.path().display().to_string(),
        );
        (Self { folder, is_armed }, through)
    }

    fn lose_the_next_answer(&self) {
        assert!(self.folder.path().exists());
        self.is_armed.store(true, Ordering::SeqCst);
    }

    fn lost(&self) -> bool {
        !self.is_armed.load(Ordering::SeqCst)
    }
}

async fn pass_on(client: UnixStream, server: PathBuf, armed: Arc<AtomicBool>) {
    let Ok(server) = UnixStream::connect(server.join(".s.PGSQL.5432")).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_losing = Arc::new(AtomicBool::new(false));
    let losing = Arc::clone(&is_losing);
    let back = tokio::spawn(async move {
        let mut bytes = vec![0; 65536];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            // The server has answered, so that it is done.
            if losing.load(Ordering::SeqCst) || to_client.write_all(&bytes[..count]).await.is_err()
            {
                return;
            }
        }
    });
    let mut bytes = vec![0; 65536];
    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
        let is_commit = bytes[..count].windows(6).any(|word| word == b"COMMIT");
        if is_commit && armed.swap(false, Ordering::SeqCst) {
            is_losing.store(true, Ordering::SeqCst);
        }
        if to_server.write_all(&bytes[..count]).await.is_err() {
            return;
        }
        if is_losing.load(Ordering::SeqCst) {
            break;
        }
    }
    let _ = back.await;
}

/// The reservation is on the disk, and nobody was told. It is closed, so that device and idempotency key are free again.
#[test]
fn tg17_a_reservation_whose_answer_was_lost_is_closed() {
    crate::run(House::postgresql(), |mut house| async move {
        let (between, through) = Between::start(&house.url).await;
        house.url = through;
        let issuing = house.issuing(1).await;
        let asked = Ask {
            request: Some("client\n1".to_owned()),
            ..ask(0)
        };
        between.lose_the_next_answer();
        let outcome = issuing.issue(asked.clone()).await;
        assert!(
            matches!(outcome, Err(Error::Unavailable { .. })),
            "{outcome:?}"
        );
        assert!(between.lost());
        let certificate = issue_soon(&issuing, asked).await;
        let counts = issuing.registry().statistics().await.expect("counted");
        assert_eq!(
            counts.certificates,
            [("abandoned".to_owned(), 1), ("issued".to_owned(), 1)]
        );
        let theirs = issuing.registry().certificates(&certificate.device).await;
        assert_eq!(theirs.expect("listed").len(), 2);
    });
}

/// The certificate is on the disk, and nobody was told: the same idempotency key gets it.
#[test]
fn tg17_a_certificate_whose_answer_was_lost_is_given_to_who_asks_again() {
    crate::run(House::postgresql(), |mut house| async move {
        let (between, through) = Between::start(&house.url).await;
        house.url = through;
        let registry = house.open().await;
        house::approve(&registry, 1).await;
        let between = Arc::new(between);
        let armed = Arc::clone(&between);
        let steps = countersign_issuing::Steps::to(move |step| {
            if step == countersign_issuing::Step::Committing {
                armed.lose_the_next_answer();
            }
        });
        let issuing = Issuing::start_with(registry, house.authority(), Clock::system(0), steps)
            .await
            .expect("starts");
        let asked = Ask {
            request: Some("client\n1".to_owned()),
            ..ask(0)
        };
        let outcome = issuing.issue(asked.clone()).await;
        assert!(
            matches!(outcome, Err(Error::Unavailable { .. })),
            "{outcome:?}"
        );
        let given = issue_soon(&issuing, asked).await;
        let current = issuing
            .registry()
            .current(&given.device, Profile::Tls)
            .await
            .expect("found");
        assert_eq!(current.expect("there").der, given.der);
        let counts = issuing.registry().statistics().await.expect("counted");
        assert_eq!(counts.certificates, [("issued".to_owned(), 1)]);
    });
}

/// What a process reserved that died is closed by those that run, not only by the next that starts.
#[test]
fn tg12_what_a_process_reserved_that_died_is_closed_by_another() {
    crate::run(House::postgresql(), |house| async move {
        let issuing = house.issuing(1).await;
        let dying = Registry::open(&house.url).await.expect("opens");
        let reservation = Reservation {
            serial: "4f1a".parse().expect("a serial"),
            device: house::name(0).parse().expect("an id"),
            profile: Profile::Tls,
            issuer: *issuing.issuer(),
            key: [7; 32],
            not_before: now(),
            not_after: now() + 1000,
            renews: None,
            request: None,
            manufacturer: None,
        };
        let outcome = dying.reserve(&[reservation], now()).await.expect("asked");
        assert!(outcome[0].is_ok(), "{outcome:?}");
        // As long as it lives, the place is its own.
        let outcome = issuing.issue(ask(0)).await;
        assert!(
            matches!(outcome, Err(Error::Refused(Refusal::InProgress { .. }))),
            "{outcome:?}"
        );
        dying.close().await;
        issue_soon(&issuing, ask(0)).await;
    });
}

/// PostgreSQL's code for a disk that failed, raised where a step writes. One failure ends the issuing, whatever the step.
#[test]
fn tg14_after_a_failure_of_the_disk_nothing_more_is_issued() {
    const RESERVE: &str = "BEFORE INSERT ON certificates";
    const COMMIT: &str = "BEFORE INSERT ON audit";
    const REVOKE: &str = "BEFORE UPDATE ON certificates";
    const LIST: &str = "BEFORE UPDATE ON lists";
    for at in [RESERVE, COMMIT, REVOKE, LIST] {
        crate::run(House::postgresql(), |house| async move {
            let issuing = house.issuing(3).await;
            let first = issuing.issue(ask(0)).await.expect("issued");
            issuing.sign_list(7).await.expect("signed").expect("leads");
            let trigger = format!(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'could not write' USING ERRCODE = '58030'; END $$; \
                 CREATE TRIGGER fail {at} FOR EACH ROW EXECUTE FUNCTION fail()"
            );
            Postgres::shared().sql(&house.url, &trigger);
            let error = match at {
                REVOKE => issuing
                    .revoke(&first.serial, Reason::Superseded, "operator")
                    .await
                    .expect_err("refused"),
                LIST => issuing.sign_list(7).await.expect_err("refused"),
                _ => issuing.issue(ask(1)).await.expect_err("refused"),
            };
            assert!(matches!(error, Error::Disk { .. }), "{at}: {error}");
            // The disk is well again, and still nobody knows what it has.
            Postgres::shared().sql(&house.url, "DROP FUNCTION fail CASCADE");
            assert!(issuing.is_stopped());
            for error in [
                issuing.issue(ask(2)).await.expect_err("refused"),
                issuing.sign_list(7).await.expect_err("refused"),
                issuing
                    .revoke(&first.serial, Reason::Superseded, "operator")
                    .await
                    .expect_err("refused"),
            ] {
                assert!(matches!(error, Error::Disk { .. }), "{at}: {error}");
            }
            // The next process closes what is open, and goes on.
            issuing.registry().close().await;
            drop(issuing);
            let issuing = Issuing::start(house.open().await, house.authority(), Clock::system(0))
                .await
                .expect("starts");
            issuing.issue(ask(1)).await.expect("issued");
        });
    }
}

/// More panics than there are threads: each ends one request, and the next device gets its certificate.
pub(crate) async fn tg19_a_key_whose_store_panics_ends_no_thread(house: House) {
    const PANICS: u32 = 24;
    let registry = house.open().await;
    house::approve(&registry, 1).await;
    let signer = Panicking(key(), AtomicU32::new(PANICS));
    let authority = house.authority_with(SigningKey::new(signer));
    let issuing = Issuing::start(registry, authority, Clock::system(0))
        .await
        .expect("starts");
    let mut faults = 0;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        match issuing.issue(ask(0)).await {
            Ok(_) => break,
            Err(Error::Fault) => faults += 1,
            Err(Error::Refused(Refusal::InProgress { .. })) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(std::time::Instant::now() < deadline, "after {faults}");
    }
    assert_eq!(faults, PANICS);
}

/// A key that panics so often.
struct Panicking(SigningKey, AtomicU32);

impl Signer for Panicking {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let left = self.1.load(Ordering::SeqCst);
        if left > 0 {
            self.1.store(left - 1, Ordering::SeqCst);
            panic!("as this test wants it");
        }
        Ok(*self.0.sign(message)?.as_bytes())
    }
}

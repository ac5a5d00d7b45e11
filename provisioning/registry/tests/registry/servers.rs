//! PostgreSQL alone: connections that end, processes that share a database.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use countersign_registry::{Error, Lead, Registry, Reservation};
use countersign_testing::postgres::Postgres;
use sqlx::Connection;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::database::{Database, NOW, approve, asking, id, made, reserve};

/// Runs on its own, on PostgreSQL.
fn on_postgresql<F: Future<Output = ()>>(test: impl FnOnce(Database) -> F) {
    crate::run(Database::postgresql(), test);
}

/// Ends connections to this database, and returns when they are gone.
fn end(database: &Database, which: &str) -> String {
    Postgres::shared().sql(
        &database.url,
        &format!(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND {which}"
        ),
    )
}

/// What a registry grows by at a time, and how often.
const BATCH: usize = 8;
const BATCHES: usize = 160;

/// Certificates after which the tables are looked at first; then whenever there are twice as many.
const FIRST_LOOK: usize = 256;

const HOLDS_LOCKS: &str = "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";

/// Where PostgreSQL listens in its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// A server that falls silent when it is told to: whoever is or will be connected stays so, and gets no answer.
struct Silenced {
    url: String,
    silent: watch::Sender<bool>,
    _folder: TempDir,
}

impl Silenced {
    fn before(database: &Database) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("our own folder");
        let (address, host) = database.url.split_once("?host=").expect("a folder");
        let server = Path::new(host).join(SOCKET);
        let silent = watch::Sender::new(false);
        let told = silent.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut told) = (server.clone(), told.subscribe());
                tokio::spawn(async move {
                    let passing = async {
                        let mut server = UnixStream::connect(server).await.expect("it listens");
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    };
                    let falls_silent = async {
                        let _ = told.wait_for(|silent| *silent).await;
                    };
                    tokio::select! {
                        biased;
                        () = falls_silent => {}
                        () = passing => return,
                    }
                    std::future::pending::<()>().await;
                    drop(client);
                });
            }
        });
        Self {
            url: format!("{address}?host={}", folder.path().display()),
            silent,
            _folder: folder,
        }
    }
}

/// How long whoever asks a silent server waits at most: less than a request may take.
const TOLD: Duration = Duration::from_secs(20);

#[test]
fn a_server_that_falls_silent_is_told_of_at_once_to_all_who_wait() {
    on_postgresql(|database| async move {
        let server = Silenced::before(&database);
        let registry = Registry::open(&server.url).await.expect("opens");
        approve(&registry, &["a"]).await;
        server.silent.send_replace(true);
        let began = Instant::now();
        let asking: Vec<_> = (0..40)
            .map(|_| {
                let registry = registry.clone();
                tokio::spawn(async move { registry.device(&id("a")).await })
            })
            .collect();
        for one in asking {
            let outcome = one.await.expect("no panic");
            assert!(
                matches!(outcome, Err(Error::Unavailable { .. })),
                "{outcome:?}"
            );
        }
        assert!(began.elapsed() < TOLD, "{:?}", began.elapsed());
    });
}

/// Whether it leads, asked until it is told.
async fn leads(registry: &Registry, lead: Lead) -> bool {
    for _ in 0..1200 {
        if let Ok(leads) = registry.leads(lead).await {
            return leads;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no answer");
}

#[test]
fn a_lost_connection_with_locks_is_made_anew() {
    on_postgresql(|database| async move {
        let (first, second) = (database.open().await, database.open().await);
        approve(&first, &["a"]).await;
        let what = asking("a", 1);
        assert!(reserve(&first, &what, NOW).await.is_ok());
        for round in ["the locks' connections", "every connection"] {
            assert!(leads(&first, Lead::Audit).await, "{round}");
            assert!(!leads(&second, Lead::Audit).await, "{round}");
            let which = if round == "every connection" {
                "true"
            } else {
                HOLDS_LOCKS
            };
            assert!(end(&database, which).contains('t'), "{round}");
            // The first one to ask leads again, under its own number: what it reserved is nobody's orphan.
            assert!(leads(&first, Lead::Audit).await, "{round}");
            assert!(leads(&first, Lead::RevocationLists).await, "{round}");
            assert!(!leads(&second, Lead::Audit).await, "{round}");
            let orphans = second.orphans().await.expect("listed");
            assert!(orphans.is_empty(), "{round}: {orphans:?}");
        }
        first.commit(&[made(&what)], NOW).await.expect("committed");
        // Whoever takes the lead meanwhile keeps it.
        end(&database, HOLDS_LOCKS);
        assert!(leads(&second, Lead::Audit).await);
        assert!(!leads(&first, Lead::Audit).await);
    });
}

#[test]
fn tg24_a_place_that_was_given_is_not_given_anew() {
    on_postgresql(|database| async move {
        let registry = database.open().await;
        registry.record(&[b"one", b"two"]).await.expect("recorded");
        // Another leader saw the second leaf alone, as it may when the first was not committed yet.
        let mut other = sqlx::AnyConnection::connect(&database.url)
            .await
            .expect("connects");
        let mut transaction = other.begin().await.expect("begun");
        sqlx::query("UPDATE audit SET place = 0 WHERE leaf = 'two'::bytea")
            .execute(&mut *transaction)
            .await
            .expect("placed");
        let late = {
            let registry = registry.clone();
            tokio::spawn(async move { registry.place_leaves(10).await })
        };
        // It waits for the other one's row.
        while Postgres::shared()
            .sql(
                &database.url,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .trim()
            == "0"
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        transaction.commit().await.expect("committed");
        // Whether it fails or not, the place stays.
        let _ = late.await.expect("ends");
        let of_two = registry.leaves(0, 1).await.expect("listed");
        assert_eq!(of_two[0].bytes, b"two");
        registry.place_leaves(10).await.expect("placed");
        let leaves = registry.leaves(0, 10).await.expect("listed");
        let texts: Vec<&[u8]> = leaves.iter().map(|leaf| leaf.bytes.as_slice()).collect();
        assert_eq!(texts, [b"two".as_slice(), b"one".as_slice()]);
    });
}

#[test]
fn tg24_two_that_believe_to_lead_give_places_in_turn() {
    on_postgresql(|database| async move {
        let writer = database.open().await;
        let is_done = Arc::new(AtomicBool::new(false));
        let mut leaders = Vec::new();
        for _ in 0..3 {
            let (registry, is_done) = (database.open().await, Arc::clone(&is_done));
            leaders.push(tokio::spawn(async move {
                let mut seen: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
                loop {
                    let is_last = is_done.load(Ordering::SeqCst);
                    let placed = registry.place_leaves(3).await.expect("in turn");
                    for leaf in registry.leaves(0, 1000).await.expect("listed") {
                        let before = seen.insert(leaf.place, leaf.bytes.clone());
                        assert!(before.is_none_or(|before| before == leaf.bytes));
                    }
                    if is_last && placed == 0 {
                        return seen;
                    }
                }
            }));
        }
        for number in 0..100_u32 {
            let leaf = number.to_be_bytes();
            writer.record(&[leaf.as_slice()]).await.expect("recorded");
        }
        is_done.store(true, Ordering::SeqCst);
        for leader in leaders {
            let seen = leader.await.expect("no place was given twice");
            assert_eq!(seen.len(), 100);
            assert_eq!(seen.keys().next_back(), Some(&99));
        }
    });
}

/// Waits until the tables were looked at so often. It is done beside what is written, and how much is written meanwhile depends
/// on the machine.
async fn until_looked_at(url: &str, looks: u32) {
    let until = Instant::now() + Duration::from_secs(120);
    let looked = "SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 'certificates'";
    loop {
        let count = Postgres::shared().sql(url, looked);
        if count.trim().parse::<u32>().expect("a count") >= looks {
            return;
        }
        assert!(Instant::now() < until, "{count} of {looks}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_registry_that_grows_from_nothing_reads_no_more_for_each_certificate() {
    // The tests' server looks at no table by itself.
    on_postgresql(|database| async move {
        let registry = database.open().await;
        let names: Vec<String> = (0..BATCHES * BATCH)
            .map(|number| format!("press-{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        approve(&registry, &names).await;
        let (mut next, mut looks) = (FIRST_LOOK, 0);
        for (number, batch) in names.chunks(BATCH).enumerate() {
            let asked: Vec<Reservation> = (0..)
                .zip(batch)
                .map(|(place, name)| {
                    let mut what = asking(name, 0);
                    what.key[..8].copy_from_slice(&(number * BATCH + place).to_be_bytes());
                    what
                })
                .collect();
            let outcomes = registry.reserve(&asked, NOW).await.expect("available");
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            let made: Vec<_> = asked.iter().map(made).collect();
            registry.commit(&made, NOW).await.expect("committed");
            let written = (number + 1) * BATCH;
            if written >= next {
                (next, looks) = (2 * written, looks + 1);
                until_looked_at(&database.url, looks).await;
            }
        }
        registry.close().await;
        // A connection adds its counts when it ends, or has been idle for some seconds.
        let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let until = Instant::now() + Duration::from_secs(60);
        while Postgres::shared().sql(&database.url, others).trim() != "0" && Instant::now() < until
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let read = Postgres::shared().sql(
            &database.url,
            "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)",
        );
        let read: usize = read.trim().parse().expect("a count");
        let each = read / names.len();
        assert!(each < 45, "{each} rows were read for each certificate");
    });
}

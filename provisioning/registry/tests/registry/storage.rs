//! Files, schemas, and storage that does not do what it should.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign_registry::{Error, Registry, SCHEMA_VERSION};

use crate::database::{Database, NOW, approve, asking, id};

pub(crate) async fn tg32_a_newer_schema_is_refused(database: Database) {
    database.open().await.close().await;
    database
        .past("UPDATE schema_version SET version = version + 1")
        .await;
    let outcome = Registry::open(&database.url).await;
    assert!(
        matches!(&outcome, Err(Error::SchemaNewer { found, known })
            if *found == SCHEMA_VERSION + 1 && *known == SCHEMA_VERSION),
        "{outcome:?}"
    );
}

pub(crate) async fn tg32_half_a_schema_is_refused(database: Database) {
    database.open().await.close().await;
    database.past("DROP TABLE audit").await;
    let outcome = Registry::open(&database.url).await;
    assert!(
        matches!(&outcome, Err(Error::SchemaBroken { what }) if what.contains("audit")),
        "{outcome:?}"
    );
}

pub(crate) async fn tg32_a_migration_that_fails_leaves_nothing(database: Database) {
    // Something else has the name of a later table, so that the migration fails half-way.
    database.past("CREATE TABLE audit (something TEXT)").await;
    let outcome = Registry::open(&database.url).await;
    assert!(
        matches!(outcome, Err(Error::Unavailable { .. })),
        "{outcome:?}"
    );
    database.past("DROP TABLE audit").await;
    // Nothing of the first attempt is in the way.
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
}

/// How many may read at once, and how long they do here: longer than a database may take to answer.
const READERS: usize = 4;
const READING: Duration = Duration::from_secs(7);

pub(crate) async fn whoever_asks_while_others_have_all_connections_gets_his_turn(
    database: Database,
) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let began = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..READERS)
        .map(|_| {
            let (registry, began) = (registry.clone(), Arc::clone(&began));
            let runtime = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || {
                let mut is_first = true;
                runtime.block_on(registry.export(|_| {
                    if std::mem::take(&mut is_first) {
                        began.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(READING);
                    }
                    Ok(())
                }))
            })
        })
        .collect();
    while began.load(Ordering::SeqCst) < READERS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Who has less time is told so in time.
    let hurried = registry.clone().waiting(Duration::from_millis(100));
    let outcome = hurried.device(&id("a")).await;
    assert!(
        matches!(outcome, Err(Error::Unavailable { .. })),
        "{outcome:?}"
    );
    let device = registry.device(&id("a")).await;
    assert!(device.expect("served in turn").is_some());
    for other in others {
        other.await.expect("no panic").expect("written");
    }
}

pub(crate) async fn several_open_one_empty_database_at_once(database: Database) {
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let url = database.url.clone();
        tasks.push(tokio::spawn(async move { Registry::open(&url).await }));
    }
    let mut opened = Vec::new();
    for task in tasks {
        match task.await.expect("ends") {
            Ok(registry) => opened.push(registry),
            Err(error) => assert!(matches!(error, Error::Locked { .. }), "{error}"),
        }
    }
    // SQLite has one process at a time.
    let expected = if database.folder.is_some() { 1 } else { 4 };
    assert_eq!(opened.len(), expected);
}

/// Runs on its own: it is about SQLite's files.
fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Database) -> F) {
    crate::run(Database::sqlite(), test);
}

#[test]
fn tg15_storage_that_takes_nothing_is_not_available() {
    on_sqlite(|database| async move {
        let registry = database.open().await;
        approve(&registry, &["a"]).await;
        let path = database
            .url
            .strip_prefix("sqlite:")
            .expect("a path")
            .to_owned();
        // Another process has the write lock, and does not give it back.
        let mut other = {
            use sqlx::Connection;
            sqlx::AnyConnection::connect(&format!("sqlite://{path}?mode=rw"))
                .await
                .expect("connects")
        };
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut other)
            .await
            .expect("locked");
        let outcome = registry.reserve(&[asking("a", 1)], NOW).await;
        assert!(
            matches!(outcome, Err(Error::Unavailable { .. })),
            "{outcome:?}"
        );
        sqlx::query("ROLLBACK")
            .execute(&mut other)
            .await
            .expect("released");
        assert!(
            registry
                .reserve(&[asking("a", 1)], NOW)
                .await
                .expect("available")[0]
                .is_ok()
        );
    });
}

#[test]
fn tg18_files_and_folders_that_others_can_get_at_are_refused() {
    on_sqlite(|database| async move {
        database.open().await.close().await;
        let folder = database.folder.as_ref().expect("a folder").path();
        let chmod = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
        };
        let file = folder.join("registry.db");
        let mode = std::fs::metadata(&file)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        chmod(&file, 0o640);
        let outcome = Registry::open(&database.url).await;
        assert!(matches!(outcome, Err(Error::Exposed { .. })), "{outcome:?}");
        chmod(&file, 0o600);
        chmod(folder, 0o770);
        let outcome = Registry::open(&database.url).await;
        assert!(matches!(outcome, Err(Error::Exposed { .. })), "{outcome:?}");
        chmod(folder, 0o700);
        database.open().await.close().await;
    });
}

#[test]
fn tg31_a_password_in_an_address_is_not_repeated() {
    on_sqlite(|_| async {
        for url in [
            "mysql://user:hunter2@host/x",
            "postgres:user:hunter2@host/x",
            "user:hunter2@host/x",
            "postgresql:/user:hunter2@host/x?password=hunter2",
            "mysql://host/x?password=hunter2",
        ] {
            let outcome = Registry::open(url).await;
            let text = outcome.expect_err("no such database").to_string();
            assert!(
                text.contains("host/x") && !text.contains("hunter2"),
                "{text}"
            );
        }
    });
}

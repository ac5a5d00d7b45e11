//! The schema, its version, and how an older one becomes the present one: in one transaction, or not at all.

use sqlx::AnyConnection;
use sqlx::{Connection, Row};

use crate::Error;
use crate::location::Kind;

/// The schema that this program writes. A database with a later one is refused.
pub const SCHEMA_VERSION: i64 = 3;

/// Each version's statements, in order; the first makes version 1.
const STEPS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
];

/// What must be there when the version says so.
const TABLES: &[&str] = &[
    "orders",
    "devices",
    "device_keys",
    "certificates",
    "audit",
    "lists",
    "unrecorded",
    "behind",
    "token_tables",
    "token_usage",
    "token_assignments",
];

/// Brings the schema to [`SCHEMA_VERSION`].
pub(crate) async fn migrate(connection: &mut AnyConnection, kind: Kind) -> Result<(), Error> {
    let mut transaction = connection.begin_with(kind.begin_writing()).await?;
    // Of several processes that start at once, one migrates and the others wait.
    if kind == Kind::PostgreSql {
        sqlx::query("SELECT pg_advisory_xact_lock($1)::text")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query(kind.quiet_version_table())
        .execute(&mut *transaction)
        .await?;
    let row = sqlx::query("SELECT version FROM schema_version")
        .fetch_optional(&mut *transaction)
        .await?;
    let found: i64 = match row {
        Some(row) => row.try_get(0)?,
        None => 0,
    };
    if found > SCHEMA_VERSION {
        return Err(Error::SchemaNewer {
            found,
            known: SCHEMA_VERSION,
        });
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        for statement in statements(&kind.words(step)) {
            sqlx::query(&statement).execute(&mut *transaction).await?;
        }
    }
    if found < SCHEMA_VERSION {
        sqlx::query("DELETE FROM schema_version")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(SCHEMA_VERSION)
            .execute(&mut *transaction)
            .await?;
    }
    for table in TABLES {
        let probe = format!("SELECT 1 FROM {table} LIMIT 0");
        if let Err(error) = sqlx::query(&probe).execute(&mut *transaction).await {
            return match error {
                sqlx::Error::Database(_) => Err(Error::SchemaBroken {
                    what: format!("no table {table}"),
                }),
                other => Err(other.into()),
            };
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// Any number that nothing else of this program locks.
const MIGRATION_LOCK: i64 = 0x636f_756e_7465_7200;

/// The statements of a step, without comments.
fn statements(step: &str) -> Vec<String> {
    let code: Vec<&str> = step
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    code.join("\n")
        .split(';')
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

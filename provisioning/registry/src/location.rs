//! Where a registry is: a file of SQLite, or a database of PostgreSQL; and in what their languages differ.

use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// The kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    PostgreSql,
}

/// Where it is.
#[derive(Debug)]
pub(crate) enum Location {
    Sqlite(PathBuf),
    PostgreSql(String),
}

impl Location {
    /// Reads `sqlite:PATH` and `postgres://…`.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let refused = || Error::Location {
            url: without_password(url),
        };
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = Path::new(path);
            let name = path.file_name().ok_or_else(refused)?;
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let unavailable = |source| Error::Unavailable {
                source: sqlx::Error::Io(source),
            };
            let parent = parent.canonicalize().map_err(unavailable)?;
            let path = parent.join(name);
            // The address that the driver reads is text.
            path.to_str().ok_or_else(refused)?;
            return Ok(Self::Sqlite(path));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::PostgreSql(url.to_owned()));
        }
        Err(refused())
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::PostgreSql(_) => Kind::PostgreSql,
        }
    }

    /// The address as the driver reads it.
    pub(crate) fn driver_url(&self) -> String {
        match self {
            Self::Sqlite(path) => {
                let mut url = "sqlite://".to_owned();
                for character in path.to_string_lossy().chars() {
                    match character {
                        '%' | '?' | '#' | ' ' => {
                            url.push_str(&format!("%{:02X}", u32::from(character)))
                        }
                        other => url.push(other),
                    }
                }
                url.push_str("?mode=rw");
                url
            }
            Self::PostgreSql(url) => url.clone(),
        }
    }
}

/// Makes the file if it is not there, for its owner alone, and refuses one that others can get at. SQLite gives the
/// files beside it the same mode.
pub(crate) fn guard(path: &Path) -> Result<(), Error> {
    let unavailable = |source| Error::Unavailable {
        source: sqlx::Error::Io(source),
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mode = std::fs::metadata(folder).map_err(unavailable)?.mode();
    if mode & 0o022 != 0 {
        return Err(Error::Exposed {
            path: folder.to_owned(),
            may: "written to",
            mode: "go-w",
        });
    }
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        // The name must outlive the power, as what is written under it does.
        Ok(_) => std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(unavailable)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unavailable(error)),
    }
    let mode = std::fs::metadata(path).map_err(unavailable)?.mode();
    if mode & 0o077 != 0 {
        return Err(Error::Exposed {
            path: path.to_owned(),
            may: "read or written",
            mode: "0600",
        });
    }
    Ok(())
}

impl Kind {
    /// How a transaction that writes begins. SQLite's waits for its turn here, and not half-way through.
    pub(crate) fn begin_writing(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::PostgreSql => "BEGIN",
        }
    }

    /// How a transaction begins whose statements all see the same. In SQLite's log every reader does.
    pub(crate) fn begin_reading(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::PostgreSql => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Puts this database's types in place of the schema's words.
    pub(crate) fn words(self, statements: &str) -> String {
        let [big, bytes, identity] = match self {
            Self::Sqlite => ["INTEGER", "BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"],
            Self::PostgreSql => [
                "BIGINT",
                "BYTEA",
                "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            ],
        };
        statements
            .replace("BIG_INT", big)
            .replace("BYTE_S", bytes)
            .replace("IDENTITY_KEY", identity)
    }

    /// The table that holds the schema's version.
    pub(crate) fn quiet_version_table(self) -> &'static str {
        match self {
            Self::Sqlite => "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)",
            Self::PostgreSql => {
                "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
            }
        }
    }
}

/// For messages: whatever stands between the scheme and the host is left out, and what follows a question mark, since
/// both may have a password.
fn without_password(url: &str) -> String {
    let (url, rest) = match url.split_once('?') {
        Some((url, _)) => (url, "?..."),
        None => (url, ""),
    };
    let scheme = match (url.find("://"), url.find(':')) {
        (Some(end), _) => end.saturating_add(3),
        (None, Some(end)) => end.saturating_add(1),
        (None, None) => 0,
    };
    let (before, after) = url.split_at(scheme);
    match after.rfind('@') {
        Some(host) => format!("{before}...{}{rest}", after.split_at(host).1),
        None => format!("{url}{rest}"),
    }
}

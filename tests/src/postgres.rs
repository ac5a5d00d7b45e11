//! A PostgreSQL server for one test program: its own folder, a socket and no port, and gone when the program is, however
//! that ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The server of this test program.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    /// The shell that ends the server when its input ends, which is when this process does.
    shell: Child,
}

/// What the shell does. The server does not run as root, so that everything is done as the user that Debian's package
/// makes; any other user does it as itself.
const SCRIPT: &str = r#"
set -eu
cd "$FOLDER"
if [ "$(id -u)" = 0 ]; then
    chown postgres "$FOLDER"
    as="setpriv --reuid postgres --regid postgres --clear-groups"
else
    as=
fi
$as "$BIN/initdb" -D "$FOLDER/data" -A trust -U countersign --no-sync >"$FOLDER.log" 2>&1
$as "$BIN/postgres" -D "$FOLDER/data" -k "$FOLDER" -c listen_addresses= -c fsync=on -c max_connections=200 \
    -c autovacuum=off >>"$FOLDER.log" 2>&1 &
server=$!
echo started
cat >/dev/null || true
kill -QUIT "$server" || true
wait "$server" || true
rm -rf "$FOLDER" "$FOLDER.log"
"#;

/// How long the server may take to answer.
const START: Duration = Duration::from_secs(120);

impl Postgres {
    /// The server, started when it is first asked for.
    ///
    /// # Panics
    /// If PostgreSQL is not installed (Debian's package `postgresql`) or does not start.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// A server of one's own: it goes with this value, or with the process.
    ///
    /// # Panics
    /// As [`Postgres::shared`].
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("countersign-postgres-")
            .tempdir()
            .expect("a folder")
            .keep();
        let bin = programs();
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .env("FOLDER", &folder)
            .env("BIN", &bin)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let output = shell.stdout.take().expect("its output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("its output");
        let log = || std::fs::read_to_string(folder.with_extension("log")).unwrap_or_default();
        assert_eq!(line, "started\n", "initdb failed: {}", log());
        let started = Instant::now();
        while !Command::new(bin.join("pg_isready"))
            .arg("-h")
            .arg(&folder)
            .stdout(Stdio::null())
            .status()
            .expect("pg_isready")
            .success()
        {
            assert!(started.elapsed() < START, "no answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Self { folder, shell }
    }

    /// The address of a new, empty database.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn database(&self) -> String {
        self.create("")
    }

    /// The address of a new database that has what the one of an address that [`Postgres::database`] gave has now. Nobody
    /// may be connected to that one.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn copy(&self, url: &str) -> String {
        self.create(&format!(" TEMPLATE {}", name_of(url)))
    }

    fn create(&self, how: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run(&format!("CREATE DATABASE {name}{how}"), "postgres");
        format!(
            "postgres://countersign@localhost/{name}?host={}",
            self.folder.display()
        )
    }

    /// Runs statements in the database of an address that [`Postgres::database`] gave, past the program under test.
    ///
    /// # Panics
    /// If they fail.
    pub fn sql(&self, url: &str, statements: &str) -> String {
        self.run(statements, name_of(url))
    }

    fn run(&self, statements: &str, database: &str) -> String {
        let output = Command::new(programs().join("psql"))
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", "countersign", "-h"])
            .arg(&self.folder)
            .args(["-d", database, "-c", statements])
            .output()
            .expect("psql");
        assert!(
            output.status.success(),
            "{statements}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The database of an address that [`Postgres::database`] gave.
fn name_of(url: &str) -> &str {
    url.split_once("localhost/")
        .and_then(|(_, rest)| rest.split_once('?'))
        .expect("an address of this server")
        .0
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Where Debian keeps the programs of the newest version that is installed.
fn programs() -> PathBuf {
    let versions = Path::new("/usr/lib/postgresql");
    let mut found: Vec<PathBuf> = std::fs::read_dir(versions)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    found.sort();
    let newest = found.pop().unwrap_or_else(|| {
        panic!(
            "no PostgreSQL in {}: apt-get install postgresql",
            versions.display()
        )
    });
    newest.join("bin")
}

//! `cfssl serve` with its database of certificates: another program that signs requests one by one and records each.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign_signer::request::to_pem;
use countersign_testing::postgres::Postgres;
use sqlx::{Connection, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests of one figure, and how many connections ask at once.
pub(crate) const REQUESTS: usize = 2_000;
pub(crate) const AT_ONCE: usize = 16;

/// Its table of certificates, as its migrations make it.
const TABLE: &str = "CREATE TABLE certificates (serial_number TEXT NOT NULL, authority_key_identifier TEXT NOT NULL, \
     ca_label TEXT, status TEXT NOT NULL, reason INTEGER, expiry TIMESTAMP, revoked_at TIMESTAMP, pem TEXT NOT NULL, \
     PRIMARY KEY (serial_number, authority_key_identifier))";

/// What a certificate of it says: as ours does.
const CONFIGURATION: &str = r#"{"signing":{"default":{"usages":["digital signature","client auth","server auth"],"expiry":"8760h"}}}"#;

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);

/// Certificates a second, recorded in SQLite.
pub(crate) async fn with_sqlite(requests: &[Vec<u8>]) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("certificates.db");
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let database = format!(
        r#"{{"driver":"sqlite3","data_source":"{}"}}"#,
        path.display()
    );
    measure(folder.path(), &url, &database, requests).await
}

/// The same in PostgreSQL.
pub(crate) async fn with_postgresql(requests: &[Vec<u8>]) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Postgres::shared().database();
    let (address, socket) = url.split_once("?host=").expect("a socket");
    let name = address.rsplit_once('/').expect("a name").1;
    let database = format!(
        r#"{{"driver":"postgres","data_source":"host={socket} user=countersign dbname={name} sslmode=disable"}}"#
    );
    measure(folder.path(), &url, &database, requests).await
}

/// The program, ended with this value.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(folder: &Path, url: &str, database: &str, requests: &[Vec<u8>]) -> f64 {
    crate::openssl_authority(folder);
    std::fs::write(folder.join("config.json"), CONFIGURATION).expect("written");
    std::fs::write(folder.join("database.json"), database).expect("written");
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(url).await.expect("connects");
    sqlx::query(TABLE)
        .execute(&mut connection)
        .await
        .expect("made");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let _serving = Serving(
        Command::new("cfssl")
            .args([
                "serve",
                "-address=127.0.0.1",
                "-ca=ca.pem",
                "-ca-key=ca.key",
            ])
            .args([
                "-config=config.json",
                "-db-config=database.json",
                "-loglevel=4",
            ])
            .arg(format!("-port={port}"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cfssl"),
    );
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(started.elapsed() < START, "cfssl does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let bodies: Arc<[String]> = requests
        .iter()
        .take(REQUESTS)
        .map(|request| {
            let pem = to_pem(request).expect("PEM");
            serde_json::json!({ "certificate_request": pem }).to_string()
        })
        .collect();
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (bodies, next) = (Arc::clone(&bodies), Arc::clone(&next));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port))
                    .await
                    .expect("connects");
                stream.set_nodelay(true).expect("set");
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut answer = post(&mut stream, body).await;
                    // Its SQLite is locked now and then when many ask; who asks again is served.
                    while answer.contains("locked") {
                        answer = post(&mut stream, body).await;
                    }
                    assert!(answer.contains("BEGIN CERTIFICATE"), "{answer}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("ends");
    }
    let took = started.elapsed().as_secs_f64();
    let row = sqlx::query("SELECT count(*) FROM certificates")
        .fetch_one(&mut connection)
        .await
        .expect("counted");
    let count: i64 = row.try_get(0).expect("a count");
    assert_eq!(usize::try_from(count), Ok(REQUESTS));
    f64::from(u32::try_from(REQUESTS).expect("few")) / took
}

/// One request over a connection that stays, and what comes back.
async fn post(stream: &mut TcpStream, body: &str) -> String {
    let request = format!(
        "POST /api/v1/cfssl/sign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let (mut answer, mut piece) = (Vec::new(), [0; 8192]);
    loop {
        let count = stream.read(&mut piece).await.expect("an answer");
        assert!(count > 0, "the connection ended");
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, rest)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .and_then(|length| length.parse::<usize>().ok());
        let is_whole = match length {
            Some(length) => rest.len() >= length,
            // In pieces, of which the last is empty.
            None => rest.ends_with("0\r\n\r\n"),
        };
        if is_whole {
            return text.into_owned();
        }
    }
}

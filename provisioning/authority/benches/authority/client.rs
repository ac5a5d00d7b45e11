//! The authority as a program, and a desk that asks it over connections that stay open.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use countersign_trust_store::pem;
use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bench::{Bench, Server};
use crate::{AT_ONCE, Measured, SUSTAINED, due, name, ninety_five};

/// Who asks for everybody.
const DESK: &str = "desk";

/// A running authority that takes as much as it can, and its desk.
pub(crate) struct Api {
    bench: Bench,
    reader: String,
    _server: Server,
}

type Connection = BufReader<TlsStream<TcpStream>>;

impl Api {
    /// Starts one on this database, or on SQLite.
    pub(crate) fn start(url: Option<&str>) -> Self {
        let more: Vec<&str> = url.iter().flat_map(|url| ["--database", url]).collect();
        let bench = Bench::with(&more);
        bench.configure(|text| {
            text.replace(
                "connections_per_address = 32",
                "connections_per_address = 512",
            )
            .replace("connection_seconds = 300", "connection_seconds = 3600")
            .replace(
                "requests_per_minute = 600",
                "requests_per_minute = 1000000",
            ) + &format!(
                "\n[[operators]]\ndevice = \"{DESK}\"\n[operators.scope]\nactions = [\"enrol\"]\n\
                 devices = [\"device-*\"]\nprofiles = [\"tls\"]\n"
            )
        });
        bench.approve(&[DESK]);
        let names: Vec<String> = (0..SUSTAINED + crate::HALF).map(name).collect();
        let mut arguments = vec!["approve", "--config", "home/authority.toml"];
        arguments.extend(["--order", "18", "--quota", "1000000"]);
        arguments.extend(names.iter().map(String::as_str));
        bench.run(&arguments).succeeded();
        let token = bench.token(&["--device", DESK]);
        let reader = bench.token(&["--device", "*", "--may", "read"]);
        let server = bench.serve();
        bench.request(DESK);
        let bearer = format!("Authorization: Bearer {token}");
        let (status, made) = bench.json(
            "/api/v1/devices/provision",
            &[
                "--header",
                &bearer,
                "--header",
                "Content-Type: application/json",
                "--data",
                &bench.provision_body(DESK),
            ],
        );
        assert_eq!(status, 201, "{made}");
        let certificate = made["certificate"].as_str().expect("text");
        fs::write(bench.path("desk.pem"), certificate).expect("written");
        Self {
            bench,
            reader,
            _server: server,
        }
    }

    pub(crate) async fn measure(&self, requests: &[Vec<u8>]) -> Measured {
        let (sustained, half) = requests.split_at(SUSTAINED);
        let mut connections = Vec::new();
        for _ in 0..AT_ONCE {
            connections.push(self.connect().await);
        }
        let began = Instant::now();
        let (connections, _) = self.run(connections, sustained, None).await;
        let rate = SUSTAINED as f64 / began.elapsed().as_secs_f64();
        let before = self.transactions();
        let (_, answers) = self.run(connections, half, Some(rate / 2.0)).await;
        Measured {
            rate,
            answers: ninety_five(answers),
            transactions: upper_end(&before, &self.transactions()),
        }
    }

    async fn connect(&self) -> Connection {
        let read = |file: &str| fs::read(self.bench.path(file)).expect("a file");
        let mut roots = RootCertStore::empty();
        for root in pem::certificates(&read("root.pem")).expect("certificates") {
            roots.add(CertificateDer::from(root)).expect("a root");
        }
        let own = pem::certificates(&read("desk.pem")).expect("certificates");
        let own = own.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from_pem_slice(&read("desk.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(own, key)
            .expect("a client");
        let stream = TcpStream::connect(("127.0.0.1", self.bench.port()))
            .await
            .expect("connected");
        stream.set_nodelay(true).expect("set");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .expect("a handshake");
        BufReader::new(stream)
    }

    /// Has all of them issued over these connections, as fast as it goes or when each is due.
    async fn run(
        &self,
        connections: Vec<Connection>,
        requests: &[Vec<u8>],
        rate: Option<f64>,
    ) -> (Vec<Connection>, Vec<Duration>) {
        let requests: Arc<[Vec<u8>]> = requests.into();
        let (next, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let askers: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let (next, requests) = (Arc::clone(&next), Arc::clone(&requests));
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(request) = requests.get(number) else {
                            return (connection, answers);
                        };
                        let mut from = Instant::now();
                        if let Some(rate) = rate {
                            from = began + due(number, rate);
                            tokio::time::sleep_until(from.into()).await;
                        }
                        enrol(&mut connection, request).await;
                        answers.push(from.elapsed());
                    }
                })
            })
            .collect();
        let (mut connections, mut answers) = (Vec::new(), Vec::new());
        for asker in askers {
            let (connection, these) = asker.await.expect("ends");
            connections.push(connection);
            answers.extend(these);
        }
        (connections, answers)
    }

    /// How many transactions took at most so many seconds, of both kinds together, as text and count.
    fn transactions(&self) -> Vec<(String, u64)> {
        let bearer = format!("Authorization: Bearer {}", self.reader);
        let (status, body) = self.bench.curl("/metrics", &["--header", &bearer]);
        assert_eq!(status, 200);
        let mut counts: Vec<(String, u64)> = Vec::new();
        let body = String::from_utf8(body).expect("text");
        for line in body.lines() {
            let bucket = "countersign_authority_database_seconds_bucket{le=\"";
            let Some((end, rest)) = line
                .strip_prefix(bucket)
                .and_then(|line| line.split_once('"'))
            else {
                continue;
            };
            let count: u64 = rest
                .rsplit(' ')
                .next()
                .and_then(|count| count.parse().ok())
                .expect("a count");
            match counts.iter_mut().find(|(known, _)| known == end) {
                Some((_, both)) => *both += count,
                None => counts.push((end.to_owned(), count)),
            }
        }
        assert!(!counts.is_empty(), "{body}");
        counts
    }
}

/// One certificate by EST.
async fn enrol(connection: &mut Connection, request: &[u8]) {
    let body = Base64::encode_string(request);
    let head = format!(
        "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.expect("sent");
    connection.flush().await.expect("sent");
    let (mut status, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.expect("an answer");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if status.is_empty() {
            line.clone_into(&mut status);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut answer = vec![0; length];
    connection
        .read_exact(&mut answer)
        .await
        .expect("the whole answer");
    let text = String::from_utf8_lossy(&answer);
    assert!(status.starts_with("HTTP/1.1 200"), "{status}: {text}");
}

/// The end of the bucket in which 95 of 100 lie of what came in between.
fn upper_end(before: &[(String, u64)], after: &[(String, u64)]) -> Duration {
    let since = |end: &str, count: u64| {
        let then = before.iter().find(|(known, _)| known == end);
        count - then.map_or(0, |(_, count)| *count)
    };
    let all = after
        .iter()
        .map(|(end, count)| since(end, *count))
        .max()
        .expect("buckets");
    after
        .iter()
        .filter(|(end, count)| since(end, *count) * 100 >= all * 95)
        .filter_map(|(end, _)| end.parse::<f64>().ok())
        .filter(|end| end.is_finite())
        .min_by(f64::total_cmp)
        .map_or(Duration::MAX, Duration::from_secs_f64)
}

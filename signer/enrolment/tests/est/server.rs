//! The server: one connection for each request, and an answer that the test decides.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64ct::{Base64, Encoding as _};
use countersign_enrolment::Server;
use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::authority::Authority;

/// What reached the server.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The certificate that the client showed.
    pub(crate) client: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The request for a certificate, PKCS#10 in DER.
    pub(crate) fn pkcs10(&self) -> Vec<u8> {
        Base64::decode_vec(std::str::from_utf8(&self.body).unwrap()).unwrap()
    }
}

/// What it answers: everything behind `HTTP/1.1 `.
pub(crate) type Answer = Vec<u8>;

pub(crate) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut bytes = format!(
        "{status}\r\nContent-Length: {}\r\nConnection: close\r\n",
        body.len()
    )
    .into_bytes();
    for header in headers {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// A message in base64 with line ends, as RFC 7030 had it.
pub(crate) fn certificates(message: &[u8]) -> Answer {
    let text = Base64::encode_string(message);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let body = lines.join("\r\n") + "\r\n";
    answer(
        "200 OK",
        &[
            "Content-Type: application/pkcs7-mime; smime-type=certs-only",
            "Content-Transfer-Encoding: base64",
        ],
        body.as_bytes(),
    )
}

pub(crate) struct EstServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EstServer {
    /// A server of this authority, which answers as `respond` says; clients may show certificates that lead to its root.
    pub(crate) fn start(
        authority: &Authority,
        respond: impl FnMut(&Request) -> Answer + Send + 'static,
    ) -> Self {
        let (certificate, key) = authority.server_identity();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.root())).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.into()], PrivateKeyDer::Pkcs8(key.into()))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            move || serve(&listener, &Arc::new(config), respond, &seen, &stop)
        });
        Self {
            address,
            seen,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> Server {
        format!("https://127.0.0.1:{}", self.address.port())
            .parse()
            .unwrap()
    }

    /// What has reached it so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for EstServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it up; there may be nobody left to wake.
        let _ = std::net::TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
    mut respond: impl FnMut(&Request) -> Answer,
    seen: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
) {
    for socket in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(socket) = socket else { continue };
        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        // A client that does not like this server goes away; the next one may come.
        let Some(request) = read(&mut stream) else {
            continue;
        };
        let answer = respond(&request);
        seen.lock().unwrap().push(request);
        let _ = stream.write_all(b"HTTP/1.1 ");
        let _ = stream.write_all(&answer);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}

fn read(stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>) -> Option<Request> {
    let mut reader = BufReader::new(&mut *stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((key, value)) => headers.push((key.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let length = headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    drop(reader);
    let client = stream
        .conn
        .peer_certificates()
        .and_then(|chain| chain.first());
    Some(Request {
        method,
        path,
        headers,
        body,
        client: client.map(|certificate| certificate.to_vec()),
    })
}

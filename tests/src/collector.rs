//! A collector of OpenTelemetry for tests, and the spans that it is sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

/// A collector on this machine: its address, and the heads and bodies of what it is sent.
///
/// # Panics
/// If this machine gives no port.
#[must_use]
pub fn collector() -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (told, bodies) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_err() {
                continue;
            }
            // Before it is answered: who has sent all and has ended finds all of it told.
            let body = String::from_utf8(body).expect("JSON");
            if told.send((head, body)).is_err() {
                return;
            }
            let _ = stream.get_mut().write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
            );
        }
    });
    (format!("http://{address}"), bodies)
}

/// The spans in a body.
///
/// # Panics
/// If it is not JSON.
#[must_use]
pub fn spans(body: &str) -> Vec<Value> {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    list(&body, "resourceSpans")
        .iter()
        .flat_map(|resource| list(resource, "scopeSpans"))
        .flat_map(|scope| list(&scope, "spans"))
        .collect()
}

//! Traces: what a collector is told of a request, and what not.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::bench::Bench;

/// A collector on this machine: its address, and the bodies of what it is sent.
pub(crate) fn collector() -> (String, Receiver<(String, String)>) {
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
            let _ = stream.get_mut().write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
            );
            let body = String::from_utf8(body).expect("JSON");
            if told.send((head, body)).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}"), bodies)
}

/// The spans in a body.
fn spans(body: &str) -> Vec<Value> {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    list(&body, "resourceSpans")
        .iter()
        .flat_map(|resource| list(resource, "scopeSpans"))
        .flat_map(|scope| list(&scope, "spans"))
        .collect()
}

#[test]
fn tg31_a_trace_goes_on_through_every_step_and_tells_no_secret() {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    let token = bench.token(&["--device", "press-1"]);
    let (address, bodies) = collector();
    bench.configure(|text| format!("{text}\n[telemetry]\notlp = \"{address}\"\n"));
    let server = bench.serve();
    bench.request("press-1");
    let bearer = format!("Authorization: Bearer {token}");
    let body = bench.provision_body("press-1");
    let (trace, above) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let parent = format!("traceparent: 00-{trace}-{above}-01");
    let (status, made) = bench.json(
        "/api/v1/devices/provision",
        &[
            "--header",
            &bearer,
            "--header",
            "Content-Type: application/json",
            "--header",
            &parent,
            "--data",
            &body,
        ],
    );
    assert_eq!(status, 201, "{made}");
    assert_eq!(bench.curl("/health", &[]).0, 200);
    assert!(
        server.stop(),
        "SIGTERM ends it well, and what is left is sent"
    );

    let mut sent = String::new();
    let mut all = Vec::new();
    while let Ok((head, body)) = bodies.recv_timeout(Duration::from_secs(2)) {
        assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
        all.extend(spans(&body));
        sent.push_str(&body);
    }
    let named = |name: &str| {
        let found: Vec<&Value> = all.iter().filter(|span| span["name"] == name).collect();
        let [only] = found[..] else {
            panic!("{name}: {all:#?}")
        };
        only
    };
    let request = named("POST /api/v1/devices/provision");
    assert_eq!(
        (&request["traceId"], &request["parentSpanId"]),
        (&trace.into(), &above.into())
    );
    for step in ["reserve", "sign", "commit"] {
        let step = named(step);
        assert_eq!(
            (&step["traceId"], &step["parentSpanId"]),
            (&trace.into(), &request["spanId"])
        );
    }
    assert_ne!(named("GET /health")["traceId"], trace);

    let key = fs::read_to_string(bench.path("press-1.key")).expect("a key");
    let csr = fs::read_to_string(bench.path("press-1.csr")).expect("a request");
    let line = |pem: &str| pem.lines().nth(1).expect("base64").to_owned();
    let secrets = [token[5..].to_owned(), line(&key), line(&csr)];
    let log = bench.logged();
    for secret in &secrets {
        assert!(!sent.contains(secret) && !log.contains(secret), "{secret}");
    }
    // The log has the same number, on the line of the request.
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert!(
        lines
            .iter()
            .any(|line| line["trace"] == trace && line["route"] == "/api/v1/devices/provision"),
        "{log}"
    );
}

//! Traces: what a collector is told of a request, and what not.

use std::fs;
use std::time::Duration;

use countersign_testing::{collector, spans};
use serde_json::Value;

use crate::bench::Bench;

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

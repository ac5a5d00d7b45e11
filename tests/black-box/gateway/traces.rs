//! Traces: what a collector is told of what the gateway does, and what not.

use std::time::Duration;

use countersign_testing::{collector, spans};
use serde_json::Value;

use super::{Bench, ONCE};

/// A gateway whose spans go to this collector, with these services.
fn configured(bench: &Bench, endpoint: &str) {
    bench.configure_with(&format!(
        "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n[traces]\nendpoint = {endpoint:?}\n\
         [[service]]\nname = \"greeter\"\ncomponent = \"greeter.wasm\"\nsigned-as = \"test:greeter\"\n{ONCE}\n\
         grants = {{ args = [\"a secret\"] }}\n\
         [[service]]\nname = \"door\"\ncomponent = \"greeter.wasm\"\nsigned-as = \"test:door\"\n"
    ));
}

/// What a span says under this name.
fn said(span: &Value, name: &str) -> Option<String> {
    let all = span["attributes"].as_array()?;
    let found = all.iter().find(|attribute| attribute["key"] == name)?;
    found["value"]["stringValue"].as_str().map(str::to_owned)
}

#[test]
fn tg31_a_collector_is_told_of_each_admission_and_of_no_secret() {
    let bench = Bench::new();
    bench.sign("greeter", "hello", 3);
    let (address, bodies) = collector();
    configured(&bench, &address);
    let gateway = bench.start();
    bench.until("greeter", |service| service["state"] == "ended");
    bench.reload();
    assert_eq!(gateway.stop(), 0, "what is left is sent");
    let (mut all, mut sent) = (Vec::new(), String::new());
    while let Ok((head, body)) = bodies.recv_timeout(Duration::from_secs(1)) {
        assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
        all.extend(spans(&body));
        sent.push_str(&body);
    }
    let of = |name: &str, service: &str| -> Vec<&Value> {
        all.iter()
            .filter(|span| {
                span["name"] == name && said(span, "service").as_deref() == Some(service)
            })
            .collect()
    };
    let above = |span: &Value| {
        let parent = all
            .iter()
            .find(|other| other["spanId"] == span["parentSpanId"]);
        parent.map(|parent| parent["name"].clone())
    };
    // At the start and at the reload; below what had it done.
    let verified = of("verify", "greeter");
    assert_eq!(verified.len(), 2, "{all:#?}");
    for (span, cause) in verified.iter().zip(["start", "reload"]) {
        assert_eq!(above(span), Some(cause.into()), "{span}");
        assert_eq!(said(span, "component").as_deref(), Some("test:greeter"));
        assert_eq!(said(span, "version").as_deref(), Some("3.0.0"));
        assert_eq!(said(span, "verdict").as_deref(), Some("accepted"));
        assert_eq!(said(span, "digest").map(|digest| digest.len()), Some(64));
    }
    assert_eq!(of("compile", "greeter").len(), 1, "it runs already");
    assert_eq!(of("start-component", "greeter").len(), 1);
    let refused = of("verify", "door");
    assert_eq!(
        said(refused[0], "verdict").as_deref(),
        Some("other-component")
    );
    assert!(of("compile", "door").is_empty());
    assert!(!sent.contains("a secret"), "{sent}");
}

/// A collector that is not there, or does not answer, keeps nobody waiting.
#[test]
fn tg31_a_collector_that_is_not_there_keeps_nobody_waiting() {
    let bench = Bench::new();
    bench.sign("greeter", "endless-loop", 1);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    configured(&bench, &format!("http://{address}"));
    let gateway = bench.start();
    bench.until("greeter", |service| service["state"] == "running");
    drop(gateway);
    configured(&bench, "https://collector.example");
    let ran = bench.ran("run", &[]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("http://HOST:PORT"), "{ran:?}");
}

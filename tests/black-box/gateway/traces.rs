//! Traces: what a collector is told of what the gateway does, and what not.

use std::sync::mpsc::Receiver;

use countersign_format::PartKind::{Component, Configuration};
use countersign_testing::{collector, spans};

use super::bundles::{Parts, Plant};
use super::*;
use crate::device::{Device, Store};
use crate::http::free;

/// A gateway whose spans go to this collector, with these services.
fn configured(bench: &Bench, endpoint: &str) {
    bench.configure_with(&format!(
        "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n[traces]\nendpoint = {endpoint:?}\n\
         [[service]]\nname = \"greeter\"\ncomponent = \"greeter.wasm\"\nsigned-as = \"test:greeter\"\n{ONCE}\n\
         grants = {{ args = [\"a secret\"] }}\n\
         [[service]]\nname = \"door\"\ncomponent = \"greeter.wasm\"\nsigned-as = \"test:door\"\n"
    ));
}

/// All spans that a collector was told of, by a gateway that has ended, and the same as text.
pub(super) fn told(bodies: &Receiver<(String, String)>) -> (Vec<Value>, String) {
    let (mut all, mut sent) = (Vec::new(), String::new());
    while let Ok((head, body)) = bodies.recv_timeout(Duration::from_secs(1)) {
        assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
        all.extend(spans(&body));
        sent.push_str(&body);
    }
    (all, sent)
}

/// What a span says under this name.
pub(super) fn said(span: &Value, name: &str) -> Option<String> {
    let all = span["attributes"].as_array()?;
    let found = all.iter().find(|attribute| attribute["key"] == name)?;
    let value = &found["value"];
    let text = value["stringValue"].as_str().or(value["intValue"].as_str());
    text.map(str::to_owned)
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
    let (all, sent) = told(&bodies);
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

#[test]
fn tg31_a_collector_is_told_of_bundles_runs_requests_and_signatures_and_of_nothing_that_they_carry()
{
    let device = Device::with_key_in(Store::file());
    let (address, bodies) = collector();
    let plant = Plant::within(
        "60s",
        &format!(
            "[traces]\nendpoint = {address:?}\n\
             [[key]]\nname = \"telemetry\"\nuri = {:?}\nchain = {:?}\n",
            device.key(),
            device.path("telemetry.chain.pem"),
        ),
    );
    plant.serve("web", "hello-http", 1);
    plant.sign("report", "hello", 1);
    super::keys::sign(&plant.bench, "meter", 60);
    plant.bring("meter");
    let web = free();
    let text = format!(
        "[[http]]\nname = \"web\"\ncomponent = \"web.wasm\"\nsigned-as = \"test:web\"\nlisten = \"{web}\"\nhealthy-after = \"50ms\"\n\
         [[schedule]]\nname = \"report\"\ncomponent = \"report.wasm\"\nsigned-as = \"test:report\"\nevery = \"1s\"\n\
         [[service]]\nname = \"meter\"\ncomponent = \"meter.wasm\"\nsigned-as = \"test:meter\"\n{ONCE}\n\
         [service.grants]\nargs = [\"21.5 C\"]\nkeys = [{{ name = \"telemetry\" }}]\n"
    );
    fs::write(plant.bench.path("stick/services.toml"), text).expect("our own folder");
    let gateway = plant.bench.start();
    let parts: Parts<'_> = &[
        (Configuration, "services.toml"),
        (Component, "web.wasm"),
        (Component, "report.wasm"),
        (Component, "meter.wasm"),
    ];
    plant.applied(plant.plan(1, parts));
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--fail",
        "--noproxy",
        "*",
        "--output",
        "/dev/null",
    ]);
    let began = Instant::now();
    let asked = run(curl.arg(format!("http://{web}/secret-path/[1-200]")));
    let most = 10 * usize::try_from(began.elapsed().as_secs() + 2).expect("a short test");
    assert_eq!(asked.status, 0, "{asked:?}");
    plant
        .bench
        .until("meter", |meter| meter["state"] == "ended");
    plant
        .bench
        .until("report", |report| report["ended"].is_string());
    assert_eq!(gateway.stop(), 0);
    let (all, sent) = told(&bodies);
    let of = |name: &'static str| all.iter().filter(move |span| span["name"] == name);
    // One that was cut off by the end says nothing of how it ended.
    let says = |name: &'static str, what: &str, expected: &str| {
        let all: Vec<_> = of(name).filter_map(|span| said(span, what)).collect();
        let others = all.iter().any(|said| said != expected);
        assert!(!all.is_empty() && !others, "{name}: {all:?}");
    };
    // What a bundle brings is judged below it.
    let [apply] = of("apply").collect::<Vec<_>>()[..] else {
        panic!("{all:#?}")
    };
    for service in ["web", "report", "meter"] {
        let mut verified =
            of("verify").filter(|span| said(span, "service").as_deref() == Some(service));
        assert!(
            verified.any(|span| span["parentSpanId"] == apply["spanId"]),
            "{all:#?}"
        );
    }
    says("run", "service", "report");
    says("run", "component", "test:report");
    says("run", "verdict", "ended");
    says("request", "service", "web");
    says("request", "http.request.method", "GET");
    says("request", "http.response.status_code", "200");
    // Ten a second.
    assert!(
        of("request").count() <= most,
        "{} {most}",
        of("request").count()
    );
    says("sign", "component", "test:meter");
    says("sign", "verdict", "signed");
    for secret in ["secret-path", "21.5 C", "reading/v1", "\"telemetry\""] {
        assert!(!sent.contains(secret), "{secret}: {sent}");
    }
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

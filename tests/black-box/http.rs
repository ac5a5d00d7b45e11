//! Components that answer requests over HTTP: what they may do, what a request may, and what a reload loses.

#[path = "http/client.rs"]
mod client;
#[path = "http/load.rs"]
mod load;
#[path = "http/tls.rs"]
mod tls;

use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use countersign_trust_store::Code;
use serde_json::Value;

use crate::components::guest;
use crate::gateway::Bench;
use crate::programs::{fill, program};
use client::{Answer, get, post, send, try_send};

/// An address of this machine that nobody listens on.
pub(crate) fn free() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, countersign_testing::free_port()).into()
}

/// Signs a guest as version `version` of `test:NAME`, which asks to serve and to send to these hosts.
pub(crate) fn sign(bench: &Bench, name: &str, guest_name: &str, version: u64, hosts: &[&str]) {
    let mut manifest = bench.pki.manifest(&format!("test:{name}"));
    manifest.security_version = version;
    manifest.version = semver::Version::new(version, 0, 0);
    manifest.grants.http_incoming = true;
    manifest.grants.stdio.stdout = true;
    if !hosts.is_empty() {
        manifest.grants.http_outgoing = Some(hosts.iter().map(ToString::to_string).collect());
    }
    let file = bench.pki.sign(&guest(guest_name), &manifest);
    std::fs::write(bench.path(&format!("{name}.wasm")), file).expect("our own folder");
}

/// Writes the configuration: these components, each on this address, with more lines of its own.
fn configure(bench: &Bench, server: &str, components: &[(&str, SocketAddr, &str)]) {
    let mut text =
        format!("[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n[gateway.http]\n{server}\n");
    for (name, listen, more) in components {
        text.push_str(&format!(
            "\n[[http]]\nname = \"{name}\"\ncomponent = \"{name}.wasm\"\nsigned-as = \"test:{name}\"\nlisten = \"{listen}\"\n{more}\n"
        ));
    }
    bench.configure_with(&text);
}

fn running(service: &Value) -> bool {
    service["state"] == "running"
}

fn said(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.text())
}

/// Asks `hello-http` for what is sent to come back, and sends half of it: its answer has begun.
fn half_asked(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(client::PATIENCE))
        .expect("a socket");
    let head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf";
    stream.write_all(head).expect("it reads");
    assert_eq!(stream.peek(&mut [0]).expect("an answer"), 1);
    stream
}

#[test]
pub(crate) fn hello_http() {
    let bench = Bench::new();
    let address = free();
    sign(&bench, "hello", "hello-http", 1, &[]);
    sign(&bench, "count", "http-faults", 1, &[]);
    sign(&bench, "named", "hello-http", 1, &[]);
    // It does not ask to serve.
    let manifest = bench.pki.manifest("test:mute");
    let mute = bench.pki.sign(&guest("hello-http"), &manifest);
    std::fs::write(bench.path("mute.wasm"), mute).expect("our own folder");
    // It exports nothing to ask.
    sign(&bench, "deaf", "hello", 1, &[]);
    configure(
        &bench,
        "",
        &[
            ("hello", address, "path = \"/greet\"\nbody = \"64KiB\""),
            ("count", address, "path = \"/count\""),
            ("named", address, "hosts = [\"plant.example\"]"),
            ("mute", address, "path = \"/mute\""),
            ("deaf", address, "path = \"/deaf\""),
        ],
    );
    let gateway = bench.start();
    for name in ["hello", "count", "named"] {
        bench.until(name, running);
    }
    let refused = |name: &str| bench.until(name, |service| service["code"].is_string());
    let (mute, deaf) = (refused("mute"), refused("deaf"));
    assert_eq!(mute["code"], Code::ImportDenied.as_str(), "{mute}");
    assert_eq!(deaf["code"], Code::ComponentInvalid.as_str(), "{deaf}");

    assert_eq!(said(&get(address, "/greet")), (200, "Hello, world!\n"));
    assert_eq!(
        said(&get(address, "/greet/you?x=1")),
        (200, "Hello, world!\n")
    );
    for path in ["/", "/greeting", "/mute", "/deaf", "/GREET"] {
        assert_eq!(said(&get(address, path)), (404, "Not Found\n"), "{path}");
    }
    let named = send(
        address,
        "GET /any HTTP/1.1\r\nHost: Plant.Example:80\r\n\r\n",
    );
    assert_eq!(said(&named), (200, "Hello, world!\n"));
    // Each request has a memory of its own.
    for _ in 0..3 {
        assert_eq!(said(&get(address, "/count")), (200, "0\n"));
    }
    // No host, no answer.
    let nameless = send(address, "GET /greet HTTP/1.0\r\n\r\n");
    assert_eq!(nameless.status, 400);
    assert_eq!(gateway.stop(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn te07_a_body_is_read_as_far_as_it_may_reach_and_no_further() {
    let bench = Bench::new();
    let address = free();
    sign(&bench, "hello", "hello-http", 1, &[]);
    configure(
        &bench,
        // Longer than a busy machine takes for what does not stall.
        "pause = \"10s\"",
        &[("hello", address, "body = \"64KiB\"")],
    );
    let _gateway = bench.start();
    bench.until("hello", running);
    let whole = vec![b'x'; 64 << 10];
    let echoed = post(address, "/echo", &whole);
    assert_eq!((echoed.status, echoed.body.len()), (200, whole.len()));
    let more = vec![b'x'; (64 << 10) + 1];
    assert_eq!(post(address, "/echo", &more).status, 413);
    // Without saying how much it will be.
    let mut chunked =
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..9 {
        chunked.extend_from_slice(b"2000\r\n");
        chunked.extend_from_slice(&[b'x'; 0x2000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    // Its answer goes with it, which may be before anything of that was sent.
    if let Some(cut) = try_send(address, &chunked) {
        let echoed = cut.body.len();
        assert!(!cut.whole || cut.status >= 400, "{cut:?}");
        assert!(echoed <= 64 << 10, "{echoed}");
    }
    // A body that stops coming stops its request.
    let started = Instant::now();
    let stalled = try_send(
        address,
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
    );
    let is_stopped = |answer: &Answer| !answer.whole || answer.status >= 400;
    assert!(stalled.as_ref().is_none_or(is_stopped), "{stalled:?}");
    // By the gateway, and not by this client, which is more patient.
    assert!(started.elapsed() < client::PATIENCE / 2);
    assert_eq!(said(&get(address, "/")), (200, "Hello, world!\n"));
}

#[test]
pub(crate) fn te01_te06_te11_faults_of_a_request_are_its_own() {
    let bench = Bench::new();
    let address = free();
    sign(&bench, "faults", "http-faults", 1, &[]);
    sign(&bench, "hello", "hello-http", 1, &[]);
    let limits = "path = \"/\"\nlimits = { run = \"3s\", cpu = \"1s\", memory = \"16MiB\" }";
    configure(
        &bench,
        "",
        &[
            ("faults", address, limits),
            ("hello", address, "path = \"/hello\""),
        ],
    );
    let gateway = bench.start();
    bench.until("faults", running);
    bench.until("hello", running);
    let cases = [
        ("/trap", 500),
        ("/loop", 504),
        ("/wait", 504),
        ("/memory", 503),
        ("/silence", 500),
        ("/error", 502),
        ("/exit", 500),
        ("/flood", 504),
    ];
    for (path, status) in cases {
        let started = Instant::now();
        let answer = get(address, path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        // Why is nobody's business out there.
        assert!(answer.text().lines().count() <= 1, "{answer:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{path}");
        assert_eq!(said(&get(address, "/count")), (200, "0\n"), "{path}");
        assert_eq!(said(&get(address, "/hello")), (200, "Hello, world!\n"));
    }
    // What was begun and not finished is not taken for the whole.
    let half = client::try_send(address, "GET /half HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(half.as_ref().is_none_or(|half| !half.whole), "{half:?}");
    // Whoever sends requests does not fill the records.
    for _ in 0..40 {
        assert_eq!(get(address, "/trap").status, 500);
    }
    assert_eq!(bench.service("faults")["state"], "running");
    assert_eq!(bench.service("faults")["starts"], 1);
    assert_eq!(gateway.stop(), 0);
    let records = bench.records();
    let stopped = |code: &str| {
        let of = |record: &&Value| record["event"] == "stopped" && record["code"] == code;
        records.iter().filter(of).count()
    };
    assert!((1..=10).contains(&stopped("trapped")), "{records:?}");
    assert!(
        stopped("limit-time") >= 1 && stopped("limit-memory") == 1,
        "{records:?}"
    );
}

#[test]
pub(crate) fn te17_requests_go_where_they_were_granted_and_nowhere_near() {
    let bench = Bench::new();
    let (address, other) = (free(), free());
    let named = format!("localhost:{}", other.port());
    let by_address = other.to_string();
    // One may go to the address, one to the name alone, one to the name that leads to an address that is granted, too.
    sign(&bench, "address", "http-client", 1, &[&by_address]);
    sign(&bench, "name", "http-client", 1, &[&named]);
    sign(&bench, "both", "http-client", 1, &[&named, &by_address]);
    sign(&bench, "level", "hello-http", 1, &[]);
    let grants = |hosts: &[&str]| format!("grants = {{ http-outgoing = {hosts:?} }}");
    let path = |name: &str, grants: String| format!("path = \"/{name}\"\n{grants}");
    configure(
        &bench,
        "",
        &[
            ("level", other, ""),
            ("address", address, &path("address", grants(&[&by_address]))),
            ("name", address, &path("name", grants(&[&named]))),
            (
                "both",
                address,
                &path("both", grants(&[&named, &by_address])),
            ),
        ],
    );
    let _gateway = bench.start();
    for name in ["level", "address", "name", "both"] {
        bench.until(name, running);
    }
    let ask = |who: &str, what: &str| get(address, &format!("/{who}/{what}"));
    let here = format!("http://{by_address}/");
    let there = format!("http://{named}/");
    assert_eq!(said(&ask("address", &here)), (200, "Hello, world!\n"));
    assert_eq!(said(&ask("both", &there)), (200, "Hello, world!\n"));
    for (who, what, why) in [
        ("name", there.as_str(), "DestinationIpProhibited"),
        ("address", there.as_str(), "HttpRequestDenied"),
        ("name", here.as_str(), "HttpRequestDenied"),
        ("both", "http://plant.example/", "HttpRequestDenied"),
        (
            "both",
            &format!("http://127.0.0.1:{}/", address.port()),
            "HttpRequestDenied",
        ),
        (
            "address",
            &format!("https://{by_address}/"),
            "TlsCertificateError",
        ),
        (
            "address",
            &format!("http://x@{by_address}/"),
            "HttpRequestUriInvalid",
        ),
    ] {
        let answer = ask(who, what);
        assert_eq!(answer.status, 502, "{who} {what}: {answer:?}");
        assert!(answer.text().contains(why), "{who} {what}: {answer:?}");
    }
}

#[test]
fn te12_te13_nothing_of_a_request_is_left_for_the_next_one() {
    let bench = Bench::new();
    let address = free();
    sign(&bench, "faults", "http-faults", 1, &[]);
    // One place for all, so that each request has the memory of the one before.
    configure(
        &bench,
        "requests = 1",
        &[("faults", address, "concurrent = 1")],
    );
    let gateway = bench.start();
    bench.until("faults", running);
    for _ in 0..5 {
        assert_eq!(get(address, "/mark").status, 500);
        assert_eq!(said(&get(address, "/scan")), (200, "0\n"));
    }
    let rounds = |number: u32| {
        for _ in 0..number {
            assert_eq!(get(address, "/trap").status, 500);
        }
        (gateway.resident(), gateway.descriptors())
    };
    let (resident, descriptors) = rounds(300);
    let (after, open) = rounds(1_500);
    assert!(after < resident + (2 << 20), "{resident} {after}");
    assert!(open <= descriptors + 2, "{descriptors} {open}");
}

#[test]
fn th14_whoever_takes_his_time_or_too_many_connections_keeps_nobody_out() {
    let bench = Bench::new();
    let address = free();
    sign(&bench, "faults", "http-faults", 1, &[]);
    configure(
        &bench,
        "connections-per-address = 4\nhead = \"3s\"\nrequests = 4",
        &[("faults", address, "concurrent = 2")],
    );
    let _gateway = bench.start();
    bench.until("faults", running);
    // Heads that never end, as many as there may be.
    let slow: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
                .expect("open");
            stream
        })
        .collect();
    // A fifth is closed at once, and those are gone soon.
    let until = Instant::now() + client::PATIENCE;
    let mut refused = 0;
    loop {
        match client::try_send(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") {
            Some(answer) => break assert_eq!(said(&answer), (200, "0\n")),
            None => refused += 1,
        }
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(refused > 0);
    drop(slow);
    // Two are answered at the same time, and more wait their turn: each takes half a second.
    let asking: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(move || slow_one(address)))
        .collect();
    for asked in asking {
        assert!([200, 503].contains(&asked.join().expect("it ends")));
    }
    assert_eq!(said(&get(address, "/")), (200, "0\n"));
}

/// The status of a request that takes its time, once there is a connection for it.
fn slow_one(address: SocketAddr) -> u16 {
    let until = Instant::now() + client::PATIENCE;
    loop {
        if let Some(answer) = client::try_send(address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") {
            return answer.status;
        }
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn th09_a_stop_lets_requests_under_way_end_and_loses_no_record() {
    let bench = Bench::new();
    let address = free();
    sign(&bench, "hello", "hello-http", 1, &[]);
    let server = "head = \"60s\"\npause = \"60s\"";
    let long = "drain = \"60s\"\nlimits = { run = \"120s\" }";
    configure(&bench, server, &[("hello", address, long)]);
    let gateway = bench.start();
    bench.until("hello", running);
    let mut stream = half_asked(address);
    let (status, took) = std::thread::scope(|scope| {
        let stopped = scope.spawn(|| gateway.stop());
        let until = Instant::now() + client::PATIENCE / 2;
        // Nobody else is heard any more.
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < until, "{}", bench.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!stopped.is_finished(), "it did not wait");
        let asked = Instant::now();
        stream.write_all(b"done").expect("it reads");
        let answer = client::read(&mut BufReader::new(stream)).expect("an answer");
        assert_eq!(said(&answer), (200, "halfdone"), "{answer:?}");
        (stopped.join().expect("no panic"), asked.elapsed())
    });
    assert_eq!(status, 0);
    // It ends with its last request, and not with the time that this would have had.
    assert!(took < Duration::from_secs(30), "{took:?}");
    let records = bench.records();
    let events: Vec<_> = records
        .iter()
        .map(|record| record["event"].clone())
        .collect();
    assert_eq!(events, ["accepted", "stopped"]);
}

#[test]
fn th09_a_stop_under_load_ends_in_seconds_cuts_no_answer_off_and_loses_no_record() {
    let bench = Bench::new();
    let addresses = [free(), free()];
    for (name, guest_name) in [("hello", "hello-http"), ("faults", "http-faults")] {
        sign(&bench, name, guest_name, 1, &[]);
    }
    let components = [("hello", addresses[0], ""), ("faults", addresses[1], "")];
    configure(&bench, "", &components);
    let gateway = bench.start();
    bench.until("hello", running);
    bench.until("faults", running);
    let load = load::Load::start(addresses[0], 8, RATE);
    // What each of these leaves in the records, none of them may lose.
    let trapped = (0..5).filter(|_| get(addresses[1], "/trap").status == 500);
    assert_eq!(trapped.count(), 5);
    let started = Instant::now();
    assert_eq!(gateway.stop(), 0);
    assert!(started.elapsed() < Duration::from_secs(20));
    let done = load.stop();
    assert!(done.answered > 0, "{done:?}");
    // A connection may end between two requests, and in no answer.
    let cut: Vec<_> = done
        .failed
        .iter()
        .filter(|why| !why.ends_with(load::ENDED))
        .collect();
    assert!(cut.is_empty(), "{cut:?}");
    let records = bench.records();
    let of = |event: &str| {
        let of = records.iter().filter(|record| record["event"] == event);
        of.count()
    };
    // Five traps, and two that were told to stop.
    assert_eq!((of("accepted"), of("stopped")), (2, 7), "{records:?}");
    let verified = bench.audit("verify", &[]);
    assert_eq!(verified.status, 0, "{verified:?}");
}

/// Requests a second under which a component is exchanged.
const RATE: u32 = 1_000;

/// So often it is tried under that rate, on a machine that does much else meanwhile.
const ROUNDS: u64 = 30;

#[test]
fn td10_th09_a_reload_under_a_thousand_requests_a_second_loses_none() {
    let bench = Bench::new();
    let address = free();
    let soon = "healthy-after = \"100ms\"\nhealth = \"/\"";
    sign(&bench, "hello", "hello-http", 1, &[]);
    configure(&bench, "", &[("hello", address, soon)]);
    let _gateway = bench.start();
    bench.until("hello", running);
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let load = load::Load::start(address, 8, RATE);
        for version in 1..=3 {
            let version = 1 + 3 * round + version;
            sign(&bench, "hello", "hello-http", version, &[]);
            let (reloaded, done) = bench.reload();
            assert_eq!(reloaded.status, 0, "{reloaded:?}");
            assert_eq!(done["exchanged"][0], "hello", "{done}");
            bench.until("hello", |service| {
                service["version"] == format!("{version}.0.0") && service["healthy"] == true
            });
        }
        let done = load.stop();
        // At whatever rate.
        assert_eq!(done.failed, Vec::<String>::new());
        rates.push(done.a_second());
        if done.a_second() >= 0.95 * f64::from(RATE) {
            return;
        }
    }
    panic!("this machine never sent {RATE} a second: {rates:?}");
}

#[test]
fn td10_a_version_is_remembered_after_the_one_before_has_finished_its_requests() {
    let bench = Bench::new();
    let address = free();
    let soon = "healthy-after = \"50ms\"\ndrain = \"60s\"\nlimits = { run = \"120s\" }";
    sign(&bench, "hello", "hello-http", 1, &[]);
    let server = "head = \"60s\"\npause = \"60s\"";
    configure(&bench, server, &[("hello", address, soon)]);
    let _gateway = bench.start();
    bench.until("hello", |service| service["healthy"] == true);
    let remembered = || {
        let trust = bench.ran("trust", &["--json"]);
        let trust: Value = serde_json::from_str(&trust.stdout).expect("JSON");
        trust["remembered"]["versions"][0]["security-version"].clone()
    };
    assert_eq!(remembered(), 1);
    // Half a request, which the first version has under way.
    let mut stream = half_asked(address);
    sign(&bench, "hello", "hello-http", 2, &[]);
    let (reloaded, done) = bench.reload();
    assert_eq!(reloaded.status, 0, "{reloaded:?}");
    assert_eq!(done["exchanged"][0], "hello", "{done}");
    assert_eq!(said(&get(address, "/")), (200, "Hello, world!\n"));
    // Many times as long as it must run.
    std::thread::sleep(Duration::from_millis(500));
    let service = bench.service("hello");
    assert_eq!(
        (&service["version"], &service["healthy"]),
        (&"2.0.0".into(), &false.into())
    );
    assert_eq!(remembered(), 1);
    stream.write_all(b"done").expect("it reads");
    let answer = client::read(&mut BufReader::new(stream)).expect("an answer");
    assert_eq!(said(&answer), (200, "halfdone"));
    bench.until("hello", |service| service["healthy"] == true);
    assert_eq!(remembered(), 2);
}

#[test]
fn td10_what_answered_requests_and_is_to_run_by_a_schedule_answers_none_meanwhile() {
    let bench = Bench::new();
    let address = free();
    sign(&bench, "hello", "hello-http", 1, &[]);
    configure(&bench, "", &[("hello", address, "")]);
    let _gateway = bench.start();
    bench.until("hello", running);
    assert_eq!(said(&get(address, "/")), (200, "Hello, world!\n"));
    sign(&bench, "hello", "hello", 2, &[]);
    bench.configure_with(
        "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n\
         [[schedule]]\nname = \"hello\"\ncomponent = \"hello.wasm\"\nsigned-as = \"test:hello\"\ncron = \"0 0 29 2 *\"\n",
    );
    let (reloaded, _) = bench.reload();
    assert_eq!(reloaded.status, 0, "{reloaded:?}");
    bench.until("hello", |service| service["state"] == "scheduled");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn th10_a_version_that_says_it_is_not_healthy_does_not_take_the_place() {
    let bench = Bench::new();
    let address = free();
    let health = "healthy-after = \"50ms\"\nhealth = \"/trap\"";
    // To this one every path is alike.
    sign(&bench, "hello", "hello-http", 1, &[]);
    configure(&bench, "", &[("hello", address, health)]);
    let _gateway = bench.start();
    bench.until("hello", |service| service["healthy"] == true);
    sign(&bench, "hello", "http-faults", 2, &[]);
    let (reloaded, done) = bench.reload();
    assert_eq!(reloaded.status, 118, "{reloaded:?}");
    assert!(done["stayed"]["hello"].is_string(), "{done}");
    let service = bench.service("hello");
    assert!(service["newer"].is_string(), "{service}");
    assert_eq!(service["version"], "1.0.0", "{service}");
    assert_eq!(said(&get(address, "/")), (200, "Hello, world!\n"));
}

#[test]
fn td15_a_request_that_waits_for_its_turn_does_not_begin_when_its_component_is_revoked() {
    let bench = Bench::new();
    let other = countersign_testing::TestPki::builder()
        .scope(&["test:*"])
        .seed(5)
        .build();
    let roots = [&bench.pki, &other]
        .map(|pki| countersign_trust_store::AnchorSource::new(pki.root().to_vec()));
    let binary = bench.path("countersign-gateway");
    fill(&program("countersign-gateway"), &binary, &roots);
    std::fs::create_dir(bench.path("other")).expect("our own folder");
    let _ = other.write(&bench.path("other"));
    let address = free();
    sign(&bench, "faults", "http-faults", 1, &[]);
    // Its neighbour on the same address, which keeps that open.
    let mut manifest = other.manifest("test:hello");
    manifest.grants.http_incoming = true;
    manifest.grants.stdio.stdout = true;
    let file = other.sign(&guest("hello-http"), &manifest);
    std::fs::write(bench.path("hello.wasm"), file).expect("our own folder");
    let components = [
        (
            "faults",
            address,
            "hosts = [\"faults.test\"]\nconcurrent = 1",
        ),
        ("hello", address, "hosts = [\"hello.test\"]"),
    ];
    let configure_with = |lists: &str| {
        configure(&bench, "", &components);
        let text = std::fs::read_to_string(bench.path("gateway.toml")).expect("ours");
        bench.configure_with(&text.replace("\"crls.pem\"", lists));
    };
    configure_with("\"crls.pem\", \"other/crls.pem\"");
    let gateway = bench.start();
    bench.until("faults", running);
    bench.until("hello", running);
    let list = bench.pki.crl_against_device(1_000);
    std::fs::write(bench.path("newer.crl"), list).expect("our own folder");
    configure_with("\"crls.pem\", \"other/crls.pem\", \"newer.crl\"");
    // One is under way at a time, for half a second, and others wait for it.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, answers) = std::sync::mpsc::channel();
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let (stop, told) = (std::sync::Arc::clone(&stop), told.clone());
            std::thread::spawn(move || {
                let mut answered = None;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let request = "GET /slow HTTP/1.1\r\nHost: faults.test\r\n\r\n";
                    match client::try_send(address, request) {
                        Some(answer) if answer.status == 200 => {
                            answered = Some(Instant::now());
                            let _ = told.send(());
                        }
                        _ => std::thread::sleep(Duration::from_millis(5)),
                    }
                }
                answered
            })
        })
        .collect();
    // One had its turn, and so the next has.
    answers.recv_timeout(client::PATIENCE).expect("an answer");
    let (reloaded, done) = bench.reload();
    assert_eq!(done["refused"]["faults"]["code"], "revoked", "{reloaded:?}");
    // An answer of before may be seen late; one that began afterwards takes half a second.
    let over = Instant::now() + Duration::from_millis(400);
    std::thread::sleep(Duration::from_millis(1_000));
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for asked in asking {
        let last = asked.join().expect("it ends");
        assert!(last.is_none_or(|last| last < over), "one began afterwards");
    }
    let hello = client::send(address, "GET / HTTP/1.1\r\nHost: hello.test\r\n\r\n");
    assert_eq!(hello.status, 200);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td15_what_was_taken_away_and_finishes_its_requests_keeps_nobody_from_being_heard() {
    let bench = Bench::new();
    let addresses = [free(), free()];
    let slow = "drain = \"60s\"\nlimits = { run = \"120s\" }";
    for name in ["one", "two", "stays"] {
        sign(&bench, name, "hello-http", 1, &[]);
    }
    let components = [
        ("stays", free(), ""),
        ("one", addresses[0], slow),
        ("two", addresses[1], slow),
    ];
    let server = "head = \"60s\"\npause = \"60s\"";
    configure(&bench, server, &components);
    let gateway = bench.start();
    for (name, ..) in components {
        bench.until(name, running);
    }
    // Of neither request the rest comes.
    let asking = addresses.map(|address| {
        let stream = half_asked(address);
        std::thread::spawn(move || {
            let answer = client::read(&mut BufReader::new(stream));
            (answer, Instant::now())
        })
    });
    configure(&bench, server, &components[..1]);
    let began = std::thread::scope(|scope| {
        let first = scope.spawn(|| bench.ran("reload", &["--json"]));
        let is_there = || bench.ran("status", &["--json"]).stdout.contains("test:two");
        while is_there() {
            assert!(!first.is_finished(), "{}", bench.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        // Both have their time now, which a list ends.
        let list = bench.pki.crl_against_device(1_000);
        std::fs::write(bench.path("newer.crl"), list).expect("our own folder");
        let text = std::fs::read_to_string(bench.path("gateway.toml")).expect("ours");
        bench.configure_with(&text.replace("\"crls.pem\"", "\"crls.pem\", \"newer.crl\""));
        let began = Instant::now();
        let (reloaded, done) = bench.reload();
        assert_eq!(done["refused"]["stays"]["code"], "revoked", "{reloaded:?}");
        assert!(began.elapsed() < Duration::from_secs(30), "{}", bench.log());
        // Whoever waited for the one before knows that another took its place.
        let first = first.join().expect("no panic");
        assert!(first.status != 0, "{first:?}");
        assert!(first.stderr.contains("took the place"), "{first:?}");
        began
    });
    for asking in asking {
        let (answer, at) = asking.join().expect("no panic");
        assert!(answer.is_none_or(|answer| answer.status != 200 || !answer.whole));
        assert!(at < began + Duration::from_secs(30));
    }
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th10_a_version_to_which_going_back_fails_keeps_its_place_at_the_next_start() {
    let bench = Bench::new();
    let address = free();
    sign(&bench, "hello", "http-faults", 1, &[]);
    configure(
        &bench,
        "",
        &[("hello", address, "healthy-after = \"50ms\"")],
    );
    let gateway = bench.start();
    bench.until("hello", |service| service["healthy"] == true);
    // The next one says that it is healthy where the one before does not.
    sign(&bench, "hello", "hello-http", 1, &[]);
    let more = "healthy-after = \"50ms\"\nhealth = \"/trap\"";
    configure(&bench, "", &[("hello", address, more)]);
    assert_eq!(bench.reload().0.status, 0);
    let says_hello = || said(&get(address, "/")) == (200, "Hello, world!\n");
    bench.until("hello", |service| {
        service["healthy"] == true && says_hello()
    });
    let back = bench.ran("rollback", &["--json", "hello"]);
    assert_ne!(back.status, 0, "{back:?}");
    assert!(says_hello());
    assert_eq!(gateway.stop(), 0);
    let gateway = bench.start();
    let hello = bench.until("hello", |service| service["healthy"] == true);
    assert!(says_hello(), "{hello}");
    assert_eq!(gateway.stop(), 0);
}

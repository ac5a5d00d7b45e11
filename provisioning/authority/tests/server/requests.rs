//! Requests that are repeated, counted, recorded, and under way when the authority is told to stop.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use countersign_audit_log::{LogFolder, LogVerifier};
use countersign_registry::DeviceState;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::privacy::with_registry;

const JSON: &str = "Content-Type: application/json";

/// Has a certificate for NAME by a token and keeps it as NAME.pem; its serial number.
fn enrol(bench: &Bench, name: &str, token: &str) -> String {
    bench.request(name);
    let bearer = format!("Authorization: Bearer {token}");
    let body = bench.provision_body(name);
    let (status, made) = bench.json(
        "/api/v1/devices/provision",
        &["--header", &bearer, "--header", JSON, "--data", &body],
    );
    assert_eq!(status, 201, "{made}");
    let certificate = made["certificate"].as_str().expect("text");
    fs::write(bench.path(&format!("{name}.pem")), certificate).expect("written");
    made["serial"].as_str().expect("text").to_owned()
}

/// What the audit log has, as it stands.
pub(crate) fn leaves(bench: &Bench) -> Vec<Value> {
    let key = fs::read_to_string(bench.path("home/audit.vkey")).expect("a key");
    let verifier = LogVerifier::from_vkey(key.trim()).expect("a key");
    let folder = LogFolder::new(&bench.path("home/audit"));
    let note = folder.checkpoint().expect("a checkpoint");
    let head = verifier.open(&note).expect("signed").head();
    (0..head.size)
        .map(|index| {
            let entry = folder.entry(index, head).expect("read").expect("there");
            serde_json::from_slice(&entry).expect("JSON")
        })
        .collect()
}

/// The value of one line of /metrics.
fn count(metrics: &str, line: &str) -> u64 {
    metrics
        .lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
        .unwrap_or_else(|| panic!("{line} is not in {metrics}"))
}

#[test]
fn tg17_tg24_an_operators_key_names_one_request_which_is_counted_and_recorded_once() {
    let bench = Bench::new();
    bench.approve(&["desk-1", "desk-2", "press-1", "press-2"]);
    bench.configure(|text| {
        let operator = |device: &str| {
            format!(
                "\n[[operators]]\ndevice = \"{device}\"\n[operators.scope]\nactions = [\"enrol\"]\n\
                 devices = [\"press-*\"]\nprofiles = [\"tls\"]\n"
            )
        };
        text + &operator("desk-1") + &operator("desk-2")
    });
    let tokens = ["desk-1", "desk-2"].map(|name| bench.token(&["--device", name]));
    let reader = bench.token(&["--device", "*", "--may", "read"]);
    let server = bench.serve();
    enrol(&bench, "desk-1", &tokens[0]);
    enrol(&bench, "desk-2", &tokens[1]);
    bench.request("press-1");
    bench.request("press-2");
    let ask = |desk: &str, device: &str, name: &str| {
        let (pem, key) = (format!("{desk}.pem"), format!("{desk}.key"));
        let header = format!("Idempotency-Key: {name}");
        let body = bench.provision_body(device);
        bench.json(
            "/api/v1/devices/provision",
            &[
                "--cert", &pem, "--key", &key, "--header", JSON, "--header", &header, "--data",
                &body,
            ],
        )
    };
    let (status, first) = ask("desk-1", "press-1", "17");
    assert_eq!(status, 201, "{first}");
    let (status, again) = ask("desk-1", "press-1", "17");
    assert_eq!((status, &again["serial"]), (201, &first["serial"]));
    let (status, refused) = ask("desk-1", "press-2", "17");
    assert_eq!(
        (status, &refused["code"]),
        (409, &"idempotency-conflict".into()),
        "{refused}"
    );
    // The same name is another's request when another gives it.
    let (status, other) = ask("desk-2", "press-2", "17");
    assert_eq!(status, 201, "{other}");
    assert_ne!(other["serial"], first["serial"]);

    let bearer = format!("Authorization: Bearer {reader}");
    let (status, metrics) = bench.curl("/metrics", &["--header", &bearer]);
    assert_eq!(status, 200);
    let metrics = String::from_utf8(metrics).expect("text");
    let of = |outcome: &str| {
        let line =
            format!("countersign_authority_issue_total{{profile=\"tls\",outcome=\"{outcome}\"}}");
        count(&metrics, &line)
    };
    // Two desks, two presses, and the answer that was given again.
    assert_eq!((of("issued"), of("idempotency-conflict")), (5, 1));
    let requests =
        "countersign_authority_requests_total{route=\"/api/v1/devices/provision\",status=\"409\"}";
    assert_eq!(count(&metrics, requests), 1);

    assert!(server.stop(), "SIGTERM ends it well");
    let leaves = leaves(&bench);
    let issued = |device: &str| -> Vec<&str> {
        leaves
            .iter()
            .filter(|leaf| leaf["event"] == "issued" && leaf["device"] == device)
            .map(|leaf| leaf["by"].as_str().expect("somebody asked"))
            .collect()
    };
    assert_eq!(issued("localhost"), ["init"]);
    assert_eq!(issued("press-1"), ["client desk-1"]);
    assert_eq!(issued("press-2"), ["client desk-2"]);
    // A token is named by the beginning of its hash, which nobody can use.
    let [by] = issued("desk-1")[..] else {
        panic!("{leaves:?}")
    };
    let hash = by.strip_prefix("token ").expect("a token");
    assert!(
        hash.len() == 16
            && fs::read_dir(bench.path("home/tokens")).is_ok_and(|files| {
                files
                    .flatten()
                    .any(|file| file.file_name().to_string_lossy().starts_with(hash))
            })
    );
    assert!(
        !leaves
            .iter()
            .any(|leaf| leaf.to_string().contains(&tokens[0][5..]))
    );
}

#[test]
fn a_request_that_is_under_way_is_answered_though_the_authority_is_told_to_stop() {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    let token = bench.token(&["--device", "press-1"]);
    let server = bench.serve();
    bench.request("press-1");
    let csr = fs::read(bench.path("press-1.csr")).expect("a request");
    let (begin, end) = csr.split_at(csr.len() / 2);

    // curl sends what it is given as it is given it, once the authority says that it reads the body.
    let mut curl = Command::new("curl")
        .args(["--verbose", "--max-time", "60", "--cacert", "root.pem"])
        .args(["--user", &format!("est:{token}")])
        .args(["--header", "Content-Type: application/pkcs10"])
        .args(["--header", "Expect: 100-continue"])
        .args(["--expect100-timeout", "60"])
        .args(["--write-out", "\n%{http_code}"])
        .args(["--request", "POST", "--upload-file", "-"])
        .arg(format!(
            "https://localhost:{}/.well-known/est/simpleenroll",
            bench.port()
        ))
        .current_dir(bench.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl runs");
    let mut input = curl.stdin.take().expect("piped");
    let mut said = BufReader::new(curl.stderr.take().expect("piped")).lines();
    input.write_all(begin).expect("sent");
    let reads = said
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("100 Continue"));
    assert!(reads, "the authority reads the body");

    server.terminate();
    // Nobody else is let in any more.
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", bench.port())).is_ok() {
        assert!(Instant::now() < deadline, "it goes on listening");
        std::thread::sleep(Duration::from_millis(20));
    }
    input.write_all(end).expect("sent");
    drop(input);
    for line in said.map_while(Result::ok) {
        drop(line);
    }
    let output = curl.wait_with_output().expect("curl ends");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(answer.ends_with("\n200"), "{answer}");
    assert!(server.ended(), "it ends well");
    assert!(
        leaves(&bench)
            .iter()
            .any(|leaf| leaf["event"] == "issued" && leaf["device"] == "press-1")
    );
}

#[test]
fn an_approval_is_for_a_device_of_its_own_order_that_is_not_retired() {
    let bench = Bench::new();
    bench.approve(&["press-1", "press-2", "press-3"]);
    let states = [
        ("press-2", DeviceState::Registered),
        ("press-3", DeviceState::Retired),
    ];
    with_registry(&bench, async |registry| {
        for (device, state) in states {
            let id = device.parse().expect("an identity");
            assert!(registry.set_device(&id, state, None).await.expect("set"));
        }
    });
    let approver = bench.token(&["--device", "*", "--may", "approve", "--may", "read"]);
    let bearer = format!("Authorization: Bearer {approver}");
    let server = bench.serve();
    let approve = |device: &str, order: Value| {
        let body = json!({ "order": order }).to_string();
        let sent = [
            "--request",
            "PUT",
            "--header",
            &bearer,
            "--header",
            JSON,
            "--data",
            &body,
        ];
        bench.curl(&format!("/api/v1/devices/{device}"), &sent).0
    };
    assert_eq!(approve("press-4", Value::Null), 204, "a new one");
    assert_eq!(approve("press-1", "17".into()), 204, "a second time");
    assert_eq!(approve("press-1", Value::Null), 403, "it is on an order");
    assert_eq!(approve("press-2", "17".into()), 204);
    assert_eq!(approve("press-3", "17".into()), 403, "out of service");
    let (_, shown) = bench.json("/api/v1/devices/press-2", &["--header", &bearer]);
    assert_eq!(shown["state"], "approved");
    assert!(server.stop());
    let approved: Vec<Value> = leaves(&bench)
        .into_iter()
        .filter(|leaf| leaf["event"] == "approve")
        .collect();
    let (by_program, over_http): (Vec<_>, Vec<_>) = approved
        .iter()
        .partition(|leaf| leaf["requester"] == "operator, by the program approve");
    assert_eq!(by_program.len(), 3);
    assert_eq!(
        over_http.len(),
        3,
        "what was refused is not on record as done"
    );
}

#[test]
fn tg21_tg23_a_wrong_clock_issues_nothing_and_a_list_of_many_is_revoked_all_the_same() {
    let bench = Bench::new();
    bench.approve(&["press-1", "press-2", "press-3"]);
    // A time server that is ahead of this machine as soon as it is told so.
    let time = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = time.local_addr().expect("an address");
    let ahead = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&ahead);
    std::thread::spawn(move || {
        let mut asked = [0; 48];
        while let Ok((_, client)) = time.recv_from(&mut asked) {
            let seconds = u32::try_from(crate::bench::now()).expect("before 2106");
            let mut answer = [0; 48];
            answer[..2].copy_from_slice(&[0x24, 1]);
            answer[24..32].copy_from_slice(&asked[40..]);
            // From 1900 to 1970.
            let sent = seconds
                .wrapping_add(2_208_988_800)
                .wrapping_add(told.load(Ordering::SeqCst));
            answer[40..44].copy_from_slice(&sent.to_be_bytes());
            let _ = time.send_to(&answer, client);
        }
    });
    bench.configure(|text| {
        text.replace("crl_check_seconds = 60", "crl_check_seconds = 1")
            + &format!("\n[clock]\nservers = [\"{address}\"]\n")
    });
    let tokens = ["press-1", "press-2", "press-3"].map(|name| bench.token_for(name));
    let server = bench.serve();
    let serials = [
        enrol(&bench, "press-1", &tokens[0]),
        enrol(&bench, "press-2", &tokens[1]),
    ];
    ahead.store(400, Ordering::SeqCst);
    bench.request("press-3");
    let bearer = format!("Authorization: Bearer {}", tokens[2]);
    let body = bench.provision_body("press-3");
    let ask = ["--header", &bearer, "--header", JSON, "--data", &body];
    let health = || bench.json("/health", &[]);
    let started = Instant::now();
    while health().0 == 200 {
        assert!(started.elapsed() < Duration::from_secs(120), "not noticed");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (status, refused) = bench.json("/api/v1/devices/provision", &ask);
    assert_eq!(status, 503, "{refused}");
    assert!(health().1.to_string().contains("time server"));
    assert!(server.stop(), "it ends well");

    // Two of the list are on record, one of them twice; one is not, and is revoked on the operator's word alone.
    let unknown = "7a".repeat(16);
    let list = format!(
        "# stolen\n{}\n{} key-compromise\n{unknown}\n{}\n",
        serials[0],
        serials[1].to_uppercase(),
        serials[0]
    );
    fs::write(bench.path("stolen.txt"), list).expect("written");
    let revoke = |more: &[&str]| {
        let line = ["revoke", "--config", "home/authority.toml", "stolen.txt"];
        bench.run(&[&line[..], more].concat())
    };
    let ran = revoke(&["--reason", "cessation-of-operation"]);
    assert_eq!(ran.0.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&ran.0.stdout), "2 revoked\n");
    let said = ran.failed();
    assert!(
        said.contains(&format!("{unknown} is not on record")),
        "{said}"
    );
    // The other clock did not keep it from being done, and it is told.
    assert!(
        said.contains("in doubt") && said.contains("time server"),
        "{said}"
    );
    // What is wrong with a list is said before anything is done.
    fs::write(bench.path("bad.txt"), format!("{unknown}\nxyz\n")).expect("written");
    let said = bench
        .run(&["revoke", "--config", "home/authority.toml", "bad.txt"])
        .failed();
    assert!(
        said.contains("line 2") && said.contains("nothing was revoked"),
        "{said}"
    );
    revoke(&["--unrecorded"]).succeeded();

    // With the clocks together again it serves, and its list has them all.
    ahead.store(0, Ordering::SeqCst);
    let server = bench.serve();
    let started = Instant::now();
    loop {
        let (status, list) = bench.curl("/crl", &[]);
        assert_eq!(status, 200);
        fs::write(bench.path("list.crl"), list).expect("written");
        let text = bench
            .openssl(&[
                "crl", "-inform", "DER", "-in", "list.crl", "-noout", "-text",
            ])
            .to_lowercase();
        if [&serials[0], &serials[1], &unknown]
            .iter()
            .all(|serial| text.contains(serial.as_str()))
        {
            assert!(text.contains("cessation of operation") && text.contains("key compromise"));
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (status, made) = bench.json("/api/v1/devices/provision", &ask);
    assert_eq!(status, 201, "{made}");
    assert!(server.stop(), "it ends well");
}

//! Three replicas on one database: what is acknowledged stays when the one that leads is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign_audit_log::{Checkpoint, LogFolder, LogVerifier, Origin, verify};
use countersign_keys::PublicKey;
use countersign_testing::free_port;
use countersign_testing::postgres::Postgres;
use countersign_trust_store::Crl;
use serde_json::Value;

use crate::bench::{Bench, Ran};

/// Devices, and clients that enrol them at the same time.
const DEVICES: usize = 48;
const CLIENTS: usize = 6;

/// How long anything may take until it has gone wrong.
const PATIENCE: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(100);

/// PostgreSQL's advisory locks of who places leaves and of who signs lists.
const LEADERS: &str = "SELECT objid, count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted \
    AND classid = 1668248942 AND objid IN (1952805377, 1952805378) GROUP BY objid ORDER BY objid";

#[test]
fn tg12_tg17_tg22_a_killed_leader_takes_nothing_with_it_that_was_acknowledged() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let bench = Bench::with(&["--database", &database]);
    bench.configure(|text| {
        text.replace("requests_per_minute = 600", "requests_per_minute = 600000")
            .replace("crl_check_seconds = 60", "crl_check_seconds = 1")
    });
    let names: Vec<String> = (0..DEVICES)
        .map(|number| format!("press-{number}"))
        .collect();
    bench.approve(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let tokens: Vec<String> = names.iter().map(|name| bench.token_for(name)).collect();
    let operator = bench.token(&["--device", "*", "--may", "revoke"]);
    for name in &names {
        bench.request(name);
    }
    let ports = [
        bench.port(),
        replica(&bench, "home1"),
        replica(&bench, "home2"),
    ];

    // The first alone, until it has signed a list: it leads.
    let leader = bench.serve();
    wait("a list", || number(&bench, ports[0]) > 0);
    let others = ["home1", "home2"].map(|home| bench.serve_from(home, &[]));
    assert_eq!(leaders(&postgres, &database), [1, 1]);

    let done = AtomicUsize::new(0);
    let mut early = Vec::new();
    let (restarted, given) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (bench, names, tokens, ports, done) = (&bench, &names, &tokens, &ports, &done);
                scope.spawn(move || {
                    let mut given = Vec::new();
                    for place in (client..DEVICES).step_by(CLIENTS) {
                        let (name, token) = (&names[place], &tokens[place]);
                        let serial = enrol(bench, ports, place, name, token);
                        done.fetch_add(1, Ordering::Relaxed);
                        // Who asks again, elsewhere, gets the same.
                        assert_eq!(enrol(bench, ports, place + 1, name, token), serial);
                        given.push((name.clone(), serial));
                    }
                    given
                })
            })
            .collect();
        wait("some certificates", || {
            done.load(Ordering::Relaxed) >= DEVICES / 6
        });
        drop(leader);
        early.push(checkpoint(&bench, "home"));
        let before = done.load(Ordering::Relaxed);
        wait("certificates of those that are left", || {
            done.load(Ordering::Relaxed) >= (before + DEVICES / 6).min(DEVICES)
        });
        assert_eq!(leaders(&postgres, &database), [1, 1], "others lead");
        // What the killed one had reserved is closed when it comes back.
        let restarted = bench.serve();
        let given: BTreeMap<String, String> = clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect();
        (restarted, given)
    });
    assert_eq!(given.len(), DEVICES);

    // One row for each, with its certificate, and it is the one that was acknowledged.
    let rows = postgres.sql(
        &database,
        "SELECT device, encode(serial, 'hex') FROM certificates \
         WHERE device LIKE 'press-%' AND state = 'issued' AND der IS NOT NULL",
    );
    let rows: Vec<(String, String)> = rows
        .lines()
        .filter_map(|row| row.split_once('|'))
        .map(|(device, serial)| (device.to_owned(), serial.to_owned()))
        .collect();
    assert_eq!(rows.len(), DEVICES, "one for each");
    assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), given);
    let open = "SELECT count(*) FROM certificates WHERE state = 'reserved'";
    assert_eq!(postgres.sql(&database, open).trim(), "0");

    // One revocation, one list: one replica signs it, and all show it.
    let before = number(&bench, ports[0]);
    let revoked = given["press-0"].clone();
    revoke(&bench, ports[1], &operator, &revoked);
    wait("the next list", || number(&bench, ports[0]) > before);
    let signed = number(&bench, ports[0]);
    // Each looks every second whether a list is due.
    thread::sleep(Duration::from_secs(3));
    for port in ports {
        assert_eq!(number(&bench, port), signed, "nobody else signs one");
    }
    assert_eq!(leaders(&postgres, &database), [1, 1]);

    assert!(restarted.stop());
    for server in others {
        assert!(server.stop());
    }
    early.extend(["home", "home1"].map(|home| checkpoint(&bench, home)));
    judge_log(&bench, "home2", &early, &given, &revoked);
}

/// A second machine: the same configuration, keys and tokens, and a log and a port of its own.
fn replica(bench: &Bench, home: &str) -> u16 {
    let port = free_port();
    let copied = Command::new("cp")
        .args(["-a", "home", home])
        .current_dir(bench.folder())
        .output();
    Ran(copied.expect("cp runs")).succeeded();
    let path = bench.path(&format!("{home}/authority.toml"));
    let tokens = format!("tokens = \"{}\"", bench.path("home/tokens").display());
    let text = fs::read_to_string(&path)
        .expect("a configuration")
        .replace(&format!(":{}\"", bench.port()), &format!(":{port}\""))
        .replace("tokens = \"tokens\"", &tokens);
    fs::write(&path, text).expect("written");
    port
}

/// Asks one replica after the other until one gives a certificate; its serial number.
fn enrol(bench: &Bench, ports: &[u16], first: usize, name: &str, token: &str) -> String {
    let bearer = format!("Authorization: Bearer {token}");
    let body = bench.provision_body(name);
    let started = Instant::now();
    for attempt in first.. {
        let (status, answer) = bench.curl_at(
            ports[attempt % ports.len()],
            "/api/v1/devices/provision",
            &[
                "--header",
                &bearer,
                "--header",
                "Content-Type: application/json",
                "--data",
                &body,
            ],
        );
        if status == 201 {
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            return answer["serial"].as_str().expect("a serial").to_owned();
        }
        // Nobody there, in progress, or not now.
        let answer = String::from_utf8_lossy(&answer);
        assert!(matches!(status, 0 | 409 | 503), "{status} {answer}");
        assert!(started.elapsed() < PATIENCE, "{name}: {status} {answer}");
        thread::sleep(PAUSE);
    }
    unreachable!("the attempts have no end")
}

fn revoke(bench: &Bench, port: u16, token: &str, serial: &str) {
    let bearer = format!("Authorization: Bearer {token}");
    let (status, answer) = bench.curl_at(
        port,
        &format!("/api/v1/certificates/{serial}/revoke"),
        &[
            "--header",
            &bearer,
            "--header",
            "Content-Type: application/json",
            "--data",
            r#"{"reason":"key-compromise"}"#,
        ],
    );
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
}

/// The number of the list that a replica shows; 0 if there is none.
fn number(bench: &Bench, port: u16) -> u64 {
    let (status, list) = bench.curl_at(port, "/crl", &[]);
    if status != 200 {
        return 0;
    }
    let number = Crl::parse(&list).expect("a list").number().to_string();
    number.parse().expect("a number")
}

/// How many hold each leader's lock, once both are held.
fn leaders(postgres: &Postgres, database: &str) -> Vec<u32> {
    let mut held = Vec::new();
    wait("leaders", || {
        held = postgres
            .sql(database, LEADERS)
            .lines()
            .filter_map(|row| row.split_once('|'))
            .map(|(_, count)| count.parse().expect("a count"))
            .collect();
        held.len() >= 2
    });
    held
}

fn wait(what: &str, mut is_there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_there() {
        assert!(
            started.elapsed() < PATIENCE,
            "there is no end of waiting for {what}"
        );
        thread::sleep(PAUSE);
    }
}

/// The log's verifier, made from the key's public half by openssl.
fn verifier(bench: &Bench) -> LogVerifier {
    bench.openssl(&[
        "pkey",
        "-in",
        "home/audit.key",
        "-pubout",
        "-outform",
        "DER",
        "-out",
        "audit.der",
    ]);
    let key = fs::read(bench.path("audit.der")).expect("a key");
    let key = PublicKey::from_spki_der(&key).expect("a public key");
    LogVerifier::new(Origin::new("localhost/audit").expect("a name"), key).expect("a verifier")
}

fn checkpoint(bench: &Bench, home: &str) -> Checkpoint {
    let log = LogFolder::new(&bench.path(&format!("{home}/audit")));
    verifier(bench)
        .open(&log.checkpoint().expect("a checkpoint"))
        .expect("signed by the log's key")
}

/// The log is whole, continues what was signed earlier, and tells of each certificate once.
fn judge_log(
    bench: &Bench,
    home: &str,
    early: &[Checkpoint],
    given: &BTreeMap<String, String>,
    revoked: &str,
) {
    let folder = bench.path(&format!("{home}/audit"));
    let newest = checkpoint(bench, home);
    verify(&LogFolder::new(&folder), &newest, early).expect("a log without a flaw");
    let elsewhere = Command::new("python3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/verify_audit_log.py"))
        .arg(verifier(bench).to_vkey())
        .arg(&folder)
        .output();
    Ran(elsewhere.expect("python3 runs")).succeeded();

    let log = LogFolder::new(&folder);
    let leaves: Vec<Value> = (0..newest.size())
        .map(|place| {
            let leaf = log.entry(place, newest.head()).expect("read");
            serde_json::from_slice(&leaf.expect("a leaf")).expect("JSON")
        })
        .collect();
    let of = |event: &str| -> Vec<&Value> {
        leaves
            .iter()
            .filter(|leaf| leaf["event"] == event)
            .collect()
    };
    let issued: Vec<&str> = of("issued")
        .iter()
        .filter_map(|leaf| leaf["serial"].as_str())
        .collect();
    let once: BTreeSet<&str> = issued.iter().copied().collect();
    assert_eq!(once.len(), issued.len(), "no leaf twice");
    // The server's own certificate is there too.
    assert_eq!(once.len(), given.len() + 1);
    assert!(given.values().all(|serial| once.contains(serial.as_str())));
    assert_eq!(of("revoked").len(), 1);
    assert_eq!(of("revoked")[0]["serial"], revoked);
    let lists: Vec<u64> = of("list")
        .iter()
        .filter_map(|leaf| leaf["number"].as_u64())
        .collect();
    assert!(
        lists.len() >= 2 && lists.is_sorted_by(|one, next| one < next),
        "{lists:?}"
    );
}

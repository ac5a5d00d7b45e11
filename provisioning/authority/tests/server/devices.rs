//! What a device shows of itself: that it holds its certificate's key, and what it attests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use countersign_format::Digest;
use serde_json::{Value, json};

use crate::attestation::evidence;
use crate::bench::Bench;

const JSON: &str = "Content-Type: application/json";

pub(crate) fn post(bench: &Bench, path: &str, body: &Value) -> (u16, Value) {
    bench.json(path, &["--header", JSON, "--data", &body.to_string()])
}

/// A challenge of the authority, as it came.
pub(crate) fn challenge(bench: &Bench) -> String {
    let (status, answer) = bench.json("/api/v1/challenge", &["--request", "POST"]);
    assert_eq!(status, 200, "{answer}");
    answer["challenge"].as_str().expect("text").to_owned()
}

pub(crate) fn revoke(bench: &Bench, serial: &str, reason: &str) {
    let token = bench.token(&[
        "--device",
        "*",
        "--profile",
        "attestation",
        "--profile",
        "tls",
        "--may",
        "revoke",
    ]);
    let bearer = format!("Authorization: Bearer {token}");
    let body = json!({ "reason": reason }).to_string();
    let path = format!("/api/v1/certificates/{serial}/revoke");
    let sent = ["--header", &bearer, "--header", JSON, "--data", &body];
    assert_eq!(bench.json(&path, &sent).0, 200);
}

/// The issuer's first list is signed beside the first requests: until it is there, nothing is believed.
pub(crate) fn in_time(mut ask: impl FnMut() -> (u16, Value)) -> Value {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let (status, answer) = ask();
        if status == 200 {
            return answer;
        }
        assert!(Instant::now() < until, "{status} {answer}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_device_shows_that_it_holds_its_key_once_for_each_challenge_until_it_is_revoked() {
    let bench = Bench::new();
    bench.configure(|text| format!("cors_origins = [\"https://plant.example\"]\n{text}"));
    bench.approve(&["press-1", "press-2"]);
    let _server = bench.serve();
    let serial = bench.enrol("press-1", "press-1", "tls");
    bench.enrol("press-2", "press-2", "tls");
    // The answer of the device whose key is `key`, with the certificate of another name perhaps.
    let answer = |challenge: &str, key: &str, certificate: &str| {
        let (_, asked) = bench.json("/api/v1/challenge", &["--request", "POST"]);
        let label = Base64::decode_vec(asked["label"].as_str().expect("text")).expect("base64");
        let bytes = Base64::decode_vec(challenge).expect("base64");
        fs::write(bench.path("signed"), [label, bytes].concat()).expect("written");
        bench.openssl(&[
            "dgst",
            "-sha256",
            "-sign",
            key,
            "-out",
            "signature",
            "signed",
        ]);
        let signature = fs::read(bench.path("signature")).expect("signed");
        let chain = fs::read_to_string(bench.path(certificate)).expect("a certificate");
        let body = json!({
            "challenge": challenge,
            "chain": chain,
            "signature": Base64::encode_string(&signature),
        });
        post(&bench, "/api/v1/authenticate", &body)
    };
    let mut last = String::new();
    let shown = in_time(|| {
        last = challenge(&bench);
        answer(&last, "press-1.key", "press-1.pem")
    });
    for (name, value) in [
        ("device_id", "press-1"),
        ("family", "press"),
        ("serial", &serial),
    ] {
        assert_eq!(shown[name], value, "{shown}");
    }
    let refused = answer(&last, "press-1.key", "press-1.pem");
    assert_eq!(
        (refused.0, &refused.1["code"]),
        (401, &"unauthenticated".into()),
        "a challenge is answered once"
    );
    // Another's key, another's certificate, a challenge of nobody, a root of one's own: the same words.
    bench.openssl(&[
        "req",
        "-x509",
        "-key",
        "press-1.key",
        "-subj",
        "/serialNumber=press-1",
        "-out",
        "own.pem",
    ]);
    let nobodys = Base64::encode_string(&[7; 56]);
    for (challenge, key, certificate) in [
        (challenge(&bench), "press-2.key", "press-1.pem"),
        (challenge(&bench), "press-1.key", "press-2.pem"),
        (nobodys, "press-1.key", "press-1.pem"),
        (challenge(&bench), "press-1.key", "own.pem"),
    ] {
        assert_eq!(
            answer(&challenge, key, certificate),
            refused,
            "{key} {certificate}"
        );
    }
    revoke(&bench, &serial, "cessation-of-operation");
    assert_eq!(
        answer(&challenge(&bench), "press-1.key", "press-1.pem"),
        refused
    );
    in_time(|| answer(&challenge(&bench), "press-2.key", "press-2.pem"));
    // A second certificate for another key, as a copy of the device would ask for: refused, and noticed.
    bench.request("press-2");
    let token = bench.token(&["--device", "press-2"]);
    let bearer = format!("Authorization: Bearer {token}");
    let body = bench.provision_body("press-2");
    let sent = ["--header", &bearer, "--header", JSON, "--data", &body];
    assert_eq!(bench.json("/api/v1/devices/provision", &sent).0, 409);
    assert!(
        bench.logged().contains("a device behaves unusually"),
        "{}",
        bench.logged()
    );

    // Pages of the origin that is named may ask, and no others.
    for (origin, allowed) in [
        ("https://plant.example", true),
        ("https://other.example", false),
    ] {
        let (_, answer) = bench.curl(
            "/health",
            &["--include", "--header", &format!("Origin: {origin}")],
        );
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        let named = format!("access-control-allow-origin: {origin}");
        assert_eq!(answer.contains(&named), allowed, "{answer}");
    }
}

#[test]
fn what_is_exported_is_taken_over_by_another_authority_all_of_it_or_nothing() {
    let (here, there) = (Bench::new(), Bench::new());
    here.approve(&["press-1", "press-2"]);
    let server = here.serve();
    let serial = here.enrol("press-1", "press-1", "tls");
    revoke(&here, &serial, "key-compromise");
    assert!(server.stop());
    let export = ["export", "--config", "home/authority.toml", "records"];
    // Orders, devices and certificates, the server's own among them.
    assert_eq!(here.run(&export).succeeded(), "7 records in records\n");
    let records = here.path("records");
    let mode = fs::metadata(&records)
        .expect("written")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        here.run(&export).failed().contains("records"),
        "it is there"
    );
    // Each has a server of this name.
    let text = fs::read_to_string(&records).expect("text");
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("localhost"))
        .collect();
    let import = |lines: &[&str]| {
        fs::write(there.path("records"), lines.join("\n")).expect("written");
        there.run(&["import", "--config", "home/authority.toml", "records"])
    };
    let bent = [&lines[..], &["{}"]].concat();
    let said = import(&bent).failed();
    assert!(said.contains("nothing was taken over"), "{said}");
    assert_eq!(
        import(&lines).succeeded(),
        "4 records taken over, 1 were here already\n"
    );
    assert_eq!(
        import(&lines).succeeded(),
        "0 records taken over, 5 were here already\n"
    );
    let reader = there.token(&["--device", "*", "--may", "read"]);
    let bearer = format!("Authorization: Bearer {reader}");
    let server = there.serve();
    let (status, shown) = there.json("/api/v1/devices/press-1", &["--header", &bearer]);
    assert_eq!(
        (status, &shown["certificates"][0]["reason"]),
        (200, &"key-compromise".into()),
        "{shown}"
    );
    assert!(server.stop());
    // That it was done is in the log, with the hash of the file.
    let events = crate::requests::leaves(&there);
    let digest = Digest::of(lines.join("\n").as_bytes()).to_string();
    let imported = events.iter().filter(|leaf| leaf["event"] == "imported");
    assert!(
        imported.clone().count() == 2 && imported.clone().all(|leaf| leaf["sha256"] == *digest)
    );
}

/// A registry into which somebody wrote another issuer for a certificate of this one, and that its device is only registered.
#[test]
fn tg24_a_certificate_stands_only_with_its_own_issuer_and_an_attestation_only_where_it_is_approved()
{
    let bench = Bench::new();
    bench.configure(|text| {
        text + "\n[[attestation]]\ndevices = [\"press-*\", \"lamp-*\"]\nsoftware = true\n"
    });
    bench.approve(&["press-1", "lamp-1"]);
    let server = bench.serve();
    let serial = bench.enrol("press-1", "press-1", "tls");
    bench.enrol("lamp-ak", "lamp-1", "attestation");
    let shown = ["--cert", "press-1.pem", "--key", "press-1.key"];
    let attested = || {
        let challenge = challenge(&bench);
        let evidence = evidence(&bench, "lamp-ak", "lamp-1", &challenge);
        let body = json!({ "challenge": challenge, "evidence": evidence });
        post(&bench, "/api/v1/attest", &body)
    };
    in_time(|| bench.json("/api/v1/devices/press-1", &shown));
    in_time(attested);
    assert!(server.stop());

    bench.edit_records(|record| {
        if record["serial"] == *serial {
            record["issuer"] = "22".repeat(32).into();
        }
        if record["id"] == "lamp-1" {
            record["state"] = "registered".into();
        }
    });
    let server = bench.serve();
    let (status, answer) = bench.json("/api/v1/devices/press-1", &shown);
    assert_eq!(status, 401, "{answer}");
    let (status, answer) = attested();
    assert_eq!(status, 403, "{answer}");
    assert!(answer.to_string().contains("not-in-service"), "{answer}");
    // It is revoked here, and who revokes it is told that no list of this authority says so.
    let revoker = bench.token(&["--device", "*", "--may", "revoke", "--may", "read"]);
    let bearer = format!("Authorization: Bearer {revoker}");
    let body = json!({ "reason": "superseded" }).to_string();
    let path = format!("/api/v1/certificates/{serial}/revoke");
    let sent = ["--header", &bearer, "--header", JSON, "--data", &body];
    let (status, revoked) = bench.json(&path, &sent);
    assert_eq!((status, &revoked["state"]), (202, &"revoked".into()));
    assert_eq!(revoked["elsewhere"][0]["serial"], *serial, "{revoked}");
    let (_, metrics) = bench.curl("/metrics", &["--header", &bearer]);
    let metrics = String::from_utf8(metrics).expect("text");
    let line = "countersign_authority_unusual_total{what=\"other-certificate\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    assert!(server.stop());
    fs::write(bench.path("list"), &serial).expect("written");
    let ran = bench.run(&["revoke", "--config", "home/authority.toml", "list"]);
    assert_eq!(ran.0.status.code(), Some(1));
    let said = ran.failed();
    assert!(
        said.contains(&format!("{serial} was issued by another authority"))
            && said.contains("no list of this authority"),
        "{said}"
    );
}

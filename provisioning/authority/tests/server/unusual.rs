//! What a known device does not do unless it was copied, is in other hands, or was not told something.

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::devices::in_time;

const JSON: &str = "Content-Type: application/json";

/// Asks for a certificate of a kind with NAME.csr, as DEVICE and with a token of its own; the status.
fn ask(bench: &Bench, name: &str, device: &str, profile: &str) -> u16 {
    let token = bench.token(&["--device", device, "--profile", profile]);
    let bearer = format!("Authorization: Bearer {token}");
    let body = bench.provision_body(name);
    let sent = ["--header", &bearer, "--header", JSON, "--data", &body];
    bench.json("/api/v1/devices/provision", &sent).0
}

/// A request NAME.csr of DEVICE over the key of another request.
fn over(bench: &Bench, name: &str, device: &str, key: &str) {
    let (subject, csr) = (format!("/serialNumber={device}"), format!("{name}.csr"));
    bench.openssl(&["req", "-new", "-key", key, "-subj", &subject, "-out", &csr]);
}

#[test]
fn tg04_tg05_what_a_copy_would_do_is_counted_and_what_a_lost_answer_makes_of_a_device_is_not() {
    let bench = Bench::new();
    bench.approve(&["press-1", "press-2"]);
    let keeper = bench.token(&["--device", "*", "--may", "read", "--may", "revoke"]);
    let bearer = format!("Authorization: Bearer {keeper}");
    let server = bench.serve();
    let counted = || {
        let (status, metrics) = bench.curl("/metrics", &["--header", &bearer]);
        assert_eq!(status, 200);
        let metrics = String::from_utf8(metrics).expect("text");
        let of_it = |line: &&str| line.starts_with("countersign_authority_unusual_total{");
        let mut found: Vec<String> = metrics.lines().filter(of_it).map(str::to_owned).collect();
        found.sort();
        found
    };
    let line = |what: &str| format!("countersign_authority_unusual_total{{what=\"{what}\"}} 1");
    bench.enrol("press-1", "press-1", "tls");

    // The answer was lost, and it asks again; it asks for another purpose over the key; it asks to renew what was renewed.
    assert_eq!(ask(&bench, "press-1", "press-1", "tls"), 409);
    assert_eq!(ask(&bench, "press-1", "press-1", "guest-data"), 409);
    let own = ["--cert", "old.pem", "--key", "old.key"];
    for kind in ["pem", "key"] {
        let (now, old) = (format!("press-1.{kind}"), format!("old.{kind}"));
        std::fs::copy(bench.path(&now), bench.path(&old)).expect("copied");
    }
    let renew = || {
        let pkcs10 = ["--header", "Content-Type: application/pkcs10"];
        let body = ["--data-binary", "@press-1.csr"];
        let all = [&own[..], &pkcs10, &body].concat();
        bench.curl("/.well-known/est/simplereenroll", &all).0
    };
    assert_eq!(renew(), 200);
    let again = renew();
    assert!(again == 200 || again == 409, "{again}");
    assert_eq!(counted(), Vec::<String>::new());

    // A copy asks with a key of its own; another device over this one's key.
    bench.request("press-1");
    assert_eq!(ask(&bench, "press-1", "press-1", "tls"), 409);
    assert_eq!(counted(), [line("already-issued")]);
    let second = bench.enrol("press-2", "press-2", "tls");
    over(&bench, "thief", "press-1", "press-2.key");
    assert_eq!(ask(&bench, "thief", "press-1", "attestation"), 409);
    assert_eq!(counted(), [line("already-issued"), line("key-known")]);
    assert!(server.stop());

    // A day after it was renewed, nobody shows the old one who was told; and what is revoked is shown by nobody at all.
    bench.edit_records(|record: &mut Value| {
        if record["device"] == "press-1" {
            let at = record["reserved_at"].as_u64().expect("a time");
            record["reserved_at"] = (at - 25 * 3600).into();
        }
    });
    let server = bench.serve();
    in_time(|| bench.json("/api/v1/devices/press-1", &own));
    assert_eq!(counted(), [line("superseded-certificate")]);
    let body = json!({ "reason": "key-compromise" }).to_string();
    let sent = ["--header", &bearer, "--header", JSON, "--data", &body];
    let path = format!("/api/v1/certificates/{second}/revoke");
    assert_eq!(bench.json(&path, &sent).0, 200);
    let stolen = ["--cert", "press-2.pem", "--key", "press-2.key"];
    let (status, _) = bench.curl("/api/v1/devices/press-2", &stolen);
    assert_ne!(status, 200);
    assert_eq!(ask(&bench, "press-2", "press-2", "tls"), 409);
    let logged = bench.logged();
    assert!(logged.contains("a device behaves unusually"), "{logged}");
    let found = counted();
    for what in [
        "key-revoked",
        "revoked-certificate",
        "superseded-certificate",
    ] {
        assert!(found.contains(&line(what)), "{what}: {found:?}");
    }
    assert!(server.stop());
}

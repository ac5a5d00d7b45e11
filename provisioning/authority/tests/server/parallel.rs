//! One device, enrolled a hundred times at the same moment.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::bench::{Bench, Ran};

const AT_ONCE: usize = 100;
const ROUNDS: usize = 10;

/// Keys, of which each comes several times in a round with many.
const KEYS: usize = 20;

#[test]
fn tg02_tg05_a_hundred_enrolments_at_once_give_one_certificate() {
    let bench = Bench::new();
    bench.configure(|text| {
        text.replace("requests_per_minute = 600", "requests_per_minute = 600000")
            .replace(
                "connections_per_address = 32",
                "connections_per_address = 200",
            )
    });
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("press-{round}")).collect();
    bench.approve(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let reader = bench.token(&["--device", "*", "--may", "read"]);
    let reader = format!("Authorization: Bearer {reader}");
    // These requests name no device.
    for key in 0..KEYS + ROUNDS {
        bench.openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            "key.pem",
            "-subj",
            "/O=Acme",
            "-out",
            &format!("{key}.csr"),
        ]);
    }
    // Those that lose are not used up.
    let tokens: Vec<String> = (0..AT_ONCE).map(|_| bench.token_for("press-*")).collect();
    let _server = bench.serve();

    for (round, name) in names.iter().enumerate() {
        // One token with one request, a hundred times; or a hundred tokens and many keys.
        let has_one_token = round % 2 == 0;
        let token = bench.token_for(name);
        let requests: Vec<(String, usize)> = (0..AT_ONCE)
            .map(|place| {
                if has_one_token {
                    (token.clone(), KEYS + round)
                } else {
                    (tokens[place].clone(), place % KEYS)
                }
            })
            .collect();
        let answers = at_once(&bench, name, &requests);
        assert_eq!(answers.len(), AT_ONCE);
        let given: Vec<&Value> = answers
            .iter()
            .filter(|(status, _)| *status == 201)
            .map(|(_, answer)| answer)
            .collect();
        let serials: BTreeSet<&str> = given
            .iter()
            .map(|answer| answer["serial"].as_str().expect("a serial"))
            .collect();
        assert_eq!(serials.len(), 1, "round {round}: {serials:?}");
        assert!(
            has_one_token || given.len() == 1,
            "round {round}: another token got it too"
        );
        for (status, answer) in answers.iter().filter(|(status, _)| *status != 201) {
            assert_eq!(*status, 409, "round {round}: {answer}");
        }
        let (status, device) =
            bench.json(&format!("/api/v1/devices/{name}"), &["--header", &reader]);
        assert_eq!(status, 200);
        let held = device["certificates"].as_array().expect("certificates");
        assert_eq!(held.len(), 1, "round {round}: {device}");
        assert_eq!(
            (held[0]["state"].as_str(), held[0]["serial"].as_str()),
            (Some("issued"), serials.first().copied())
        );
        if has_one_token {
            let again = at_once(&bench, name, &requests[..1]);
            assert_eq!(
                (again[0].0, again[0].1["serial"].as_str()),
                (201, serials.first().copied())
            );
        }
    }
}

/// Asks for all at the same time, by one curl; each answer's status and body.
fn at_once(bench: &Bench, device: &str, requests: &[(String, usize)]) -> Vec<(u16, Value)> {
    let mut config = String::new();
    let port = bench.port();
    for (place, (token, key)) in requests.iter().enumerate() {
        let csr = fs::read_to_string(bench.path(&format!("{key}.csr"))).expect("a request");
        let body = serde_json::json!({ "csr": csr, "device_id": device }).to_string();
        fs::write(bench.path(&format!("{place}.body")), body).expect("written");
        config.push_str(&format!(
            "next\nurl = \"https://localhost:{port}/api/v1/devices/provision\"\n\
             resolve = \"localhost:{port}:127.0.0.1\"\ncacert = \"root.pem\"\nmax-time = 60\n\
             header = \"Authorization: Bearer {token}\"\nheader = \"Content-Type: application/json\"\n\
             data-binary = \"@{place}.body\"\noutput = \"{place}.answer\"\n\
             write-out = \"{place} %{{http_code}}\\n\"\n"
        ));
    }
    let config = config.strip_prefix("next\n").unwrap_or(&config);
    fs::write(bench.path("curl.conf"), config).expect("written");
    let output = Command::new("curl")
        .args([
            "--silent",
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "100",
        ])
        .args(["--config", "curl.conf"])
        .current_dir(bench.folder())
        .output();
    Ran(output.expect("curl runs"))
        .succeeded()
        .lines()
        .map(|line| {
            let (place, status) = line.split_once(' ').expect("two words");
            let answer = fs::read(bench.path(&format!("{place}.answer"))).unwrap_or_default();
            (
                status.parse().expect("a status"),
                serde_json::from_slice(&answer).unwrap_or(Value::Null),
            )
        })
        .collect()
}

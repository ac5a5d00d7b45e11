//! The OpenAPI document and the server, held against each other by Schemathesis.

use std::path::Path;
use std::process::Command;

use countersign_testing::postgres::Postgres;
use serde_json::{Map, Value};

use crate::bench::Bench;

/// How many requests are made up for each operation, unless this says another number.
const EXAMPLES: &str = "COUNTERSIGN_SCHEMATHESIS";

/// What is demanded of every answer. Left out is that what fits the schema is accepted: a certificate request is a
/// signature, and a challenge an answer, neither of which is made up at random.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    missing_required_header,unsupported_method,allow_header_conformance,ignored_auth";

#[test]
fn tg09_tg11_the_server_does_what_its_document_says_and_no_made_up_request_breaks_it() {
    let postgres = Postgres::shared();
    let bench = Bench::with(&["--database", &postgres.database()]);
    bench.configure(|text| {
        text.replace("requests_per_minute = 600", "requests_per_minute = 600000")
    });
    bench.approve(&["press-1"]);
    crate::privacy::configure(&bench);
    let token = bench.token(&[
        "--device", "*", "--may", "enrol", "--may", "read", "--may", "approve", "--may", "revoke",
    ]);
    let _server = bench.serve();
    let (status, document) = bench.curl("/openapi.json", &[]);
    assert_eq!(status, 200);
    let read: Value = serde_json::from_slice(&document).expect("JSON");
    let paths = read["paths"].as_object().expect("paths");
    let operations: usize = paths
        .values()
        .filter_map(Value::as_object)
        .map(Map::len)
        .sum();
    assert!(operations > 10);
    std::fs::write(bench.path("openapi.json"), document).expect("written");

    let hooks = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/python/authority_requests.py")
        .canonicalize()
        .expect("the hooks");
    let asked = std::env::var(EXAMPLES).ok();
    let mut command = Command::new("schemathesis");
    command
        .args(["run", "openapi.json", "--no-color"])
        .args(["--url", &format!("https://localhost:{}", bench.port())])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg("--tls-verify")
        .arg(bench.path("root.pem"))
        .args(["--checks", CHECKS, "--seed", "1", "--workers", "2"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .args(["--max-examples", asked.as_deref().unwrap_or("4")])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", hooks)
        .current_dir(bench.folder());
    if asked.is_none() {
        command.args(["--phases", "coverage,fuzzing", "--no-shrink"]);
    }
    let output = command.output().unwrap_or_else(|error| {
        panic!("schemathesis does not run ({error}); `cargo xtask test` installs tests/python/requirements.txt")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    let log = std::fs::read_to_string(bench.path("home.log")).unwrap_or_default();
    let faults: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("\"ERROR\""))
        .collect();
    assert!(
        output.status.success() && faults.is_empty(),
        "{said}\n{}\n{faults:#?}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains(&format!("Tested: {operations}")), "{said}");
}

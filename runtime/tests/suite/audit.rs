//! Every acceptance and refusal leaves one record.

use std::sync::{Arc, Mutex};

use crate::support::binary;
use countersign_runtime::trust_store::UnixTime;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Ceiling, GuestContext, Runtime};
use countersign_testing::TestPki;
use serde_json::Value;

/// What the runtime records while the given signed files are verified and loaded.
fn records(pki: &TestPki, files: &[Vec<u8>]) -> Vec<Value> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let runtime = Runtime::builder(pki.anchors())
        .audit(move |record| {
            sink.lock()
                .unwrap()
                .push(record.line(UnixTime::from_secs(1_800_000_000)))
        })
        .build()
        .unwrap();
    let linker = Linker::<GuestContext>::new(runtime.engine());
    for file in files {
        if let Ok(verified) = runtime.verify(file.clone(), &pki.now(), &pki.state()) {
            runtime.load(verified, &Ceiling::new(), &linker).ok();
        }
    }
    let lines = lines.lock().unwrap();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn one_record_for_each_decision() {
    let pki = TestPki::new();
    let component = binary("(component)");
    let good = pki.sign(&component, &pki.manifest("test:guest"));
    let mut tampered = good.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let import = binary(r#"(component (import "log" (func)))"#);
    let greedy = pki.sign(&import, &pki.manifest("test:greedy"));
    let records = records(&pki, &[good, tampered, component, greedy]);
    assert_eq!(records.len(), 4);
    for record in &records {
        assert_eq!(record["version"], 1);
        assert_eq!(record["time"], "2027-01-15T08:00:00Z");
    }

    let [accepted, tampered, unsigned, denied] = &records[..] else {
        unreachable!()
    };
    assert_eq!(accepted["event"], "accepted");
    assert_eq!(accepted["component"]["name"], "test:guest");
    assert_eq!(accepted["component"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(accepted["signers"].as_array().unwrap().len(), 1);
    assert_eq!(accepted["anchors"].as_array().unwrap().len(), 1);
    assert_eq!(accepted["development"], false);
    assert!(accepted.get("code").is_none());

    assert_eq!(tampered["event"], "refused");
    assert!(tampered["code"].is_string() && tampered.get("component").is_none());
    assert_eq!(unsigned["code"], "signature-missing");
    assert_eq!(unsigned["file_sha256"].as_str().unwrap().len(), 64);

    assert_eq!(denied["event"], "refused");
    assert_eq!(denied["code"], "import-denied");
    assert_eq!(denied["component"]["name"], "test:greedy");
    assert!(denied["reason"].as_str().unwrap().contains("log"));
}

#[test]
fn a_development_root_is_in_every_record() {
    let pki = TestPki::builder().development().build();
    let good = pki.sign(&binary("(component)"), &pki.manifest("test:guest"));
    let records = records(&pki, &[good, b"\0asm\x0d\0\x01\0".to_vec()]);
    assert_eq!(records.len(), 2);
    assert!(
        records.iter().all(|record| record["development"] == true),
        "{records:?}"
    );
}

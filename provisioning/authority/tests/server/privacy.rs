//! Privacy tokens: who is given tables, which tokens pass, and what is kept of having asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use countersign_privacy_tokens::{
    DeviceTables, HardwareHash, KeyIndex, MasterKey, TableId, TableStore as _, Token,
};
use countersign_registry::{Device, Order, Registry};
use countersign_testing::collector;
use getrandom::SysRng;
use serde_json::{Value, json};

use crate::bench::{Bench, now};

const VALIDATE: &str = "/api/v1/validate/nuc";
const PROVISION: &str = "/api/v1/devices/provision";
const JSON: &str = "Content-Type: application/json";
const HASH: [u8; 32] = [0xA7; 32];

/// Has the authority keep privacy tokens, under a key in `home/tables.key`.
pub(crate) fn configure(bench: &Bench) {
    write_key(bench, &[0x42; 32]);
    bench.configure(|text| format!("{text}\n[privacy_tokens]\nkey = \"tables.key\"\n"));
}

fn write_key(bench: &Bench, key: &[u8]) {
    let path = bench.path("home/tables.key");
    fs::write(&path, key).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// Does something with the registry while nobody serves.
pub(crate) fn with_registry<T>(bench: &Bench, work: impl AsyncFnOnce(&Registry) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let address = format!("sqlite:{}", bench.path("home/registry.db").display());
        let registry = Registry::open(&address).await.expect("a registry");
        let done = work(&registry).await;
        registry.close().await;
        done
    })
}

/// Registers press-1 as a station does, with the hash of its hardware, and press-2 without.
fn register(bench: &Bench) {
    bench.approve(&["press-2"]);
    let order = Order {
        id: "17".to_owned(),
        manufacturer: None,
        quota: 1000,
        used: 0,
    };
    let mut device = Device::approved("press-1".parse().expect("an identity"), &order);
    device.hardware_hash = Some(HASH);
    let known = with_registry(bench, async |registry| {
        registry.register(&[device], now()).await
    });
    assert!(known.expect("registered").is_empty());
}

/// Provisions a device with a token that is used up by it.
fn provision(bench: &Bench, device: &str, token: &str) -> Value {
    let bearer = format!("Authorization: Bearer {token}");
    let body = bench.provision_body(device);
    let (status, made) = bench.json(
        PROVISION,
        &["--header", &bearer, "--header", JSON, "--data", &body],
    );
    assert_eq!(status, 201, "{made}");
    made
}

fn ask(bench: &Bench, bytes: &[u8]) -> (u16, Value) {
    let body = json!({ "token": Base64::encode_string(bytes) }).to_string();
    bench.json(VALIDATE, &["--header", JSON, "--data", &body])
}

fn verdict(bench: &Bench, bytes: &[u8]) -> String {
    let (status, answer) = ask(bench, bytes);
    assert_eq!(status, 200, "{answer}");
    let text = answer["result"].as_str().expect("a verdict").to_owned();
    assert_eq!(answer, json!({ "result": text }), "and no more than that");
    text
}

/// The tables as a device takes them from an answer.
fn tables(given: &Value) -> DeviceTables {
    let table = |place: usize| {
        let table = &given["tables"][place];
        let number = table["table"].as_u64().expect("a number");
        let key = Base64::decode_vec(table["master_key"].as_str().expect("text")).expect("base64");
        let id = TableId::new(number.try_into().expect("16 bits"));
        (id, MasterKey::new(&key).expect("a key"))
    };
    DeviceTables::new([table(0), table(1), table(2)]).expect("three tables")
}

#[test]
fn a_device_is_given_its_tables_once_and_its_tokens_pass_and_no_other_ones() {
    let bench = Bench::new();
    register(&bench);
    configure(&bench);
    let (address, spans) = collector();
    bench.configure(|text| format!("{text}\n[telemetry]\notlp = \"{address}\"\n"));
    for device in ["press-1", "press-2"] {
        bench.request(device);
    }
    let server = bench.serve_from("home", &[("RUST_LOG", "trace")]);

    let plain = provision(&bench, "press-2", &bench.token_for("press-2"));
    assert_eq!(plain["privacy_tokens"], Value::Null);
    let right = bench.token_for("press-1");
    let first = provision(&bench, "press-1", &right);
    let given = &first["privacy_tokens"];
    assert_eq!(given["state"], "given", "{given}");
    assert_eq!(given["hardware_hash"], hex::encode(HASH));
    let device = tables(given);
    let again = provision(&bench, "press-1", &right);
    assert_eq!(again["certificate"], first["certificate"]);
    assert_eq!(again["privacy_tokens"]["state"], "given-before");
    assert_eq!(again["privacy_tokens"]["tables"], json!([]));

    let hash = HardwareHash::new(HASH);
    let seal = |hash| device.seal(hash, &mut SysRng).expect("a token").to_bytes();
    let token = seal(&hash);
    for good in [token, seal(&hash), token] {
        assert_eq!(verdict(&bench, &good), "PASS");
    }
    assert_eq!(
        verdict(&bench, &seal(&HardwareHash::new([0xA8; 32]))),
        "FAIL"
    );
    let mut bent_ones = 0;
    for place in [1, 2, 3, 4, 5, 16, 17, 48, 49, 64] {
        let mut bent = token;
        bent[place] ^= 1;
        assert_eq!(verdict(&bench, &bent), "FAIL", "byte {place}");
        bent_ones += 1;
    }
    // A table that is nobody's, and one that is another device's.
    let own: Vec<u16> = device.expose().iter().map(|(id, _)| id.get()).collect();
    let foreign = (0..10).find(|id| !own.contains(id)).expect("ten tables");
    let (_, key) = &device.expose()[0];
    let index = KeyIndex::new(7).expect("a key");
    for table in [foreign, 9999] {
        let key = key.derive(index).expect("derived");
        let other = Token::seal(TableId::new(table), index, &key, &hash, &mut SysRng);
        let other = other.expect("a token").to_bytes();
        assert_eq!(verdict(&bench, &other), "FAIL", "table {table}");
    }
    // By form alone.
    for bad in [&token[..64], &[0; 65], &[token.as_slice(), &[0]].concat()] {
        let (status, problem) = ask(&bench, bad);
        assert_eq!((status, &problem["code"]), (400, &"bad-request".into()));
    }
    for body in ["{}", "x", "{\"token\": 1}", "{\"token\": \"%\"}"] {
        let asked = bench.curl(VALIDATE, &["--header", JSON, "--data", body]);
        assert_eq!(asked.0, 400, "{body}");
    }
    assert!(server.stop());

    let log = bench.logged();
    assert!(log.contains(PROVISION), "the rest is logged");
    let mut told = String::new();
    while let Ok((_, body)) = spans.recv_timeout(Duration::from_secs(2)) {
        told.push_str(&body);
    }
    assert!(told.contains(PROVISION), "the rest is traced");
    let text = Base64::encode_string(&token);
    let secret = [text.as_str(), &hex::encode(token), &hex::encode(HASH)];
    let master = given["tables"][0]["master_key"].as_str().expect("text");
    for word in secret.into_iter().chain([
        master,
        "validate",
        "PASS",
        "FAIL",
        "rows_returned",
        "SELECT table_1",
    ]) {
        assert!(!log.contains(word), "{word} in {log}");
        assert!(!told.contains(word), "{word} in {told}");
    }
    // What is left is one count for each table: those whose table was none of ten are counted nowhere.
    let usage = with_registry(&bench, async |registry| registry.usage().await);
    let asked: u64 = usage.expect("counts").iter().map(|usage| usage.count).sum();
    let known = 3 + 1 + bent_ones + 1;
    assert!((known - 2..=known).contains(&asked), "{asked} of {known}");

    // An operator has the same tables once more.
    let printed = bench.run(&["tables", "--config", "home/authority.toml", "press-1"]);
    let printed: Value = serde_json::from_str(&printed.succeeded()).expect("JSON");
    assert_eq!(printed["tables"], given["tables"]);
    assert_eq!(printed["hardware_hash"], given["hardware_hash"]);
}

#[test]
fn without_a_key_there_are_no_privacy_tokens_and_with_a_wrong_one_no_start() {
    let bench = Bench::new();
    let server = bench.serve();
    assert_eq!(ask(&bench, &[1; 65]).0, 404);
    let (_, document) = bench.json("/openapi.json", &[]);
    assert!(document["paths"][PROVISION].is_object());
    assert!(document["paths"][VALIDATE].is_null());
    assert!(server.stop());

    configure(&bench);
    let server = bench.serve();
    assert_eq!(verdict(&bench, &[1; 65]), "FAIL");
    let (_, document) = bench.json("/openapi.json", &[]);
    assert!(document["paths"][VALIDATE]["post"].is_object());
    assert!(server.stop());

    let start = || {
        bench
            .run(&["serve", "--config", "home/authority.toml"])
            .failed()
    };
    write_key(&bench, &[0x43; 32]);
    let said = start();
    assert!(said.contains("give the right key-encryption key"), "{said}");
    write_key(&bench, &[0x42; 31]);
    let said = start();
    assert!(said.contains("/dev/urandom"), "{said}");
    let path = bench.path("home/tables.key");
    write_key(&bench, &[0x42; 32]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
    assert!(start().contains("chmod 600"));
    // By another name, it is the key of the audit log.
    fs::remove_file(&path).expect("removed");
    fs::hard_link(bench.path("home/audit.key"), &path).expect("a link");
    let said = start();
    assert!(said.contains("is the file of [audit] too"), "{said}");
    // The same key in hexadecimal digits opens what it closed.
    fs::remove_file(&path).expect("removed");
    write_key(&bench, format!("{}\n", "42".repeat(32)).as_bytes());
    let server = bench.serve();
    assert_eq!(verdict(&bench, &[1; 65]), "FAIL");
    assert!(server.stop());
}

//! Secrets, looked for in everything that leaves the program: its log, its answers, its files and its core dump.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

use crate::bench::Bench;

const PASSWORD: &str = "correct horse battery staple";
const EST: &str = "/.well-known/est/simpleenroll";
const PROVISION: &str = "/api/v1/devices/provision";
const PKCS10: &str = "Content-Type: application/pkcs10";
const JSON: &str = "Content-Type: application/json";

#[test]
fn tg31_no_key_token_or_password_leaves_the_program() {
    let bench = Bench::new();
    bench.approve(&["press-1", "press-2"]);
    let token = bench.token(&["--device", "press-*"]);
    let all = bench.token(&[
        "--device", "*", "--may", "read", "--may", "revoke", "--may", "approve",
    ]);
    let hash = bench.hash(PASSWORD);
    bench.configure(|text| {
        format!("{text}\n[page]\npassword = \"{hash}\"\n")
            .replace("requests_per_minute = 600", "requests_per_minute = 600000")
    });
    bench.request("press-1");
    bench.request("press-2");
    let mut secrets: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for key in [
        "root.key",
        "ca.key",
        "home/tls.key",
        "home/audit.key",
        "press-1.key",
        "press-2.key",
    ] {
        secrets.insert(key.to_owned(), forms(&scalar(&bench, key)));
    }
    for (name, text) in [("token", &token), ("other token", &all)] {
        let bytes = Base64UrlUnpadded::decode_vec(&text[5..]).expect("a token");
        let mut looked_for = forms(&bytes);
        looked_for.extend(forms(text.as_bytes()));
        secrets.insert(name.to_owned(), looked_for);
    }
    secrets.insert("password".to_owned(), forms(PASSWORD.as_bytes()));
    // What is looked for is found where it is: else all that follows says nothing.
    let pem = fs::read(bench.path("ca.key")).expect("a key");
    assert_eq!(found(&secrets, &unfolded(&pem)), ["ca.key"]);

    let server = bench.serve_from("home", &[("RUST_LOG", "trace")]);
    for answer in ask_well_and_badly(&bench, &token, &all) {
        assert_eq!(
            found(&secrets, &answer),
            [""; 0],
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert!(server.stop());

    let log = fs::read(bench.path("home.log")).expect("a log");
    assert!(log.len() > 10_000, "everything was logged");
    assert_eq!(found(&secrets, &log), [""; 0]);
    let home = fs::metadata(bench.path("home")).expect("a folder");
    assert_eq!(home.permissions().mode() & 0o077, 0);
    let mut files = Vec::new();
    walk(bench.folder(), &mut files);
    for file in files {
        let name = file.strip_prefix(bench.folder()).expect("in the folder");
        let held = found(&secrets, &unfolded(&fs::read(&file).expect("a file")));
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        if name.starts_with("home") {
            // The keys that the program made, each in its own file, which nobody else may read, and in no other.
            let own = held.iter().all(|secret| Path::new(secret) == name);
            let is_private = held.is_empty() || mode & 0o077 == 0;
            assert!(own && is_private, "{}: {held:?}, {mode:o}", name.display());
        }
    }
}

#[test]
fn tg31_a_core_dump_holds_no_memory() {
    let bench = Bench::new();
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -c unlimited; exec \"$0\" serve --config home/authority.toml",
        ])
        .arg(env!("CARGO_BIN_EXE_countersign-authority"))
        .current_dir(bench.folder())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let started = std::time::Instant::now();
    while bench.curl("/health", &[]).0 != 200 {
        assert!(started.elapsed().as_secs() < 60, "it does not serve");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let filter = fs::read_to_string(format!("/proc/{}/coredump_filter", child.id()));
    let told = Command::new("kill")
        .args(["-ABRT", &child.id().to_string()])
        .status();
    assert!(told.expect("kill runs").success());
    let _ = child.wait();
    assert_eq!(filter.expect("its filter").trim(), "00000000");
    // Where the system writes it into the folder, it is looked into.
    let key = forms(&scalar(&bench, "ca.key"));
    let secrets = BTreeMap::from([("ca.key".to_owned(), key)]);
    let mut files = Vec::new();
    walk(bench.folder(), &mut files);
    for file in files {
        let is_core = file
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("core"));
        if is_core {
            let core = fs::read(&file).expect("a core dump");
            assert!(core.starts_with(b"\x7fELF"));
            assert_eq!(found(&secrets, &core), [""; 0]);
        }
    }
}

/// Every answer, with its headers, to requests that are right, wrong, and careless with secrets.
fn ask_well_and_badly(bench: &Bench, token: &str, all: &str) -> Vec<Vec<u8>> {
    let bearer = format!("Authorization: Bearer {token}");
    let operator = format!("Authorization: Bearer {all}");
    let user = format!("est:{token}");
    let as_name = format!("{token}:x");
    let careless = serde_json::json!({ token: token, "csr": token }).to_string();
    let as_device =
        serde_json::json!({ "csr": "x", "device_id": token, "profile": token }).to_string();
    let key = fs::read_to_string(bench.path("press-1.key")).expect("a key");
    let key_as_csr = serde_json::json!({ "csr": key }).to_string();
    let good = bench.provision_body("press-1");
    let form = format!("password={}", PASSWORD.replace(' ', "+"));
    let wrong = format!("password=x{}", PASSWORD.replace(' ', "+"));
    let in_path = format!("/api/v1/devices/{token}");
    let in_query = format!("/api/v1/devices?token={token}&family={token}");
    let revoke = format!("/api/v1/certificates/{token}/revoke");
    let twisted = format!("Authorization: Bearer {token}x");
    let elsewhere = format!("X-Token: {token}");
    let cookie = format!("Cookie: __Host-countersign={token}");
    let requests: Vec<(&str, Vec<&str>)> = vec![
        (
            PROVISION,
            vec!["--header", &bearer, "--header", JSON, "--data", &good],
        ),
        (
            PROVISION,
            vec!["--header", &bearer, "--header", JSON, "--data", &good],
        ),
        (
            EST,
            vec![
                "--user",
                &user,
                "--header",
                PKCS10,
                "--data-binary",
                "@press-2.csr",
            ],
        ),
        (
            EST,
            vec![
                "--user",
                &as_name,
                "--header",
                PKCS10,
                "--data-binary",
                "@press-2.csr",
            ],
        ),
        (
            EST,
            vec![
                "--user",
                &user,
                "--header",
                PKCS10,
                "--data-binary",
                "@press-1.key",
            ],
        ),
        (EST, vec!["--header", PKCS10, "--data-binary", token]),
        (
            PROVISION,
            vec!["--header", &bearer, "--header", JSON, "--data", &careless],
        ),
        (
            PROVISION,
            vec!["--header", &bearer, "--header", JSON, "--data", &as_device],
        ),
        (
            PROVISION,
            vec!["--header", &bearer, "--header", JSON, "--data", &key_as_csr],
        ),
        (
            PROVISION,
            vec!["--header", &bearer, "--header", JSON, "--data", token],
        ),
        (PROVISION, vec!["--header", &bearer, "--data", token]),
        (&in_path, vec!["--header", &operator]),
        (&in_query, vec!["--header", &operator]),
        (
            &revoke,
            vec![
                "--header", &operator, "--header", JSON, "--data", &as_device,
            ],
        ),
        ("/stats", vec!["--header", &twisted]),
        ("/stats", vec!["--header", &elsewhere]),
        ("/stats", vec!["--header", &operator]),
        ("/metrics", vec!["--header", &operator]),
        ("/api/v1/devices", vec!["--header", &operator]),
        ("/api/v1/devices/press-1", vec!["--header", &operator]),
        ("/api/v1/certificates/expiring", vec!["--header", &operator]),
        ("/health", vec![]),
        ("/docs", vec![]),
        ("/openapi.json", vec![]),
        ("/page", vec!["--header", &cookie]),
        ("/page/login", vec!["--data", &wrong]),
        ("/page/login", vec!["--data", token]),
        (
            "/page/login",
            vec!["--data", &form, "--cookie-jar", "cookies"],
        ),
        ("/page", vec!["--cookie", "cookies"]),
        ("/page/devices", vec!["--cookie", "cookies"]),
        ("/page/devices/press-1", vec!["--cookie", "cookies"]),
    ];
    let mut answers = Vec::new();
    let mut statuses = Vec::new();
    for (path, mut arguments) in requests {
        arguments.push("--include");
        let (status, answer) = bench.curl(path, &arguments);
        statuses.push(status);
        answers.push(answer);
    }
    // Some were right, and some were wrong in every way that there is.
    for expected in [200, 201, 303, 400, 401, 415] {
        assert!(statuses.contains(&expected), "{expected} in {statuses:?}");
    }
    answers
}

/// The private number of a key, by openssl.
fn scalar(bench: &Bench, key: &str) -> Vec<u8> {
    let text = bench.openssl(&["pkey", "-in", key, "-noout", "-text"]);
    let (_, rest) = text.split_once("priv:").expect("a private key");
    let (digits, _) = rest.split_once("pub:").expect("a public key");
    let digits: String = digits.chars().filter(char::is_ascii_hexdigit).collect();
    let bytes = hex::decode(digits).expect("hexadecimal");
    // A leading zero that keeps the number positive is none of its 32 bytes.
    bytes[bytes.len().saturating_sub(32)..].to_vec()
}

/// How a secret may be written: as it is, in hexadecimal, in base64 of either alphabet wherever it begins.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![
        secret.to_vec(),
        hex::encode(secret).into_bytes(),
        hex::encode_upper(secret).into_bytes(),
        format!("{secret:?}").into_bytes(),
    ];
    for before in 0..3 {
        let shifted = [&vec![0; before][..], secret].concat();
        for text in [
            Base64::encode_string(&shifted),
            Base64UrlUnpadded::encode_string(&shifted),
        ] {
            // What only this secret decides: neither the characters before it nor the last ones.
            let text = text.trim_end_matches('=');
            let inner = &text[if before == 0 { 0 } else { before + 1 }..text.len() - 2];
            forms.push(inner.as_bytes().to_vec());
        }
    }
    forms
}

/// The secrets that are in these bytes.
fn found<'a>(secrets: &'a BTreeMap<String, Vec<Vec<u8>>>, bytes: &[u8]) -> Vec<&'a str> {
    secrets
        .iter()
        .filter(|(_, forms)| {
            forms
                .iter()
                .any(|form| bytes.windows(form.len()).any(|window| window == form))
        })
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Without line breaks, so that folded base64 is one text.
fn unfolded(bytes: &[u8]) -> Vec<u8> {
    [
        bytes,
        &bytes
            .iter()
            .copied()
            .filter(|byte| *byte != b'\n')
            .collect::<Vec<_>>(),
    ]
    .concat()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

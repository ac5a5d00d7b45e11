//! What is refused, and how.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use countersign_testing::tokens::{Module, Tokens};

use crate::bench::Bench;

const EST: &str = "/.well-known/est/simpleenroll";
const PKCS10: &str = "Content-Type: application/pkcs10";

#[test]
fn tg01_without_an_accepted_credential_nothing_is_told() {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    let expired = bench.token(&["--device", "press-1", "--expires", "0s"]);
    let _server = bench.serve();
    bench.request("press-1");
    let unknown = format!("cst1_{}", "A".repeat(43));
    for credential in [
        "",
        "est:",
        "est:x",
        &format!("est:{unknown}"),
        &format!("est:{expired}"),
    ] {
        let mut arguments = vec!["--header", PKCS10, "--data-binary", "@press-1.csr"];
        if !credential.is_empty() {
            arguments.extend(["--user", credential]);
        }
        let (status, problem) = bench.json(EST, &arguments);
        assert_eq!(
            (status, &problem["code"]),
            (401, &"unauthenticated".into()),
            "{credential:?}"
        );
        assert!(
            problem["remedy"]
                .as_str()
                .is_some_and(|remedy| !remedy.is_empty())
        );
    }
    for path in [
        "/stats",
        "/metrics",
        "/api/v1/devices",
        "/api/v1/devices/press-1",
        "/api/v1/devices/none",
    ] {
        assert_eq!(bench.json(path, &[]).0, 401, "{path}");
    }
    assert_eq!(bench.json("/health", &[]).0, 200);
}

#[test]
fn tg03_tg06_tg08_tg26_tg30_requests_are_judged_before_anything_is_looked_up() {
    let bench = Bench::new();
    bench.approve(&["a-1", "b-1"]);
    let token = bench.token(&["--device", "a-*", "--may", "enrol", "--may", "read"]);
    let _server = bench.serve();
    let user = format!("est:{token}");
    let enrol = |csr: &str| {
        let csr = format!("@{csr}");
        bench.json(
            EST,
            &["--user", &user, "--header", PKCS10, "--data-binary", &csr],
        )
    };

    // Another factory's device, there or not: the same words.
    bench.request("b-1");
    bench.request("b-2");
    let (status, there) = enrol("b-1.csr");
    assert_eq!((status, &there["code"]), (403, &"forbidden".into()));
    assert_eq!(enrol("b-2.csr"), (403, there.clone()));
    // Nor is the other spelling of one's own name one's own.
    bench.request("A-1");
    assert_eq!(enrol("A-1.csr"), (403, there));
    let bearer = format!("Authorization: Bearer {token}");
    let show = |path: &str| bench.json(path, &["--path-as-is", "--header", &bearer]);
    assert_eq!(show("/api/v1/devices/b-1"), show("/api/v1/devices/b-2"));
    assert_eq!(show("/api/v1/devices/b-1").0, 404);
    assert_eq!(show("/api/v1/devices/A-1").0, 404);
    assert_eq!(show("/api/v1/devices/").0, 404);

    // A request whose signature is another's.
    bench.request("a-1");
    bench.openssl(&[
        "req", "-in", "a-1.csr", "-outform", "DER", "-out", "a-1.der",
    ]);
    let mut der = fs::read(bench.path("a-1.der")).expect("a request");
    let last = der.len() - 1;
    der[last] ^= 1;
    fs::write(bench.path("bent.der"), der).expect("written");
    let (status, problem) = enrol("bent.der");
    assert_eq!(
        (status, &problem["code"]),
        (400, &"proof-of-possession".into()),
        "{problem}"
    );

    // Names that are none.
    for id in [
        "..%2f",
        "%2e%2e",
        "..%2F..%2Fetc%2Fpasswd",
        "a%00b",
        "%0d%0a",
        "a%E2%80%AEb",
        &"x".repeat(65),
        &"x".repeat(10_000),
    ] {
        let (status, problem) = show(&format!("/api/v1/devices/{id}"));
        assert_eq!(
            (status, &problem["code"]),
            (400, &"device-id".into()),
            "{id}"
        );
    }

    // To be an authority, for every host, for a hundred years: the profile decides.
    bench.openssl(&[
        "req",
        "-new",
        "-key",
        "a-1.key",
        "-subj",
        "/CN=*/serialNumber=a-1",
        "-out",
        "greedy.csr",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "subjectAltName=DNS:*.example",
        "-addext",
        "extendedKeyUsage=codeSigning",
        "-days",
        "36500",
    ]);
    let (status, body) = bench.curl(
        EST,
        &[
            "--user",
            &user,
            "--header",
            PKCS10,
            "--data-binary",
            "@greedy.csr",
        ],
    );
    assert_eq!(status, 200);
    fs::write(bench.path("answer.b64"), body).expect("written");
    bench.openssl(&[
        "base64",
        "-d",
        "-A",
        "-in",
        "answer.b64",
        "-out",
        "answer.p7",
    ]);
    let text = bench.openssl(&[
        "pkcs7",
        "-inform",
        "DER",
        "-in",
        "answer.p7",
        "-print_certs",
        "-text",
    ]);
    for absent in ["CA:TRUE", "*.example", "Code Signing"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[test]
fn tg11_large_and_slow_requests_end_and_others_are_served_meanwhile() {
    let bench = Bench::new();
    bench.configure(|text| text.replace("header_seconds = 10", "header_seconds = 2"));
    let token = bench.token(&["--device", "*"]);
    let server = bench.serve();
    let user = format!("est:{token}");
    let send = |bytes: usize| {
        fs::write(bench.path("large"), vec![b'A'; bytes]).expect("written");
        let data = ["--header", PKCS10, "--data-binary", "@large"];
        bench.json(EST, &[&["--user", user.as_str()], &data[..]].concat())
    };
    // Also what is too much for the buffers between them.
    for bytes in [40_000, 1_000_000] {
        let (status, problem) = send(bytes);
        assert_eq!((status, &problem["code"]), (413, &"body-too-large".into()));
    }
    // Nor does it matter that somebody says everything before he listens.
    let script = format!(
        "import socket, ssl\n\
         context = ssl.create_default_context(cafile='root.pem')\n\
         plain = socket.create_connection(('127.0.0.1', {}), 30)\n\
         server = context.wrap_socket(plain, server_hostname='localhost')\n\
         head = b'POST {EST} HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 3000000\\r\\n\\r\\n'\n\
         server.sendall(head + bytes(3000000))\n\
         print(server.recv(12).decode())\n",
        bench.port()
    );
    let spoken = Command::new("python3")
        .args(["-c", &script])
        .current_dir(bench.folder())
        .output();
    let spoken = spoken.expect("python3 runs");
    assert_eq!(
        String::from_utf8_lossy(&spoken.stdout).trim(),
        "HTTP/1.1 413",
        "{}",
        String::from_utf8_lossy(&spoken.stderr)
    );
    let many: Vec<String> = (0..80).map(|number| format!("X-{number}: y")).collect();
    let mut arguments = Vec::new();
    for header in &many {
        arguments.extend(["--header", header.as_str()]);
    }
    let (status, problem) = bench.json("/health", &arguments);
    assert_eq!(
        (status, &problem["code"]),
        (431, &"headers-too-large".into())
    );
    let long = format!("X-Long: {}", "y".repeat(13_000));
    let (status, problem) = bench.json("/health", &["--header", &long]);
    assert_eq!(
        (status, &problem["code"]),
        (431, &"headers-too-large".into())
    );
    // Without a length, a hundred megabytes; and a thousandfold of what is read, packed. Nothing of it is kept or unpacked.
    let before = server.peak_kib();
    let endless = fs::File::create(bench.path("endless")).expect("a file");
    endless.set_len(100_000_000).expect("sparse");
    let (status, _) = bench.curl(
        EST,
        &[
            "--user",
            &user,
            "--header",
            PKCS10,
            "--header",
            "Transfer-Encoding: chunked",
            "--request",
            "POST",
            "--upload-file",
            "endless",
        ],
    );
    // Whether curl sees the refusal before it is hung up on is chance; 100 was the leave to begin.
    assert!(matches!(status, 0 | 100 | 413), "{status}");
    let packed = Command::new("sh")
        .args(["-c", "head -c 16000000 endless | gzip > bomb"])
        .current_dir(bench.folder())
        .status();
    assert!(packed.expect("sh runs").success());
    let (status, problem) = bench.json(
        EST,
        &[
            "--user",
            &user,
            "--header",
            PKCS10,
            "--header",
            "Content-Encoding: gzip",
            "--data-binary",
            "@bomb",
        ],
    );
    assert_eq!((status, &problem["code"]), (400, &"bad-request".into()));
    let more = server.peak_kib().saturating_sub(before);
    assert!(more < 8 * 1024, "{more} KiB for what was turned away");
    // HTTP/2 and its frames are not spoken, whoever offers them.
    let (_, answer) = bench.curl("/health", &["--http2", "--include"]);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    // So many that no request comes about.
    let many: Vec<String> = (0..300).map(|number| format!("X-{number}: y")).collect();
    let mut arguments = Vec::new();
    for header in &many {
        arguments.extend(["--header", header.as_str()]);
    }
    assert_eq!(bench.curl("/health", &arguments).0, 431);

    // Who says nothing is hung up on.
    let mut silent = TcpStream::connect(("127.0.0.1", bench.port())).expect("connected");
    silent.write_all(&[0x16]).expect("sent");
    assert_eq!(bench.curl("/health", &[]).0, 200);
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
}

#[test]
fn tg27_who_asks_too_often_waits_and_health_answers() {
    let bench = Bench::new();
    bench.configure(|text| text.replace("requests_per_minute = 600", "requests_per_minute = 1"));
    let _server = bench.serve();
    let asked: Vec<u16> = (0..6).map(|_| bench.curl("/", &[]).0).collect();
    assert_eq!(asked.first(), Some(&200));
    assert_eq!(asked.last(), Some(&429), "{asked:?}");
    assert_eq!(bench.curl("/health", &[]).0, 200);
}

/// Four askers of no rights, each as fast as it can over one connection.
#[test]
fn tg27_ten_thousand_requests_are_turned_away_and_the_operator_gets_through() {
    const EACH: usize = 2500;
    let bench = Bench::new();
    bench.approve(&["desk-1", "press-1"]);
    bench.configure(|text| {
        text + "\n[[operators]]\ndevice = \"desk-1\"\n[operators.scope]\nactions = [\"read\", \"revoke\"]\n\
                devices = [\"*\"]\nprofiles = [\"tls\"]\n"
    });
    let tokens = ["desk-1", "press-1"].map(|name| bench.token_for(name));
    let server = bench.serve();
    let serials = [("desk-1", &tokens[0]), ("press-1", &tokens[1])].map(|(name, token)| {
        bench.request(name);
        let bearer = format!("Authorization: Bearer {token}");
        let (status, made) = bench.json(
            "/api/v1/devices/provision",
            &[
                "--header",
                &bearer,
                "--header",
                "Content-Type: application/json",
                "--data",
                &bench.provision_body(name),
            ],
        );
        assert_eq!(status, 201, "{made}");
        let certificate = made["certificate"].as_str().expect("text");
        fs::write(bench.path(&format!("{name}.pem")), certificate).expect("written");
        made["serial"].as_str().expect("text").to_owned()
    });
    let before = server.peak_kib();
    let resolve = format!("localhost:{}:127.0.0.1", bench.port());
    let url = format!("https://localhost:{}/stats?n=[1-{EACH}]", bench.port());
    let began = std::time::Instant::now();
    let askers: Vec<_> = (0..4)
        .map(|_| {
            Command::new("curl")
                .args(["--silent", "--cacert", "root.pem", "--resolve", &resolve])
                .args([
                    "--output",
                    "/dev/null",
                    "--write-out",
                    "%{http_code}\n",
                    &url,
                ])
                .current_dir(bench.folder())
                .stdout(Stdio::piped())
                .spawn()
                .expect("curl runs")
        })
        .collect();
    // Meanwhile whoever runs the place does what must be done.
    let own = ["--cert", "desk-1.pem", "--key", "desk-1.key"];
    let mut got_through = 0;
    while got_through < 5 {
        assert_eq!(bench.json("/stats", &own).0, 200);
        assert_eq!(bench.json("/health", &[]).0, 200);
        got_through += 1;
    }
    let mut revoke = own.to_vec();
    let reason = r#"{"reason":"key-compromise"}"#;
    revoke.extend([
        "--header",
        "Content-Type: application/json",
        "--data",
        reason,
    ]);
    let path = format!("/api/v1/certificates/{}/revoke", serials[1]);
    assert_eq!(bench.json(&path, &revoke).0, 200);
    let mut counts = BTreeMap::new();
    for asker in askers {
        let output = asker.wait_with_output().expect("it ends");
        for status in String::from_utf8_lossy(&output.stdout).lines() {
            *counts.entry(status.to_owned()).or_insert(0_usize) += 1;
        }
    }
    let took = began.elapsed().as_secs_f64();
    let of = |status: &str| counts.get(status).copied().unwrap_or_default();
    assert_eq!(of("401") + of("429"), 4 * EACH, "{counts:?}");
    // Sixty at once and ten a second.
    let admitted = of("401");
    assert!(
        (admitted as f64) < 60.0 + 10.0 * took + 10.0,
        "{counts:?} in {took} s"
    );
    let more = server.peak_kib().saturating_sub(before);
    assert!(
        more < 64 * 1024,
        "{more} KiB for requests that were turned away"
    );
}

#[test]
fn tg04_tg23_anothers_key_and_anothers_certificate_are_refused_and_a_second_revocation_is_the_first()
 {
    let bench = Bench::new();
    bench.approve(&["a-1", "a-2", "b-1"]);
    let may = |devices: &str, more: &[&str]| {
        let mut arguments = vec!["--device", devices, "--may", "enrol", "--may", "revoke"];
        arguments.extend(more);
        format!("Authorization: Bearer {}", bench.token(&arguments))
    };
    let [first, second] = [(); 2].map(|()| may("a-*", &[]));
    let other = may("b-*", &[]);
    let of_other_order = may("*", &["--order", "18"]);
    let reader = format!(
        "Authorization: Bearer {}",
        bench.token(&["--device", "*", "--may", "read"])
    );
    let _server = bench.serve();
    bench.request("a-1");
    let json = "Content-Type: application/json";
    let provision = |bearer: &str, body: &str| {
        let arguments = ["--header", bearer, "--header", json, "--data", body];
        bench.json("/api/v1/devices/provision", &arguments)
    };
    let (status, made) = provision(&first, &bench.provision_body("a-1"));
    assert_eq!(status, 201, "{made}");
    // TG04: another device over the same key.
    let csr = fs::read_to_string(bench.path("a-1.csr")).expect("a request");
    bench.openssl(&[
        "req",
        "-new",
        "-key",
        "a-1.key",
        "-subj",
        "/serialNumber=a-2",
        "-out",
        "a-2.csr",
    ]);
    assert_ne!(
        fs::read_to_string(bench.path("a-2.csr")).expect("read"),
        csr
    );
    let (status, refused) = provision(&second, &bench.provision_body("a-2"));
    assert_eq!(
        (status, &refused["code"]),
        (409, &"key-known".into()),
        "{refused}"
    );

    let serial = made["serial"].as_str().expect("text");
    let revoke = |bearer: &str, serial: &str, reason: &str| {
        let path = format!("/api/v1/certificates/{serial}/revoke");
        let body = format!("{{\"reason\":\"{reason}\"}}");
        let arguments = ["--header", bearer, "--header", json, "--data", &body];
        bench.json(&path, &arguments)
    };
    // What is not there and what is somebody else's: the same words.
    let unknown = revoke(&first, "0123456789abcdef", "key-compromise");
    assert_eq!((unknown.0, &unknown.1["code"]), (404, &"not-found".into()));
    for bearer in [&other, &of_other_order, &reader] {
        assert_eq!(
            revoke(bearer, serial, "key-compromise"),
            unknown,
            "{bearer}"
        );
    }
    assert_eq!(revoke(&first, "no-serial", "key-compromise").0, 400);
    assert_eq!(revoke(&first, serial, "because").0, 400);
    let revoked = revoke(&first, serial, "superseded");
    assert_eq!(
        (revoked.0, &revoked.1["reason"]),
        (200, &"superseded".into()),
        "{revoked:?}"
    );
    // What was said first stays, but for the one thing that must not go unsaid: that the key is lost.
    assert_eq!(revoke(&first, serial, "cessation-of-operation"), revoked);
    let lost = revoke(&first, serial, "key-compromise");
    assert_eq!(
        (lost.0, &lost.1["reason"], &lost.1["revoked_at"]),
        (200, &"key-compromise".into(), &revoked.1["revoked_at"]),
        "{lost:?}"
    );
    for reason in ["key-compromise", "superseded"] {
        assert_eq!(revoke(&first, serial, reason), lost);
    }
}

#[test]
fn tg01_a_token_is_taken_back_while_the_authority_runs() {
    let bench = Bench::new();
    let token = bench.token(&["--device", "*", "--may", "read"]);
    let expired = bench.token(&["--device", "*", "--may", "read", "--expires", "0s"]);
    let _server = bench.serve();
    let bearer = format!("Authorization: Bearer {token}");
    let asked = || bench.json("/stats", &["--header", &bearer]).0;
    assert_eq!(asked(), 200);
    let untoken = |more: &[&str]| {
        let mut arguments = vec!["untoken", "--config", "home/authority.toml"];
        arguments.extend(more);
        bench.run(&arguments)
    };
    assert_eq!(untoken(&["--expired"]).succeeded(), "1 taken back\n");
    assert_eq!(asked(), 200);
    assert_eq!(untoken(&[&token]).succeeded(), "1 taken back\n");
    assert_eq!(asked(), 401);
    let errors = untoken(&[&expired]).failed();
    assert!(errors.contains("there is no token"), "{errors}");
    assert!(!errors.contains(&expired), "a token is repeated: {errors}");
}

#[test]
fn tg18_tg28_an_exposed_key_and_a_key_with_two_purposes_refuse_the_start() {
    let bench = Bench::new();
    let start = || {
        bench
            .run(&["serve", "--config", "home/authority.toml"])
            .failed()
    };
    let key = bench.path("ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    assert!(start().contains("chmod 600"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::copy(&key, bench.path("home/tls.key")).expect("copied");
    assert!(start().contains("the key of [tls] is the key of [issuer] too"));
}

#[test]
fn tg19_a_token_that_is_absent_or_locked_means_503_and_no_other_key() {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    bench.request("press-1");
    let user = format!("est:{}", bench.token(&["--device", "press-1"]));
    let keeper = bench.token(&["--device", "*", "--may", "read", "--may", "revoke"]);
    let tokens = Tokens::with(Module::SoftHsm, "here");
    fs::write(bench.path("home/pin"), "no-such-pin\n").expect("written");
    let pin = bench.path("home/pin");
    fs::set_permissions(pin, fs::Permissions::from_mode(0o600)).expect("chmod");
    let (variable, conf) = tokens.environment();
    let conf = conf.display().to_string();
    bench.configure(|text| text.replace("[issuer]\n", "[issuer]\npassphrase_file = \"pin\"\n"));
    let mut named = format!("file:{}", bench.path("ca.key").display());
    // A PIN that is wrong, then a token that is not there; the key's file lies where it always was.
    for (label, word) in [("here", "PIN"), ("absent", "absent")] {
        let key = tokens.uri_without_pin(label, "ca");
        bench.configure(|text| text.replace(&named, &key));
        named = key;
        let _server = bench.serve_from("home", &[(variable, &conf)]);
        let sent = [
            "--user",
            &user,
            "--header",
            PKCS10,
            "--data-binary",
            "@press-1.csr",
        ];
        let (status, problem) = bench.json(EST, &sent);
        assert_eq!(
            (status, &problem["code"]),
            (503, &"unavailable".into()),
            "{label}: {problem}"
        );
        let (status, health) = bench.json("/health", &[]);
        assert_eq!((status, &health["key"]), (503, &false.into()), "{label}");
        let wrong = health["wrong"].as_str().expect("it says why");
        assert!(wrong.contains("key"), "{wrong}");
        assert!(bench.logged().contains(word), "{}", bench.logged());
    }
    let _server = bench.serve_from("home", &[(variable, &conf)]);

    // What is lost is revoked all the same; only the list waits for the key.
    let bearer = format!("Authorization: Bearer {keeper}");
    let (status, shown) = bench.json("/api/v1/devices/localhost", &["--header", &bearer]);
    assert_eq!(status, 200, "{shown}");
    let serial = shown["certificates"][0]["serial"].as_str().expect("text");
    let (status, revoked) = bench.json(
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
    assert_eq!(
        (status, &revoked["state"]),
        (200, &"revoked".into()),
        "{revoked}"
    );
}

#[test]
fn tg25_revoked_and_foreign_client_certificates_are_refused() {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    let token = bench.token(&["--device", "press-1", "--may", "enrol", "--may", "revoke"]);
    let _server = bench.serve();
    bench.request("press-1");
    let bearer = format!("Authorization: Bearer {token}");
    let json = "Content-Type: application/json";
    let body = bench.provision_body("press-1");
    let (status, made) = bench.json(
        "/api/v1/devices/provision",
        &["--header", &bearer, "--header", json, "--data", &body],
    );
    assert_eq!(status, 201, "{made}");
    fs::write(
        bench.path("press-1.pem"),
        made["certificate"].as_str().expect("text"),
    )
    .expect("written");
    let own = ["--cert", "press-1.pem", "--key", "press-1.key"];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    // The issuer's first list is signed beside the first requests.
    loop {
        let (status, _) = bench.json("/api/v1/devices/press-1", &own);
        if status == 200 {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "its own certificate is not accepted"
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }

    let path = format!(
        "/api/v1/certificates/{}/revoke",
        made["serial"].as_str().expect("text")
    );
    let reason = r#"{"reason":"key-compromise"}"#;
    for _ in 0..2 {
        let (status, revoked) = bench.json(
            &path,
            &["--header", &bearer, "--header", json, "--data", reason],
        );
        assert_eq!(
            (status, &revoked["state"]),
            (200, &"revoked".into()),
            "{revoked}"
        );
    }
    // Refused at once by the registry, and in the handshake when the list is there.
    assert!(matches!(
        bench.json("/api/v1/devices/press-1", &own).0,
        0 | 401
    ));

    bench.openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        "foreign.key",
        "-subj",
        "/serialNumber=press-1",
        "-out",
        "foreign.pem",
    ]);
    let foreign = ["--cert", "foreign.pem", "--key", "foreign.key"];
    assert_eq!(bench.json("/api/v1/devices/press-1", &foreign).0, 0);

    // Of this very authority, and without a name that says which device it is.
    fs::write(
        bench.path("nameless.ext"),
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n\
         subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    )
    .expect("written");
    bench.openssl(&[
        "x509",
        "-req",
        "-in",
        "press-1.csr",
        "-CA",
        "chain.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "30",
        "-extfile",
        "nameless.ext",
        "-out",
        "nameless.pem",
    ]);
    let nameless = ["--cert", "nameless.pem", "--key", "press-1.key"];
    assert_eq!(bench.json("/api/v1/devices/press-1", &nameless).0, 0);
}

#[test]
fn tg20_nothing_is_issued_while_hosts_would_refuse_the_issuer_and_a_newer_list_is_taken_while_it_runs()
 {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    bench.configure(|text| text.replace("crl_check_seconds = 60", "crl_check_seconds = 1"));
    bench.request("press-1");
    let token = format!("est:{}", bench.token_for("press-1"));
    let asked = || {
        let arguments = [
            "--user",
            &token,
            "--header",
            PKCS10,
            "--data-binary",
            "@press-1.csr",
        ];
        bench.curl(EST, &arguments).0
    };
    bench.root_lists(true, 2);
    let server = bench.serve();
    assert_eq!(asked(), 503);
    assert!(
        bench.logged().contains("hosts refuse its certificate"),
        "{}",
        bench.logged()
    );
    let (status, health) = bench.json("/health", &[]);
    assert_eq!((status, &health["key"]), (503, &true.into()), "{health}");
    let wrong = health["wrong"].as_str().expect("it says why");
    assert!(wrong.contains("hosts refuse its certificate"), "{wrong}");
    let becomes = |wanted: u16| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while asked() != wanted {
            assert!(std::time::Instant::now() < until, "{}", bench.logged());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    // The word of the root decides, and no restart.
    bench.root_lists(false, 3);
    becomes(200);
    assert_eq!(bench.json("/health", &[]).0, 200);
    // A list that cannot be read says nothing, least of all that the issuer stands.
    fs::remove_file(bench.path("home/crls/0.crl")).expect("removed");
    becomes(503);
    bench.root_lists(false, 4);
    becomes(200);
    assert!(server.stop());
}

#[test]
fn tg11_an_address_holds_so_many_connections_and_none_for_ever() {
    let bench = Bench::new();
    bench.configure(|text| {
        text.replace(
            "connections_per_address = 32",
            "connections_per_address = 3",
        )
        .replace("connection_seconds = 300", "connection_seconds = 1")
    });
    let _server = bench.serve();
    let held: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(("127.0.0.1", bench.port())).expect("connected"))
        .collect();
    assert_eq!(bench.curl("/", &[]).0, 0, "the address has its share");
    drop(held);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while bench.curl("/", &[]).0 != 200 {
        assert!(std::time::Instant::now() < until, "{}", bench.logged());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // Two seconds between two requests over one connection.
    let other = format!("https://localhost:{}/", bench.port());
    let (_, answers) = bench.curl("/", &["--include", "--rate", "30/m", &other]);
    let answers = String::from_utf8_lossy(&answers).to_lowercase();
    assert_eq!(answers.matches("http/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
}

#[test]
fn tg24_an_authority_whose_audit_log_cannot_be_written_leaves_and_says_why() {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    let token = bench.token(&["--device", "*", "--may", "approve"]);
    let server = bench.serve();
    fs::rename(bench.path("home/audit"), bench.path("elsewhere")).expect("moved");
    fs::write(bench.path("home/audit"), "").expect("written");
    let bearer = format!("Authorization: Bearer {token}");
    let json = "Content-Type: application/json";
    let approve = [
        "--request",
        "PUT",
        "--header",
        &bearer,
        "--header",
        json,
        "--data",
        "{}",
    ];
    assert_eq!(bench.curl("/api/v1/devices/press-2", &approve).0, 204);
    assert_eq!(server.ended_soon(), Some(false));
    assert!(
        bench
            .logged()
            .contains("nothing more comes into the audit log"),
        "{}",
        bench.logged()
    );
}

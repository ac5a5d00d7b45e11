//! What works: by JSON, by EST with curl and openssl, by EST with strongSwan, and renewing.

use std::fs;
use std::process::Command;

use crate::bench::{Bench, Ran};

/// The arguments of curl for a request by EST.
fn est<'a>(credential: &'a str, csr: &'a str) -> Vec<&'a str> {
    vec![
        "--user",
        credential,
        "--header",
        "Content-Type: application/pkcs10",
        "--data-binary",
        csr,
    ]
}

/// Writes a body of EST as NAME.pem, by openssl.
fn certificates(bench: &Bench, body: &[u8], name: &str) {
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
    bench.openssl(&[
        "pkcs7",
        "-inform",
        "DER",
        "-in",
        "answer.p7",
        "-print_certs",
        "-out",
        &format!("{name}.pem"),
    ]);
}

/// Demands, by openssl, that a certificate names a device and has its key.
fn is_of(bench: &Bench, device: &str, certificate: &str) {
    let key = format!("{device}.key");
    assert_eq!(
        bench.openssl(&["pkey", "-in", &key, "-pubout"]),
        bench.openssl(&["x509", "-in", certificate, "-noout", "-pubkey"])
    );
    let subject = ["-noout", "-subject", "-nameopt", "RFC2253"];
    let subject = bench.openssl(&[&["x509", "-in", certificate][..], &subject].concat());
    let name = format!("serialNumber={device}");
    assert!(subject.contains(&name), "{subject}");
}

#[test]
fn tg02_tg17_a_token_gives_one_certificate_and_the_same_one_when_asked_again() {
    let bench = Bench::new();
    bench.approve(&["press-1", "press-2"]);
    let token = bench.token(&["--device", "press-*", "--order", "17"]);
    let reader = bench.token(&["--device", "*", "--may", "read"]);
    let _server = bench.serve();
    bench.request("press-1");
    bench.request("press-2");

    let bearer = format!("Authorization: Bearer {token}");
    let body = bench.provision_body("press-1");
    let json = [
        "--header",
        &bearer,
        "--header",
        "Content-Type: application/json",
        "--data",
        &body,
    ];
    let (status, first) = bench.json("/api/v1/devices/provision", &json);
    assert_eq!(status, 201, "{first}");
    assert_eq!(first["device_id"], "press-1");
    assert!(!first.to_string().contains("PRIVATE"));
    let (status, again) = bench.json("/api/v1/devices/provision", &json);
    assert_eq!((status, &again["serial"]), (201, &first["serial"]));

    // The token is used up for everything else.
    let body = bench.provision_body("press-2");
    let other = [
        "--header",
        &bearer,
        "--header",
        "Content-Type: application/json",
        "--data",
        &body,
    ];
    let (status, refused) = bench.json("/api/v1/devices/provision", &other);
    assert_eq!(
        (status, &refused["code"]),
        (409, &"token-used".into()),
        "{refused}"
    );

    // OpenSSL believes the chain, and the key is the device's.
    let write = |name: &str, value: &serde_json::Value| {
        fs::write(bench.path(name), value.as_str().expect("text")).expect("written");
    };
    write("device.pem", &first["certificate"]);
    write("above.pem", &first["chain"]);
    bench.openssl(&[
        "verify",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "above.pem",
        "device.pem",
    ]);
    let of_key = bench.openssl(&["pkey", "-in", "press-1.key", "-pubout"]);
    let of_certificate = bench.openssl(&["x509", "-in", "device.pem", "-noout", "-pubkey"]);
    assert_eq!(of_key, of_certificate);

    let bearer = format!("Authorization: Bearer {reader}");
    let (status, shown) = bench.json("/api/v1/devices/press-1", &["--header", &bearer]);
    assert_eq!((status, &shown["family"]), (200, &"press".into()));
    assert_eq!(shown["certificates"][0]["serial"], first["serial"]);
    let (status, list) = bench.json(
        "/api/v1/devices?family=press&limit=1",
        &["--header", &bearer],
    );
    assert_eq!(
        (status, &list["devices"][0]["device_id"]),
        (200, &"press-1".into())
    );
    let (status, stats) = bench.json("/stats", &["--header", &bearer]);
    assert_eq!(
        (status, &stats["certificates"]["issued"]),
        (200, &2.into()),
        "{stats}"
    );
    let (status, metrics) = bench.curl("/metrics", &["--header", &bearer]);
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert_eq!(status, 200);
    assert!(
        metrics.contains("countersign_authority_issue_total{profile=\"tls\",outcome=\"issued\"}"),
        "{metrics}"
    );
}

#[test]
fn est_works_with_curl_and_openssl_wrapped_and_unwrapped_and_renews() {
    let bench = Bench::new();
    bench.approve(&["press-1", "press-2"]);
    let tokens = [(); 2].map(|()| bench.token(&["--device", "press-*"]));
    let _server = bench.serve();

    let (status, body) = bench.curl("/.well-known/est/cacerts", &[]);
    assert_eq!(status, 200);
    certificates(&bench, &body, "cas");
    let cas = fs::read_to_string(bench.path("cas.pem")).expect("certificates");
    assert_eq!(cas.matches("BEGIN CERTIFICATE").count(), 2);

    for (name, token, wrapped) in [
        ("press-1", &tokens[0], true),
        ("press-2", &tokens[1], false),
    ] {
        bench.request(name);
        let der = format!("{name}.der");
        bench.openssl(&[
            "req",
            "-in",
            &format!("{name}.csr"),
            "-outform",
            "DER",
            "-out",
            &der,
        ]);
        let mut arguments = vec!["base64", "-in", &der, "-out", "body"];
        if !wrapped {
            arguments.push("-A");
        }
        bench.openssl(&arguments);
        let (status, body) = bench.curl(
            "/.well-known/est/simpleenroll",
            &est(&format!("est:{token}"), "@body"),
        );
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        assert!(!body.contains(&b'\n'), "RFC 8951 §3.1: no line breaks");
        certificates(&bench, &body, name);
        bench.openssl(&[
            "verify",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "chain.pem",
            &format!("{name}.pem"),
        ]);
        is_of(&bench, name, &format!("{name}.pem"));
    }

    // Another key in place of the first, shown by the certificate that it replaces.
    fs::rename(bench.path("press-1.key"), bench.path("old.key")).expect("renamed");
    bench.request("press-1");
    let renew = [
        "--cert",
        "press-1.pem",
        "--key",
        "old.key",
        "--header",
        "Content-Type: application/pkcs10",
        "--data-binary",
        "@press-1.csr",
    ];
    let (status, body) = bench.curl("/.well-known/est/simplereenroll", &renew);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    certificates(&bench, &body, "renewed");
    let of_key = bench.openssl(&["pkey", "-in", "press-1.key", "-pubout"]);
    assert_eq!(
        of_key,
        bench.openssl(&["x509", "-in", "renewed.pem", "-noout", "-pubkey"])
    );
}

#[test]
fn est_works_with_strongswan() {
    let bench = Bench::new();
    bench.approve(&["press-1"]);
    let token = bench.token(&["--device", "press-1"]);
    let server = bench.serve();
    bench.request("press-1");
    let url = format!("https://localhost:{}", bench.port());
    // Unless told, it offers TLS 1.2 and nothing newer.
    fs::write(
        bench.path("strongswan.conf"),
        "pki {\n  load = random x509 revocation pubkey pkcs1 pkcs7 pem openssl\n  tls {\n    version_max = 1.3\n  }\n}\n",
    )
    .expect("written");
    let pki = |arguments: &[&str]| {
        let output = Command::new("pki")
            .args(arguments)
            .env("STRONGSWAN_CONF", "strongswan.conf")
            .current_dir(bench.folder())
            .output();
        Ran(output.expect("pki runs")).succeeded()
    };
    pki(&[
        "--estca",
        "--url",
        &url,
        "--cacert",
        "root.pem",
        "--caout",
        "ca",
        "--outform",
        "pem",
    ]);
    bench.openssl(&[
        "req",
        "-in",
        "press-1.csr",
        "-outform",
        "DER",
        "-out",
        "press-1.der",
    ]);
    let made = pki(&[
        "--est",
        "--url",
        &url,
        "--cacert",
        "root.pem",
        "--cacert",
        "chain.pem",
        "--in",
        "press-1.der",
        "--userpass",
        &format!("est:{token}"),
        "--outform",
        "pem",
    ]);
    fs::write(bench.path("made.pem"), made).expect("written");
    bench.openssl(&[
        "verify",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "chain.pem",
        "made.pem",
    ]);
    is_of(&bench, "press-1", "made.pem");
    assert!(server.stop(), "SIGTERM ends it well");
}

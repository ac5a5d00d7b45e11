//! `sign --prepare` and `--finish`: a key that only OpenSSL may touch signs all the same.

use super::bench::{Bench, COMPONENT};
use super::pki;

fn prepared(arguments: &str) -> Bench {
    let bench = pki::bench();
    bench.write("app.wasm", COMPONENT);
    bench.write(
        "component.toml",
        "name = \"acme:pump\"\nversion = \"1.2.3\"\nsecurity-version = 4\n",
    );
    bench
        .line(&format!("sign app.wasm {arguments} --prepare app.prepared"))
        .succeeded();
    bench
}

#[test]
fn openssl_signs_what_was_prepared() {
    let bench = prepared("--chain chain.pem");
    // P-256 as `openssl dgst` writes it: DER, with s wherever it falls.
    bench.openssl("dgst -sha256 -sign leaf.key -out app.sig1 app.prepared.1.tbs");
    let ran = bench
        .line("sign app.wasm --finish app.prepared --signature app.sig1")
        .succeeded();
    assert!(ran.stdout.contains("app.signed.wasm"), "{ran:#?}");
    pki::verify(&bench, "app.signed.wasm", "").succeeded();
}

#[test]
fn two_signers_prepare_together_and_their_signatures_come_in_any_order() {
    let bench = prepared("--chain chain.pem --chain second.pem");
    let json: serde_json::Value =
        serde_json::from_slice(&bench.read("app.prepared")).expect("JSON");
    let (mut p256, mut ed25519) = (0, 0);
    for (index, signer) in json["signers"]
        .as_array()
        .expect("a list")
        .iter()
        .enumerate()
    {
        match signer["algorithm"].as_str() {
            Some("Ed25519") => ed25519 = index + 1,
            _ => p256 = index + 1,
        }
    }
    bench.openssl(&format!(
        "dgst -sha256 -sign leaf.key -out first app.prepared.{p256}.tbs"
    ));
    bench.openssl(&format!(
        "pkeyutl -sign -rawin -inkey second.key -in app.prepared.{ed25519}.tbs -out second"
    ));
    let finish = "sign app.wasm --finish app.prepared";
    bench
        .line(&format!("{finish} --signature first"))
        .failed(2, &["no signature of the key"]);
    bench
        .line(&format!("{finish} --signature first --signature second"))
        .succeeded();
    bench
        .line(&format!(
            "{finish} --signature second --signature first --output other.wasm"
        ))
        .succeeded();
    assert_eq!(bench.read("app.signed.wasm"), bench.read("other.wasm"));
    pki::verify(&bench, "app.signed.wasm", "--signers 2").succeeded();
}

#[test]
fn a_wrong_signature_or_a_changed_component_finishes_nothing() {
    let bench = prepared("--chain chain.pem");
    bench.openssl("dgst -sha256 -sign leaf.key -out good app.prepared.1.tbs");
    bench.openssl("dgst -sha256 -sign leaf.key -out other app.wasm");
    bench.write("short", [0; 10]);
    let finish = "sign app.wasm --finish app.prepared";
    bench
        .line(&format!("{finish} --signature other"))
        .failed(2, &["signature"]);
    bench
        .line(&format!("{finish} --signature short"))
        .failed(2, &["signature"]);
    bench
        .line(&format!("{finish} --signature missing"))
        .failed(2, &["missing"]);
    bench.line(finish).failed(2, &["--signature"]);
    bench
        .line(&format!("{finish} --signature good --signature good"))
        .failed(2, &["signature 2"]);
    bench.write("app.wasm", [COMPONENT, b"\0\x02\x01x"].concat());
    bench
        .line(&format!("{finish} --signature good"))
        .failed(111, &["digest-mismatch"]);
    bench.write("app.prepared", "{}");
    bench
        .line(&format!("{finish} --signature good"))
        .failed(2, &["app.prepared"]);
    assert!(!bench.exists("app.signed.wasm"));
}

#[test]
fn preparing_overwrites_nothing() {
    let bench = prepared("--chain chain.pem");
    let before = (bench.read("app.prepared"), bench.read("app.prepared.1.tbs"));
    bench
        .line("sign app.wasm --chain chain.pem --security-version 5 --prepare app.prepared")
        .failed(2, &["app.prepared", "exists"]);
    assert_eq!(
        (bench.read("app.prepared"), bench.read("app.prepared.1.tbs")),
        before
    );
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem --prepare other")
        .failed(2, &["--key"]);
}

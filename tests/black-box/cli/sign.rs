//! `countersign sign`, `attach`, `detach`, `strip`: what is signed stays as it was, and its signature can be taken off
//! and put back.

use std::fs;

use countersign_testing::write_program;

use super::bench::{Bench, COMPONENT};
use super::pki;

const MANIFEST: &str = "name = \"acme:pump\"\nversion = \"1.2.3\"\nsecurity-version = 4\n";

/// A folder with a PKI, a component and its manifest.
pub(super) fn ready() -> Bench {
    let bench = pki::bench();
    bench.write("app.wasm", COMPONENT);
    bench.write("component.toml", MANIFEST);
    bench
}

#[test]
fn signing_appends_and_the_manifest_beside_the_component_is_used() {
    let bench = ready();
    let ran = bench
        .line("sign app.wasm --key leaf.key --chain chain.pem")
        .succeeded();
    assert!(
        ran.stdout.contains("app.signed.wasm") && ran.stdout.contains("acme:pump"),
        "{ran:#?}"
    );
    let signed = bench.read("app.signed.wasm");
    assert!(signed.starts_with(COMPONENT) && signed.len() > COMPONENT.len());
    assert_eq!(
        bench.read("app.wasm"),
        COMPONENT,
        "the input stays as it was"
    );

    let shown = bench
        .line("inspect app.signed.wasm --json")
        .succeeded()
        .json();
    assert_eq!(shown["statement"]["name"], "acme:pump");
    assert_eq!(shown["statement"]["version"], "1.2.3");
    assert_eq!(shown["statement"]["security_version"], 4);
    assert_eq!(shown["verified"], false);
    let sum = String::from_utf8(bench.openssl("dgst -sha256 -r app.wasm")).expect("text");
    assert_eq!(
        shown["statement"]["component_sha256"].as_str(),
        sum.split_whitespace().next()
    );
}

#[test]
fn the_manifest_may_be_named_or_lie_in_cargo_toml_or_be_flags() {
    let bench = ready();
    let name = |bench: &Bench| {
        let shown = bench.line("inspect out.wasm --json").succeeded().json();
        fs::remove_file(bench.path("out.wasm")).expect("made");
        (
            shown["statement"]["name"].clone(),
            shown["statement"]["security_version"].clone(),
        )
    };
    let sign = "sign app.wasm --key leaf.key --chain chain.pem --output out.wasm";

    bench.write("other.toml", MANIFEST.replace("pump", "valve"));
    bench
        .line(&format!("{sign} --manifest other.toml"))
        .succeeded();
    assert_eq!(name(&bench), ("acme:valve".into(), 4.into()));

    bench
        .line(&format!("{sign} --security-version 9"))
        .succeeded();
    assert_eq!(name(&bench), ("acme:pump".into(), 9.into()));

    fs::remove_file(bench.path("component.toml")).expect("ours");
    bench.write(
        "Cargo.toml",
        "[package]\nname = \"pump\"\nversion = \"0.5.0\"\n\n[package.metadata.countersign]\n\
         name = \"acme:cargo\"\nversion = \"0.5.0\"\nsecurity-version = 2\n",
    );
    bench
        .line(&format!("{sign} --manifest Cargo.toml"))
        .succeeded();
    assert_eq!(name(&bench), ("acme:cargo".into(), 2.into()));
    fs::remove_file(bench.path("Cargo.toml")).expect("ours");

    bench
        .line(&format!(
            "{sign} --name acme:flags --component-version 1.0.0 --security-version 1"
        ))
        .succeeded();
    assert_eq!(name(&bench), ("acme:flags".into(), 1.into()));

    bench
        .line(&format!("{sign} --name acme:flags"))
        .failed(2, &["--component-version"]);
    bench
        .line(sign)
        .failed(2, &["component.toml", "--manifest"]);
    assert!(!bench.exists("out.wasm"));
}

#[test]
fn a_signed_file_is_signed_again_only_on_request() {
    let bench = ready();
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem")
        .succeeded();
    let first = bench.read("app.signed.wasm");
    let again = "sign app.signed.wasm --key leaf.key --chain chain.pem --security-version 5 --output again.wasm";
    bench.line(again).failed(2, &["signed", "--replace"]);
    assert!(!bench.exists("again.wasm"));
    bench.line(&format!("{again} --replace")).succeeded();
    let second = bench.read("again.wasm");
    assert!(second.starts_with(COMPONENT) && second != first);
    let shown = bench.line("inspect again.wasm --json").succeeded().json();
    assert_eq!(shown["statement"]["security_version"], 5);
    // In place, too.
    bench
        .line("sign app.signed.wasm --key leaf.key --chain chain.pem --security-version 6 --replace --force")
        .succeeded();
    assert!(bench.read("app.signed.wasm").starts_with(COMPONENT));
    pki::verify(&bench, "app.signed.wasm", "").succeeded();
}

#[test]
fn several_signers_sign_one_statement() {
    let bench = ready();
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem --key second.key --chain second.pem")
        .succeeded();
    let shown = bench
        .line("inspect app.signed.wasm --json")
        .succeeded()
        .json();
    assert_eq!(
        shown["signers"].as_array().map(Vec::len),
        Some(2),
        "{shown}"
    );
    pki::verify(&bench, "app.signed.wasm", "--signers 2").succeeded();
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem --key leaf.key --chain chain.pem --output twice.wasm")
        .failed(2, &["twice"]);
}

#[test]
fn detach_strip_and_attach_are_inverse() {
    let bench = ready();
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem")
        .succeeded();
    bench
        .line("detach app.signed.wasm --output app.sig")
        .succeeded();
    bench
        .line("strip app.signed.wasm --output plain.wasm")
        .succeeded();
    assert_eq!(bench.read("plain.wasm"), COMPONENT);
    bench
        .line("attach plain.wasm app.sig --output again.wasm")
        .succeeded();
    assert_eq!(bench.read("again.wasm"), bench.read("app.signed.wasm"));
    let detached = bench.line("inspect app.sig --json").succeeded().json();
    assert_eq!(detached["statement"]["name"], "acme:pump");

    bench
        .line("detach app.wasm --output none.sig")
        .failed(110, &["signature-missing"]);
    bench
        .line("strip app.wasm --output none.wasm")
        .failed(110, &["signature-missing"]);
    bench
        .line("attach app.signed.wasm app.sig --output none.wasm")
        .failed(2, &["signed"]);
    bench
        .line("attach app.wasm app.wasm --output none.wasm")
        .failed(111, &["code:"]);
    bench
        .line("attach missing.wasm app.sig --output none.wasm")
        .failed(2, &["missing.wasm"]);
    bench
        .line("attach app.wasm missing.sig --output none.wasm")
        .failed(2, &["missing.sig"]);
    bench
        .line("attach app.wasm app.sig --output again.wasm")
        .failed(2, &["again.wasm", "--force"]);
    // A signature of another component would make a file that every host refuses.
    bench.write("other.wasm", [COMPONENT, b"\0\x02\x01x"].concat());
    bench
        .line("attach other.wasm app.sig --output none.wasm")
        .failed(111, &["digest-mismatch"]);
    assert!(!bench.exists("none.wasm") && !bench.exists("none.sig"));
}

#[test]
fn a_signer_of_ones_own_signs_through_exec() {
    let bench = ready();
    // Ed25519, for OpenSSL prints that signature raw.
    write_program(
        &bench.path("hsm"),
        b"#!/bin/sh\nset -e\ncase \"$1\" in\n\
         public-key) openssl pkey -in \"$0.key\" -pubout ;;\n\
         sign) cat > \"$0.message\"; openssl pkeyutl -sign -rawin -inkey \"$0.key\" -in \"$0.message\" ;;\nesac\n",
    );
    fs::copy(bench.path("second.key"), bench.path("hsm.key")).expect("ours");
    let hsm = format!("exec:{}", bench.path("hsm").display());
    bench
        .countersign(["sign", "app.wasm", "--key", &hsm, "--chain", "second.pem"])
        .succeeded();
    pki::verify(&bench, "app.signed.wasm", "").succeeded();

    // One that signs something else is caught before anything is written.
    fs::remove_file(bench.path("app.signed.wasm")).expect("made");
    write_program(
        &bench.path("liar"),
        b"#!/bin/sh\ncase \"$1\" in\npublic-key) openssl pkey -in second.key -pubout ;;\n\
         sign) head -c 64 /dev/zero ;;\nesac\n",
    );
    let liar = format!("exec:{}", bench.path("liar").display());
    bench
        .countersign(["sign", "app.wasm", "--key", &liar, "--chain", "second.pem"])
        .failed(119, &["key-hardware"]);
    bench
        .countersign([
            "sign",
            "app.wasm",
            "--key",
            "exec:/nonexistent",
            "--chain",
            "second.pem",
        ])
        .failed(2, &["/nonexistent"]);
    assert!(!bench.exists("app.signed.wasm"));
}

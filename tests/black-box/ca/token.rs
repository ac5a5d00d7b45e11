//! An authority whose key lives in a token: it never lies in the directory, and OpenSSL takes what it signs.

use std::process::Command;

use countersign_testing::tokens::{Module, Tokens};

use crate::cli::bench::{Bench, Ran, program};

/// `countersign-ca` where the module finds its tokens. ROOT stands for the URI of the root's key.
fn ca(bench: &Bench, tokens: &Tokens, line: &str) -> Ran {
    let (variable, conf) = tokens.environment();
    let mut command = Command::new(program("countersign-ca"));
    command.env(variable, conf);
    for word in line.split_whitespace() {
        command.arg(match word {
            "ROOT" => tokens.uri("ceremony", "root-2026"),
            word => word.to_owned(),
        });
    }
    bench.run(command, b"")
}

fn root_in_a_token(module: Module) {
    let bench = Bench::new();
    let tokens = Tokens::with(module, "ceremony");
    let made = ca(
        &bench,
        &tokens,
        "init --org Acme --name Root --key ROOT --json",
    )
    .succeeded();
    let key = made.json()["key"].as_str().expect("its URI").to_owned();
    assert!(key.contains("object=root-2026"), "{key}");
    assert!(!bench.exists("ca/authorities/root/key.pem"));

    // Below it: an authority with a key in a file, a device's certificate, and lists.
    ca(&bench, &tokens, "intermediate --name Devices --unencrypted").succeeded();
    bench
        .line("key generate press-4.key --unencrypted")
        .succeeded();
    bench
        .line("key csr press-4.key --device-id press-4 --output press-4.csr")
        .succeeded();
    ca(
        &bench,
        &tokens,
        "issue --profile component-signer --csr press-4.csr --scope acme:* --out press-4.pem",
    )
    .succeeded();
    ca(&bench, &tokens, "crl --out crls.pem").succeeded();

    // OpenSSL: the chain, the revocation lists, and that the root's key is the token's.
    let root = "ca/authorities/root/certificate.pem";
    let middle = "ca/authorities/devices/certificate.pem";
    bench.openssl(&format!(
        "verify -x509_strict -crl_check_all -CRLfile crls.pem -CAfile {root} -untrusted {middle} press-4.pem"
    ));
    let (variable, conf) = tokens.environment();
    let mut show = Command::new(program("countersign"));
    show.env(variable, conf);
    show.args(["key", "show", &tokens.uri("ceremony", "root-2026"), "--pem"]);
    let shown = bench.run(show, b"").succeeded().stdout;
    let certified = bench.openssl(&format!("x509 -in {root} -noout -pubkey"));
    assert_eq!(shown.as_bytes(), certified);

    // Our own verdict on a component that the device signed.
    bench.write("app.wasm", crate::cli::bench::COMPONENT);
    bench
        .line(
            "sign app.wasm --key press-4.key --chain press-4.pem --name acme:pump --component-version 1.0.0 --security-version 1",
        )
        .succeeded();
    bench
        .line(&format!(
            "verify app.signed.wasm --roots {root} --crl crls.pem"
        ))
        .succeeded();
}

#[test]
fn a_root_lives_in_softhsm_and_openssl_verifies_what_it_signs() {
    root_in_a_token(Module::SoftHsm);
}

#[test]
fn a_root_lives_in_kryoptic_and_openssl_verifies_what_it_signs() {
    root_in_a_token(Module::Kryoptic);
}

#[test]
fn tf01_tf08_without_its_token_or_with_another_key_an_authority_signs_nothing() {
    let bench = Bench::new();
    let tokens = Tokens::with(Module::SoftHsm, "ceremony");
    ca(&bench, &tokens, "init --org Acme --name Root --key ROOT").succeeded();
    ca(&bench, &tokens, "crl --out first.pem").succeeded();

    // The token is in the safe.
    let empty = Tokens::none(Module::SoftHsm);
    ca(&bench, &empty, "crl --out second.pem").failed(2, &["there is no token", "put it in"]);
    ca(&bench, &empty, "intermediate --name Devices --unencrypted")
        .failed(2, &["there is no token"]);
    // One with the same labels, and another key in it.
    let other = Tokens::with(Module::SoftHsm, "ceremony");
    let uri = other.uri("ceremony", "root-2026");
    let (variable, conf) = other.environment();
    let mut generate = Command::new(program("countersign"));
    generate.env(variable, conf).args(["key", "generate", &uri]);
    bench.run(generate, b"").succeeded();
    std::fs::copy(other.path("pin"), tokens.path("pin")).expect("ours");
    ca(&bench, &other, "crl --out second.pem").failed(119, &["another key", "nothing was signed"]);
    assert!(!bench.exists("second.pem") && !bench.exists("ca/authorities/devices"));

    // A key that is there is used as it is, and of the kind that was said.
    ca(
        &bench,
        &other,
        "init --dir other --org Acme --name Root --algorithm ed25519 --key ROOT",
    )
    .failed(2, &["ESP256", "--algorithm"]);
    // No key in a file where a token was asked for.
    ca(
        &bench,
        &empty,
        "init --dir none --org Acme --name Root --key ROOT",
    )
    .failed(2, &["there is no token"]);
    assert!(!bench.exists("other") && !bench.exists("none"));
}

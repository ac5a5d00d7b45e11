//! OpenSSL reads what `countersign-ca` issues, verifies the chain by its strict rules, and sees revocations; and
//! `countersign-ca` takes OpenSSL's keys and requests.

use std::process::Command;

use crate::cli::bench::{Bench, Ran, program};

/// A PKI in `ca/`, and the chain of one device in `chain.pem` with its root in `root.pem` and the lists in `crls.pem`.
fn bench(algorithm: &str) -> Bench {
    let bench = Bench::new();
    ca(
        &bench,
        &format!("init --org Acme --name Root --country DE --algorithm {algorithm} --unencrypted"),
    )
    .succeeded();
    ca(
        &bench,
        &format!("intermediate --name Devices --algorithm {algorithm} --unencrypted"),
    )
    .succeeded();
    bench.write(
        "root.pem",
        bench.read("ca/authorities/root/certificate.pem"),
    );
    bench
}

/// `countersign-ca` in this folder, its directory `ca`.
fn ca(bench: &Bench, arguments: &str) -> Ran {
    let mut command = Command::new(program("countersign-ca"));
    command.args(arguments.split_whitespace());
    bench.run(command, b"")
}

/// A key of OpenSSL's making, as `device.key`, and a request for it as `device.csr`.
fn openssl_request(bench: &Bench, algorithm: &str) {
    let kind = match algorithm {
        "ed25519" => "-algorithm ED25519",
        _ => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    };
    bench.openssl(&format!("genpkey {kind} -out device.key"));
    bench.openssl(
        "req -new -key device.key -subj /O=Acme/CN=press/serialNumber=press-4 -out device.csr",
    );
}

fn verify(bench: &Bench, more: &str) -> Ran {
    let mut command = Command::new("openssl");
    let arguments = format!(
        "verify -x509_strict -crl_check_all -check_ss_sig -CAfile root.pem -untrusted chain.pem -CRLfile crls.pem {more} chain.pem"
    );
    command.args(arguments.split_whitespace());
    bench.run(command, b"")
}

/// Whether this OpenSSL has the purpose "codesign" (from 3.2 on).
fn knows_codesign(bench: &Bench) -> bool {
    let mut command = Command::new("openssl");
    command.args([
        "verify", "-purpose", "codesign", "-CAfile", "root.pem", "root.pem",
    ]);
    !bench.run(command, b"").stderr.contains("Invalid purpose")
}

/// The serial of the first certificate in a file, as OpenSSL writes it.
fn serial(bench: &Bench, file: &str) -> String {
    let text = bench.openssl(&format!("x509 -in {file} -noout -serial"));
    let text = String::from_utf8(text).expect("text");
    text.trim().trim_start_matches("serial=").to_owned()
}

#[test]
fn openssl_verifies_the_chain_until_it_is_revoked() {
    for algorithm in ["p256", "ed25519"] {
        let bench = bench(algorithm);
        openssl_request(&bench, algorithm);
        ca(
            &bench,
            "issue --profile component-signer --csr device.csr --scope acme:* --out chain.pem",
        )
        .succeeded();
        ca(&bench, "crl --out crls.pem").succeeded();
        let mut purposes = vec!["-purpose any"];
        if knows_codesign(&bench) {
            purposes.push("-purpose codesign");
        }
        for purpose in purposes {
            let ran = verify(&bench, purpose).succeeded();
            assert!(ran.stdout.contains("chain.pem: OK"), "{ran:#?}");
        }
        // A certificate for code signing is none for TLS.
        let ran = verify(&bench, "-purpose sslclient");
        assert!(
            ran.status != 0 && ran.stderr.contains("purpose"),
            "{ran:#?}"
        );

        // TD14: the device, then the authority above it.
        let device = serial(&bench, "chain.pem");
        ca(&bench, &format!("revoke {device} --reason key-compromise")).succeeded();
        ca(&bench, "crl --out crls.pem --force").succeeded();
        let ran = verify(&bench, "");
        assert!(ran.status != 0, "{ran:#?}");
        assert!(
            ran.stderr
                .contains("error 23 at 0 depth lookup: certificate revoked"),
            "{ran:#?}"
        );

        // OpenSSL stops at the first, so a device that is not revoked itself shows the second.
        bench.openssl("genpkey -algorithm ED25519 -out other.key");
        bench.openssl("req -new -key other.key -subj /CN=x/serialNumber=press-5 -out other.csr");
        ca(&bench, "issue --profile component-signer --csr other.csr --scope acme:* --out chain.pem --force").succeeded();
        let authority = serial(&bench, "ca/authorities/devices/certificate.pem");
        ca(
            &bench,
            &format!("revoke {authority} --reason ca-compromise"),
        )
        .succeeded();
        ca(&bench, "crl --out crls.pem --force").succeeded();
        let ran = verify(&bench, "");
        assert!(
            ran.stderr
                .contains("error 23 at 1 depth lookup: certificate revoked"),
            "{ran:#?}"
        );
    }
}

#[test]
fn openssl_sees_the_names_and_extensions_of_each_kind() {
    let bench = bench("p256");
    let root = text(&bench, "x509 -in root.pem -noout -text");
    for line in [
        "CA:TRUE, pathlen:1",
        "Certificate Sign, CRL Sign",
        "C = DE, O = Acme, CN = Root",
    ] {
        assert!(root.contains(line), "{line} in {root}");
    }
    bench.openssl("verify -x509_strict -check_ss_sig -CAfile root.pem root.pem");

    for (profile, more, usage) in [
        ("component-signer", "--scope acme:*", Some("Code Signing")),
        (
            "tls",
            "--dns press-4.example",
            Some("TLS Web Client Authentication, TLS Web Server Authentication"),
        ),
        ("guest-data", "", Some("1.3.6.1.5.5.7.3.36")),
        ("attestation", "", Some("2.23.133.8.3")),
        ("idevid", "", None),
    ] {
        let key = format!("{profile}.key");
        bench.openssl(&format!("genpkey -algorithm ED25519 -out {key}"));
        bench.openssl(&format!("pkey -in {key} -pubout -out {profile}.pub"));
        ca(
            &bench,
            &format!("issue --profile {profile} --public-key {profile}.pub --device-id press-4 {more} --out {profile}.pem"),
        )
        .succeeded();
        let shown = text(&bench, &format!("x509 -in {profile}.pem -noout -text"));
        assert!(shown.contains("serialNumber = press-4"), "{shown}");
        // id-on-hardwareModuleName, RFC 4108.
        assert!(shown.contains("1.3.6.1.5.5.7.8.4"), "{shown}");
        assert!(shown.contains("Digital Signature"), "{shown}");
        match usage {
            Some(usage) => assert!(shown.contains(usage), "{usage} in {shown}"),
            None => assert!(!shown.contains("Extended Key Usage"), "{shown}"),
        }
        assert_eq!(
            shown.contains("DNS:press-4.example"),
            profile == "tls",
            "{shown}"
        );
        assert_eq!(
            shown.contains("Not After : Dec 31 23:59:59 9999 GMT"),
            profile == "idevid",
            "{shown}"
        );
        // The chain is leaf and intermediate; the root is the host's.
        let chain = String::from_utf8(bench.read(&format!("{profile}.pem"))).expect("PEM");
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    }
    // A TLS certificate serves both ends.
    bench.write("chain.pem", bench.read("tls.pem"));
    ca(&bench, "crl --out crls.pem").succeeded();
    for purpose in ["sslclient", "sslserver -verify_hostname press-4.example"] {
        verify(&bench, &format!("-purpose {purpose}")).succeeded();
    }
}

#[test]
fn der_and_pem_hold_the_same() {
    let bench = bench("p256");
    openssl_request(&bench, "p256");
    bench.openssl("req -in device.csr -outform DER -out device.der");
    ca(
        &bench,
        "issue --profile tls --csr device.der --der --out leaf.der",
    )
    .succeeded();
    assert!(text(&bench, "x509 -inform DER -in leaf.der -noout -subject").contains("press-4"));
    ca(&bench, "crl --issuer devices --der --out devices.crl").succeeded();
    let crl = text(&bench, "crl -inform DER -in devices.crl -noout -text");
    assert!(
        crl.contains("X509v3 CRL Number") && crl.contains("Version 2"),
        "{crl}"
    );
    assert_eq!(
        bench.read("devices.crl"),
        bench.read("ca/authorities/devices/crl.der")
    );
    let verified = bench.run(
        {
            let mut command = Command::new("openssl");
            command.args("crl -in devices.crl -inform DER -CAfile ca/authorities/devices/certificate.pem -noout".split(' '));
            command
        },
        b"",
    );
    assert!(verified.stderr.contains("verify OK"), "{verified:#?}");
}

#[test]
fn openssl_accepts_a_desk_tools_request_and_so_does_the_authority() {
    for algorithm in ["p256", "ed25519"] {
        let bench = bench("p256");
        bench
            .line(&format!(
                "key generate new.key --algorithm {algorithm} --unencrypted"
            ))
            .succeeded();
        bench
            .line("key csr new.key --device-id press_4 --device-type press --output new.csr")
            .succeeded();
        bench.openssl("req -in new.csr -verify -noout");
        // The type is the operator's to say; the request's own word is named and has no effect.
        let ran = ca(
            &bench,
            "issue --profile component-signer --csr new.csr --scope acme:* --out chain.pem",
        )
        .succeeded();
        assert!(
            ran.stderr.contains("ignored in the request: device type"),
            "{ran:#?}"
        );
        let ours = bench.line("key show new.key --pem").succeeded().stdout;
        assert_eq!(text(&bench, "x509 -in chain.pem -noout -pubkey"), ours);
        ca(&bench, "crl --out crls.pem").succeeded();
        verify(&bench, "").succeeded();
    }
}

#[test]
fn tg03_a_request_that_openssl_finds_unproven_is_refused() {
    let bench = bench("p256");
    openssl_request(&bench, "p256");
    bench.openssl("req -in device.csr -outform DER -out device.der");
    let mut request = bench.read("device.der");
    let last = request.len() - 1;
    request[last] ^= 1;
    bench.write("device.der", request);
    ca(
        &bench,
        "issue --profile tls --csr device.der --out leaf.pem",
    )
    .failed(2, &["proof of possession"]);
    assert!(!bench.exists("leaf.pem"));
    // RSA, and a curve that devices do not have.
    for kind in [
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    ] {
        bench.openssl(&format!("genpkey {kind} -out other.key"));
        bench.openssl("req -new -key other.key -subj /CN=x/serialNumber=press-4 -out other.csr");
        ca(&bench, "issue --profile tls --csr other.csr --out leaf.pem")
            .failed(2, &["P-256 and Ed25519"]);
    }
    assert!(!bench.exists("leaf.pem"));
}

fn text(bench: &Bench, arguments: &str) -> String {
    String::from_utf8(bench.openssl(arguments)).expect("text")
}

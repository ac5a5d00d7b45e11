//! A PKI for these tests, made once by the built `countersign-ca` with keys and requests of the built `countersign`.

use std::process::Command;
use std::sync::LazyLock;

use super::bench::{Bench, Ran, program};

/// Roots, chains, keys and lists that every test of a signed file needs, by file name.
///
/// - `root.pem`, `root.crl`, `devices.crl`: one authority, its root's list and its issuing CA's;
/// - `leaf.key`, `chain.pem`: P-256, device build-07, may sign `acme:*`;
/// - `second.key`, `second.pem`: Ed25519, device build-08, the same;
/// - `revoked.key`, `revoked.pem`: the same, and revoked;
/// - `other-root.pem`: the root of an authority that has nothing to do with the first.
static FILES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(make);

/// A folder that holds all of them.
pub(crate) fn bench() -> Bench {
    let bench = Bench::new();
    for (name, bytes) in FILES.iter() {
        if name.ends_with(".key") {
            bench.write_private(name, bytes);
        } else {
            bench.write(name, bytes);
        }
    }
    bench
}

/// `countersign verify FILE` with the root and both lists, and whatever else is given.
pub(crate) fn verify(bench: &Bench, file: &str, more: &str) -> Ran {
    bench.line(&format!(
        "verify {file} --roots root.pem --crl root.crl --crl devices.crl {more}"
    ))
}

fn make() -> Vec<(String, Vec<u8>)> {
    let bench = Bench::new();
    let ca = |arguments: &[&str]| {
        let mut command = Command::new(program("countersign-ca"));
        command.args(arguments);
        bench.run(command, b"").succeeded().stdout
    };
    for (dir, name) in [("ca", "Acme Root"), ("other", "Other Root")] {
        ca(&[
            "init",
            "--dir",
            dir,
            "--org",
            "Acme",
            "--name",
            name,
            "--unencrypted",
        ]);
    }
    ca(&[
        "intermediate",
        "--dir",
        "ca",
        "--name",
        "Acme Devices",
        "--id",
        "devices",
        "--unencrypted",
    ]);
    for (key, chain, algorithm, device) in [
        ("leaf.key", "chain.pem", "p256", "build-07"),
        ("second.key", "second.pem", "ed25519", "build-08"),
        ("revoked.key", "revoked.pem", "p256", "build-09"),
    ] {
        bench
            .line(&format!(
                "key generate {key} --algorithm {algorithm} --unencrypted"
            ))
            .succeeded();
        bench
            .line(&format!(
                "key csr {key} --device-id {device} --output {device}.csr"
            ))
            .succeeded();
        let request = format!("{device}.csr");
        ca(&[
            "issue",
            "--dir",
            "ca",
            "--profile",
            "component-signer",
            "--csr",
            &request,
            "--scope",
            "acme:*",
            "--out",
            chain,
        ]);
    }
    let serial =
        String::from_utf8(bench.openssl("x509 -in revoked.pem -noout -serial")).expect("text");
    let serial = serial.trim().trim_start_matches("serial=").to_lowercase();
    ca(&[
        "revoke",
        "--dir",
        "ca",
        &serial,
        "--reason",
        "key-compromise",
    ]);
    ca(&["crl", "--dir", "ca"]);

    let mut files: Vec<(String, Vec<u8>)> = bench
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".key") || name.ends_with(".pem"))
        .map(|name| (name.clone(), bench.read(&name)))
        .collect();
    for (name, source) in [
        ("root.pem", "ca/authorities/root/certificate.pem"),
        ("root.crl", "ca/authorities/root/crl.pem"),
        // DER, to show that both are taken.
        ("devices.crl", "ca/authorities/devices/crl.der"),
        ("other-root.pem", "other/authorities/root/certificate.pem"),
    ] {
        files.push((name.to_owned(), bench.read(source)));
    }
    files
}

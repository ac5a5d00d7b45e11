//! pkilint, which knows RFC 5280 as a list of rules, finds nothing in what `countersign-ca` issues.

use std::process::Command;

use crate::cli::bench::{Bench, program};

/// What may be found all the same, and why.
const ALLOWED: &[(&str, &str)] = &[(
    "pkix.subject_key_identifier_rfc7093_method_1_identified",
    "says which of RFC 7093's methods made the identifier",
)];

/// `countersign-ca` in this folder.
fn ca(bench: &Bench, arguments: &str) {
    let mut command = Command::new(program("countersign-ca"));
    command.args(arguments.split_whitespace());
    bench.run(command, b"").succeeded();
}

/// The codes that a linter gives, each with where.
fn findings(bench: &Bench, arguments: &str) -> Vec<(String, String)> {
    let mut words = arguments.split_whitespace();
    let mut command = Command::new(words.next().expect("a linter"));
    command
        .arg("lint")
        .args(["-s", "ALL", "-f", "JSON"])
        .args(words);
    let ran = bench.run(command, b"");
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| {
        panic!("{arguments}: {error}; `cargo xtask test` installs pkilint: {ran:#?}")
    });
    let results = report["results"].as_array().expect("a list of results");
    // A linter that looked at nothing would find nothing.
    assert!(results.len() > 15, "{arguments}: {report}");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    results
        .iter()
        .flat_map(|result| {
            let found = result["finding_descriptions"].as_array();
            found
                .into_iter()
                .flatten()
                .map(|finding| (text(&finding["code"]), text(&result["node_path"])))
        })
        .collect()
}

#[track_caller]
fn clean(bench: &Bench, arguments: &str) {
    let found: Vec<_> = findings(bench, arguments)
        .into_iter()
        .filter(|(code, _)| !ALLOWED.iter().any(|(allowed, _)| allowed == code))
        .collect();
    assert!(found.is_empty(), "{arguments}: {found:#?}");
}

/// Writes the first certificate of a chain to a file of its own.
fn first(bench: &Bench, chain: &str, certificate: &str) {
    const END: &str = "-----END CERTIFICATE-----\n";
    let chain = String::from_utf8(bench.read(chain)).expect("PEM");
    let end = chain.find(END).expect("a certificate") + END.len();
    bench.write(certificate, &chain[..end]);
}

/// An authority with everything that it can issue, linted.
fn issue_and_lint(algorithm: &str) {
    let bench = Bench::new();
    ca(
        &bench,
        &format!(
            "init --org Acme --name Root --country DE --path-length 2 --algorithm {algorithm} --unencrypted"
        ),
    );
    ca(
        &bench,
        &format!("intermediate --name Upper --path-length 1 --algorithm {algorithm} --unencrypted"),
    );
    ca(
        &bench,
        &format!(
            "intermediate --name Lower --issuer upper --scope acme:* --algorithm {algorithm} --unencrypted"
        ),
    );
    for authority in ["root", "upper", "lower"] {
        let certificate = format!("ca/authorities/{authority}/certificate.pem");
        clean(&bench, &format!("lint_pkix_cert {certificate}"));
    }
    // What hardware holds is P-256.
    let hardware = match algorithm {
        "p256" => "--hardware atecc608",
        _ => "",
    };
    for (number, (profile, more)) in [
        (
            "component-signer",
            "--scope acme:press --device-type press --capability cut",
        ),
        ("component-signer", "--scope acme:* --no-rev-avail"),
        ("tls", "--dns press.example --hardware-revision B2"),
        ("guest-data", "--firmware-version 1.2.3"),
        ("attestation", hardware),
        ("idevid", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("device-{number}");
        bench
            .line(&format!(
                "key generate {name}.key --algorithm {algorithm} --unencrypted"
            ))
            .succeeded();
        bench
            .line(&format!(
                "key csr {name}.key --device-id {name} --output {name}.csr"
            ))
            .succeeded();
        ca(
            &bench,
            &format!(
                "issue --profile {profile} --csr {name}.csr --issuer lower {more} --out {name}.chain.pem"
            ),
        );
        first(&bench, &format!("{name}.chain.pem"), &format!("{name}.pem"));
        clean(&bench, &format!("lint_pkix_cert {name}.pem"));
        if number == 0 {
            let issuer = "ca/authorities/lower/certificate.pem";
            clean(
                &bench,
                &format!("lint_pkix_signer_signee_cert_chain {issuer} {name}.pem"),
            );
        }
    }
    // Lists without entries, and one with.
    let serial = bench.openssl("x509 -in device-2.pem -noout -serial");
    let serial = String::from_utf8(serial)
        .expect("hexadecimal")
        .to_lowercase();
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    ca(&bench, &format!("revoke {serial} --reason key-compromise"));
    ca(&bench, "crl --out crls.pem");
    for (authority, kind) in [("root", "ARL"), ("upper", "ARL"), ("lower", "CRL")] {
        let list = format!("ca/authorities/{authority}/crl.pem");
        clean(&bench, &format!("lint_crl -t {kind} -p PKIX {list}"));
    }
}

#[test]
fn tg20_pkilint_finds_nothing_in_what_a_p256_authority_issues() {
    issue_and_lint("p256");
}

#[test]
fn tg20_pkilint_finds_nothing_in_what_an_ed25519_authority_issues() {
    issue_and_lint("ed25519");
}

#[test]
fn tg20_pkilint_finds_what_is_wrong() {
    let pki = countersign_testing::TestPki::builder()
        .valid(countersign_testing::Role::Leaf, 100, 50)
        .build();
    let bench = Bench::new();
    bench.write("leaf.der", &pki.chain()[0]);
    let found = findings(&bench, "lint_pkix_cert --document-format DER leaf.der");
    let code = "pkix.certificate_negative_validity_period";
    assert!(found.iter().any(|(found, _)| found == code), "{found:#?}");
}

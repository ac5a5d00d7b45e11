//! `countersign verify`: the verdict, its exit status, its explanation and its JSON form.

use std::fs;

use super::bench::{Bench, COMPONENT, Ran};
use super::pki::verify;
use super::sign::ready;

/// A folder with `app.signed.wasm`.
fn signed() -> Bench {
    let bench = ready();
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem")
        .succeeded();
    bench
}

/// The refusal has this code, on standard error and in the JSON form, and this status.
#[track_caller]
fn refused(bench: &Bench, file: &str, more: &str, code: &str, status: i32) -> Ran {
    let json = verify(bench, file, &format!("{more} --json"))
        .failed(status, &[code])
        .json();
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["refusal"]["code"], code, "{json}");
    assert_eq!(json["refusal"]["exit_status"], status);
    assert!(
        json["statement"].is_null(),
        "nothing of a refused file is repeated as true: {json}"
    );
    let ran = verify(bench, file, more).failed(status, &[&format!("code: {code}"), "next: "]);
    assert_eq!(ran.stdout, "", "{ran:#?}");
    ran
}

#[test]
fn a_good_file_is_accepted_with_who_signed_it_and_under_which_root() {
    let bench = signed();
    let ran = verify(&bench, "app.signed.wasm", "").succeeded();
    for word in ["accepted", "acme:pump 1.2.3", "build-07", "Acme Root"] {
        assert!(ran.stdout.contains(word), "{word}: {ran:#?}");
    }
    assert_eq!(ran.stderr, "");
    let json = verify(&bench, "app.signed.wasm", "--json")
        .succeeded()
        .json();
    assert_eq!(json["verdict"], "accepted");
    assert_eq!(json["statement"]["name"], "acme:pump");
    assert_eq!(json["signers"][0]["device_id"], "build-07");
    assert_eq!(json["development_root"], false);
    assert!(
        json["checks"].is_null() && json["refusal"].is_null(),
        "{json}"
    );
}

#[test]
fn ta01_no_signature_section() {
    refused(&ready(), "app.wasm", "", "signature-missing", 110);
}

#[test]
fn every_changed_byte_is_noticed() {
    let bench = signed();
    let good = bench.read("app.signed.wasm");
    for index in 0..good.len() {
        let mut bytes = good.clone();
        bytes[index] ^= 1;
        bench.write("bad.wasm", bytes);
        let ran = verify(&bench, "bad.wasm", "");
        assert!(
            (110..=115).contains(&ran.status) && ran.stderr.contains("refused: "),
            "byte {index}: {ran:#?}"
        );
    }
    // One of the component itself, away from every length and preamble.
    let mut bytes = good;
    let index = COMPONENT.len() - 1;
    bytes[index] ^= 1;
    bench.write("bad.wasm", bytes);
    refused(&bench, "bad.wasm", "", "digest-mismatch", 111);
}

#[test]
fn bytes_behind_the_signature_are_noticed() {
    let bench = signed();
    let good = bench.read("app.signed.wasm");
    bench.write("bad.wasm", [good.as_slice(), b"\xff"].concat());
    refused(&bench, "bad.wasm", "", "trailing-bytes", 111);
    bench.write("bad.wasm", [good.as_slice(), b"\0\x02\x01x"].concat());
    refused(&bench, "bad.wasm", "", "signature-position", 111);
    bench.write(
        "bad.wasm",
        [good.as_slice(), &good[COMPONENT.len()..]].concat(),
    );
    refused(&bench, "bad.wasm", "", "signature-duplicate", 111);
}

#[test]
fn another_root_a_foreign_scope_and_another_time_are_refused() {
    let bench = signed();
    bench
        .line("verify app.signed.wasm --roots other-root.pem --crl root.crl --crl devices.crl")
        .failed(112, &["code: untrusted-root"]);
    let ran = refused(
        &bench,
        "app.signed.wasm",
        "--at 2050-01-01T00:00:00Z",
        "expired",
        114,
    );
    assert!(
        ran.stderr
            .contains("it is 2050-01-01T00:00:00Z, the time asked about"),
        "{ran:#?}"
    );
    refused(
        &bench,
        "app.signed.wasm",
        "--at 2020-01-01T00:00:00Z",
        "not-yet-valid",
        114,
    );
    bench
        .line(
            "sign app.wasm --key leaf.key --chain chain.pem --name rival:pump --output rival.wasm",
        )
        .succeeded();
    refused(&bench, "rival.wasm", "", "signer-not-authorised", 113);
}

#[test]
fn revocation_must_be_known_and_counts() {
    let bench = signed();
    bench
        .line("verify app.signed.wasm --roots root.pem")
        .failed(115, &["code: revocation-unknown"]);
    bench
        .line("verify app.signed.wasm --roots root.pem --crl root.crl")
        .failed(115, &["code: revocation-unknown"]);
    bench
        .line("sign app.wasm --key revoked.key --chain revoked.pem --output revoked.wasm")
        .succeeded();
    refused(&bench, "revoked.wasm", "", "revoked", 115);
}

#[test]
fn the_number_of_signers_and_the_audience_are_asked_for() {
    let bench = signed();
    refused(
        &bench,
        "app.signed.wasm",
        "--signers 2",
        "signers-too-few",
        113,
    );
    bench
        .line("verify app.signed.wasm --roots root.pem --signers 0")
        .failed(2, &["--signers"]);
    bench
        .line("verify app.signed.wasm --roots root.pem --signers 5")
        .failed(2, &["--signers"]);

    bench
        .line(
            "sign app.wasm --key leaf.key --chain chain.pem --for-device pump-07 --output one.wasm",
        )
        .succeeded();
    refused(&bench, "one.wasm", "", "audience", 113);
    refused(&bench, "one.wasm", "--device-id pump-08", "audience", 113);
    verify(&bench, "one.wasm", "--device-id pump-07").succeeded();
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem --for-type pump --output type.wasm")
        .succeeded();
    refused(&bench, "type.wasm", "--device-id pump-07", "audience", 113);
    verify(
        &bench,
        "type.wasm",
        "--device-id pump-07 --device-type pump",
    )
    .succeeded();
    bench
        .line("verify one.wasm --roots root.pem --device-type pump")
        .failed(2, &["--device-id"]);
    bench
        .countersign([
            "verify",
            "one.wasm",
            "--roots",
            "root.pem",
            "--device-id",
            "no blanks",
        ])
        .failed(2, &["no blanks"]);
}

#[test]
fn a_roots_toml_gives_scope_and_lists() {
    let bench = signed();
    bench.write("roots.toml", "[[root]]\npem = \"root.pem\"\npurpose = \"components\"\ncrls = [\"root.crl\", \"devices.crl\"]\nscope = [\"acme:*\"]\n");
    bench
        .line("verify app.signed.wasm --roots roots.toml")
        .succeeded();
    bench.write("roots.toml", "[[root]]\npem = \"root.pem\"\npurpose = \"components\"\ncrls = [\"root.crl\", \"devices.crl\"]\nscope = [\"rival:*\"]\n");
    let ran = bench.line("verify app.signed.wasm --roots roots.toml");
    assert!((112..=113).contains(&ran.status), "{ran:#?}");
    bench.write(
        "roots.toml",
        "[[root]]\npem = \"root.pem\"\npurpose = \"components\"\ncolour = \"red\"\n",
    );
    bench
        .line("verify app.signed.wasm --roots roots.toml")
        .failed(2, &["roots.toml:4", "colour"]);
}

#[test]
fn explaining_walks_every_check_in_order_and_stops_at_the_refusal() {
    let bench = signed();
    let questions = |ran: &Ran| -> Vec<String> {
        ran.stdout
            .lines()
            .filter(|line| line.ends_with('?'))
            .map(|line| line.chars().take(12).collect::<String>().trim().to_owned())
            .collect()
    };
    let ran = verify(&bench, "app.signed.wasm", "--explain").succeeded();
    let passed = questions(&ran);
    assert!(
        passed.len() >= 13 && passed.iter().all(|word| word == "passed"),
        "{ran:#?}"
    );
    assert!(
        ran.stdout.contains("Acme Root") && ran.stdout.contains("acme:pump lies within acme:*"),
        "{ran:#?}"
    );

    let ran = bench
        .line("verify app.signed.wasm --roots root.pem --crl root.crl --explain")
        .failed(115, &["revocation-unknown"]);
    let told = questions(&ran);
    let refused = told
        .iter()
        .position(|word| word == "REFUSED")
        .expect("one is refused");
    assert!(
        told[..refused].iter().all(|word| word == "passed"),
        "{ran:#?}"
    );
    assert!(
        told[refused + 1..].iter().all(|word| word == "not reached"),
        "{ran:#?}"
    );
    assert_eq!(told.len(), passed.len());

    let ran = verify(&bench, "app.wasm", "--explain --json").failed(110, &[]);
    let json = ran.json();
    assert_eq!(json["checks"][0]["check"], "framing");
    assert_eq!(json["checks"][0]["outcome"], "refused");
    let json = verify(&bench, "app.signed.wasm", "--explain --json")
        .succeeded()
        .json();
    let checks = json["checks"].as_array().expect("a list");
    assert!(
        checks.iter().all(|check| check["outcome"] == "passed"),
        "{json}"
    );
}

#[test]
fn a_signer_under_no_known_root_is_told_and_counts_for_nothing() {
    let bench = signed();
    // A second signer from an authority of its own: development certificates of the other PKI.
    let mut command = std::process::Command::new(super::bench::program("countersign-ca"));
    command.args(["dev", "--dir", "dev", "--scope", "acme:*"]);
    bench.run(command, b"").succeeded();
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem --key dev/device.key.pem --chain dev/device.chain.pem --output both.wasm")
        .succeeded();
    let json = verify(&bench, "both.wasm", "--json --explain")
        .succeeded()
        .json();
    assert_eq!(json["signers"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(
        json["uncounted"].as_array().map(Vec::len),
        Some(1),
        "{json}"
    );
    assert!(
        json["checks"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|check| check["outcome"] == "not-counted"),
        "{json}"
    );
    refused(&bench, "both.wasm", "--signers 2", "signers-too-few", 113);
    // Under the development root it verifies, and that is said aloud.
    let ran = bench
        .line("verify both.wasm --roots dev/roots.toml")
        .succeeded();
    assert!(ran.stderr.contains("development root"), "{ran:#?}");
}

#[test]
fn files_that_cannot_serve_are_configuration_errors() {
    let bench = signed();
    fs::create_dir(bench.path("folder")).expect("ours");
    bench.write("empty", "");
    bench.write("junk.crl", "junk");
    bench.write("junk.der", b"\x30\x03\x02\x01\x05");
    let before = bench.names();
    for (arguments, words) in [
        ("missing.wasm --roots root.pem", &["missing.wasm"][..]),
        ("folder --roots root.pem", &["folder", "directory"]),
        ("app.signed.wasm --roots missing.pem", &["missing.pem"]),
        ("app.signed.wasm --roots folder", &["folder"]),
        ("app.signed.wasm --roots empty", &["empty"]),
        ("app.signed.wasm --roots root.crl", &["root.crl", "line 1"]),
        (
            "app.signed.wasm --roots leaf.key",
            &["leaf.key", "private key"],
        ),
        // A certificate that is no root.
        ("app.signed.wasm --roots chain.pem", &["chain.pem"]),
        (
            "app.signed.wasm --roots root.pem --crl missing.crl",
            &["missing.crl"],
        ),
        (
            "app.signed.wasm --roots root.pem --crl junk.crl",
            &["junk.crl"],
        ),
        (
            "app.signed.wasm --roots root.pem --crl junk.der",
            &["junk.der"],
        ),
        (
            "app.signed.wasm --roots root.pem --crl root.pem",
            &["root.pem"],
        ),
        ("app.signed.wasm --roots root.pem --at yesterday", &["--at"]),
        ("app.signed.wasm", &["--roots"]),
    ] {
        let ran = bench.line(&format!("verify {arguments}")).failed(2, words);
        assert_eq!(ran.stdout, "", "{arguments}");
    }
    assert_eq!(bench.names(), before);
}

#[test]
fn inspecting_says_loudly_that_nothing_was_verified() {
    let bench = signed();
    let ran = bench.line("inspect app.signed.wasm").succeeded();
    assert!(
        ran.stdout.starts_with("NOT VERIFIED") && ran.stdout.trim_end().ends_with("was checked"),
        "{ran:#?}"
    );
    assert!(
        ran.stdout.contains("acme:pump") && ran.stdout.contains("build-07"),
        "{ran:#?}"
    );
    // A changed component can still be looked at, and the change is told.
    let mut bytes = bench.read("app.signed.wasm");
    let index = COMPONENT.len() - 1;
    bytes[index] ^= 1;
    bench.write("bad.wasm", bytes);
    let ran = bench.line("inspect bad.wasm").succeeded();
    assert!(ran.stdout.contains("NOT the one described"), "{ran:#?}");
    assert_eq!(
        bench.line("inspect bad.wasm --json").succeeded().json()["component_matches_statement"],
        false
    );
    bench
        .line("inspect app.wasm")
        .failed(110, &["signature-missing"]);
    bench
        .line("inspect missing.wasm")
        .failed(2, &["missing.wasm"]);
    bench.line("inspect .").failed(2, &["directory"]);
}

#[test]
fn no_colour_reaches_what_is_not_a_terminal() {
    let bench = signed();
    let ran = verify(&bench, "app.signed.wasm", "--explain").succeeded();
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:#?}");
}

//! The offline authority `countersign-ca` as an operator drives it: what it records, what it refuses, and that it leaves
//! nothing half-made.

mod token;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli::bench::{Bench, Ran, program};

/// `countersign-ca` in this folder, its directory `ca` unless said.
fn ca(bench: &Bench, arguments: &str) -> Ran {
    let mut command = Command::new(program("countersign-ca"));
    command.args(arguments.split_whitespace());
    bench.run(command, b"")
}

/// An authority with an intermediate, and a key with its request.
fn ready() -> Bench {
    let bench = Bench::new();
    ca(&bench, "init --org Acme --name Root --unencrypted").succeeded();
    ca(&bench, "intermediate --name Devices --unencrypted").succeeded();
    request(&bench, "press-4");
    bench
}

/// A key NAME.key and its request NAME.csr for the device NAME.
fn request(bench: &Bench, name: &str) {
    bench
        .line(&format!("key generate {name}.key --unencrypted"))
        .succeeded();
    bench
        .line(&format!(
            "key csr {name}.key --device-id {name} --output {name}.csr"
        ))
        .succeeded();
}

/// Every file below `folder` with its contents, to see that nothing changed.
fn snapshot(folder: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            found.insert((
                path.display().to_string(),
                fs::read(&path).expect("readable"),
            ));
        }
    }
    found
}

fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let mut found = vec![(folder.display().to_string(), mode(folder))];
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(modes(&path));
        } else if path.ends_with("key.pem") {
            found.push((path.display().to_string(), mode(&path)));
        }
    }
    found
}

#[test]
fn tg18_an_authoritys_folders_and_keys_are_its_owners_alone() {
    let bench = ready();
    for (path, mode) in modes(&bench.path("ca")) {
        let expected = if path.ends_with("key.pem") {
            0o600
        } else {
            0o700
        };
        assert_eq!(mode, expected, "{path}");
    }
    bench.set_mode("ca/authorities/devices/key.pem", 0o640);
    ca(
        &bench,
        "issue --profile tls --csr press-4.csr --out leaf.pem",
    )
    .failed(2, &["chmod 600"]);
    assert!(!bench.exists("leaf.pem"));
}

#[test]
fn keys_are_encrypted_unless_the_operator_says_otherwise() {
    let bench = Bench::new();
    bench.write("pass", "correct horse\n");
    bench.write("wrong", "incorrect horse\n");
    bench.write("short", "horse\n");
    bench.write("two", "correct horse\nbattery\n");
    ca(&bench, "init --org Acme --name Root").failed(2, &["--passphrase-file", "--unencrypted"]);
    ca(
        &bench,
        "init --org Acme --name Root --passphrase-file short",
    )
    .failed(2, &["8 characters"]);
    ca(&bench, "init --org Acme --name Root --passphrase-file two").failed(2, &["several lines"]);
    ca(
        &bench,
        "init --org Acme --name Root --passphrase-file missing",
    )
    .failed(2, &["missing"]);
    assert!(
        !bench.exists("ca"),
        "nothing is made without a usable passphrase"
    );

    ca(&bench, "init --org Acme --name Root --passphrase-file pass").succeeded();
    assert!(
        bench
            .read("ca/authorities/root/key.pem")
            .starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    );
    let before = snapshot(&bench.path("ca"));
    ca(
        &bench,
        "intermediate --name Devices --passphrase-file wrong",
    )
    .failed(2, &["passphrase"]);
    ca(&bench, "intermediate --name Devices --unencrypted").failed(2, &["--passphrase-file"]);
    assert_eq!(snapshot(&bench.path("ca")), before);
    ca(&bench, "intermediate --name Devices --passphrase-file pass").succeeded();
    ca(&bench, "crl --passphrase-file pass --out crls.pem").succeeded();
}

#[test]
fn a_directory_is_made_once_and_nothing_foreign_is_touched() {
    let bench = ready();
    let before = snapshot(&bench.path("ca"));
    ca(&bench, "init --org Acme --name Other --unencrypted").failed(2, &["has a root already"]);
    ca(&bench, "intermediate --name Devices --unencrypted").failed(2, &["--id"]);
    ca(&bench, "dev --dir ca").failed(2, &["exists already"]);
    assert_eq!(snapshot(&bench.path("ca")), before);

    fs::create_dir(bench.path("papers")).expect("ours");
    bench.write("papers/letter", "mine");
    ca(
        &bench,
        "init --dir papers --org Acme --name Root --unencrypted",
    )
    .failed(2, &["other files"]);
    ca(
        &bench,
        "init --dir nowhere/ca --org Acme --name Root --unencrypted",
    )
    .failed(2, &["nowhere/ca"]);
    ca(&bench, "show --dir papers").failed(2, &["not an authority's directory", "init"]);
    ca(&bench, "show --dir missing").failed(2, &["not an authority's directory"]);
    assert_eq!(snapshot(&bench.path("papers")).len(), 1);
    assert!(!bench.exists("nowhere") && !bench.exists("missing"));
}

#[test]
fn bad_names_and_values_are_refused_before_anything_is_made() {
    let bench = Bench::new();
    let init = |arguments: &[&str]| {
        let mut command = Command::new(program("countersign-ca"));
        command.args(["init", "--unencrypted"]).args(arguments);
        bench.run(command, b"")
    };
    init(&["--org", "", "--name", "Root"]).failed(2, &["organization", "empty"]);
    init(&["--org", "Acme", "--name", "a\u{202e}b"]).failed(2, &["common name"]);
    init(&["--org", "Acme", "--name", "Root", "--country", "Germany"])
        .failed(2, &["two capital letters"]);
    init(&["--org", "Acme", "--name", "Root", "--years", "0"]).failed(2, &["years"]);
    init(&["--org", "Acme", "--name", "Root", "--algorithm", "rsa"])
        .failed(2, &["p256", "ed25519"]);
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[test]
fn issue_refuses_what_is_wrong_and_leaves_no_trace() {
    let bench = ready();
    bench.write("text", "hello\n");
    bench.write("empty", "");
    bench.write("taken.pem", "mine");
    let before = snapshot(&bench.path("ca"));
    let issue = |arguments: &str| ca(&bench, &format!("issue {arguments}"));
    issue("--profile tls --csr missing --out a.pem").failed(2, &["missing"]);
    issue("--profile tls --csr ca --out a.pem").failed(2, &["folder"]);
    issue("--profile tls --csr text --out a.pem").failed(2, &["PEM"]);
    issue("--profile tls --csr empty --out a.pem").failed(2, &["empty"]);
    issue("--profile tls --csr press-4.key --out a.pem")
        .failed(2, &["PRIVATE KEY", "CERTIFICATE REQUEST"]);
    issue("--profile tls --public-key press-4.csr --device-id a --out a.pem")
        .failed(2, &["PUBLIC KEY"]);
    issue("--profile tls --csr press-4.csr --out taken.pem").failed(2, &["taken.pem", "--force"]);
    issue("--profile tls --csr press-4.csr --out nowhere/a.pem").failed(2, &["nowhere"]);
    issue("--profile tls --csr press-4.csr --out ca").failed(2, &["folder"]);
    issue("--profile tls --csr press-4.csr --device-id press-5 --out a.pem")
        .failed(2, &["press-4", "press-5"]);
    issue("--profile tls --csr press-4.csr --issuer nobody --out a.pem").failed(2, &["nobody"]);
    issue("--profile tls --csr press-4.csr --issuer ../x --out a.pem").failed(2, &["not a name"]);
    issue("--profile emperor --csr press-4.csr --out a.pem")
        .failed(2, &["component-signer", "idevid"]);
    issue("--profile component-signer --csr press-4.csr --out a.pem")
        .failed(2, &["scope", "acme:*"]);
    issue("--profile component-signer --csr press-4.csr --scope * --out a.pem").failed(2, &["*"]);
    issue("--profile tls --csr press-4.csr --scope acme:* --out a.pem").failed(2, &["scope"]);
    issue("--profile tls --csr press-4.csr --dns *.example --out a.pem").failed(2, &["host name"]);
    issue("--profile tls --csr press-4.csr --days 36500 --out a.pem").failed(2, &["36500"]);
    issue("--profile tls --out a.pem").failed(2, &["--csr"]);
    assert_eq!(snapshot(&bench.path("ca")), before);
    assert_eq!(bench.read("taken.pem"), b"mine");
    assert!(!bench.exists("a.pem"));
}

#[test]
fn identities_come_from_a_text_a_mac_address_or_a_uuid() {
    let bench = ready();
    for (number, (option, identity)) in [
        ("--device-id SN-0042", "SN-0042"),
        ("--device-mac 00-1B-21-3C-4D-5E", "00:1b:21:3c:4d:5e"),
        (
            "--device-uuid F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        bench.openssl(&format!("genpkey -algorithm ED25519 -out {number}.key"));
        bench.openssl(&format!("pkey -in {number}.key -pubout -out {number}.pub"));
        let ran = ca(
            &bench,
            &format!("issue --profile guest-data --public-key {number}.pub {option} --json"),
        )
        .succeeded();
        assert_eq!(ran.json()["device_id"], identity);
    }
    let issue = |option: &str| {
        ca(
            &bench,
            &format!("issue --profile guest-data --public-key 0.pub {option}"),
        )
    };
    issue("--device-mac ff:ff:ff:ff:ff:ff").failed(2, &["MAC"]);
    issue("--device-id ../../etc").failed(2, &["../../etc"]);
    issue("").failed(2, &["--device-id"]);
    issue("--device-id a --device-mac 00:1b:21:3c:4d:5e").failed(2, &["--device-mac"]);
}

#[test]
fn tg04_tc38_a_key_serves_one_device_and_one_purpose() {
    let bench = ready();
    ca(
        &bench,
        "issue --profile tls --csr press-4.csr --out one.pem",
    )
    .succeeded();
    ca(
        &bench,
        "issue --profile tls --csr press-4.csr --out renewed.pem",
    )
    .succeeded();
    ca(
        &bench,
        "issue --profile component-signer --scope acme:* --csr press-4.csr --out two.pem",
    )
    .failed(2, &["one purpose", "tls"]);
    bench.openssl("pkey -in press-4.key -pubout -out press-4.pub");
    ca(
        &bench,
        "issue --profile tls --public-key press-4.pub --device-id press-5 --out two.pem",
    )
    .failed(2, &["one device", "press-4"]);
    // TG28: nor is an authority's key a device's.
    bench.openssl("pkey -in ca/authorities/root/key.pem -pubout -out root.pub");
    ca(
        &bench,
        "issue --profile tls --public-key root.pub --device-id press-5 --out two.pem",
    )
    .failed(2, &["authority"]);
    assert!(!bench.exists("two.pem"));
    assert_ne!(bench.read("one.pem"), bench.read("renewed.pem"));
}

#[test]
fn what_was_issued_is_on_record_and_can_be_revoked_once() {
    let bench = ready();
    let issued = ca(
        &bench,
        "issue --profile component-signer --scope acme:* --csr press-4.csr --json",
    )
    .succeeded()
    .json();
    let serial = issued["serial"].as_str().expect("a serial");
    assert_eq!(serial.len(), 32, "128 bits: {serial}");

    let listed = ca(&bench, "show --issued --json").succeeded().json();
    let all = listed["certificates"].as_array().expect("a list");
    let record = all
        .iter()
        .find(|record| record["serial"] == serial)
        .expect("recorded");
    assert_eq!(record["device_id"], "press-4");
    assert!(
        issued["chain_pem"]
            .as_str()
            .expect("PEM")
            .starts_with(record["certificate"].as_str().expect("PEM"))
    );

    // TG23: a second time changes nothing, an unknown one is an error.
    let colons: Vec<String> = serial
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
        .collect();
    let first = ca(
        &bench,
        &format!("revoke {} --reason key-compromise --json", colons.join(":")),
    )
    .succeeded()
    .json();
    assert_eq!(first["already_revoked"], false);
    let again = ca(
        &bench,
        &format!("revoke {serial} --reason superseded --json"),
    )
    .succeeded()
    .json();
    assert_eq!(
        (&again["already_revoked"], &again["reason"]),
        (&true.into(), &"key-compromise".into())
    );
    ca(&bench, "revoke 4f --reason superseded").failed(2, &["4f", "show --issued"]);
    ca(&bench, "revoke 00 --reason superseded").failed(2, &["zero"]);
    ca(
        &bench,
        &format!("revoke {serial} --reason certificate-hold"),
    )
    .failed(2, &["key-compromise"]);
    let root = ca(&bench, "show --json").succeeded().json();
    let root = root["authorities"][0]["serial"]
        .as_str()
        .expect("a serial")
        .to_owned();
    ca(&bench, &format!("revoke {root} --reason ca-compromise")).failed(2, &["root"]);

    // TG16: a serial that an older copy of the directory does not know can still be revoked.
    ca(&bench, "revoke 4f --reason superseded --issuer devices").failed(2, &["--unrecorded"]);
    ca(
        &bench,
        "revoke 4f --reason superseded --issuer devices --unrecorded",
    )
    .succeeded();
    let lists = ca(&bench, "crl --json").succeeded().json();
    assert_eq!(lists["lists"][1]["issuer"], "devices");
    assert_eq!(lists["lists"][1]["revoked"], 2);
    assert_eq!(lists["lists"][0]["revoked"], 0);
}

#[test]
fn td12_crl_numbers_rise_and_a_refused_list_takes_none() {
    let bench = ready();
    let number = || {
        let shown = ca(&bench, "show --json").succeeded().json();
        shown["authorities"][1]["crl_number"]
            .as_u64()
            .expect("a number")
    };
    let mut last = number();
    for _ in 0..3 {
        ca(&bench, "crl").succeeded();
        assert!(number() > last, "{} after {last}", number());
        last = number();
    }
    bench.write("taken", "mine");
    ca(&bench, "crl --out taken").failed(2, &["--force"]);
    ca(&bench, "crl --der --out all.crl").failed(2, &["--issuer"]);
    bench.set_mode("ca/authorities/root/key.pem", 0o644);
    ca(&bench, "crl --out new.crl").failed(2, &["chmod"]);
    assert_eq!(number(), last);
    assert_eq!(bench.read("taken"), b"mine");
}

#[test]
fn the_newest_intermediate_issues_after_a_rotation() {
    let bench = ready();
    // The two start in different seconds, or the order between them is that of their names.
    std::thread::sleep(Duration::from_millis(1_100));
    ca(
        &bench,
        "intermediate --name Later --id a-later --unencrypted",
    )
    .succeeded();
    let issued = ca(&bench, "issue --profile tls --csr press-4.csr --json")
        .succeeded()
        .json();
    assert_eq!(issued["issuer"], "a-later");
    let issued = ca(
        &bench,
        "issue --profile tls --csr press-4.csr --issuer devices --json",
    )
    .succeeded()
    .json();
    assert_eq!(issued["issuer"], "devices");
    // An intermediate may not make another unless the root's profile says so.
    ca(
        &bench,
        "intermediate --name Below --issuer devices --unencrypted",
    )
    .failed(2, &["path length"]);
    ca(
        &bench,
        "init --dir deep --org Acme --name Deep --path-length 2 --unencrypted",
    )
    .succeeded();
    ca(
        &bench,
        "intermediate --dir deep --name Upper --path-length 1 --unencrypted",
    )
    .succeeded();
    // Both are for five years if nothing is said, and a lower one ends no later than the one above it.
    ca(
        &bench,
        "intermediate --dir deep --name Longer --issuer upper --years 6 --unencrypted",
    )
    .failed(2, &["its issuer only"]);
    let lower = ca(
        &bench,
        "intermediate --dir deep --name Lower --issuer upper --unencrypted",
    )
    .succeeded();
    assert!(
        lower.stdout.contains("when its issuer ends"),
        "{}",
        lower.stdout
    );
    let authorities = ca(&bench, "show --dir deep --json").succeeded().json();
    let end = |id: &str| {
        authorities["authorities"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|authority| authority["id"] == id)
            .expect("it is there")["not_after"]
            .as_u64()
    };
    assert_eq!(end("lower"), end("upper"));
    assert!(end("upper") < end("root"));
    let issued = ca(
        &bench,
        "issue --dir deep --profile tls --csr press-4.csr --issuer lower --json",
    )
    .succeeded()
    .json();
    let chain = issued["chain_pem"].as_str().expect("PEM");
    assert_eq!(
        chain.matches("BEGIN CERTIFICATE").count(),
        3,
        "leaf, lower, upper, and no root"
    );
}

#[test]
fn tg02_two_processes_do_not_work_in_one_directory() {
    let bench = ready();
    request(&bench, "press-5");
    let lock = fs::File::options()
        .append(true)
        .open(bench.path("ca/lock"))
        .expect("the lock");
    lock.try_lock().expect("free");
    ca(&bench, "issue --profile tls --csr press-5.csr --out a.pem").failed(2, &["another process"]);
    assert!(!bench.exists("a.pem"));
    lock.unlock().expect("ours");
    ca(&bench, "issue --profile tls --csr press-5.csr --out a.pem").succeeded();
}

/// Kills the program at some moment of its work, again and again: whatever certificate came out is on record, no record
/// is damaged, and the directory goes on working.
#[test]
fn tg12_whatever_leaves_is_on_record_even_when_killed() {
    let bench = ready();
    let mut delivered = 0;
    for round in 0_u64..40 {
        let out = format!("{round}.pem");
        let mut child = Command::new(program("countersign-ca"))
            .args([
                "issue",
                "--profile",
                "tls",
                "--csr",
                "press-4.csr",
                "--out",
                &out,
            ])
            .current_dir(bench.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_micros(round * 700));
        // It may have ended by then.
        let _ = child.kill();
        child.wait().expect("ends");
        if bench.exists(&out) {
            delivered += 1;
            let text = bench.openssl(&format!("x509 -in {out} -noout -serial"));
            let serial = String::from_utf8(text)
                .expect("text")
                .trim()
                .replace("serial=", "");
            ca(&bench, &format!("show {serial}")).succeeded();
        }
    }
    let listed = ca(&bench, "show --issued --json").succeeded().json();
    let recorded = listed["certificates"].as_array().expect("a list").len();
    assert!(
        recorded > delivered,
        "one record for each certificate, and the intermediate's: {recorded}, {delivered}"
    );
    ca(
        &bench,
        "issue --profile tls --csr press-4.csr --out last.pem",
    )
    .succeeded();
    for (path, _) in snapshot(&bench.path("ca")) {
        assert!(
            !path.contains("/.countersign-"),
            "left over by a killed process: {path}"
        );
    }
}

#[test]
fn tg12_an_interrupted_start_is_taken_up_again() {
    let bench = Bench::new();
    for round in 0_u64..20 {
        let dir = format!("ca{round}");
        let init = format!("init --dir {dir} --org Acme --name Root --unencrypted");
        let mut child = Command::new(program("countersign-ca"))
            .args(init.split(' '))
            .current_dir(bench.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_micros(round * 500));
        let _ = child.kill();
        child.wait().expect("ends");
        // Either it was finished, or the same command finishes it.
        if ca(&bench, &format!("show --dir {dir}")).status != 0 {
            ca(&bench, &init).succeeded();
        }
        ca(
            &bench,
            &format!("intermediate --dir {dir} --name Devices --unencrypted"),
        )
        .succeeded();
    }
}

#[test]
fn dev_makes_all_that_signing_and_verifying_need_in_one_step() {
    for algorithm in ["p256", "ed25519"] {
        let bench = Bench::new();
        bench.write("app.wasm", crate::cli::bench::COMPONENT);
        let made = ca(&bench, &format!("dev --dir pki --algorithm {algorithm}")).succeeded();
        assert!(made.stderr.contains("for development"), "{made:#?}");
        bench
            .line("sign app.wasm --key pki/device.key.pem --chain pki/device.chain.pem --name dev:app --component-version 1.0.0")
            .succeeded();
        bench
            .line("verify app.signed.wasm --roots pki/roots.toml")
            .succeeded();
        let roots =
            countersign_roots_file::parse(&bench.path("pki/roots.toml")).expect("a root file");
        let anchors =
            countersign_trust_store::Anchors::new(roots).expect("roots that hosts accept");
        assert!(
            anchors
                .iter()
                .all(countersign_trust_store::Anchor::is_development)
        );
        // The default scope is dev:* and not more.
        bench
            .line("sign app.wasm --key pki/device.key.pem --chain pki/device.chain.pem --name other:app --component-version 1.0.0 --output other.wasm")
            .succeeded();
        bench
            .line("verify other.wasm --roots pki/roots.toml")
            .failed(113, &["signer-not-authorised"]);
        ca(&bench, "show --dir pki/ca").succeeded();
    }
}

#[test]
fn completions_and_help_are_on_standard_output() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = ca(&bench, &format!("completions {shell}")).succeeded();
        assert!(ran.stdout.contains("countersign-ca"), "{ran:#?}");
    }
    let help = ca(&bench, "--help").succeeded().stdout;
    assert!(
        help.contains("Examples:") && help.contains("countersign-ca dev"),
        "{help}"
    );
    ca(&bench, "").failed(2, &["Usage"]);
    ca(&bench, "emperor").failed(2, &["emperor"]);
}

/// TG31: what the program prints and records holds no private key.
#[test]
fn tg31_private_keys_stay_in_their_files() {
    let bench = ready();
    let ran = ca(&bench, "issue --profile tls --csr press-4.csr --json").succeeded();
    let shown = ca(&bench, "show --issued --json").succeeded();
    let pem = String::from_utf8(bench.read("ca/authorities/devices/key.pem")).expect("PEM");
    let secret = pem.lines().nth(1).expect("a line of the key");
    for ran in [&ran, &shown] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret));
    }
    for (path, bytes) in snapshot(&bench.path("ca")) {
        let found = String::from_utf8_lossy(&bytes).contains("PRIVATE KEY");
        assert_eq!(found, path.ends_with("key.pem"), "{path}");
    }
}

/// A TPM's public area (TPMT_PUBLIC) of this key with these attributes.
fn public_area(bench: &Bench, key: &str, attributes: u32) -> Vec<u8> {
    let shown = bench
        .line(&format!("key show {key} --json"))
        .succeeded()
        .json();
    let (_, spki) =
        der::pem::decode_vec(shown["spki_pem"].as_str().expect("a key").as_bytes()).expect("PEM");
    let point = &spki[spki.len() - 64..];
    [
        &b"\x00\x23\x00\x0b"[..],
        &attributes.to_be_bytes(),
        b"\x00\x00\x00\x10\x00\x18\x00\x0b\x00\x03\x00\x10\x00\x20",
        &point[..32],
        b"\x00\x20",
        &point[32..],
    ]
    .concat()
}

#[test]
fn tf12_tf25_an_attestation_key_in_hardware_is_certified_by_name_and_by_what_its_tpm_says() {
    // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign.
    const ATTESTATION: u32 = 0x0005_0472;
    let bench = ready();
    request(&bench, "other");
    let area = public_area(&bench, "press-4.key", ATTESTATION);
    let sized = [
        &u16::try_from(area.len()).expect("short").to_be_bytes()[..],
        &area,
    ]
    .concat();
    bench.write("sized.pub", &sized);
    bench.write("long.pub", [&sized[..], &[0]].concat());
    bench.write("ak.pub", area);
    bench.write(
        "signs.pub",
        public_area(&bench, "press-4.key", ATTESTATION & !(1 << 16)),
    );
    bench.write(
        "leaves.pub",
        public_area(&bench, "press-4.key", ATTESTATION & !(1 << 1)),
    );
    let issue = |more: &str| ca(&bench, &format!("issue --profile attestation {more}"));
    let csr = "--csr press-4.csr";

    issue(&format!("{csr} --hardware tpm")).failed(2, &["--tpm-public-area", "tpm2_readpublic"]);
    issue(&format!("{csr} --tpm-public-area ak.pub")).failed(2, &["--hardware"]);
    issue(&format!("{csr} --hardware sgx")).failed(2, &["atecc608"]);
    issue(&format!(
        "{csr} --hardware atecc608 --tpm-public-area ak.pub"
    ))
    .failed(2, &["leave it out"]);
    issue("--device-id press-4").failed(2, &["--csr"]);
    for (bad, reason) in [
        ("signs.pub", "the key signs messages from outside"),
        ("leaves.pub", "the key can be taken to another TPM"),
        ("long.pub", "the public area is not that of a P-256 key"),
        ("press-4.csr", "the public area is not that of a P-256 key"),
    ] {
        issue(&format!(
            "--device-id press-4 --hardware tpm --tpm-public-area {bad}"
        ))
        .failed(2, &["was refused", reason]);
    }
    issue("--csr other.csr --hardware tpm --tpm-public-area ak.pub").failed(2, &["another key"]);
    ca(
        &bench,
        &format!("issue --profile tls {csr} --hardware atecc608"),
    )
    .failed(2, &["--profile attestation"]);
    let issued = |bench: &Bench| ca(bench, "show --issued --json").succeeded().stdout;
    let before = issued(&bench);

    let said = |name: &str| {
        let chain = bench.read(name);
        let text = String::from_utf8(chain).expect("PEM");
        let end = "-----END CERTIFICATE-----\n";
        let first = text.split_inclusive(end).next().expect("a certificate");
        let (_, der) = der::pem::decode_vec(first.as_bytes()).expect("PEM");
        let certificate = countersign_trust_store::Certificate::parse(&der).expect("strict");
        certificate.attested_by().expect("readable")
    };
    use countersign_format::AttestationHardware::{Atecc608, Tpm};
    for (more, expected) in [
        (
            "--device-id press-4 --hardware tpm --tpm-public-area ak.pub",
            Some(Tpm),
        ),
        (
            "--csr press-4.csr --hardware tpm --tpm-public-area sized.pub",
            Some(Tpm),
        ),
        ("--csr press-4.csr --hardware atecc608", Some(Atecc608)),
        ("--csr press-4.csr", None),
    ] {
        let ran = issue(&format!("{more} --out chain.pem --force")).succeeded();
        assert_eq!(said("chain.pem"), expected, "{more}");
        let warned = ran.stderr.contains("lies in hardware");
        assert_eq!(warned, expected.is_some(), "{}", ran.stderr);
    }
    assert_ne!(issued(&bench), before);
}

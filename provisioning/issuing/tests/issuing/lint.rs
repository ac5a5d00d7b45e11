//! Others look at what is issued: pkilint, which knows RFC 5280 as a list of rules, and OpenSSL.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use countersign_format::{AttestationHardware, Audience, DeviceMetadata, NamePattern, Scope};
use countersign_issuing::{Ask, Contents};
use countersign_provisioning::{Profile, Reason};

use crate::house::{House, ask};

/// What may be found all the same, and why.
const ALLOWED: &[(&str, &str)] = &[(
    "pkix.subject_key_identifier_rfc7093_method_1_identified",
    "says which of RFC 7093's methods made the identifier",
)];

/// Runs the linters over files in one process: each line of input is a kind and a path, each line of output the codes
/// that were found, after the number of rules that were looked at.
const LINTER: &str = r#"
import contextlib, io, json, sys
from pkilint.bin import lint_crl, lint_pkix_cert
for line in sys.stdin:
    kind, path = line.split()
    options = ["lint", "-s", "ALL", "-f", "JSON", "--document-format", "DER"]
    main = lint_pkix_cert.main
    if kind == "crl":
        main = lint_crl.main
        options += ["-t", "CRL", "-p", "PKIX"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(options + [path])
    results = json.loads(out.getvalue())["results"]
    codes = [found["code"] for result in results for found in result["finding_descriptions"]]
    print(len(results), *codes)
"#;

fn lint(files: &[(&str, String)]) -> Vec<(usize, Vec<String>)> {
    let mut python = Command::new("python3")
        .args(["-c", LINTER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = python.stdin.take().expect("its input");
    for (kind, path) in files {
        writeln!(input, "{kind} {path}").expect("written");
    }
    drop(input);
    let output = python.wait_with_output().expect("ends");
    assert!(
        output.status.success(),
        "`cargo xtask test` installs pkilint: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let looked_at = words.next().and_then(|count| count.parse().ok());
            (
                looked_at.expect("a count"),
                words.map(str::to_owned).collect(),
            )
        })
        .collect()
}

fn openssl(folder: &Path, arguments: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// What a certificate of this kind is given, as much as it can have.
fn contents(profile: Profile) -> Contents {
    let metadata = DeviceMetadata::default()
        .with_device_type("press")
        .and_then(|metadata| metadata.with_hardware_revision("B2"))
        .and_then(|metadata| metadata.with_firmware_version("1.2.3"))
        .expect("metadata");
    let scope = || {
        let pattern = NamePattern::parse("acme:*").expect("a pattern");
        Scope::new(vec![pattern], Audience::default()).expect("a scope")
    };
    Contents {
        organization: Some("Acme".to_owned()),
        metadata,
        scope: (profile == Profile::ComponentSigner).then(scope),
        hardware: (profile == Profile::Attestation).then_some(AttestationHardware::Atecc608),
        dns_names: match profile {
            Profile::Tls => vec!["press.example".to_owned()],
            _ => Vec::new(),
        },
        no_rev_avail: profile == Profile::GuestData,
        ..Contents::default()
    }
}

#[test]
fn tg20_others_find_nothing_in_what_is_issued() {
    crate::run(House::sqlite(), |house| async move {
        let profiles = Profile::ALL;
        let count = u32::try_from(profiles.len()).expect("few");
        let issuing = house.issuing(count).await;
        let mut files = Vec::new();
        let mut write = |kind: &'static str, name: String, der: &[u8]| {
            let path = house.path(&format!("{name}.der"));
            std::fs::write(&path, der).expect("written");
            files.push((kind, path.display().to_string()));
            let command = if kind == "crl" { "crl" } else { "x509" };
            let (is_read, said) = openssl(
                &house.folder,
                &format!("{command} -inform DER -in {name}.der -out {name}.pem"),
            );
            assert!(is_read, "{name}: {said}");
        };
        let authority = house.authority().certificate;
        write("certificate", "authority".to_owned(), &authority);
        let empty = issuing.sign_list(7).await.expect("signed").expect("leads");
        write("crl", "empty".to_owned(), &empty.der);
        let mut made = Vec::new();
        for (number, profile) in (0..count).zip(profiles) {
            let asked = Ask {
                profile,
                contents: contents(profile),
                ..ask(number)
            };
            let certificate = issuing.issue(asked).await.expect("issued");
            let der = certificate.der.clone().expect("there");
            write("certificate", format!("device-{number}"), &der);
            made.push(certificate);
        }
        issuing
            .revoke(&made[0].serial, Reason::KeyCompromise, "operator")
            .await
            .expect("revoked");
        let list = issuing.sign_list(7).await.expect("signed").expect("leads");
        write("crl", "list".to_owned(), &list.der);

        let found = lint(&files);
        assert_eq!(found.len(), files.len());
        for ((kind, path), (looked_at, codes)) in files.iter().zip(found) {
            // A linter that looked at nothing would find nothing.
            assert!(looked_at > 15, "{path}: {looked_at}");
            let (excused, wrong): (Vec<_>, Vec<_>) = codes
                .iter()
                .partition(|code| ALLOWED.iter().any(|(allowed, _)| allowed == code));
            // It does find what is there.
            assert_eq!(excused.len(), usize::from(*kind == "certificate"), "{path}");
            assert!(wrong.is_empty(), "{path}: {wrong:?}");
        }

        let verify = |list: &str, device: u32| {
            let options = "verify -x509_strict -crl_check -CAfile authority.pem -CRLfile";
            openssl(
                &house.folder,
                &format!("{options} {list}.pem device-{device}.pem"),
            )
        };
        for device in 0..count {
            let (is_good, said) = verify("empty", device);
            assert!(is_good, "{said}");
            let (is_good, said) = verify("list", device);
            assert_eq!(is_good, device != 0, "{said}");
            assert_eq!(said.contains("certificate revoked"), device == 0, "{said}");
        }
    });
}

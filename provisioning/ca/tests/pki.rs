//! `countersign-ca` beyond one root with one intermediate: rotation, authorities of other PKIs, what their chains break,
//! ceremonies, and folders that are not their owner's alone. What hosts see is asked of `countersign-trust-store`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use countersign_trust_store::{
    AnchorSource, Anchors, Crl, Now, PathProfile, Rejection, TrustState, UnixTime, pem,
};

/// A folder of one test, and the programs run in it.
struct Bench(tempfile::TempDir);

struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn succeeded(self) -> Self {
        assert_eq!(self.status, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn failed(self, status: i32, words: &[&str]) -> Self {
        let said = format!("{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.status, status, "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("JSON")
    }
}

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("written");
    }

    fn command(&self, program: &str, line: &str) -> Ran {
        let words = shlex::split(line).expect("a line");
        let ran = Command::new(program)
            .args(words)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .expect("starts");
        Ran {
            status: ran.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
        }
    }

    fn ca(&self, line: &str) -> Ran {
        self.command(env!("CARGO_BIN_EXE_countersign-ca"), line)
    }

    #[track_caller]
    fn openssl(&self, line: &str) {
        self.command("openssl", line).succeeded();
    }

    /// A key NAME.key and its request NAME.csr for the device NAME.
    fn device(&self, name: &str) {
        self.openssl(&format!(
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"
        ));
        self.openssl(&format!(
            "req -new -key {name}.key -subj /O=Acme/CN={name}/serialNumber={name} -out {name}.csr"
        ));
    }

    fn certificates(&self, name: &str) -> Vec<Vec<u8>> {
        pem::certificates(&self.read(name)).expect("certificates")
    }

    /// The serial of the first certificate of a chain.
    fn serial(&self, chain: &str) -> String {
        countersign_trust_store::Certificate::parse(&self.certificates(chain)[0])
            .expect("readable")
            .serial()
            .replace(':', "")
    }

    /// The verdict of a host with this root on a chain, with these lists.
    fn verdict(&self, root: &str, chain: &str, lists: &[&str]) -> Result<String, Rejection> {
        let root = self.certificates(root).pop().expect("a root");
        let mut source = AnchorSource::new(root);
        for list in lists {
            source
                .crls
                .extend(pem::crls(&self.read(list)).expect("lists"));
        }
        let anchors = Anchors::new(vec![source]).expect("an accepted root");
        anchors
            .verify_chain(
                &self.certificates(chain),
                &PathProfile::COMPONENTS,
                &Now::at(now()),
                &TrustState::stateless(),
            )
            .map(|chain| chain.leaf().issuer())
    }
}

fn now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    UnixTime::from_secs(since.as_secs())
}

const ROOT: &str = "ca/authorities/root/certificate.pem";

/// A root and the intermediate `devices-1`.
fn ready() -> Bench {
    let bench = Bench::new();
    bench
        .ca("init --org Acme --name Root --unencrypted")
        .succeeded();
    bench
        .ca("intermediate --name 'Devices 1' --scope 'acme:*' --unencrypted")
        .succeeded();
    bench
}

#[test]
fn a_certificate_ends_with_its_issuer_where_nobody_says_for_how_long() {
    let bench = ready();
    bench
        .ca("intermediate --name 'Short 1' --scope 'acme:*' --years 1 --unencrypted")
        .succeeded();
    bench.device("late");
    // A year from now is later than a year from when the issuer was made.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let issue = "issue --profile component-signer --csr late.csr --out late.pem";
    bench
        .ca(&format!("{issue} --days 366"))
        .failed(2, &["its issuer only from", "fewer days"]);
    bench.ca(issue).succeeded();
    let ends: Vec<_> = bench
        .certificates("late.pem")
        .iter()
        .map(|der| {
            let parsed = countersign_trust_store::Certificate::parse(der).expect("readable");
            parsed.not_after()
        })
        .collect();
    assert_eq!(ends.len(), 2);
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn a_rotation_overlaps_and_hosts_take_both_until_the_old_one_is_revoked() {
    let bench = ready();
    bench.device("early");
    bench
        .ca("issue --profile component-signer --csr early.csr --days 90 --out early.pem")
        .succeeded();
    let rotated = bench
        .ca("intermediate rotate devices-1 --unencrypted --json")
        .succeeded()
        .json();
    assert_eq!(rotated["id"], "devices-2");
    assert_eq!(rotated["replaces"], "devices-1");
    // The lists of the old one are needed for as long as what it issued.
    let until = rotated["old_needed_until"].as_u64().expect("a time");
    let days = (until - now().as_secs()).div_euclid(86_400);
    assert!((88..=90).contains(&days), "{days}");
    bench
        .ca("intermediate rotate devices-1 --unencrypted")
        .failed(2, &["replaced by devices-2 already"]);
    bench
        .ca("intermediate rotate root --unencrypted")
        .failed(2, &["a root is not rotated"]);

    bench.device("late");
    bench
        .ca("issue --profile component-signer --csr late.csr --out late.pem")
        .succeeded();
    bench.ca("crl --out lists.pem").succeeded();
    let issuer = |chain: &str| bench.verdict(ROOT, chain, &["lists.pem"]);
    assert_eq!(issuer("early.pem").expect("valid"), "CN=Devices 1,O=Acme");
    assert_eq!(issuer("late.pem").expect("valid"), "CN=Devices 2,O=Acme");
    // What the old one was bound to binds the new one.
    bench.device("other");
    bench
        .ca("issue --profile component-signer --csr other.csr --scope 'other:*'")
        .failed(2, &["wider than the issuer's own"]);
    // The old one still issues for who names it, and still revokes.
    bench.device("named");
    let named = bench
        .ca("issue --profile component-signer --csr named.csr --issuer devices-1 --out named.pem")
        .succeeded();
    assert!(named.stderr.contains("replaced by devices-2"));
    let shown = bench.ca("show").succeeded().stdout;
    assert!(
        shown.contains("replaced by devices-2; makes revocation lists until"),
        "{shown}"
    );
    let serial = bench.serial("early.pem");
    bench
        .ca(&format!("revoke {serial} --reason superseded"))
        .succeeded();
    bench.ca("crl --out lists.pem --force").succeeded();
    assert!(matches!(
        issuer("early.pem"),
        Err(Rejection::Revoked { .. })
    ));
    issuer("late.pem").expect("valid");
    issuer("named.pem").expect("valid");
    // The list of one does not speak for the other.
    bench.ca("crl --issuer devices-1 --out one.pem").succeeded();
    bench.ca("crl --issuer root --out top.pem").succeeded();
    assert!(matches!(
        bench.verdict(ROOT, "late.pem", &["one.pem", "top.pem"]),
        Err(Rejection::RevocationUnknown { .. })
    ));
    // In the end the old authority itself is revoked, and with it all that it issued.
    let shown = bench.ca("show --json").succeeded().json();
    let all = shown["authorities"].as_array().expect("a list");
    let old = all.iter().find(|one| one["id"] == "devices-1");
    let serial = old.expect("there")["serial"].as_str().expect("a serial");
    bench
        .ca(&format!("revoke {serial} --reason superseded"))
        .succeeded();
    bench.ca("crl --out lists.pem --force").succeeded();
    assert!(matches!(
        issuer("named.pem"),
        Err(Rejection::Revoked { .. })
    ));
    issuer("late.pem").expect("valid");
}

/// A corporate root on this curve, with the extensions that its CA gives to an authority.
fn corporate(bench: &Bench, curve: &str, extensions: &str) {
    corporate_with(bench, curve, "CA:TRUE", extensions);
}

/// The same, with these basic constraints in the root.
fn corporate_with(bench: &Bench, curve: &str, constraints: &str, extensions: &str) {
    bench.write(
        "root.cnf",
        format!(
            "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,{constraints}\n\
             keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        ),
    );
    bench.write("ca.cnf", format!("[sub]\n{extensions}"));
    let (kind, digest) = match curve {
        "rsa" => (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048".to_owned(),
            "sha256",
        ),
        "P-384" => (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-384".to_owned(),
            "sha384",
        ),
        _ => (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256".to_owned(),
            "sha256",
        ),
    };
    bench.openssl(&format!("genpkey {kind} -out corp.key"));
    bench.openssl(&format!(
        "req -x509 -new -key corp.key -{digest} -days 3650 -subj '/C=DE/O=Corp/CN=Corp Root' -config root.cnf -extensions ca -out corp.pem"
    ));
}

/// Issues what `request` asks for, to `certificate`.
fn corporate_issues(bench: &Bench, request: &str, certificate: &str, digest: &str) {
    bench.openssl(&format!(
        "x509 -req -in {request} -CA corp.pem -CAkey corp.key -CAcreateserial -{digest} -days 1000 -extfile ca.cnf -extensions sub -out {certificate}"
    ));
}

const GOOD: &str = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
                    subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";

#[test]
fn tc06_an_authority_below_which_no_device_would_count_is_not_taken_in() {
    let bench = Bench::new();
    bench
        .ca("intermediate request --org Acme --name 'Acme Devices' --unencrypted --out acme.csr")
        .succeeded();
    // As an end entity it would do below this root; the devices that it is to issue would be one step too many.
    corporate_with(&bench, "P-256", "CA:TRUE,pathlen:0", GOOD);
    corporate_issues(&bench, "acme.csr", "acme.pem", "sha256");
    for verb in [
        "lint-chain acme.pem corp.pem",
        "intermediate import-chain acme-devices acme.pem corp.pem",
    ] {
        bench.ca(verb).failed(112, &["chain-length"]);
    }
    // Four certificates would have to be sent, and three may be.
    corporate(
        &bench,
        "P-256",
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
        subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    );
    let step = |name: &str, above: &str| {
        bench.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -subj '/O=Corp/CN={name}' -out {name}.csr"
        ));
        bench.openssl(&format!(
            "x509 -req -in {name}.csr -CA {above}.pem -CAkey {above}.key -CAcreateserial -sha256 -days 1000 -extfile ca.cnf \
             -extensions sub -out {name}.pem"
        ));
    };
    step("two", "corp");
    step("one", "two");
    bench.openssl(
        "x509 -req -in acme.csr -CA one.pem -CAkey one.key -CAcreateserial -sha256 -days 1000 -extfile ca.cnf -extensions sub \
         -out long.pem",
    );
    bench
        .ca("lint-chain long.pem one.pem two.pem corp.pem")
        .failed(112, &["chain-length"]);
    // One step fewer is taken in.
    bench.openssl(
        "x509 -req -in acme.csr -CA two.pem -CAkey two.key -CAcreateserial -sha256 -days 1000 -extfile ca.cnf -extensions sub \
         -out acme.pem",
    );
    bench
        .ca("intermediate import-chain acme-devices acme.pem two.pem corp.pem")
        .succeeded();
}

#[test]
fn tg04_each_authority_has_a_key_of_its_own() {
    let bench = Bench::new();
    bench.write("pass", "correct horse battery\n");
    bench
        .ca("init --org Acme --name Root --passphrase-file pass")
        .succeeded();
    bench
        .ca("intermediate --name 'Devices 1' --key file:one.key --passphrase-file pass")
        .succeeded();
    for verb in [
        "intermediate rotate devices-1 --key file:one.key --passphrase-file pass",
        "intermediate --name 'Devices 9' --key file:one.key --passphrase-file pass",
        "intermediate request --org Acme --name 'Devices 8' --key file:one.key --passphrase-file pass --out x.csr",
    ] {
        bench
            .ca(verb)
            .failed(2, &["this key is that of the authority devices-1"]);
    }
    bench
        .ca("intermediate rotate devices-1 --key file:two.key --passphrase-file pass")
        .succeeded();
}

#[test]
fn an_authority_under_a_p384_root_of_another_pki_issues_what_hosts_take() {
    let bench = Bench::new();
    corporate(&bench, "P-384", GOOD);
    bench
        .ca("intermediate request --org Acme --name 'Acme Devices' --unencrypted --out acme.csr")
        .succeeded();
    bench.openssl("req -in acme.csr -noout -verify");
    let asked = bench.command("openssl", "req -in acme.csr -noout -text");
    for word in [
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
        "O = Acme, CN = Acme Devices",
    ] {
        let text = asked
            .stdout
            .replace("O=Acme, CN=Acme", "O = Acme, CN = Acme");
        assert!(text.contains(word), "{word}: {text}");
    }
    let waiting = bench.ca("show --json").succeeded().json();
    assert_eq!(waiting["waiting"][0], "acme-devices");
    bench.device("press");
    bench
        .ca("issue --profile component-signer --csr press.csr --scope 'acme:*'")
        .failed(2, &["there is no intermediate"]);

    // A certificate over another key is not taken in.
    bench.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.key");
    bench.openssl("req -new -key other.key -subj '/O=Acme/CN=Acme Devices' -out other.csr");
    corporate_issues(&bench, "other.csr", "other.pem", "sha384");
    bench
        .ca("intermediate import-chain acme-devices other.pem corp.pem")
        .failed(2, &["over another key"]);

    corporate_issues(&bench, "acme.csr", "acme.pem", "sha384");
    bench
        .ca("intermediate import-chain acme-devices acme.pem")
        .failed(112, &["there is no root", "ask for the root certificate"]);
    // Another root of the same name is not the one that signed.
    fs::copy(bench.path("corp.pem"), bench.path("true.pem")).expect("copied");
    corporate(&bench, "P-384", GOOD);
    bench
        .ca("intermediate import-chain acme-devices acme.pem corp.pem")
        .failed(112, &["untrusted-root"]);
    let imported = bench
        .ca("intermediate import-chain acme-devices acme.pem --roots true.pem")
        .succeeded();
    assert!(
        imported.stderr.contains("roots.toml"),
        "{}",
        imported.stderr
    );
    bench
        .ca("intermediate import-chain acme-devices acme.pem true.pem")
        .failed(2, &["there is no request"]);

    bench
        .ca("issue --profile component-signer --csr press.csr --scope 'acme:*' --out press.pem")
        .succeeded();
    assert_eq!(bench.certificates("press.pem").len(), 2);
    bench.ca("crl --out ours.pem").succeeded();
    assert!(matches!(
        bench.verdict("true.pem", "press.pem", &["ours.pem"]),
        Err(Rejection::RevocationUnknown { subject, .. }) if subject == "CN=Acme Devices,O=Acme"
    ));
    bench
        .ca("intermediate rotate acme-devices --unencrypted")
        .failed(2, &["intermediate request"]);
    let shown = bench.ca("show").succeeded().stdout;
    assert!(
        shown.contains("issued by   CN=Corp Root,O=Corp,C=DE"),
        "{shown}"
    );
}

#[test]
fn a_corporate_list_and_ours_make_the_chain_whole() {
    let bench = Bench::new();
    corporate(&bench, "P-256", GOOD);
    bench
        .ca("intermediate request --org Acme --name Devices --unencrypted --out acme.csr")
        .succeeded();
    corporate_issues(&bench, "acme.csr", "acme.pem", "sha256");
    bench
        .ca("intermediate import-chain devices acme.pem corp.pem")
        .succeeded();
    bench.device("press");
    bench
        .ca("issue --profile component-signer --csr press.csr --scope 'acme:*' --out press.pem")
        .succeeded();
    bench.ca("crl --out ours.pem").succeeded();
    bench.write("index.txt", "");
    bench.write("number", "01\n");
    bench.write(
        "crl.cnf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=30\n[e]\nauthorityKeyIdentifier=keyid\n",
    );
    bench.openssl(
        "ca -gencrl -config crl.cnf -crlexts e -keyfile corp.key -cert corp.pem -out corp.crl",
    );
    let issuer = bench.verdict("corp.pem", "press.pem", &["ours.pem", "corp.crl"]);
    assert_eq!(issuer.expect("valid"), "CN=Devices,O=Acme");
    // And the lint says the same of the whole chain.
    let linted = bench
        .ca("lint-chain press.pem --roots corp.pem --crl ours.pem --crl corp.crl --json")
        .succeeded()
        .json();
    assert_eq!(linted["accepted"], true);
    assert_eq!(
        linted["notes"].as_array().map(Vec::len),
        Some(0),
        "{linted}"
    );
}

#[test]
fn lint_chain_says_which_rule_a_foreign_chain_breaks_and_what_to_ask_for() {
    let bench = Bench::new();
    bench.device("press");
    for (extensions, code, words) in [
        (
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=none\nauthorityKeyIdentifier=keyid\n",
            "certificate-extension",
            ["lacks the extension subjectKeyIdentifier", "2.5.29.14"],
        ),
        (
            "basicConstraints=CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
            "certificate-extension",
            [
                "basicConstraints must be critical",
                "basicConstraints marked critical",
            ],
        ),
        (
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
            "key-usage",
            ["lacks keyCertSign", "with keyCertSign"],
        ),
        (
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nnameConstraints=critical,permitted;DNS:example.com\n",
            "certificate-extension",
            ["nameConstraints", "without nameConstraints"],
        ),
        (
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nextendedKeyUsage=clientAuth\n",
            "extended-key-usage",
            [
                "clientAuth",
                "without extKeyUsage (2.5.29.37), or with codeSigning in it",
            ],
        ),
    ] {
        corporate(&bench, "P-256", extensions);
        bench.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out sub.key");
        bench.openssl("req -new -key sub.key -subj /O=Acme/CN=Sub -out sub.csr");
        corporate_issues(&bench, "sub.csr", "sub.pem", "sha256");
        let ran = bench.ca("lint-chain sub.pem corp.pem").failed(112, &words);
        assert!(ran.stdout.contains(code), "{}", ran.stdout);
        let json = bench.ca("lint-chain sub.pem corp.pem --json");
        assert_eq!(json.status, 112);
        let json = json.json();
        assert_eq!(json["accepted"], false);
        assert_eq!(json["findings"][0]["code"], code, "{json}");
        assert_eq!(json["findings"][0]["certificate"], 0);
    }
    // RSA is not accepted anywhere.
    corporate(&bench, "rsa", GOOD);
    corporate_issues(&bench, "sub.csr", "sub.pem", "sha256");
    bench
        .ca("lint-chain sub.pem corp.pem")
        .failed(112, &["algorithm-forbidden", "RSA is not accepted"]);

    // A good authority without a scope: no rule is broken, and the way around the extension is named.
    corporate(&bench, "P-384", GOOD);
    corporate_issues(&bench, "sub.csr", "sub.pem", "sha384");
    let ran = bench.ca("lint-chain sub.pem corp.pem").succeeded();
    for words in [
        "no rule is broken",
        "roots.toml",
        "component-scope",
        "revocation list",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    bench.write(
        "roots.toml",
        "[[root]]\npem = \"corp.pem\"\npurpose = \"components\"\nscope = [\"acme:*\"]\n",
    );
    let ran = bench
        .ca("lint-chain sub.pem --roots roots.toml")
        .succeeded();
    assert!(!ran.stdout.contains("roots.toml"), "{}", ran.stdout);

    // An end entity with several faults: all are named at once.
    bench.write(
        "ca.cnf",
        "[sub]\nkeyUsage=keyEncipherment\nextendedKeyUsage=serverAuth,codeSigning\nauthorityKeyIdentifier=keyid\n",
    );
    corporate_issues(&bench, "press.csr", "press.pem", "sha384");
    let json = bench
        .ca("lint-chain press.pem corp.pem --profile component-signer --json")
        .json();
    let codes: Vec<_> = json["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| finding["code"].as_str().expect("a code").to_owned())
        .collect();
    for code in ["certificate-extension", "key-usage", "extended-key-usage"] {
        assert!(codes.iter().any(|found| found == code), "{code}: {codes:?}");
    }
    bench.write("mess.pem", "no certificate");
    bench
        .ca("lint-chain mess.pem")
        .failed(2, &["BEGIN CERTIFICATE"]);
}

#[test]
fn a_ceremony_is_written_down_and_a_changed_transcript_is_noticed() {
    let bench = Bench::new();
    bench.write("pass", "correct horse battery\n");
    bench.write(
        "script",
        "# the root, and who issues to devices\ninit --org Acme --name 'Acme Root 2026'\n\ncountersign-ca intermediate --name 'Acme Devices 1'\ncrl --out lists.pem\n",
    );
    let ran = bench
        .ca("ceremony script --out transcript --participants 2 --passphrase-file pass --json")
        .succeeded()
        .json();
    assert_eq!(ran["commands"], 3);
    let text = String::from_utf8(bench.read("transcript")).expect("text");
    let shown = bench.ca("show --json").succeeded().json();
    for authority in shown["authorities"].as_array().expect("a list") {
        let fingerprint = authority["spki_sha256"].as_str().expect("hexadecimal");
        assert!(text.contains(fingerprint), "{text}");
    }
    for words in [
        "init --org Acme --name 'Acme Root 2026'",
        "2. Name: ____",
        "all 3 commands were carried out",
        "Program countersign-ca",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // TG31: neither a passphrase nor a key.
    assert!(
        !text.contains("correct horse") && !text.contains("PRIVATE KEY"),
        "{text}"
    );
    bench.ca("ceremony --check transcript").succeeded();
    bench.write("changed", text.replace("Acme Root 2026", "Acme Root 2027"));
    bench
        .ca("ceremony --check changed")
        .failed(2, &["was changed after it was written"]);
    bench.write("cut", &text[..text.len() / 2]);
    bench.ca("ceremony --check cut").failed(2, &["no seal"]);
    bench
        .ca("ceremony script --out transcript --passphrase-file pass")
        .failed(2, &["never replaced"]);
    // What fails ends the ceremony, and is on the transcript.
    bench.write(
        "again",
        "init --org Acme --name Other --unencrypted\nshow\n",
    );
    bench
        .ca("ceremony again --out second")
        .failed(2, &["exit status 2"]);
    let text = String::from_utf8(bench.read("second")).expect("text");
    assert!(
        text.contains("broken off at command 1") && !text.contains("2. 2"),
        "{text}"
    );
    bench.ca("ceremony --check second").succeeded();
}

#[test]
fn a_ceremony_that_is_broken_off_has_told_what_was_done_until_then() {
    let bench = ready();
    // A passphrase that never comes: the second command waits for it until everything is killed.
    bench.command("mkfifo", "never").succeeded();
    bench.write("script", "show\nintermediate --name 'Devices 2'\n");
    let mut running = Command::new(env!("CARGO_BIN_EXE_countersign-ca"))
        .args(["ceremony", "script", "--out", "transcript"])
        .args(["--passphrase-file", "never"])
        .current_dir(bench.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("starts");
    let until = Instant::now() + Duration::from_secs(60);
    let text = loop {
        let text = fs::read_to_string(bench.path("transcript")).unwrap_or_default();
        if text.contains("countersign-ca intermediate") || Instant::now() > until {
            break text;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // The command that waits is in the same group.
    let group = format!("-KILL -- -{}", running.id());
    bench.command("kill", &group).succeeded();
    running.wait().expect("it ends");
    for words in ["1. 2", "exit status 0", "devices-1", "2. 2"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    bench
        .ca("ceremony --check transcript")
        .failed(2, &["no seal"]);
}

#[test]
fn tg04_a_key_that_may_be_in_other_hands_is_not_certified_again() {
    let bench = ready();
    for name in ["press", "mill"] {
        bench.device(name);
    }
    let issue = |name: &str, out: &str| {
        bench.ca(&format!("issue --profile tls --csr {name}.csr --out {out}"))
    };
    for (name, reason) in [("press", "key-compromise"), ("mill", "superseded")] {
        issue(name, &format!("{name}.pem")).succeeded();
        let serial = bench.serial(&format!("{name}.pem"));
        bench
            .ca(&format!("revoke {serial} --reason {reason}"))
            .succeeded();
    }
    issue("press", "press-2.pem").failed(2, &["other hands", "make a new key"]);
    assert!(!bench.path("press-2.pem").exists());
    issue("mill", "mill-2.pem").succeeded();
    // What was refused left nothing on record, and a serial with every record.
    let issued = bench.ca("show --issued --json").succeeded().json();
    let certificates = issued["certificates"].as_array().expect("a list");
    assert_eq!(certificates.len(), 4, "{issued}");
}

#[test]
fn tg04_whatever_else_is_over_a_key_that_is_lost_is_revoked_with_it() {
    let bench = ready();
    let issue_with = |device: &str, chain: &str, more: &str| {
        bench
            .ca(&format!(
                "issue --profile component-signer --csr {device}.csr --out {chain}.pem {more}"
            ))
            .succeeded();
        bench.serial(&format!("{chain}.pem")).to_lowercase()
    };
    let issue = |device: &str, chain: &str| issue_with(device, chain, "");
    for device in ["press", "mill"] {
        bench.device(device);
    }
    let first = issue("press", "first");
    let mill = issue("mill", "mill");
    bench
        .ca("intermediate rotate devices-1 --unencrypted")
        .succeeded();
    // The renewal is of another authority.
    let renewal = issue_with("press", "renewal", "--no-rev-avail");
    let revoke = |serial: &str, reason: &str| {
        bench
            .ca(&format!("revoke {serial} --reason {reason} --json"))
            .succeeded()
            .json()
    };
    let reason = |serial: &str| {
        let shown = bench
            .ca(&format!("show {serial} --json"))
            .succeeded()
            .json();
        shown["certificates"][0]["revoked"]["reason"].clone()
    };
    let lists = || {
        bench.ca("crl --out lists.pem --force").succeeded();
        ["first", "renewal", "mill"].map(|chain| {
            bench
                .verdict(ROOT, &format!("{chain}.pem"), &["lists.pem"])
                .is_ok()
        })
    };
    // A lesser reason leaves the renewal.
    let said = revoke(&first, "superseded");
    assert_eq!(
        (&said["already_revoked"], &said["with_it"]),
        (&false.into(), &serde_json::json!([]))
    );
    assert_eq!(lists(), [false, true, true]);
    let since = said["revoked_at"].clone();
    // Learned later: the key is in other hands. The time stays, and the renewal goes with it.
    let ran = bench
        .ca(&format!("revoke {first} --reason key-compromise --json"))
        .succeeded();
    let warning = format!("{renewal} says that its revocation is never published");
    assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
    let said = ran.json();
    let other =
        serde_json::json!([{"serial": renewal, "issuer": "devices-2", "no_rev_avail": true}]);
    assert_eq!(
        (&said["already_revoked"], &said["with_it"]),
        (&false.into(), &other)
    );
    assert_eq!(said["revoked_at"], since);
    assert_eq!(lists(), [false, false, true]);
    for serial in [&first, &renewal] {
        assert_eq!(reason(serial), "key-compromise");
    }
    // Said again, also with less, nothing changes.
    for again in ["key-compromise", "ca-compromise", "superseded"] {
        let said = revoke(&first, again);
        assert_eq!(
            (&said["already_revoked"], &said["with_it"]),
            (&true.into(), &serde_json::json!([]))
        );
        assert_eq!(said["reason"], "key-compromise");
    }
    bench
        .ca("issue --profile component-signer --csr press.csr")
        .failed(2, &["other hands", "make a new key"]);
    assert_eq!(reason(&mill), serde_json::Value::Null);
    // What a stop in the middle left is done by the same command again.
    let left = format!("ca/authorities/devices-2/revoked/{renewal}.json");
    fs::remove_file(bench.path(&left)).expect("it was there");
    let said = revoke(&first, "key-compromise");
    assert_eq!(
        (&said["already_revoked"], &said["with_it"]),
        (&true.into(), &other)
    );
}

#[test]
fn tg20_a_revoked_authority_issues_nothing() {
    let bench = ready();
    bench.device("press");
    let revoke = || {
        let shown = bench.ca("show --json").succeeded().json();
        let authorities = shown["authorities"].as_array().expect("a list").clone();
        let below = |one: &&serde_json::Value| one["id"] == "devices-1";
        let serial = authorities.iter().find(below).expect("it is there")["serial"].clone();
        let serial = serial.as_str().expect("hexadecimal").to_owned();
        bench
            .ca(&format!("revoke {serial} --reason ca-compromise"))
            .succeeded();
    };
    let issue = |more: &str| bench.ca(&format!("issue --profile tls --csr press.csr {more}"));
    issue("").succeeded();
    revoke();
    issue("").failed(2, &["no intermediate that is valid now"]);
    issue("--issuer devices-1").failed(2, &["is revoked", "--issuer"]);
    bench
        .ca("intermediate --name 'Devices 2' --unencrypted")
        .succeeded();
    let issued = issue("--json").succeeded().json();
    assert_eq!(issued["issuer"], "devices-2");
}

#[test]
fn of_several_roots_of_one_name_the_one_that_issued_is_found() {
    let bench = ready();
    bench.device("press");
    bench
        .ca("issue --profile tls --csr press.csr --out press.pem")
        .succeeded();
    bench
        .ca("--dir other init --org Acme --name Root --unencrypted")
        .succeeded();
    bench.ca("crl --out lists.pem").succeeded();
    let root = |dir: &str| bench.read(&format!("{dir}/authorities/root/certificate.pem"));
    for (file, order) in [("a.pem", ["other", "ca"]), ("b.pem", ["ca", "other"])] {
        bench.write(file, order.map(root).concat());
        bench
            .ca(&format!(
                "lint-chain press.pem --crl lists.pem --roots {file}"
            ))
            .succeeded();
    }
    bench.write("wrong.pem", root("other"));
    let wrong = bench.ca("lint-chain press.pem --crl lists.pem --roots wrong.pem");
    assert_ne!(wrong.status, 0, "{}", wrong.stdout);
}

#[test]
fn what_has_no_end_is_not_read_to_it() {
    let bench = ready();
    bench.device("press");
    for line in [
        "issue --profile tls --csr /dev/zero",
        "intermediate --name 'Devices 2' --passphrase-file /dev/zero",
        "lint-chain /dev/zero",
        "lint-chain ca/authorities/root/certificate.pem --crl /dev/zero",
        "ceremony /dev/zero --out transcript",
        "ceremony --check /dev/zero",
    ] {
        bench.ca(line).failed(2, &["/dev/zero is more than"]);
    }
}

#[test]
fn a_key_file_of_ones_own_needs_a_passphrase_and_no_way_around_it_is_named() {
    let bench = Bench::new();
    for line in [
        "init --org Acme --name Root --key file:root.key",
        "--dir other intermediate request --org Acme --name Devices --key file:devices.key",
    ] {
        let ran = bench.ca(line).failed(2, &["--passphrase-file FILE"]);
        assert!(!ran.stderr.contains("--unencrypted"), "{}", ran.stderr);
    }
    // Where it is a way, it is named.
    bench
        .ca("--dir third init --org Acme --name Root")
        .failed(2, &["or --unencrypted"]);
}

#[test]
fn tg18_a_folder_or_key_that_is_not_its_owners_alone_is_not_used() {
    let bench = ready();
    bench.device("press");
    let issue = || bench.ca("issue --profile tls --csr press.csr");
    let set = |name: &str, mode| {
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).expect("set");
    };
    for folder in ["ca", "ca/authorities", "ca/authorities/devices-1"] {
        for mode in [0o750, 0o705, 0o777] {
            set(folder, mode);
            issue().failed(2, &["open to others", "chmod 700"]);
        }
        set(folder, 0o700);
    }
    let key = bench.path("ca/authorities/devices-1/key.pem");
    for mode in [0o640, 0o604] {
        set("ca/authorities/devices-1/key.pem", mode);
        issue().failed(2, &["chmod 600"]);
    }
    set("ca/authorities/devices-1/key.pem", 0o600);
    fs::rename(&key, bench.path("elsewhere.pem")).expect("moved");
    symlink(bench.path("elsewhere.pem"), &key).expect("linked");
    issue().failed(2, &["is a link"]);
    fs::remove_file(&key).expect("removed");
    fs::rename(bench.path("elsewhere.pem"), &key).expect("moved back");
    fs::rename(bench.path("ca"), bench.path("moved")).expect("moved");
    symlink(bench.path("moved"), bench.path("ca")).expect("linked");
    issue().failed(2, &["is a link"]);
    fs::remove_file(bench.path("ca")).expect("removed");
    fs::rename(bench.path("moved"), bench.path("ca")).expect("moved back");
    issue().succeeded();
    // Somebody else's: only root can make it so.
    let given_away = std::os::unix::fs::chown(bench.path("ca"), Some(65_534), None);
    if given_away.is_ok() {
        issue().failed(2, &["belongs to user 65534"]);
    }
}

/// The list on the disk, with its number.
fn list(bench: &Bench) -> Option<Crl> {
    let path = bench.path("ca/authorities/devices-1/crl.der");
    path.exists()
        .then(|| Crl::parse(&fs::read(&path).expect("readable")).expect("whole"))
}

#[test]
fn tg22_a_list_is_old_or_new_whenever_its_making_is_killed() {
    let bench = ready();
    bench.ca("crl").succeeded();
    let mut last = list(&bench).expect("a list").number();
    for round in 0_u64..30 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign-ca"))
            .arg("crl")
            .current_dir(bench.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_micros(round * 700));
        let _ = child.kill();
        child.wait().expect("ends");
        let number = list(&bench).expect("a list").number();
        assert!(number >= last, "{number} after {last}");
        last = number;
    }
    bench.ca("crl").succeeded();
    let number = list(&bench).expect("a list").number();
    assert!(number > last, "{number} after {last}");
    // Numbers that were taken by killed makings are not given again, and nothing is left half made.
    let folder = bench.path("ca/authorities/devices-1");
    for entry in fs::read_dir(folder).expect("readable") {
        let name = entry.expect("readable").file_name();
        assert!(!name.to_string_lossy().starts_with('.'), "{name:?}");
    }
}

/// Copies a folder as a backup does.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("set");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn tg16_an_authority_put_back_from_a_copy_numbers_upwards_and_revokes_what_it_forgot() {
    let bench = ready();
    copy(&bench.path("ca"), &bench.path("backup"));
    bench.device("press");
    bench
        .ca("issue --profile component-signer --csr press.csr --out press.pem")
        .succeeded();
    bench.ca("crl --out before.pem").succeeded();
    let before = list(&bench).expect("a list").number();
    fs::remove_dir_all(bench.path("ca")).expect("lost");
    fs::rename(bench.path("backup"), bench.path("ca")).expect("put back");
    // Numbers are the present in seconds: the second after is above.
    std::thread::sleep(Duration::from_millis(1_100));
    bench.ca("crl --out after.pem").succeeded();
    assert!(list(&bench).expect("a list").number() > before);
    bench
        .verdict(ROOT, "press.pem", &["after.pem"])
        .expect("still valid");
    let serial = bench.serial("press.pem");
    bench
        .ca(&format!("revoke {serial} --reason key-compromise"))
        .failed(2, &["no authority here has issued"]);
    bench
        .ca(&format!(
            "revoke {serial} --reason key-compromise --issuer devices-1 --unrecorded"
        ))
        .succeeded();
    bench.ca("crl --out after.pem --force").succeeded();
    assert!(matches!(
        bench.verdict(ROOT, "press.pem", &["before.pem", "after.pem"]),
        Err(Rejection::Revoked { .. })
    ));
}

#[test]
fn tg31_no_message_repeats_a_passphrase_or_a_key() {
    let bench = Bench::new();
    bench.write("pass", "correct horse battery\n");
    bench.write("wrong", "incorrect donkey\n");
    bench
        .ca("init --org Acme --name Root --passphrase-file pass")
        .succeeded();
    let key = String::from_utf8(bench.read("ca/authorities/root/key.pem")).expect("PEM");
    assert!(key.contains("ENCRYPTED PRIVATE KEY"));
    let secret = key.lines().nth(1).expect("a line");
    for line in [
        "intermediate --name Devices --passphrase-file wrong",
        "intermediate --name Devices --passphrase-file pass --json",
        "intermediate rotate devices --passphrase-file wrong",
        "intermediate request --org Acme --name Other --passphrase-file pass --json",
        "crl --passphrase-file wrong",
        "show --json",
    ] {
        let ran = bench.ca(line);
        for text in [&ran.stdout, &ran.stderr] {
            for word in ["correct horse", "incorrect donkey", secret, "PRIVATE KEY"] {
                assert!(!text.contains(word), "{line}: {text}");
            }
        }
    }
}

//! `countersign key`, `sign` and `device` with keys in a token: they do what they do with files, the key never leaves, and
//! whatever is missing or wrong is said, with a remedy, by a status of its own, and never made good by another key.

use std::process::Command;

use countersign_testing::tokens::{Module, PIN, Tokens};

use super::bench::{Bench, Ran, program};
use super::{pki, sign};

/// A folder, a module with a token in it, and the program that finds both.
struct Desk {
    bench: Bench,
    tokens: Tokens,
}

impl Desk {
    fn new(bench: Bench, module: Module) -> Self {
        let tokens = Tokens::with(module, "build");
        Self { bench, tokens }
    }

    /// The program with these arguments, of which KEY:NAME stands for that key's URI, the PIN's file included, and ASK:NAME
    /// for one without.
    fn run(&self, line: &str) -> Ran {
        self.program("countersign", line)
    }

    fn program(&self, name: &str, line: &str) -> Ran {
        let (variable, conf) = self.tokens.environment();
        let mut command = Command::new(program(name));
        command.env(variable, conf);
        for word in line.split_whitespace() {
            command.arg(match word.split_once(':') {
                Some(("KEY", name)) => self.tokens.uri("build", name),
                Some(("ASK", name)) => self.tokens.uri_without_pin("build", name),
                _ => word.to_owned(),
            });
        }
        self.bench.run(command, b"")
    }

    /// The store as `key list` takes it.
    fn store(&self) -> String {
        self.tokens.uri("build", "").replace(";object=", "")
    }

    fn list(&self) -> Vec<serde_json::Value> {
        let ran = self
            .run(&format!("key list {} --json", self.store()))
            .succeeded();
        ran.json()["keys"].as_array().expect("a list").clone()
    }
}

/// Nothing was made in the place of what is missing.
fn only(bench: &Bench, names: &[&str]) {
    assert_eq!(bench.names(), names);
}

#[test]
fn a_key_in_a_token_is_made_shown_listed_certified_used_replaced_and_removed() {
    let desk = Desk::new(sign::ready(), Module::SoftHsm);
    let made = desk
        .run("key generate KEY:signing --json")
        .succeeded()
        .json();
    assert_eq!(made["origin"], "device");
    let shown = desk.run("key show KEY:signing --json").succeeded().json();
    assert_eq!(shown["spki_sha256"], made["spki_sha256"]);
    assert_eq!(desk.list().len(), 1);
    desk.run("key generate KEY:signing")
        .failed(2, &["already", "choose another name"]);

    // A request that OpenSSL takes, a certificate, and a signed component that verifies.
    desk.run("key csr KEY:signing --device-id build-11 --output token.csr")
        .succeeded();
    desk.bench.openssl("req -in token.csr -verify -noout");
    desk.program(
        "countersign-ca",
        "init --dir own --org Acme --name Own --unencrypted",
    )
    .succeeded();
    desk.program(
        "countersign-ca",
        "intermediate --dir own --name Desk --unencrypted",
    )
    .succeeded();
    desk.program(
        "countersign-ca",
        "issue --dir own --profile component-signer --csr token.csr --scope acme:* --out token.pem",
    )
    .succeeded();
    desk.program("countersign-ca", "crl --dir own --out own.crl")
        .succeeded();
    desk.run("sign app.wasm --key KEY:signing --chain token.pem")
        .succeeded();
    desk.run("verify app.signed.wasm --roots own/authorities/root/certificate.pem --crl own.crl")
        .succeeded();

    // The next key: the old one stays until it is told to go.
    let rotated = desk
        .run("key rotate KEY:signing KEY:next --json")
        .succeeded();
    assert!(rotated.stderr.contains("key csr"), "{rotated:#?}");
    assert_eq!(rotated.json()["old_deleted"], false);
    assert_eq!(desk.list().len(), 2);
    desk.run("key delete KEY:signing")
        .failed(2, &["for ever", "--yes"]);
    assert_eq!(desk.list().len(), 2);
    let removed = desk.run("key delete KEY:signing --yes").succeeded();
    assert!(removed.stderr.contains("for ever"), "{removed:#?}");
    desk.run("key show KEY:signing")
        .failed(2, &["there is no key"]);
    desk.run("key rotate KEY:next KEY:third --delete-old")
        .failed(2, &["for ever", "--yes"]);
    assert_eq!(desk.list().len(), 1, "asked first, and made nothing");
    desk.run("key rotate KEY:next KEY:third --delete-old --yes")
        .succeeded();
    let left = desk.list();
    assert!(
        left.len() == 1
            && left[0]["key"]
                .as_str()
                .expect("a URI")
                .contains("object=third"),
        "{left:?}"
    );
}

#[test]
fn tf08_a_certificate_of_another_key_is_refused_before_anything_is_signed() {
    let desk = Desk::new(sign::ready(), Module::SoftHsm);
    desk.run("key generate KEY:signing").succeeded();
    desk.run("sign app.wasm --key KEY:signing --chain chain.pem")
        .failed(2, &["chain.pem does not belong to pkcs11:"]);
    assert!(!desk.bench.exists("app.signed.wasm"));
}

#[test]
fn tf01_what_is_not_there_is_said_and_no_key_in_software_takes_its_place() {
    let desk = Desk::new(sign::ready(), Module::SoftHsm);
    let before = desk.bench.names();
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    for (key, words) in [
        (
            "pkcs11:token=build;object=k?module-path=/nonexistent.so",
            &["no PKCS#11 module /nonexistent.so", "install"][..],
        ),
        ("KEY:nobody", &["there is no key", "key generate"]),
        (
            "atecc608:/dev/i2c-99?slot=0",
            &["no I2C bus /dev/i2c-99", "i2c-dev"],
        ),
        ("exec:/nonexistent/signer", &["/nonexistent/signer"]),
    ] {
        desk.run(&format!("key show {key}")).failed(2, words);
        desk.run(&format!("sign app.wasm --key {key} --chain chain.pem"))
            .failed(2, words);
        if !key.starts_with("KEY") {
            let made = desk.run(&format!("key generate {key}"));
            assert_eq!(made.status, 2, "{made:#?}");
        }
        only(&desk.bench, &before);
    }
    // Another token than the one that is in.
    let other = desk.tokens.uri("other", "k");
    desk.run(&format!("sign app.wasm --key {other} --chain chain.pem"))
        .failed(2, &["there is no token", "\"build\""]);
    // A bus or a module's store that this user may not use.
    let closed = desk.tokens.path("closed");
    std::fs::write(&closed, "").expect("ours");
    let ran = desk.run(&format!("key show atecc608:{}?slot=0", closed.display()));
    assert!(ran.status == 2 || ran.status == 119, "{ran:#?}");
    assert!(
        ran.stderr.contains(closed.to_str().expect("UTF-8")),
        "{ran:#?}"
    );
    only(&desk.bench, &before);
}

#[test]
fn tf01_a_tpm_is_asked_or_its_absence_said() {
    let bench = Bench::new();
    // With the feature, there is no such device; without, no such store.
    let ran = bench.line("key generate tpm:door?tcti=device:/dev/nonexistent");
    assert!(ran.status == 2 || ran.status == 119, "{ran:#?}");
    assert!(
        ran.stderr
            .contains("this build has no TPM support: built without the feature tpm")
            || ran.stderr.contains("/dev/nonexistent"),
        "{ran:#?}"
    );
    only(&bench, &[]);
}

#[test]
fn tf03_a_wrong_pin_is_given_once_and_a_locked_token_is_said_to_be_locked() {
    let desk = Desk::new(sign::ready(), Module::Kryoptic);
    desk.run("key generate KEY:signing").succeeded();
    desk.bench.write("right", format!("{PIN}\n"));
    desk.bench.write("wrong", "1234567\n");
    let sign = "sign app.wasm --key ASK:signing --chain chain.pem";
    desk.run(sign).failed(2, &["--pin-file", "pin-source"]);
    desk.run("key show ASK:signing --pin-file right")
        .succeeded();
    for _ in 0..7 {
        let ran = desk
            .run(&format!("{sign} --pin-file wrong"))
            .failed(2, &["refused the PIN", "tr"]);
        assert!(!ran.stderr.contains("1234567"), "{ran:#?}");
    }
    // Kryoptic takes ten, and says that few are left: no file gets one of them, right or wrong.
    let spend = || {
        let spent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            desk.tokens
                .tool(&["--login", "--pin", "7654321", "--list-objects"]);
        }));
        assert!(spent.is_err(), "a wrong PIN was taken");
    };
    for _ in 0..5 {
        desk.run(&format!("{sign} --pin-file wrong"))
            .failed(119, &["was given a wrong PIN", "type the PIN"]);
        desk.run("key show KEY:signing")
            .failed(119, &["fewer tries are left", "by hand"]);
    }
    // Somebody spends them.
    spend();
    spend();
    desk.run("key show ASK:signing --pin-file right")
        .failed(119, &["one try left", "type the PIN"]);
    desk.run("key show KEY:signing")
        .failed(119, &["one try is left", "by hand"]);
    spend();
    desk.run("key show ASK:signing --pin-file right")
        .failed(119, &["is locked", "security officer"]);
    assert!(!desk.bench.exists("app.signed.wasm"));
}

#[test]
fn a_pin_that_a_person_types_is_not_shown() {
    let desk = Desk::new(Bench::new(), Module::SoftHsm);
    desk.run("key generate KEY:signing").succeeded();
    let (variable, conf) = desk.tokens.environment();
    let uri = desk.tokens.uri_without_pin("build", "signing");
    let ran = desk
        .bench
        .at_a_terminal_with(
            &[(variable, conf.as_os_str())],
            &format!("key show '{uri}'"),
            "\": ",
            &[PIN],
        )
        .succeeded();
    assert!(
        ran.stdout.contains("PIN of the token \"build\"") && !ran.stdout.contains(PIN),
        "{ran:#?}"
    );
}

#[test]
fn what_a_machine_has_is_listed_with_the_reason_for_what_it_has_not() {
    let desk = Desk::new(Bench::new(), Module::SoftHsm);
    let found = desk.run("device detect --json").succeeded().json();
    let devices = found["devices"].as_array().expect("a list");
    let token = devices
        .iter()
        .find(|device| {
            device["description"]
                .as_str()
                .is_some_and(|text| text.contains("\"build\""))
        })
        .unwrap_or_else(|| panic!("the token is not in {found}"));
    assert_eq!(token["kind"], "pkcs11");
    // The example is a URI that works: with a name in it and the PIN, it makes a key.
    let example = token["example"]
        .as_str()
        .expect("a URI")
        .replace("NAME", "detected");
    let uri = format!("{example}&pin-source={}", desk.tokens.path("pin").display());
    desk.run(&format!("key generate {uri}")).succeeded();
    for kind in ["tpm", "atecc608"] {
        let missing = devices
            .iter()
            .find(|device| device["kind"] == kind)
            .unwrap_or_else(|| panic!("{kind} is not in {found}"));
        if missing["ready"] == false {
            assert!(
                missing["reason"]
                    .as_str()
                    .is_some_and(|why| why.contains("; ")),
                "{missing}"
            );
        }
    }
    let text = desk.run("device detect").succeeded().stdout;
    assert!(text.contains("ready") && text.contains("key URI"), "{text}");
}

#[test]
fn what_a_store_cannot_do_is_said_and_not_done_otherwise() {
    let desk = Desk::new(sign::ready(), Module::SoftHsm);
    for (line, words) in [
        ("key generate KEY:k --pcr 0,7", &["state of the boot"][..]),
        ("key generate KEY:k --attestation", &["states"]),
        ("key generate KEY:k --force", &["--force", "leave it out"]),
        ("key generate KEY:k --pcr 24", &["24"]),
        (
            "key generate file:k.key --attestation --unencrypted",
            &["TPM"],
        ),
        ("key generate file:k.key --pcr 7", &["TPM"]),
        ("key list exec:/bin/true", &["exec:"]),
        ("key rotate KEY:k KEY:k", &["another name"]),
    ] {
        desk.run(line).failed(2, words);
    }
    assert!(desk.list().is_empty());
    desk.run("key generate KEY:k").succeeded();
    desk.run("device lock KEY:k --serial 00")
        .failed(2, &["nothing that could be locked"]);
    desk.run("device lock leaf.key --serial 00")
        .failed(2, &["cannot be locked"]);
    // A list of key files, one of which is not ours to read.
    let listed = desk.run("key list . --json").succeeded().json();
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(3), "{listed}");
    pki::verify(&desk.bench, "missing.wasm", "").failed(2, &["missing.wasm"]);
}

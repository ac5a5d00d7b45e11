//! `countersign attest`: asked and judged as two people would do it, with a key in software and, where this build has the
//! feature, in a TPM, whose quotes another tool checks too, and in an emulated ATECC608.

use std::process::Command;

use countersign_atecc608_emulator::Factory;
use countersign_format::{
    AttestationHardware, EvidenceDocument, EvidenceProof, evidence_challenge,
};
use countersign_testing::swtpm::Swtpm;
use countersign_testing::{Profile, Role, TestPki};
use der::asn1::Any;
use der::{Decode as _, pem};

use super::bench::{Bench, Ran, program};
use super::chip::Desk;

const NONCE: &str = "00112233445566778899aabbccddeeff";
const OTHER_NONCE: &str = "ffeeddccbbaa99887766554433221100";

/// An authority that certified a key for attestation, with its files in the folder.
struct Authority(TestPki);

impl Authority {
    /// Certifies the key that `key show --json` told of, as one in this hardware.
    fn of(bench: &Bench, shown: &serde_json::Value, hardware: Option<AttestationHardware>) -> Self {
        let text = shown["spki_pem"].as_str().expect("a key");
        let (_, spki) = pem::decode_vec(text.as_bytes()).expect("PEM");
        let spki = Any::from_der(&spki).expect("a public key");
        let mut builder = TestPki::builder().profile(Profile::Attestation);
        if let Some(hardware) = hardware {
            builder = builder.hardware(hardware);
        }
        let pki = builder
            .bend(Role::Leaf, move |parts| {
                parts.subject_public_key_info = spki;
            })
            .build();
        let certificate = |der: &[u8]| {
            pem::encode_string("CERTIFICATE", pem::LineEnding::LF, der).expect("a certificate")
        };
        let chain = pki.chain().iter().map(|der| certificate(der));
        bench.write("chain.pem", chain.collect::<String>());
        bench.write("root.pem", certificate(pki.root()));
        for (n, crl) in pki.crls().iter().enumerate() {
            bench.write(&format!("{n}.crl"), crl);
        }
        Self(pki)
    }

    /// Judges a file of the folder.
    fn verify(&self, bench: &Bench, file: &str, nonce: &str, more: &str) -> Ran {
        let lists: String = (0..self.0.crls().len())
            .map(|n| format!(" --crl {n}.crl"))
            .collect();
        bench.line(&format!(
            "attest verify {file} --roots root.pem{lists} --at {} --nonce {nonce} {more}",
            self.0.time()
        ))
    }
}

#[test]
fn a_key_in_software_attests_and_says_that_it_is_one() {
    let bench = Bench::new();
    bench
        .line("key generate attest.key --unencrypted")
        .succeeded();
    let shown = bench.line("key show attest.key --json").succeeded().json();
    let authority = Authority::of(&bench, &shown, None);
    let quote = format!("attest quote attest.key --nonce {NONCE} --chain chain.pem --output");
    let made = bench.line(&format!("{quote} state.eat")).succeeded();
    assert!(
        made.stderr.contains("no hardware vouches"),
        "{}",
        made.stderr
    );
    authority
        .verify(&bench, "state.eat", NONCE, "")
        .failed(112, &["evidence-policy", "no hardware vouches"]);
    let verdict = authority
        .verify(
            &bench,
            "state.eat",
            NONCE,
            "--accept-software --json --explain",
        )
        .succeeded()
        .json();
    assert_eq!(verdict["verdict"], "accepted");
    assert_eq!(
        (&verdict["kind"], &verdict["device_id"]),
        (&"software".into(), &"test-device".into())
    );
    assert_eq!(verdict["hardware"], serde_json::Value::Null);
    assert_eq!(verdict["self_reported"]["program"], "countersign");
    let checks = verdict["checks"].as_array().expect("told");
    assert!(checks.iter().all(|check| check["outcome"] == "passed"));
    authority
        .verify(&bench, "state.eat", OTHER_NONCE, "--accept-software")
        .failed(114, &["evidence-nonce"]);
    authority
        .verify(
            &bench,
            "state.eat",
            NONCE,
            "--accept-software --device-id pump",
        )
        .failed(112, &["evidence-policy"]);

    for demand in [
        "--unchangeable",
        "--expect-chip 0123c68e5b000007ee",
        &format!(
            "--expect-key {}",
            shown["spki_sha256"].as_str().expect("a digest")
        ),
    ] {
        authority
            .verify(
                &bench,
                "state.eat",
                NONCE,
                &format!("--accept-software {demand}"),
            )
            .failed(2, &["exclude each other"]);
    }
    // A certificate that says that the key is in hardware is not for what software signs.
    let rightly = bench.read("chain.pem");
    Authority::of(&bench, &shown, Some(AttestationHardware::Tpm));
    bench
        .line(&format!("{quote} x.eat"))
        .failed(2, &["attestation key in tpm", "evidence by software"]);
    bench.write("chain.pem", rightly);

    // Nothing is replaced unasked, and every mistake is said before anything is signed.
    bench
        .line(&format!("{quote} state.eat"))
        .failed(2, &["state.eat"]);
    bench
        .line("attest quote attest.key --nonce 00 --chain chain.pem --output x.eat")
        .failed(2, &["8 bytes"]);
    bench
        .line(&format!("{quote} x.eat --pcr 7"))
        .failed(2, &["use a TPM"]);
    bench
        .line(&format!(
            "attest key attest.key --nonce {NONCE} --chain chain.pem --output x.eat"
        ))
        .failed(2, &["cannot vouch for a key"]);
    bench
        .line("key generate other.key --unencrypted")
        .succeeded();
    bench
        .line(&format!(
            "attest quote other.key --nonce {NONCE} --chain chain.pem --output x.eat"
        ))
        .failed(2, &["the certificate in chain.pem is for"]);
    assert!(!bench.exists("x.eat"));
}

/// The program, in whose arguments KEY:NAME stands for that key of this TPM.
fn run(bench: &Bench, tpm: &Swtpm, line: &str) -> Ran {
    let tcti = tpm.tcti().to_string();
    bench.countersign(
        line.split_whitespace()
            .map(|word| match word.split_once(':') {
                Some(("KEY", name)) => format!("tpm:{name}?tcti={tcti}"),
                _ => word.to_owned(),
            }),
    )
}

/// A tool of tpm2-tools, on this TPM.
fn tool(bench: &Bench, tpm: &Swtpm, line: &str) -> Ran {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a tool"));
    command
        .args(words)
        .env("TPM2TOOLS_TCTI", tpm.tcti().to_string());
    bench.run(command, b"")
}

#[test]
fn tf11_tf13_a_tpm_attests_its_boot_and_nothing_else_passes_for_it() {
    let bench = Bench::new();
    let tpm = Swtpm::start();
    let made = run(&bench, &tpm, "key generate KEY:ak --attestation");
    if made.status != 0 {
        made.failed(
            2,
            &["this build has no TPM support: built without the feature tpm"],
        );
        return;
    }
    let shown = run(&bench, &tpm, "key show KEY:ak --json")
        .succeeded()
        .json();
    let authority = Authority::of(&bench, &shown, Some(AttestationHardware::Tpm));
    let quote = |file: &str| {
        run(
            &bench,
            &tpm,
            &format!(
                "attest quote KEY:ak --nonce {NONCE} --pcr 16,0,7 --chain chain.pem --output {file}"
            ),
        )
    };
    quote("state.eat").succeeded();
    let verdict = authority
        .verify(&bench, "state.eat", NONCE, "--json")
        .succeeded()
        .json();
    assert_eq!(verdict["kind"], "tpm-quote");
    let registers = verdict["hardware"]["registers"].clone();
    assert_eq!(registers.as_object().expect("registers").len(), 3);
    let expecting = |number: &str| {
        let value = registers[number].as_str().expect("a register");
        format!("--expect-pcr {number}={value}")
    };
    let (seven, sixteen) = (expecting("7"), expecting("16"));
    authority
        .verify(
            &bench,
            "state.eat",
            NONCE,
            &format!("{seven} {sixteen} --explain"),
        )
        .succeeded();
    authority
        .verify(&bench, "state.eat", OTHER_NONCE, &seven)
        .failed(114, &["evidence-nonce"]);

    checked_by_tpm2_tools(&bench, &tpm, &shown);

    // Every byte counts.
    let good = bench.read("state.eat");
    for at in (0..good.len()).step_by(41) {
        let mut bent = good.clone();
        bent[at] ^= 0x10;
        bench.write("bent.eat", bent);
        let refused = authority.verify(&bench, "bent.eat", NONCE, "");
        assert!((110..=119).contains(&refused.status), "{at}: {refused:#?}");
    }
    // The device starts something else: the old expectation no longer holds, and the answer is as true.
    let digest = format!("sha256={}", "ab".repeat(32));
    tool(&bench, &tpm, &format!("tpm2_pcrextend 16:{digest}")).succeeded();
    quote("later.eat").succeeded();
    authority
        .verify(&bench, "later.eat", NONCE, &seven)
        .succeeded();
    authority
        .verify(&bench, "later.eat", NONCE, &sixteen)
        .failed(112, &["evidence-policy", "register 16 holds"]);
    // Hardware without registers to quote is not stepped down from.
    run(
        &bench,
        &tpm,
        &format!("attest quote KEY:ak --nonce {NONCE} --chain chain.pem --output x.eat"),
    )
    .failed(2, &["--pcr"]);

    certified_by_its_public_area(&bench, &tpm, &shown);

    // Another TPM under this one's certificates.
    let other = Swtpm::start();
    run(&bench, &other, "key generate KEY:ak --attestation").succeeded();
    run(
        &bench,
        &other,
        &format!(
            "attest quote KEY:ak --nonce {NONCE} --pcr 7 --chain chain.pem --output other.eat"
        ),
    )
    .failed(2, &["the certificate in chain.pem is for"]);
    assert!(!bench.exists("other.eat"));
}

/// `countersign-ca` certifies what `tpm2_readpublic` writes of the attestation key, and not what it writes of another key.
fn certified_by_its_public_area(bench: &Bench, tpm: &Swtpm, shown: &serde_json::Value) {
    let ca = |line: &str| {
        let mut command = Command::new(program("countersign-ca"));
        command.args(line.split_whitespace());
        bench.run(command, b"")
    };
    ca("init --org Acme --name Root --unencrypted").succeeded();
    ca("intermediate --name Devices --unencrypted").succeeded();
    tool(bench, tpm, "tpm2_readpublic -c 0x81020000 -o ak.pub").succeeded();
    let issue = "issue --profile attestation --hardware tpm --device-id press-4";
    let issued = ca(&format!("{issue} --tpm-public-area ak.pub --json"))
        .succeeded()
        .json();
    assert_eq!(issued["spki_sha256"], shown["spki_sha256"]);
    run(bench, tpm, "key generate KEY:0x81010009").succeeded();
    tool(bench, tpm, "tpm2_readpublic -c 0x81010009 -o signs.pub").succeeded();
    ca(&format!("{issue} --tpm-public-area signs.pub"))
        .failed(2, &["the key signs messages from outside"]);
}

/// The quote in `state.eat`, for tpm2-tools: good with our qualifying data, and with no other.
fn checked_by_tpm2_tools(bench: &Bench, tpm: &Swtpm, shown: &serde_json::Value) {
    let document = EvidenceDocument::decode(&bench.read("state.eat")).expect("an attestation");
    let EvidenceProof::TpmQuote(quote) = document.proof() else {
        panic!("{document:?}")
    };
    let (r, s) = quote.signature.split_at(32);
    // TPMT_SIGNATURE: ECDSA with SHA-256, r, s.
    let signature = [&b"\0\x18\0\x0b\0\x20"[..], r, b"\0\x20", s].concat();
    bench.write("attest.bin", &quote.attest);
    bench.write("signature.bin", signature);
    bench.write("ak.pem", shown["spki_pem"].as_str().expect("a key"));
    let check = |qualifying: &str| {
        tool(
            bench,
            tpm,
            &format!(
                "tpm2_checkquote -u ak.pem -m attest.bin -s signature.bin -g sha256 -q {qualifying}"
            ),
        )
    };
    check(&evidence_challenge(document.claims()).to_string()).succeeded();
    assert_ne!(check(NONCE).status, 0);
    assert_ne!(check(&"00".repeat(32)).status, 0);
}

#[test]
fn tf12_a_tpm_vouches_for_a_key_that_was_made_in_it() {
    let bench = Bench::new();
    let tpm = Swtpm::start();
    let made = run(&bench, &tpm, "key generate KEY:ak --attestation");
    if made.status != 0 {
        made.failed(
            2,
            &["this build has no TPM support: built without the feature tpm"],
        );
        return;
    }
    let shown = run(&bench, &tpm, "key show KEY:ak --json")
        .succeeded()
        .json();
    let authority = Authority::of(&bench, &shown, Some(AttestationHardware::Tpm));
    let key = run(&bench, &tpm, "key generate KEY:door --json")
        .succeeded()
        .json();
    run(
        &bench,
        &tpm,
        &format!("attest key KEY:door --nonce {NONCE} --chain chain.pem --output key.eat"),
    )
    .succeeded();
    let verdict = authority
        .verify(&bench, "key.eat", NONCE, "--json")
        .succeeded()
        .json();
    assert_eq!(verdict["kind"], "tpm-key");
    assert_eq!(verdict["hardware"]["spki_sha256"], key["spki_sha256"]);
    compared_with_a_key(&bench, &authority, &key, &shown);
    authority
        .verify(&bench, "key.eat", OTHER_NONCE, "")
        .failed(114, &["evidence-nonce"]);
}

/// The attestation in `key.eat` vouches for `key` and not for `other`, and whoever names no key is told so.
fn compared_with_a_key(
    bench: &Bench,
    authority: &Authority,
    key: &serde_json::Value,
    other: &serde_json::Value,
) {
    let text = |of: &serde_json::Value, what: &str| of[what].as_str().expect("a text").to_owned();
    bench.write("key.pem", text(key, "spki_pem"));
    bench.write("other.pem", text(other, "spki_pem"));
    let unnamed = authority.verify(bench, "key.eat", NONCE, "").succeeded();
    assert!(
        unnamed.stderr.contains("compared with no key of yours"),
        "{}",
        unnamed.stderr
    );
    for good in ["key.pem".to_owned(), text(key, "spki_sha256")] {
        let named = authority
            .verify(bench, "key.eat", NONCE, &format!("--expect-key {good}"))
            .succeeded();
        assert!(!named.stderr.contains("warning"), "{}", named.stderr);
    }
    // The chain is that of the attestation key.
    for bad in ["other.pem", "chain.pem", &text(other, "spki_sha256")] {
        authority
            .verify(bench, "key.eat", NONCE, &format!("--expect-key {bad}"))
            .failed(112, &["evidence-policy", "the expected key"]);
    }
    authority
        .verify(bench, "key.eat", NONCE, "--expect-key missing.pem")
        .failed(2, &["missing.pem"]);
    authority
        .verify(bench, "key.eat", NONCE, "--expect-key key.eat")
        .failed(2, &["neither a public key nor a certificate"]);
}

#[test]
fn tf20_a_chip_vouches_for_a_key_and_says_whether_it_can_be_replaced() {
    let desk = Desk::new(Factory::provisioned(7));
    let bench = &desk.bench;
    desk.run("key generate SLOT:1 --attestation").succeeded();
    let shown = desk.run("key show SLOT:1 --json").succeeded().json();
    let authority = Authority::of(bench, &shown, Some(AttestationHardware::Atecc608));
    let key = desk.run("key generate SLOT:0 --json").succeeded().json();
    let attest = |file: &str| {
        desk.run(&format!(
            "attest key SLOT:0 --nonce {NONCE} --chain chain.pem --output {file}"
        ))
        .succeeded()
    };
    attest("key.eat");
    let verdict = authority
        .verify(bench, "key.eat", NONCE, "--json")
        .succeeded()
        .json();
    assert_eq!(verdict["kind"], "atecc608-key");
    let hardware = &verdict["hardware"];
    assert_eq!(hardware["spki_sha256"], key["spki_sha256"]);
    assert_eq!(hardware["serial_number"], "0123c68e5b000007ee");
    assert_eq!(
        (&hardware["slot"], &hardware["replaceable"]),
        (&0.into(), &true.into())
    );
    authority
        .verify(bench, "key.eat", OTHER_NONCE, "")
        .failed(114, &["evidence-nonce"]);
    authority
        .verify(bench, "key.eat", NONCE, "--unchangeable")
        .failed(112, &["evidence-policy"]);
    compared_with_a_key(bench, &authority, &key, &shown);
    authority
        .verify(bench, "key.eat", NONCE, "--expect-chip 0123c68e5b000007ee")
        .succeeded();
    authority
        .verify(bench, "key.eat", NONCE, "--expect-chip 0123c68e5b000008ee")
        .failed(112, &["evidence-policy", "expected chip"]);
    authority
        .verify(bench, "key.eat", NONCE, "--expect-chip 0123")
        .failed(2, &["18 hexadecimal digits"]);
    desk.run("device lock SLOT:0 --serial 0123c68e5b000007ee")
        .succeeded();
    attest("locked.eat");
    authority
        .verify(bench, "locked.eat", NONCE, "--unchangeable")
        .succeeded();
    // A chip keeps no state of the boot.
    desk.run(&format!(
        "attest quote SLOT:1 --nonce {NONCE} --pcr 7 --chain chain.pem --output x.eat"
    ))
    .failed(2, &["use a TPM"]);
    assert!(!bench.exists("x.eat"));
}

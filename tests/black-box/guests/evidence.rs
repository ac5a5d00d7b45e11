//! Evidence of a device's state for a guest, as an operator sets it up: an attestation key in a TPM or a file, its
//! certificate, `countersign-run --device-attestation`, and the answer judged by `countersign attest verify`.

use std::path::Path;
use std::process::Command;

use countersign_format::Digest;
use countersign_testing::swtpm::Swtpm;

use super::host::HOST;
use crate::components::guest;
use crate::programs::{Ran, program, run};

const NONCE: &str = "00112233445566778899aabbccddeeff";
const OTHER_NONCE: &str = "ffeeddccbbaa99887766554433221100";

/// A folder with a PKI.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().expect("a temporary folder"));
        desk.succeeds("countersign-ca dev --dir pki");
        desk
    }

    fn run(&self, command: &mut Command) -> Ran {
        run(command.current_dir::<&Path>(self.0.path()))
    }

    /// A program of ours that must succeed, in words.
    fn succeeds(&self, line: &str) {
        let mut words = line.split_whitespace();
        let mut command = Command::new(program(words.next().expect("a program")));
        let ran = self.run(command.args(words));
        assert_eq!(ran.status, 0, "{line}: {ran:?}");
    }

    /// Certifies an attestation key.
    fn certify(&self, options: &str) {
        self.succeeds(&format!(
            "countersign-ca issue --dir pki/ca --profile attestation --days 7 --device-id gateway-7 --out chain.pem \
             --force {options}"
        ));
    }

    /// Lends the attestation of this key to the guest, which is asked with the nonce.
    fn asks(&self, key: &str, options: &[&str]) -> Ran {
        let signed = HOST.sign("attest");
        let mut command = signed.command();
        command
            .args(["--audit", "audit.jsonl", "--device-attestation"])
            .arg(format!("attestation={key}"))
            .args(["--device-chain", "attestation=chain.pem"])
            .args(options)
            .args(["--", NONCE]);
        self.run(&mut command)
    }

    /// Judges the answer of a guest.
    fn judge(&self, answer: &Ran, nonce: &str, options: &[&str]) -> Ran {
        assert_eq!(answer.status, 0, "{answer:?}");
        let bytes = hex::decode(answer.stdout.trim_end()).expect("a line of hexadecimal");
        std::fs::write(self.0.path().join("answer.eat"), bytes).expect("it is written");
        let mut command = Command::new(program("countersign"));
        command
            .args(["attest", "verify", "answer.eat", "--json", "--nonce", nonce])
            .args(["--roots", "pki/root.pem", "--crl", "pki/root.crl.pem"])
            .args(["--crl", "pki/intermediate.crl.pem"])
            .args(options);
        self.run(&mut command)
    }

    /// The event of the last line of the audit log but the run's end.
    fn recorded(&self, event: &str) -> bool {
        let log = std::fs::read_to_string(self.0.path().join("audit.jsonl")).expect("a log");
        log.lines().any(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["event"] == event && record["component"] == "examples:attest"
        })
    }
}

#[test]
fn tf11_tf13_a_guest_answers_with_its_devices_tpm() {
    let desk = Desk::new();
    let tpm = Swtpm::start();
    let key = format!("tpm:ak?tcti={}", tpm.tcti());
    desk.succeeds(&format!("countersign key generate {key} --attestation"));
    let mut readpublic = Command::new("tpm2_readpublic");
    readpublic
        .args(["-c", "0x81020000", "-o", "ak.pub"])
        .env("TPM2TOOLS_TCTI", tpm.tcti().to_string());
    let read = desk.run(&mut readpublic);
    assert_eq!(read.status, 0, "{read:?}");
    desk.certify("--hardware tpm --tpm-public-area ak.pub");

    let answer = desk.asks(&key, &["--device-pcr", "0,7"]);
    let component = Digest::of(&guest("attest")).to_string();
    let judged = desk.judge(&answer, NONCE, &["--expect-component", &component]);
    assert_eq!(judged.status, 0, "{judged:?}");
    let verdict: serde_json::Value = serde_json::from_str(&judged.stdout).expect("JSON");
    assert_eq!(verdict["kind"], "tpm-quote", "{verdict}");
    assert_eq!(verdict["device_id"], "gateway-7", "{verdict}");
    let registers = verdict["hardware"]["registers"].as_object();
    assert_eq!(registers.map(serde_json::Map::len), Some(2), "{verdict}");
    assert!(desk.recorded("attested"));

    let judged = desk.judge(&answer, OTHER_NONCE, &[]);
    assert_eq!(judged.status, 114, "{judged:?}");
    let other = Digest::of(b"another component").to_string();
    let judged = desk.judge(&answer, NONCE, &["--expect-component", &other]);
    assert_eq!(judged.status, 112, "{judged:?}");

    // A quote is of registers, and is not stepped down from.
    let refused = desk.asks(&key, &[]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.stderr.contains("--device-pcr"), "{refused:?}");
    // A key in software in its place, under its certificate or under one that says that it is in hardware too: nothing
    // starts.
    desk.succeeds("countersign key generate soft.key --unencrypted");
    let refused = desk.asks("file:soft.key", &[]);
    assert_eq!(refused.status, 119, "{refused:?}");
    assert!(refused.stderr.contains("not the key in its certificate"));
    desk.succeeds("countersign key csr soft.key --device-id gateway-7 --output soft.csr");
    desk.certify("--csr soft.csr --hardware atecc608");
    let refused = desk.asks("file:soft.key", &[]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.stderr.contains("kind of hardware that answers"));
    assert!(refused.stdout.is_empty(), "{refused:?}");
}

/// With a key in a file; that no hardware vouches for it is in the answer, and refused unless it is asked for.
#[test]
pub(super) fn attest() {
    let desk = Desk::new();
    desk.succeeds("countersign key generate soft.key --unencrypted");
    desk.succeeds("countersign key csr soft.key --device-id gateway-7 --output soft.csr");
    desk.certify("--csr soft.csr");
    let answer = desk.asks("file:soft.key", &[]);
    let judged = desk.judge(&answer, NONCE, &[]);
    assert_eq!(judged.status, 112, "{judged:?}");
    let judged = desk.judge(&answer, NONCE, &["--accept-software"]);
    assert_eq!(judged.status, 0, "{judged:?}");
    let verdict: serde_json::Value = serde_json::from_str(&judged.stdout).expect("JSON");
    assert_eq!(verdict["kind"], "software", "{verdict}");
    assert_eq!(verdict["self_reported"]["program"], "countersign-run");

    // Without the operator's leave there is none: the import is not there.
    let signed = HOST.sign("attest");
    let refused = signed.run(&["--", NONCE]);
    assert_eq!(refused.status, 116, "{refused:?}");
    assert!(
        refused.stderr.contains("countersign:device/attestation"),
        "{refused:?}"
    );
}

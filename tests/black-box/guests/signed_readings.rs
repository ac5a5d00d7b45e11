//! The telemetry guest in the other languages: what it has the device's key sign verifies elsewhere, by code of ours and
//! by code of others. With the key in a file, in a TPM and in an ATECC608.

use countersign_format::Digest;

use crate::device::{DEVICE, Device, Store};

use super::host::HOST;
use crate::components::guest;
use crate::programs::Ran;

/// What the guests are told to sign: plain and not so plain text.
const READINGS: [&str; 2] = ["21.5 C", "Außen: −3 °C 🌡"];

#[test]
pub(super) fn telemetry_c() {
    behaves_as_the_one_in_rust("telemetry-c");
}

#[test]
pub(super) fn telemetry_javascript() {
    behaves_as_the_one_in_rust("telemetry-javascript");
}

#[test]
pub(super) fn telemetry_python() {
    behaves_as_the_one_in_rust("telemetry-python");
}

#[test]
fn telemetry_c_signs_with_a_tpm() {
    signs(&Device::with_key_in(Store::tpm()), "telemetry-c");
}

#[test]
fn telemetry_javascript_signs_with_a_tpm() {
    signs(&Device::with_key_in(Store::tpm()), "telemetry-javascript");
}

#[test]
fn telemetry_python_signs_with_a_tpm() {
    signs(&Device::with_key_in(Store::tpm()), "telemetry-python");
}

#[test]
fn telemetry_in_rust_signs_with_a_tpm() {
    signs(&Device::with_key_in(Store::tpm()), "telemetry");
}

#[test]
fn telemetry_c_signs_with_an_atecc608() {
    signs(&Device::with_key_in(Store::atecc608()), "telemetry-c");
}

#[test]
fn telemetry_javascript_signs_with_an_atecc608() {
    signs(
        &Device::with_key_in(Store::atecc608()),
        "telemetry-javascript",
    );
}

#[test]
fn telemetry_python_signs_with_an_atecc608() {
    signs(&Device::with_key_in(Store::atecc608()), "telemetry-python");
}

#[test]
fn telemetry_in_rust_signs_with_an_atecc608() {
    signs(&Device::with_key_in(Store::atecc608()), "telemetry");
}

/// The same arguments, the same lines, the same errors.
fn behaves_as_the_one_in_rust(name: &str) {
    let device = Device::with_key_in(Store::file());
    signs(&device, name);

    // Nothing is given to it that the operator does not lend.
    let ran = HOST.sign(name).run(&["--", "21.5 C"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (116, ""), "{ran:?}");
    assert!(ran.stderr.contains("countersign:device/signing"), "{ran:?}");

    // Without a reading it has one of its own. The log is a context that the operator does not allow.
    let narrowed = ["--device-context", "telemetry=reading/v1", "--", "--log"];
    let ran = device.run(name, &narrowed);
    assert_eq!(
        (ran.status, ran.last_error()),
        (1, "not-granted"),
        "{ran:?}"
    );
    let verdict = device.judge_in_python(&ran.stdout, &["--context", "reading/v1"]);
    assert_eq!(
        verdict["message"],
        hex::encode("temperature=21.5"),
        "{verdict}"
    );

    let limited = ["--device-rate", "telemetry=1", "--", "one", "two"];
    let ran = device.run(name, &limited);
    let wait = ran
        .last_error()
        .strip_prefix("quota-exceeded: try again in ");
    let wait = wait
        .and_then(|rest| rest.strip_suffix(" ms"))
        .map(str::parse::<u64>);
    assert!(matches!(wait, Some(Ok(1..=60_000))), "{ran:?}");
    assert_eq!((ran.status, ran.stdout.lines().count()), (1, 1), "{ran:?}");
    let verdict = device.judge_in_python(&ran.stdout, &[]);
    assert_eq!(verdict["message"], hex::encode("one"), "{verdict}");
}

/// Signs readings and their log, and both verifiers agree on each line.
fn signs(device: &Device, name: &str) {
    let ran = device.run(name, &["--", "--log", READINGS[0], READINGS[1]]);
    assert_eq!(ran.status, 0, "{ran:?}");

    let judged = device.judge(&ran.stdout);
    assert_eq!(judged.status, 0, "{judged:?}");
    let lines: Vec<&str> = judged.stdout.lines().collect();
    let log = READINGS.map(|reading| format!("{reading}\n")).concat();
    for expected in [
        format!("device:     {DEVICE}"),
        format!("component:  examples:{name}"),
        format!("message:    {}", escaped(READINGS[0])),
        format!("message:    {}", escaped(READINGS[1])),
        format!("digest:     {}", Digest::of(log.as_bytes())),
    ] {
        assert!(
            lines.contains(&expected.as_str()),
            "no {expected:?} in {lines:?}"
        );
    }

    let component = device.path("component.wasm");
    std::fs::write(&component, guest(name)).expect("a temporary folder takes files");
    let component = component.display().to_string();
    let message = device.path("message");
    let contents = [READINGS[0], READINGS[1], &log];
    let signed: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(signed.len(), contents.len(), "{ran:?}");
    for (at, (line, content)) in signed.into_iter().zip(contents).enumerate() {
        assert_eq!(line, line.to_ascii_lowercase());
        std::fs::write(&message, content).expect("a temporary folder takes files");
        let context = if at < READINGS.len() {
            "reading/v1"
        } else {
            "log/v1"
        };
        let message = message.display().to_string();
        let options = [
            "--device",
            DEVICE,
            "--context",
            context,
            "--component",
            &component,
        ];
        let options = [&options[..], &["--message", &message]].concat();
        let verdict = device.judge_in_python(line, &options);
        assert_eq!(verdict["verified"], true, "{verdict}");
        assert_eq!(verdict["claims"]["sequence"], at + 1, "{verdict}");
        assert_eq!(verdict["claims"]["component"], format!("examples:{name}"));
    }
}

/// As the example prints a message that may be any bytes.
fn escaped(text: &str) -> String {
    text.as_bytes().escape_ascii().to_string()
}

impl Ran {
    /// The last line on stderr: the guest's own.
    fn last_error(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

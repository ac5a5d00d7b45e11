//! Receipts: what a gateway that nobody can ask says on a stick, judged at a desk.

use countersign_format::PartKind;

use super::bundles::{Plant, WHOLE};
use super::*;
use crate::device::{DEVICE, Device, Store};

const NONCE: &str = "8f4e1c77a2b95d03";

/// A gateway that takes bundles, on a device that attests with a key in a file.
fn attesting() -> (Plant, Device) {
    let device = Device::with_key_for("attestation", Store::file());
    let plant = Plant::new();
    let text = fs::read_to_string(plant.bench.path("gateway.toml")).expect("a configuration");
    plant.bench.configure_with(&format!(
        "{text}\n[[key]]\nname = \"state\"\npurpose = \"attestation\"\nuri = {:?}\nchain = {:?}\n",
        device.key(),
        device.path("telemetry.chain.pem"),
    ));
    (plant, device)
}

/// What the desk says of a receipt.
fn judge(device: &Device, receipt: &str, options: &[&str]) -> (i32, Value) {
    let mut command = Command::new(program("countersign"));
    command.args(["receipt", "verify", receipt, "--json", "--accept-software"]);
    command.args(["--anchors", "pki/root.pem", "--crl", "pki/root.crl.pem"]);
    command
        .args(["--crl", "pki/intermediate.crl.pem"])
        .args(options);
    let ran = run(device.at_home(&mut command));
    let said = serde_json::from_str(&ran.stdout);
    (ran.status, said.unwrap_or_else(|_| panic!("{ran:?}")))
}

#[test]
fn tf13_a_receipt_brings_home_what_runs_what_was_refused_and_of_which_device_it_is() {
    let (plant, device) = attesting();
    let stick = plant.bench.path("stick");
    let stick = stick.to_str().expect("our own path");
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let gateway = plant.bench.start();
    let apply = |number| {
        let bundle = plant.bundle(plant.plan(number, WHOLE));
        let bundle = bundle.to_str().expect("our own path").to_owned();
        let ran = plant
            .bench
            .ran("apply", &[&bundle, "--receipt", stick, "--json"]);
        let said: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        let file = said["receipt"]["file"]
            .as_str()
            .unwrap_or_else(|| panic!("{said}"));
        (ran.status, file.to_owned(), bundle)
    };
    let (status, first, bundle) = apply(5);
    assert_eq!(status, 0);
    assert_eq!(first, format!("{stick}/{DEVICE}-1.receipt"));
    let brought = ["--bundle", &bundle, "--applied", "--device-id", DEVICE];
    let (status, said) = judge(&device, &first, &brought);
    assert_eq!((status, &said["device_id"]), (0, &DEVICE.into()), "{said}");
    let receipt = &said["receipt"];
    let pump = &receipt["services"][0];
    assert_eq!(receipt["bundle"]["number"], 5, "{said}");
    assert_eq!(
        (&pump["state"], &pump["healthy"]),
        (&"running".into(), &true.into()),
        "{said}"
    );
    let of_component = &pump["component"];
    assert_eq!(of_component["security_version"], 3, "{said}");
    let digest = countersign_format::Digest::of(&guest("endless-loop")).to_string();
    assert_eq!(of_component["sha256"], digest.as_str(), "{said}");
    assert_eq!(receipt["lists"].as_array().map(Vec::len), Some(4), "{said}");

    let checkpoint = receipt["log_checkpoint"].as_str().expect("a checkpoint");
    assert!(checkpoint.lines().count() > 3, "{checkpoint}");

    // One that was refused is brought home too, and what ran before runs.
    plant.sign("pump", "trap", 9);
    let (status, second, bundle) = apply(6);
    assert_eq!(status, i32::from(Code::BundleUnhealthy.exit_status()));
    let (status, said) = judge(&device, &second, &["--bundle", &bundle, "--after", "1"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(said["receipt"]["bundle"]["number"], 5, "{said}");
    assert_eq!(
        said["receipt"]["refusals"][0]["code"], "bundle-unhealthy",
        "{said}"
    );
    let refused = |receipt: &str, options: &[&str], code: Code| {
        let (status, said) = judge(&device, receipt, options);
        assert_eq!(said["refusal"]["code"], code.as_str(), "{said}");
        assert_eq!(status, i32::from(code.exit_status()), "{said}");
    };
    let applied = ["--bundle", &bundle, "--applied"];
    refused(&second, &applied, Code::EvidencePolicy);
    // The first again, as if it were of now; and of another device.
    refused(&first, &["--bundle", &bundle], Code::EvidenceNonce);
    refused(&first, &["--after", "1"], Code::EvidencePolicy);
    refused(&second, &["--device-id", "gateway-8"], Code::EvidencePolicy);

    // One alone, for somebody's nonce, when the version is remembered; its record tells which it was.
    let until = Instant::now() + PATIENCE;
    let remembers = || plant.bench.ran("trust", &[]).stdout.contains("test:pump");
    while !remembers() {
        assert!(Instant::now() < until, "{}", plant.bench.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let alone = plant.bench.path("alone.receipt");
    let path = alone.to_str().expect("our own path");
    let ran = plant.bench.ran("receipt", &[path, "--nonce", NONCE]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let (status, said) = judge(&device, path, &["--nonce", NONCE]);
    let remembered = &said["receipt"]["versions"][0];
    assert_eq!(
        (
            status,
            &remembered["component"],
            &remembered["security_version"]
        ),
        (0, &"test:pump".into(), &3.into()),
        "{said}"
    );
    refused(path, &["--nonce", "ffffffffffffffff"], Code::EvidenceNonce);
    let bytes = fs::read(&alone).expect("our own folder");
    let records = plant.bench.records();
    let given: Vec<_> = records
        .iter()
        .filter(|line| line["event"] == "receipt")
        .collect();
    let digest = countersign_format::Digest::of(&bytes).to_string();
    assert_eq!(given.len(), 3, "{given:?}");
    assert_eq!(given[2]["receipt_sha256"], digest.as_str(), "{given:?}");
    // Nothing is replaced, and a changed byte is noticed.
    assert_eq!(plant.bench.ran("receipt", &[path]).status, 2);
    let mut bent = bytes.clone();
    let at = bent.len() / 3;
    bent[at] ^= 1;
    fs::write(&alone, bent).expect("our own folder");
    assert_ne!(judge(&device, path, &[]).0, 0);
    assert_eq!(gateway.stop(), 0);

    // A number does not come again, though the gateway was started again.
    let gateway = plant.bench.start();
    let until = Instant::now() + PATIENCE;
    let said = loop {
        let ran = plant.bench.ran("receipt", &[stick, "--json"]);
        let said: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        // Its keys are opened while it answers already.
        if said["refused"].is_null() {
            break said;
        }
        assert!(Instant::now() < until, "{said}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(said["number"], 4, "{said}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn without_a_key_that_attests_a_bundle_with_a_receipt_is_not_applied() {
    let plant = Plant::new();
    plant.sign("pump", "endless-loop", 3);
    plant.say(&["pump"]);
    let gateway = plant.bench.start();
    let bundle = plant.bundle(plant.plan(1, &[(PartKind::Component, "pump.wasm")]));
    let stick = plant.bench.path("stick");
    let arguments = [&bundle, Path::new("--receipt"), &stick];
    let arguments = arguments.map(|path| path.to_str().expect("our own path"));
    let ran = plant.bench.ran("apply", &arguments);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("no key that attests"), "{ran:?}");
    let records = plant.bench.records();
    assert!(
        !records.iter().any(|line| line["event"] == "bundle-applied"),
        "{records:?}"
    );
    assert_eq!(gateway.stop(), 0);
}

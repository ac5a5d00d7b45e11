//! `countersign bundle`: what is made, shown as a claim, and verified or refused.

use countersign_testing::{Profile, TestPki};

use super::bench::{Bench, COMPONENT};

/// A folder with who signs bundles, and what is to go into one.
fn ready() -> (Bench, TestPki) {
    let bench = Bench::new();
    let releases = TestPki::builder().profile(Profile::Bundle).build();
    let _ = releases.write(&bench.path(""));
    let components = TestPki::builder().seed(7).build();
    let manifest = components.manifest("acme:pump");
    bench.write("pump.wasm", components.sign(COMPONENT, &manifest));
    bench.write("pump.cdx.json", b"{\"bomFormat\": \"CycloneDX\"}\n");
    (bench, releases)
}

/// Makes `plant.bundle`, with these options besides.
fn create(bench: &Bench, releases: &TestPki, more: &str) {
    let until = releases
        .time()
        .saturating_add(std::time::Duration::from_secs(3_600));
    let made = bench.line(&format!(
        "bundle create --output plant.bundle --line plant --number 12 --until {until} --key device.key.pem \
         --chain device.chain.pem {more}"
    ));
    made.succeeded();
}

const PARTS: &str = "--component pump.wasm --document pump.cdx.json --minimum acme:pump=7";
const VERIFY: &str = "bundle verify plant.bundle --anchors roots.pem --crl crls.pem";

#[test]
fn a_bundle_is_shown_as_a_claim_and_verified_with_every_part() {
    let (bench, releases) = ready();
    create(&bench, &releases, PARTS);
    let shown = bench.line("bundle inspect plant.bundle").succeeded();
    for word in [
        "not verified",
        "pump.cdx.json",
        "acme:pump below security version 7",
    ] {
        assert!(shown.stdout.contains(word), "{shown:?}");
    }
    let claimed = bench
        .line("bundle inspect plant.bundle --json")
        .succeeded()
        .json();
    assert_eq!(claimed["verified"], false, "{claimed}");
    let verified = bench.line(VERIFY).succeeded();
    assert!(verified.stdout.contains("accepted"), "{verified:?}");
    let verified = bench.line(&format!("{VERIFY} --json")).succeeded().json();
    assert_eq!(verified["verdict"], "accepted", "{verified}");
    assert_eq!(verified["index"], claimed["index"]);
    let parts = verified["index"]["parts"].as_array().expect("a list");
    let kinds: Vec<_> = parts
        .iter()
        .map(|part| (&part["kind"], &part["name"]))
        .collect();
    let names = [("component", "pump.wasm"), ("document", "pump.cdx.json")];
    assert_eq!(kinds.len(), names.len(), "{verified}");
    for (kind, name) in names {
        assert!(kinds.contains(&(&kind.into(), &name.into())), "{verified}");
    }
}

#[test]
fn a_bundle_that_was_changed_or_is_not_for_this_device_is_refused() {
    let (bench, releases) = ready();
    create(&bench, &releases, &format!("{PARTS} --device gateway-7"));
    let whole = bench.read("plant.bundle");
    bench
        .line(&format!("{VERIFY} --device-id gateway-7"))
        .succeeded();
    let refused = |more: &str, code: &str| {
        let ran = bench.line(&format!("{VERIFY} {more} --json"));
        let said = ran.json();
        assert_ne!(ran.status, 0, "{ran:?}");
        assert_eq!(
            (&said["verdict"], &said["refusal"]["code"]),
            (&"refused".into(), &code.into()),
            "{said}"
        );
        // Nothing of it is repeated as true.
        assert!(said["index"].is_null(), "{said}");
    };
    refused("--device-id gateway-8", "audience");
    refused("--at 2100-01-01T00:00:00Z", "expired");
    refused("--signers 2", "bundle-signer");
    // The document, which is no component, has its last byte changed.
    let at = whole
        .windows(9)
        .position(|bytes| bytes == b"CycloneDX")
        .expect("it is in there as it is");
    let mut changed = whole.clone();
    changed[at] ^= 1;
    bench.write("plant.bundle", changed);
    refused("--device-id gateway-7", "part-mismatch");
    bench.write("plant.bundle", &whole[..whole.len() - 1]);
    refused("--device-id gateway-7", "part-mismatch");
    bench.write("plant.bundle", &whole);
    // Who signs components signs no bundles.
    std::fs::remove_file(bench.path("plant.bundle")).expect("our own folder");
    let other = TestPki::builder().seed(9).build();
    let _ = other.write(&bench.path(""));
    create(&bench, &other, PARTS);
    refused("", "certificate-extension");
}

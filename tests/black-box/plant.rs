//! The walk through docs/gateway.md: from an empty machine to a plant, with the device's keys in a TPM, its updates and a
//! signer who is revoked. Its commands, as they stand there but for the ports.

use countersign_testing::free_port;
use countersign_testing::swtpm::Swtpm;

use crate::components::guest;
use crate::walk::{Walk, commands};

const PAGE: &str = include_str!("../../docs/gateway.md");

#[test]
fn th10_td15_the_page_about_the_gateway_does_what_it_says() {
    let port = free_port().to_string();
    let lines: Vec<String> = commands(PAGE)
        .iter()
        .map(|line| line.replace("8443", &port))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert!(lines.len() > 100, "{lines:#?}");
    let tpm = Swtpm::start();
    let walk = Walk::new();
    for (file, name) in [
        ("reading.wasm", "telemetry"),
        ("web.wasm", "hello-http"),
        ("faulty.wasm", "trap"),
    ] {
        walk.bench.write(file, guest(name));
    }
    let ran = walk.run(&lines, &[("TPM", &format!("?tcti={}", tpm.tcti()))]);
    let said = |words: &str| ran.stdout.matches(words).count();
    // The first bundle and the last; of those between, the one that fails and the one of a revoked signer.
    assert_eq!(said("bundle plant 1: applied"), 1, "{ran:?}");
    assert_eq!(said("bundle plant 2: refused"), 2, "{ran:?}");
    assert_eq!(said("code: bundle-unhealthy"), 1, "{ran:?}");
    assert_eq!(said("bundle plant 2: applied"), 1, "{ran:?}");
    // Of the first, and of the one that failed, the receipts came home; the TPM vouches for both.
    assert_eq!(
        said("receipt 1 of gateway-7: stick/gateway-7-1.receipt"),
        1,
        "{ran:?}"
    );
    assert_eq!(
        said("accepted: receipt 1 of gateway-7, by tpm-quote"),
        1,
        "{ran:?}"
    );
    assert_eq!(
        said("accepted: receipt 2 of gateway-7, by tpm-quote"),
        1,
        "{ran:?}"
    );
    assert_eq!(said("a bundle: bundle-unhealthy"), 1, "{ran:?}");
    // The component for HTTP answered before and after the update that failed.
    assert_eq!(said("Hello, world!"), 2, "{ran:?}");
    // What the TPM signed: a COSE_Sign1, in hexadecimal.
    assert!(said("telemetry: > d284") > 0, "{ran:?}");
    // The greeter never was the second version; what the revoked device signed was stopped.
    let log = String::from_utf8(walk.bench.read("plant/log")).expect("text");
    assert!(
        log.contains("acme:telemetry 1.0.0, signed by press-5, admitted"),
        "{log}"
    );
    assert!(
        said("acme:greeter: no security version below 1") > 0,
        "{ran:?}"
    );
    assert!(said("  code: revoked") > 0, "{ran:?}");
}

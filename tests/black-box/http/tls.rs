//! TLS with a key of the device's, as curl sees it.

use std::net::SocketAddr;
use std::process::Command;

use countersign_testing::swtpm::Swtpm;

use super::{configure, free, sign};
use crate::device::{Device, Store};
use crate::gateway::Bench;
use crate::programs::{Ran, run};

const PURPOSE: &[&str] = &["--profile", "tls", "--dns", "localhost"];

/// Asks as curl does, which believes the device's authority.
fn curl(device: &Device, address: SocketAddr, more: &[&str]) -> Ran {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]);
    curl.arg(device.path("pki/root.pem")).args(more);
    curl.args(["--noproxy", "*", "--connect-to"]);
    curl.arg(format!("localhost:443:{address}"));
    run(curl.arg("https://localhost/"))
}

/// The configuration: one component behind this device's key.
fn protect(bench: &Bench, device: &Device, address: SocketAddr, more: &str) {
    configure(
        bench,
        "head = \"5s\"",
        &[(
            "hello",
            address,
            &format!("tls = {{ key = \"web\"{more} }}"),
        )],
    );
    let text = std::fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&format!(
        "{text}\n[[key]]\nname = \"web\"\nuri = {:?}\nchain = {:?}\npurpose = \"tls\"\n",
        device.key(),
        device.path("telemetry.chain.pem"),
    ));
}

#[test]
fn tf01_requests_come_over_tls_with_the_devices_key_while_its_hardware_is_there() {
    let mut device = Device::with_key_by(Store::tpm(), PURPOSE);
    let bench = Bench::new();
    let address = free();
    sign(&bench, "hello", "hello-http", 1, &[]);
    protect(&bench, &device, address, "");
    let _gateway = bench.start();
    bench.until("hello", |service| service["healthy"] == true);
    let greeted = curl(&device, address, &[]);
    assert_eq!(
        (greeted.status, greeted.stdout.as_str()),
        (0, "Hello, world!\n"),
        "{greeted:?}"
    );
    // Whoever does not speak TLS is not heard.
    let plain = super::client::try_send(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(plain.is_none(), "{plain:?}");
    // Renewed certificates are shown after a reload, and the component runs on.
    let before = shown(&device, address);
    std::fs::remove_file(device.path("telemetry.chain.pem")).expect("it was written");
    device.certify(PURPOSE, "telemetry.chain.pem");
    let (reloaded, done) = bench.reload();
    assert_eq!(reloaded.status, 0, "{reloaded:?}");
    assert_eq!(done["unchanged"][0], "hello", "{done}");
    assert_ne!(shown(&device, address), before);
    // There is no key in software in its place.
    device.hardware::<Swtpm>().stop();
    let failed = curl(&device, address, &["--max-time", "3"]);
    assert_ne!(failed.status, 0, "{failed:?}");
    let (reloaded, _) = bench.reload();
    assert_ne!(reloaded.status, 0, "{reloaded:?}");
    assert_eq!(bench.service("hello")["state"], "running");
    // A list that came counts all the same: it is read before the key is opened.
    let revoked = bench.pki.crl_against_device(1_000);
    std::fs::write(bench.path("newer.crl"), revoked).expect("our own folder");
    let text = std::fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    let text = text.replace("\"crls.pem\"", "\"crls.pem\", \"newer.crl\"");
    bench.configure_with(&text);
    let (reloaded, _) = bench.reload();
    assert_ne!(reloaded.status, 0, "{reloaded:?}");
    assert_eq!(bench.service("hello")["code"], "revoked");
}

#[test]
fn clients_without_the_certificate_that_is_asked_for_are_not_heard() {
    let device = Device::with_key_by(Store::file(), PURPOSE);
    let bench = Bench::new();
    let address = free();
    sign(&bench, "hello", "hello-http", 1, &[]);
    let clients = format!(", clients = {:?}", device.path("pki/root.pem"));
    protect(&bench, &device, address, &clients);
    let _gateway = bench.start();
    bench.until("hello", |service| service["healthy"] == true);
    let unknown = curl(&device, address, &[]);
    assert_ne!(unknown.status, 0, "{unknown:?}");
    assert_eq!(unknown.stdout, "");
    let chain = device.path("telemetry.chain.pem").display().to_string();
    let key = device.path("telemetry.key.pem").display().to_string();
    let known = curl(&device, address, &["--cert", &chain, "--key", &key]);
    assert_eq!(
        (known.status, known.stdout.as_str()),
        (0, "Hello, world!\n"),
        "{known:?}"
    );
}

/// The serial number of the certificate that is shown.
fn shown(device: &Device, address: SocketAddr) -> String {
    let wanted = ["--output", "/dev/null", "--write-out", "%{certs}"];
    let ran = curl(device, address, &wanted);
    let serial = ran.stdout.lines().find(|line| line.starts_with("Serial"));
    serial.unwrap_or_else(|| panic!("{ran:?}")).to_owned()
}

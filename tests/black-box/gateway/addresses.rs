//! Addresses that a bundle changes: one that is not free yet, and the way back to one that was protected.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use countersign_format::PartKind::{Component, Configuration};

use super::bundles::{Parts, Plant};
use super::*;
use crate::device::{Device, Store};
use crate::http::free;

const WEB: Parts<'_> = &[(Configuration, "services.toml"), (Component, "web.wasm")];

const HEALTHY_SOON: &str = "healthy-after = \"50ms\"";

/// What is said to who asks without protection: the status of curl, and the answer.
fn asked(address: SocketAddr) -> (i32, String) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "30", "--noproxy", "*"]);
    let ran = run(curl.arg(format!("http://{address}/")));
    (ran.status, ran.stdout)
}

/// Says that one component answers on this address.
fn say(plant: &Plant, address: SocketAddr, more: &str) {
    let text = format!(
        "[[http]]\nname = \"web\"\ncomponent = \"web.wasm\"\nsigned-as = \"test:web\"\nlisten = \"{address}\"\n{more}\n"
    );
    fs::write(plant.bench.path("stick/services.toml"), text).expect("our own folder");
}

#[test]
fn td10_an_address_that_is_not_free_yet_is_waited_for_as_long_as_a_bundle_has() {
    let plant = Plant::new();
    let first = free();
    // Another program has the next address.
    let others = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let second = others.local_addr().expect("it is bound");
    plant.serve("web", "hello-http", 1);
    say(&plant, first, HEALTHY_SOON);
    let gateway = plant.bench.start();
    plant.applied(plant.plan(1, WEB));
    assert_eq!(asked(first), (0, "Hello, world!\n".to_owned()));
    plant.serve("web", "hello-http", 2);
    say(&plant, second, HEALTHY_SOON);
    let path = plant.bundle(plant.plan(2, WEB));
    let (status, said) = thread::scope(|scope| {
        let applied = scope.spawn(|| plant.apply(&path));
        // It has been tried, and more than once.
        plant.bench.until("web", |service| {
            let ended = service["ended"].as_str().unwrap_or_default();
            let starts = service["starts"].as_u64().unwrap_or_default();
            starts > 2 && ended.contains(&second.to_string())
        });
        // What ran before is there until then.
        assert_eq!(asked(first), (0, "Hello, world!\n".to_owned()));
        drop(others);
        applied.join().expect("it ends")
    });
    assert_eq!((status, &said["outcome"]), (0, &"applied".into()), "{said}");
    assert_eq!(plant.version("web"), "2.0.0");
    assert_eq!(asked(second), (0, "Hello, world!\n".to_owned()));
    assert_ne!(asked(first).0, 0);
    drop(gateway);
}

#[test]
fn tf05_what_was_protected_is_shown_to_nobody_in_the_clear_where_the_way_back_fails() {
    let device = Device::with_key_by(Store::file(), &["--profile", "tls", "--dns", "localhost"]);
    let plant = Plant::within(
        "15s",
        &format!(
            "[[key]]\nname = \"web\"\nuri = {:?}\nchain = {:?}\npurpose = \"tls\"\n",
            device.key(),
            device.path("telemetry.chain.pem"),
        ),
    );
    let address = free();
    plant.serve("web", "hello-http", 1);
    say(
        &plant,
        address,
        &format!("tls = {{ key = \"web\" }}\n{HEALTHY_SOON}"),
    );
    let gateway = plant.bench.start();
    plant.applied(plant.plan(1, WEB));
    assert_ne!(asked(address).0, 0);
    // The next one needs no protection, does not prove healthy in time, and meanwhile the lists of what was before are spoilt.
    plant.serve("web", "hello-http", 2);
    say(&plant, address, "healthy-after = \"1h\"");
    let path = plant.bundle(plant.plan(2, WEB));
    let (status, said) = thread::scope(|scope| {
        let applied = scope.spawn(|| plant.apply(&path));
        plant.bench.until("web", |service| {
            service["version"] == "2.0.0" && service["state"] == "running"
        });
        assert_eq!(asked(address), (0, "Hello, world!\n".to_owned()));
        fs::write(plant.bench.path("crls.pem"), "spoilt").expect("our own folder");
        applied.join().expect("it ends")
    });
    assert_ne!(status, 0);
    assert_eq!(
        said["refused"]["code"],
        Code::BundleUnhealthy.as_str(),
        "{said}"
    );
    let log = plant.bench.log();
    assert!(log.contains("not all runs again as before"), "{log}");
    let (status, answer) = asked(address);
    assert!(status != 0 && answer.is_empty(), "{answer}");
    drop(gateway);
}

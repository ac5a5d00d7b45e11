//! `countersign device enroll|renew|status` against an EST server of another make: Python's TLS and pyca/cryptography.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cli::bench::{Bench, Ran};
use crate::programs::{program, run};

/// A device with a key and a token, and a server of `tests/python/est_server.py` that ends with it.
struct Device {
    bench: Bench,
    server: Child,
    url: String,
}

impl Device {
    fn new() -> Self {
        let bench = Bench::new();
        bench.write("token", "once\n");
        bench.write("mode", "good");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/est_server.py");
        let mut server = Command::new("python3")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(program)
            .arg(bench.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut port = String::new();
        let stdout = server.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut port).expect("a line");
        let device = Self {
            url: format!("https://127.0.0.1:{}", port.trim()),
            bench,
            server,
        };
        assert_ne!(
            port, "",
            "the server did not start; `cargo xtask test` installs the packages of tests/python/requirements.txt"
        );
        device
            .bench
            .line("key generate tls.key --unencrypted")
            .succeeded();
        device
    }

    fn ask(&self, arguments: &str) -> Ran {
        let url = &self.url;
        self.bench.line(&format!(
            "device {arguments} --server {url} --roots root.pem"
        ))
    }

    fn enroll(&self, more: &str) -> Ran {
        self.ask(&format!(
            "enroll tls.key --device-id gw-17 --org Acme {more}"
        ))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_device_enrols_looks_and_renews_with_its_key_and_with_a_new_one() {
    let device = Device::new();
    let bench = &device.bench;
    device
        .enroll("--token-file token --output tls.pem")
        .succeeded();
    bench.openssl(
        "verify -x509_strict -purpose sslclient -CAfile root.pem -untrusted tls.pem tls.pem",
    );
    let first = bench.read("tls.pem");

    let status = bench.line("device status tls.pem --json").succeeded();
    assert_eq!(json(&status)["status"], "current");
    assert_eq!(json(&status)["device"], "gw-17");
    let end = json(&status)["not_after"]
        .as_str()
        .expect("a date")
        .to_owned();

    // Nothing is due: nothing is asked, and nothing written.
    device
        .ask("renew tls.key --chain tls.pem --only-if-due")
        .succeeded();
    assert_eq!(bench.read("tls.pem"), first);

    let renewed = device
        .ask("renew tls.key --chain tls.pem --json")
        .succeeded();
    assert!(json(&renewed)["not_after"].as_str().expect("a date") > end.as_str());
    assert_ne!(bench.read("tls.pem"), first);
    assert_eq!(bench.read("tls.pem.previous"), first);

    bench
        .line("key generate next.key --unencrypted")
        .succeeded();
    let in_place = device.ask("renew tls.key --chain tls.pem --new-key next.key --output tls.pem");
    assert_eq!(in_place.status, 2, "{in_place:?}");
    let kept = bench.read("tls.pem");
    device
        .ask("renew tls.key --chain tls.pem --new-key next.key --output next.pem")
        .succeeded();
    assert_eq!(bench.read("tls.pem"), kept);
    let public = |text: &str| bench.openssl(text);
    assert_eq!(
        public("x509 -in next.pem -noout -pubkey"),
        public("pkey -in next.key -pubout")
    );
}

#[test]
fn tg29_what_is_not_the_devices_is_refused_and_nothing_is_written() {
    let device = Device::new();
    let bench = &device.bench;
    device
        .enroll("--token-file token --output tls.pem")
        .succeeded();
    let (chain, mut names) = (bench.read("tls.pem"), bench.names());
    for mode in ["other-key", "other-device", "other-root"] {
        bench.write("mode", mode);
        for ran in [
            device.enroll("--token-file token --output new.pem"),
            device.enroll("--token-file token --output tls.pem --force"),
            device.ask("renew tls.key --chain tls.pem"),
        ] {
            assert_eq!(ran.status, 112, "{mode}: {ran:?}");
            assert!(ran.stderr.contains("code: enrolment-mismatch"), "{ran:?}");
        }
        let ran = device.enroll("--token-file token --output new.pem --json");
        assert_eq!(json(&ran)["code"], "enrolment-mismatch");
        if mode == "other-root" {
            // It names this device and has its key: a root may be missing here, so it is not lost.
            assert!(ran.stderr.contains("new.pem.received"), "{ran:?}");
            names.extend(["new.pem.received".into(), "tls.pem.received".into()]);
            names.sort();
        }
        assert_eq!(bench.names(), names, "{mode}");
        assert_eq!(bench.read("tls.pem"), chain, "{mode}");
    }
}

#[test]
fn a_root_is_a_root_and_what_came_is_taken_up_when_there_is_room() {
    let device = Device::new();
    let bench = &device.bench;
    device
        .enroll("--token-file token --output tls.pem")
        .succeeded();
    let ran = bench.line(&format!(
        "device renew tls.key --chain tls.pem --server {} --roots tls.pem",
        device.url
    ));
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("--roots takes roots") && ran.stderr.contains("another authority"),
        "{ran:?}"
    );
    // The process ended before the chain was written: with the authority out of order, it is taken up.
    bench.write("next.pem.received", bench.read("tls.pem"));
    bench.write("mode", "down");
    device
        .enroll("--token-file token --output next.pem")
        .succeeded();
    assert_eq!(bench.read("next.pem"), bench.read("tls.pem"));
    assert!(!bench.exists("next.pem.received"));
    // What names another device is not.
    bench.write("other.pem.received", bench.read("tls.pem"));
    let ran = device.ask("enroll tls.key --device-id gw-18 --token-file token --output other.pem");
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(!bench.exists("other.pem"), "{ran:?}");
}

#[test]
fn waiting_is_for_who_asks_for_it_and_what_stands_in_the_way_is_said() {
    let device = Device::new();
    let bench = &device.bench;
    bench.write("mode", "pending");
    let ran = device.enroll("--user gw-17 --password-file token --output tls.pem --json");
    assert_eq!(ran.status, 2, "{ran:?}");
    assert_eq!(json(&ran)["pending"], true);
    assert_eq!(json(&ran)["retry_after_seconds"], 1);
    bench.write("mode", "down");
    let ran = device.enroll("--token-file token --output tls.pem --json");
    assert_eq!(
        (ran.status, &json(&ran)["temporary"]),
        (2, &true.into()),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("closed for repairs"), "{ran:?}");
    bench.write("mode", "good");
    let ran = device.enroll("--output tls.pem");
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("who are you?"), "{ran:?}");
    let ran = bench.line(
        "device enroll tls.key --device-id gw-17 --output tls.pem --roots root.pem --server https://127.0.0.1:9",
    );
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("countersign key csr"), "{ran:?}");
    assert!(!bench.exists("tls.pem"));
    // A token is never shown.
    bench.write("token", "a token with blanks\n");
    let ran = device.enroll("--token-file token --output tls.pem");
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(!format!("{ran:?}").contains("with blanks"), "{ran:?}");
}

#[test]
fn a_gateway_gets_the_certificates_of_the_keys_that_its_configuration_names() {
    let device = Device::new();
    let bench = &device.bench;
    bench.write(
        "gateway.toml",
        "[gateway]\nstate = \"state\"\n[[key]]\nname = \"tls\"\nuri = \"file:tls.key\"\nchain = \"gateway.pem\"\n\
         purpose = \"tls\"\n[[service]]\nname = \"pump\"\ncomponent = \"pump.wasm\"\nsigned-as = \"acme:pump\"\n",
    );
    let ask = |verb: &str, more: &str| {
        let mut command = Command::new(program("countersign-gateway"));
        command.args([verb, "tls", "--json", "--server", &device.url]);
        for (option, file) in [("--config", "gateway.toml"), ("--roots", "root.pem")] {
            command.arg(option).arg(bench.path(file));
        }
        run(command
            .current_dir(bench.path(""))
            .args(more.split_whitespace()))
    };
    let enroll = || ask("enroll", "--device-id gw-17 --token-file token");
    bench.write("mode", "other-device");
    let ran = enroll();
    assert_eq!(ran.status, 112, "{ran:?}");
    assert!(ran.stderr.contains("enrolment-mismatch"), "{ran:?}");
    bench.write("mode", "good");
    let ran = enroll();
    assert_eq!(ran.status, 0, "{ran:?}");
    let first = bench.read("gateway.pem");
    bench.openssl("verify -x509_strict -purpose sslclient -CAfile root.pem -untrusted gateway.pem gateway.pem");
    // A first certificate is the first: what is there is not lost.
    let ran = enroll();
    assert_eq!(ran.status, 2, "{ran:?}");
    assert_eq!(bench.read("gateway.pem"), first);
    let ran = ask("renew", "--only-if-due");
    assert_eq!(
        (ran.status, bench.read("gateway.pem") == first),
        (0, true),
        "{ran:?}"
    );
    let ran = ask("renew", "");
    assert_eq!(
        (ran.status, bench.read("gateway.pem") == first),
        (0, false),
        "{ran:?}"
    );
    assert_eq!(bench.read("gateway.pem.previous"), first);
    let nobody = run(Command::new(program("countersign-gateway"))
        .args([
            "renew",
            "other",
            "--server",
            &device.url,
            "--roots",
            "root.pem",
            "--config",
            "gateway.toml",
        ])
        .current_dir(bench.path("")));
    assert_eq!(nobody.status, 2, "{nobody:?}");
    assert!(nobody.stderr.contains("no [[key]]"), "{nobody:?}");
}

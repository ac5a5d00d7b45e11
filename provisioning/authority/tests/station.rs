//! `provision` and `provision-batch` as an operator types them: on a chip behind a bus of Linux, and on keys in files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign_atecc608_emulator::{Clock, Emulator, Factory, shim, socket};
use countersign_backend_file::{FileKey, Overwrite, SystemRandom};
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::{CaName, Intermediate, Issuer, RevocationList, Root, Validity};
use countersign_trust_store::{Certificate, UnixTime, pem};
use serde_json::Value;

struct House(tempfile::TempDir);

impl House {
    /// An authority in a folder, with an order for devices.
    fn new() -> Self {
        let house = Self(tempfile::tempdir().expect("a folder"));
        let key = |name: &str| {
            let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).expect("a key");
            key.save(&house.path(name), None, Overwrite::Refuse)
                .expect("saved");
            SigningKey::new(key)
        };
        let (root_key, ca_key) = (key("root.key"), key("ca.key"));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let days = |days| Validity::days(UnixTime::from_secs(now - 3600), days).expect("days");
        let root = Root {
            name: CaName::new("Acme", "Root", None).expect("a name"),
            validity: days(3650),
            path_length: 1,
            development: false,
        };
        let root = Issuer::root(&root_key, &root, &mut SystemRandom).expect("a root");
        let above = Issuer::new(&root_key, &root.certificate).expect("an issuer");
        let below = Intermediate {
            name: CaName::new("Acme", "Devices", None).expect("a name"),
            validity: days(1825),
            path_length: 0,
            scope: None,
        };
        let below = above
            .intermediate(ca_key.public_key(), &below, &mut SystemRandom)
            .expect("an intermediate");
        let list = RevocationList {
            number: 1,
            validity: days(30),
            revoked: &[],
        };
        fs::write(house.path("root.crl"), above.crl(&list).expect("a list")).expect("written");
        let chain =
            countersign_authority::pem::certificates(&[&below.certificate, &root.certificate]);
        fs::write(house.path("chain.pem"), chain).expect("written");
        let key = format!("file:{}", house.path("ca.key").display());
        house.succeeds(&[
            "init",
            "home",
            "--chain",
            "chain.pem",
            "--key",
            &key,
            "--crl",
            "root.crl",
            "--host",
            "localhost",
        ]);
        house.succeeds(&[
            "approve",
            "--config",
            "home/authority.toml",
            "--order",
            "2026-17",
            "--quota",
            "100",
        ]);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-authority"));
        command.args(arguments).current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        succeeded(&self.run(arguments))
    }

    fn chain_of(&self, device: &str) -> Vec<Certificate> {
        let text = fs::read(self.path(&format!("devices/{device}/chain.pem"))).expect("there");
        pem::certificates(&text)
            .expect("PEM")
            .iter()
            .map(|der| Certificate::parse(der).expect("a certificate"))
            .collect()
    }
}

fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What every command says of the station.
const STATION: [&str; 6] = [
    "--config",
    "home/authority.toml",
    "--station",
    "station-3",
    "--order",
    "2026-17",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [more, &STATION].concat()
}

#[test]
fn tf12_a_chip_in_the_fixture_leaves_with_its_certificate_in_it() {
    let house = House::new();
    let (tables, configuration) = (
        house.path("home/tables.key"),
        house.path("home/authority.toml"),
    );
    fs::write(&tables, [7; 32]).expect("written");
    fs::set_permissions(&tables, fs::Permissions::from_mode(0o600)).expect("chmod");
    let text = fs::read_to_string(&configuration).expect("a configuration");
    let text = format!("{text}\n[privacy_tokens]\nkey = \"tables.key\"\n");
    fs::write(&configuration, text).expect("written");
    let emulator = Emulator::with_clock(Factory::provisioned(21), Clock::real());
    let bus = house.path("bus");
    socket::serve(&emulator, &bus).expect("a socket");
    let library = shim::build(house.0.path()).expect("the shim");
    let on_bus = |arguments: &[&str]| {
        let mut command = house.command(arguments);
        command
            .env("LD_PRELOAD", &library)
            .env(shim::SOCKET_VARIABLE, &bus);
        command.output().expect("it runs")
    };
    let key = "atecc608:/dev/i2c-1?address=0x60&slot=0";
    let arguments = with(&[
        "provision",
        "--device",
        "press-1",
        "--key",
        key,
        "--type",
        "press",
        "--firmware",
        "1.2.0",
        "--chip-slots",
        "8,9,10,11,12,13,14,15",
    ]);
    let said = succeeded(&on_bus(&arguments));
    assert_eq!(said.trim(), "devices/press-1");
    let chain = house.chain_of("press-1");
    assert_eq!(chain.len(), 2, "the root is not in it");
    let slots = [8, 9, 10, 11, 12, 13, 14, 15]
        .map(|slot| emulator.slot(slot))
        .concat();
    let length = usize::from(u16::from_be_bytes([slots[0], slots[1]]));
    assert_eq!(&slots[2..2 + length], chain[0].der());
    // Its tables for privacy tokens lie beside it, for the owner of the folder alone, and stay the same.
    let handed = house.path("devices/press-1/tables.json");
    let mode = fs::metadata(&handed).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let given = fs::read(&handed).expect("there");
    let read: Value = serde_json::from_slice(&given).expect("JSON");
    assert_eq!(read["tables"].as_array().map(Vec::len), Some(3), "{read}");
    let summary = fs::read(house.path("devices/press-1/device.json")).expect("there");
    let summary: Value = serde_json::from_slice(&summary).expect("JSON");
    assert_eq!(read["hardware_hash"], summary["hardware"]);
    fs::remove_file(&handed).expect("removed");
    // Locking is for the number of devices that was named, and cannot be had by mistake.
    let locking = [arguments.as_slice(), &["--lock-for-ever", "2"]].concat();
    let refused = on_bus(&locking);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(emulator.configuration()[88] & 1, 1, "nothing was locked");
    let locking = [arguments.as_slice(), &["--lock-for-ever", "1"]].concat();
    let locked = on_bus(&locking);
    succeeded(&locked);
    assert!(String::from_utf8_lossy(&locked.stderr).contains("nothing undoes that"));
    assert_eq!(emulator.configuration()[88] & 1, 0, "slot 0 is locked");
    assert_eq!(fs::read(&handed).expect("there again"), given);
}

#[test]
fn tg02_a_list_is_done_once_and_its_report_says_what_failed() {
    let house = House::new();
    let keys = house.path("keys");
    fs::create_dir(&keys).expect("a folder");
    let template = format!("file:{}/{{id}}.key", keys.display());
    let list =
        "id,type,revision,firmware\npress-1,press,B,1.0\n../x,press,B,1.0\npress-3,press,B,1.0\n";
    fs::write(house.path("line.csv"), list).expect("written");
    let batch = with(&[
        "provision-batch",
        "line.csv",
        "--key",
        &template,
        "--report",
        "report.json",
    ]);
    let report = || -> Value {
        let text = fs::read(house.path("report.json")).expect("there");
        serde_json::from_slice(&text).expect("JSON")
    };
    // Keys in files are not taken unless that is said.
    assert_eq!(house.run(&batch).status.code(), Some(1));
    assert_eq!(report()["succeeded"], 0);
    assert_eq!(report()["failures"][0]["step"], "open");
    let made = fs::read_dir(&keys).expect("a folder").count();
    assert_eq!(made, 0, "and none is made");
    let batch = [batch.as_slice(), &["--software"]].concat();
    let output = house.run(&batch);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let first = report();
    assert_eq!(
        (&first["total"], &first["succeeded"], &first["failed"]),
        (&3.into(), &2.into(), &1.into())
    );
    assert_eq!(first["failures"][0]["row"], 2);
    assert_eq!(
        house.chain_of("press-3")[0]
            .device_type()
            .expect("read")
            .as_deref(),
        Some("press")
    );
    // Not again: the journal has them, and without it the registry.
    house.run(&batch);
    assert_eq!(report()["before"], 2);
    assert_eq!(report()["devices"], first["devices"]);
    fs::remove_file(house.path("line.csv.station-3.journal")).expect("removed");
    house.run(&batch);
    let serials = |report: &Value| -> Vec<Value> {
        let devices = report["devices"].as_array().expect("a list");
        devices
            .iter()
            .map(|device| device["serial"].clone())
            .collect()
    };
    assert_eq!(report()["before"], 0);
    assert_eq!(serials(&report()), serials(&first));
    // What was done is in the audit log.
    let log = log_of(&house.path("home"));
    for word in ["provisioned", "station-3", "press-1", "press-3"] {
        assert!(log.contains(word), "{word}");
    }
}

#[test]
fn a_station_whose_issuer_hosts_refuse_begins_nothing_and_says_why() {
    let house = House::new();
    let key = format!("file:{}", house.path("press-1.key").display());
    let configuration = house.path("home/authority.toml");
    let text = fs::read_to_string(&configuration).expect("a configuration");
    let refused = |word: &str| {
        let one = with(&[
            "provision",
            "--device",
            "press-1",
            "--key",
            &key,
            "--software",
        ]);
        let output = house.run(&one);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
        assert!(!house.path("press-1.key").exists(), "nothing is made");
    };
    // Without a list nobody knows whether the issuer was revoked.
    let without = text.replace("\"crls/0.crl\"", "");
    assert_ne!(without, text);
    fs::write(&configuration, without).expect("written");
    refused("hosts refuse its certificate");
    fs::write(&configuration, text).expect("written");
    fs::write(house.path("home/crls/0.crl"), "no list").expect("written");
    refused("0.crl");
}

/// Everything in an authority's audit log, as text.
fn log_of(home: &Path) -> String {
    let mut text = String::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().contains("registry") {
                text += &String::from_utf8_lossy(&fs::read(path).expect("a file"));
            }
        }
    }
    text
}

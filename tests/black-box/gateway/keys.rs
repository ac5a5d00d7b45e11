//! The device's keys in the gateway: lent to the components of all services, in each one's bounds, while their hardware is
//! there.

use countersign_format::KeyGrant;
use countersign_testing::swtpm::Swtpm;

use super::*;
use crate::device::{Device, Store};

/// Signs the telemetry guest as `test:NAME`, with so many signatures a minute.
pub(super) fn sign(bench: &Bench, name: &str, per_minute: u32) {
    let mut manifest = bench.pki.manifest(&format!("test:{name}"));
    manifest.grants.stdio.stdout = true;
    manifest.grants.stdio.stderr = true;
    manifest.grants.args = true;
    manifest.grants.keys = vec![KeyGrant {
        name: "telemetry".to_owned(),
        contexts: vec!["log/v1".to_owned(), "reading/v1".to_owned()],
        per_minute: Some(per_minute),
    }];
    let file = bench.pki.sign(&guest("telemetry"), &manifest);
    fs::write(bench.path(&format!("{name}.wasm")), file).expect("our own folder");
}

/// Adds a device's key to the configuration.
pub(super) fn lend(bench: &Bench, device: &Device) {
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&format!(
        "{text}\n[[key]]\nname = \"telemetry\"\nuri = {:?}\nchain = {:?}\n",
        device.key(),
        device.path("telemetry.chain.pem"),
    ));
}

/// What a service's component wrote.
fn lines(bench: &Bench, service: &str) -> Vec<String> {
    let prefix = format!("countersign-gateway: {service}: > ");
    let log = bench.log();
    let lines = log.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines.map(str::to_owned).collect()
}

/// How often this happened to a component.
pub(super) fn count(records: &[Value], event: &str, component: &str) -> usize {
    let of = |record: &&Value| {
        let name = &record["component"]["name"];
        record["event"] == event && (name == component || record["component"] == component)
    };
    records.iter().filter(of).count()
}

/// A guest's reading, signed with the device's key, verified elsewhere.
fn signs_in(store: Store) {
    let device = Device::with_key_in(store);
    let mut bench = Bench::new();
    bench.environment = device.environment().to_vec();
    sign(&bench, "meter", 60);
    sign(&bench, "nosy", 60);
    let granted = format!(
        "{ONCE}\n[service.grants]\nargs = [\"21.5 C\", \"22.0 C\"]\nkeys = [{{ name = \"telemetry\" }}]"
    );
    // The same component's code, whose operator does not let it have the key.
    bench.configure(&[("meter", &granted), ("nosy", ONCE)]);
    lend(&bench, &device);
    if let Some(folder) = device.written() {
        let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
        bench.configure_with(&format!("{text}\n[confine]\nwrite = [{folder:?}]\n"));
    }
    let gateway = bench.start();
    let meter = bench.until("meter", is("ended"));
    assert_eq!(meter["ended"], "ended with status 0", "{}", bench.log());
    assert_eq!(bench.until("nosy", is("refused"))["code"], "import-denied");
    assert_eq!(gateway.stop(), 0);
    let judged = device.judge(&format!("{}\n", lines(&bench, "meter").join("\n")));
    assert_eq!(judged.status, 0, "{judged:?}");
    for expected in [
        "component:  test:meter",
        "context:    reading/v1",
        "message:    21.5 C",
        "message:    22.0 C",
        "sequence:   2",
    ] {
        assert!(
            judged.stdout.lines().any(|line| line == expected),
            "no {expected:?} in {judged:?}"
        );
    }
    assert_eq!(count(&bench.records(), "signed", "test:meter"), 2);
}

#[test]
fn te26_a_key_in_a_file_is_lent_to_whom_it_was_granted() {
    signs_in(Store::file());
}

#[test]
fn te26_a_key_in_a_tpm_is_lent_to_whom_it_was_granted() {
    signs_in(Store::tpm());
}

#[test]
fn te26_a_key_in_a_token_is_lent_to_whom_it_was_granted() {
    signs_in(Store::token());
}

#[test]
fn tf01_without_the_tpm_those_that_need_it_are_refused_until_it_comes_back() {
    let mut device = Device::with_key_in(Store::tpm());
    device.hardware::<Swtpm>().stop();
    let bench = Bench::new();
    sign(&bench, "meter", 60);
    bench.sign("pump", "endless-loop", 1);
    let granted = format!("{ONCE}\n[service.grants]\nkeys = [{{ name = \"telemetry\" }}]");
    bench.configure(&[("meter", &granted), ("pump", SOON)]);
    lend(&bench, &device);
    let gateway = bench.start();
    bench.until("pump", healthy);
    let refused = bench.until("meter", |meter| meter["code"].is_string());
    assert_eq!(refused["code"], "key-hardware", "{refused}");
    let (reloaded, _) = bench.reload();
    assert_eq!(
        reloaded.status,
        i32::from(Code::KeyHardware.exit_status()),
        "{reloaded:?}"
    );
    // Nobody has to tell it.
    device.hardware::<Swtpm>().restart();
    let meter = bench.until("meter", is("ended"));
    assert_eq!(meter["ended"], "ended with status 0", "{}", bench.log());
    assert_eq!(bench.service("pump")["starts"], 1);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn tf08_a_key_that_is_not_its_certificates_is_lent_to_nobody() {
    let (device, other) = (
        Device::with_key_in(Store::file()),
        Device::with_key_in(Store::file()),
    );
    let bench = Bench::new();
    sign(&bench, "meter", 60);
    let granted = format!("{ONCE}\n[service.grants]\nkeys = [{{ name = \"telemetry\" }}]");
    bench.configure(&[("meter", &granted)]);
    lend(&bench, &device);
    let chain = device.path("telemetry.chain.pem");
    let own = fs::read(&chain).expect("certificates");
    fs::copy(other.path("telemetry.chain.pem"), &chain).expect("our own folder");
    let gateway = bench.start();
    let refused = bench.until("meter", is("refused"));
    assert_eq!(refused["code"], "key-hardware", "{refused}");
    fs::write(&chain, own).expect("our own folder");
    let (reloaded, done) = bench.reload();
    assert_eq!(done["started"][0], "meter", "{reloaded:?}");
    let meter = bench.until("meter", is("ended"));
    assert_eq!(meter["ended"], "ended with status 0", "{}", bench.log());
    // And one that is exchanged while it runs.
    fs::copy(other.path("telemetry.chain.pem"), &chain).expect("our own folder");
    let (_, done) = bench.reload();
    assert_eq!(done["refused"]["meter"]["code"], "key-hardware", "{done}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn te27_who_floods_the_signer_has_its_own_bounds_over_starts_and_reloads() {
    let device = Device::with_key_in(Store::tpm());
    let bench = Bench::new();
    sign(&bench, "flood", 30);
    sign(&bench, "meter", 60);
    let readings = |count: usize| {
        vec!["x"; count]
            .iter()
            .map(|x| format!("{x:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let flood = format!(
        "restart = {{ first = \"1ms\", most = \"1ms\" }}\n[service.grants]\nargs = [{}]\nkeys = [{{ name = \"telemetry\" }}]",
        readings(50)
    );
    let meter = format!(
        "{ONCE}\n[service.grants]\nargs = [{}]\nkeys = [{{ name = \"telemetry\" }}]",
        readings(40)
    );
    bench.configure(&[("flood", &flood)]);
    lend(&bench, &device);
    let started = Instant::now();
    let gateway = bench.start();
    bench.until("flood", |flood| flood["starts"].as_u64() > Some(20));
    // Another start of the same component, by other words of the operator, begins with no full bucket.
    bench.configure(&[("meter", &meter), ("flood", &flood.replace("1ms", "2ms"))]);
    lend(&bench, &device);
    assert_eq!(bench.reload().0.status, 0);
    let meter = bench.until("meter", is("ended"));
    assert_eq!(meter["ended"], "ended with status 0", "{}", bench.log());
    bench.until("flood", |flood| flood["starts"].as_u64() > Some(20));
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    assert_eq!(gateway.stop(), 0);
    let records = bench.records();
    assert_eq!(count(&records, "signed", "test:meter"), 40);
    let signed = count(&records, "signed", "test:flood");
    let most = 31.0 + 30.0 * minutes;
    assert!((30..=most as usize).contains(&signed), "{signed} of {most}");
    let told = count(&records, "signing-quota", "test:flood");
    assert!((1..=signed).contains(&told), "{told} of {signed}");
}

//! Components that are meant for certain devices: on the device that its key shows it to be, and nowhere else.

use countersign_format::Audience;
use countersign_testing::Profile;

use super::*;

/// Signs a guest that never ends as `test:NAME`, for these devices or types.
fn sign(bench: &Bench, name: &str, devices: &[&str], types: &[&str]) {
    let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let mut manifest = bench.pki.manifest(&format!("test:{name}"));
    manifest.audience = Audience {
        devices: list(devices),
        types: list(types),
    };
    let file = bench.pki.sign(&guest("endless-loop"), &manifest);
    fs::write(bench.path(&format!("{name}.wasm")), file).expect("our own folder");
}

/// Whether a service was judged, and refused.
fn coded(service: &Value) -> bool {
    service["code"].is_string()
}

#[test]
fn ta34_a_component_runs_on_the_device_that_it_is_meant_for_and_on_no_other() {
    let bench = Bench::new();
    let device = TestPki::builder()
        .profile(Profile::GuestData)
        .device_id("gateway-7")
        .device_type("gateway-x2")
        .seed(5)
        .build();
    let roots = [&bench.pki, &device].map(|pki| AnchorSource::new(pki.root().to_vec()));
    fill(
        &program("countersign-gateway"),
        &bench.path("countersign-gateway"),
        &roots,
    );
    fs::create_dir(bench.path("device")).expect("our own folder");
    let _ = device.write(&bench.path("device"));
    sign(&bench, "mine", &["gateway-7"], &[]);
    sign(&bench, "kin", &[], &["gateway-x2"]);
    sign(&bench, "other", &["gateway-8"], &[]);
    let service = |name| {
        format!(
            "[[service]]\nname = \"{name}\"\ncomponent = \"{name}.wasm\"\nsigned-as = \"test:{name}\"\n{SOON}\n"
        )
    };
    bench.configure_with(&format!(
        "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\", \"device/crls.pem\"]\n\
         [[key]]\nname = \"telemetry\"\nuri = \"file:device/device.key.pem\"\nchain = \"device/device.chain.pem\"\n\
         {}{}{}",
        service("mine"),
        service("kin"),
        service("other"),
    ));
    let verify = |name: &str| {
        let file = bench.path(&format!("{name}.wasm"));
        bench
            .ran("verify", &[file.to_str().expect("our own path")])
            .status
    };
    let audience = i32::from(Code::Audience.exit_status());
    // Who never showed which device it is takes nothing that is for one.
    assert_eq!(verify("mine"), audience);

    let gateway = bench.start();
    bench.until("mine", healthy);
    bench.until("kin", healthy);
    assert_eq!(bench.until("other", coded)["code"], "audience");
    assert!(
        bench.log().contains("this device is gateway-7"),
        "{}",
        bench.log()
    );
    assert_eq!(verify("mine"), 0);
    assert_eq!(verify("other"), audience);
    // Its keys were waited for: nothing was refused on the way.
    let refused = |record: &&Value| record["event"] == "refused" && record["code"] == "audience";
    assert_eq!(bench.records().iter().filter(refused).count(), 1);
    assert_eq!(gateway.stop(), 0);

    // The certificates without the key show nothing.
    let stranger = TestPki::builder()
        .profile(Profile::GuestData)
        .seed(6)
        .build();
    fs::create_dir(bench.path("stranger")).expect("our own folder");
    let key = stranger.write(&bench.path("stranger")).key;
    let own = bench.path("device/device.key.pem");
    let kept = fs::read(&own).expect("our own folder");
    fs::copy(key, &own).expect("our own folder");
    let gateway = bench.start();
    assert_eq!(bench.until("mine", coded)["code"], "audience");
    assert_eq!(gateway.stop(), 0);
    fs::write(&own, kept).expect("our own folder");
    let gateway = bench.start();
    bench.until("mine", healthy);

    // Nor do those of a device that was taken out of service: a list says so at once, also where the rest of a reload fails.
    let list = device.crl_against_device(1_000);
    let pem = der::pem::encode_string("X509 CRL", der::pem::LineEnding::LF, &list);
    let lists = fs::read_to_string(bench.path("device/crls.pem")).expect("our own folder");
    fs::write(
        bench.path("device/crls.pem"),
        [lists, pem.expect("PEM")].concat(),
    )
    .expect("our own folder");
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("our own folder");
    let other = "[gateway]\ncompile = { interpreted = true }\n";
    bench.configure_with(&text.replacen("[gateway]\n", other, 1));
    assert_ne!(bench.reload().0.status, 0);
    let log = bench.log();
    assert!(log.contains("which device this is is not proved"), "{log}");
    assert_eq!(gateway.stop(), 0);
    bench.configure_with(&text);
    let gateway = bench.start();
    assert_eq!(bench.until("mine", coded)["code"], "audience");
    assert_eq!(gateway.stop(), 0);
}

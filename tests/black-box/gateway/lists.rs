//! Lists count whatever else goes wrong, and what ends a compiler from outside is no fault of its component.

use super::*;

/// Has the configuration name a list that revokes the device.
fn revoke(bench: &Bench) {
    fs::write(bench.path("newer.crl"), bench.pki.crl_against_device(1_000))
        .expect("our own folder");
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&text.replace("[\"crls.pem\"", "[\"crls.pem\", \"newer.crl\""));
}

#[test]
fn td15_lists_count_where_a_reload_fails() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    bench.configure(&[("pump", SOON)]);
    let gateway = bench.start();
    bench.until("pump", healthy);
    revoke(&bench);
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    let other = "[gateway]\ncompile = { interpreted = true }\n";
    bench.configure_with(&text.replacen("[gateway]\n", other, 1));
    let (reloaded, _) = bench.reload();
    assert!(reloaded.stderr.contains("restart"), "{reloaded:?}");
    let pump = bench.until("pump", is("refused"));
    assert_eq!(pump["code"], "revoked", "{pump}");
    assert_eq!(gateway.stop(), 0);
}

/// The process that compiles for a gateway.
fn compiler(of: &Gateway) -> u32 {
    let until = Instant::now() + PATIENCE;
    let parent = format!("PPid:\t{}\n", of.0.id());
    loop {
        for entry in fs::read_dir("/proc").expect("there").flatten() {
            let read = |name: &str| fs::read_to_string(entry.path().join(name));
            let is_its = read("status").is_ok_and(|status| status.contains(&parent));
            let compiles =
                read("cmdline").is_ok_and(|line| line.starts_with("countersign-compiler"));
            if is_its && compiles {
                let name = entry.file_name();
                return name
                    .to_str()
                    .and_then(|id| id.parse().ok())
                    .expect("a number");
            }
        }
        assert!(Instant::now() < until, "nothing compiles");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn te14_a_compiler_that_somebody_ends_bans_no_component() {
    let bench = Bench::new();
    let manifest = bench.pki.manifest("test:bomb");
    let file = bench.pki.sign(&code::many_functions(100_000), &manifest);
    fs::write(bench.path("bomb.wasm"), file).expect("our own folder");
    bench.configure(&[("bomb", ONCE)]);
    let gateway = bench.start();
    for again in 0..2 {
        let id = compiler(&gateway).to_string();
        let ended = Command::new("kill").arg(&id).status();
        assert!(ended.expect("kill").success());
        let bomb = bench.until("bomb", |bomb| bomb["code"].is_string());
        let why = bomb["why"].as_str().expect("a reason");
        assert!(
            why.contains("ended the compiler by signal 15"),
            "{again}: {why}"
        );
        assert_eq!(bench.ran("reload", &["--detach"]).status, 0);
    }
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td15_who_waits_for_a_copy_to_be_compiled_can_be_stopped() {
    let bench = Bench::new();
    let manifest = |version| {
        let mut manifest = bench.pki.manifest("test:pump");
        manifest.security_version = version;
        manifest
    };
    // What proved healthy once takes long to compile, and its code is gone.
    let slow = bench.pki.sign(&code::many_functions(100_000), &manifest(1));
    fs::create_dir_all(bench.path("state/kept")).expect("our own folder");
    fs::write(bench.path("state/kept/pump.wasm"), slow).expect("our own folder");
    let next = bench.pki.sign(&guest("trap"), &manifest(2));
    fs::write(bench.path("pump.wasm"), next).expect("our own folder");
    bench.configure(&[("pump", SOON)]);
    let gateway = bench.start();
    let _ = compiler(&gateway);
    bench.until("pump", |pump| pump["starts"] == 1);
    let _ = compiler(&gateway);
    let asked = Instant::now();
    assert_eq!(gateway.stop(), 0);
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}

//! Components that run when they are due, and the operator's rules about who may sign.

use super::*;

/// Adds a schedule of `test:NAME` to the configuration.
fn schedule(bench: &Bench, name: &str, more: &str) {
    let text = fs::read_to_string(bench.path("gateway.toml")).unwrap_or_default();
    bench.configure_with(&format!(
        "{text}\n[[schedule]]\nname = \"{name}\"\ncomponent = \"{name}.wasm\"\nsigned-as = \"test:{name}\"\n{more}\n"
    ));
}

#[test]
fn th22_components_run_when_they_are_due_and_one_at_a_time() {
    let bench = Bench::new();
    bench.sign("report", "hello", 1);
    bench.sign("clock", "hello", 1);
    bench.sign("slow", "endless-loop", 1);
    bench.sign("broken", "trap", 1);
    bench.configure(&[]);
    schedule(&bench, "report", "every = \"1s\"\njitter = \"50ms\"");
    schedule(
        &bench,
        "clock",
        "cron = \"* * * * * *\"\nutc-offset = \"+01:00\"",
    );
    schedule(
        &bench,
        "slow",
        "every = \"1s\"\nlimits = { run = \"1500ms\" }",
    );
    schedule(&bench, "broken", "every = \"1s\"");
    let started = Instant::now();
    let gateway = bench.start();
    let due =
        |service: &Value| service["state"] == "scheduled" && service["starts"].as_u64() > Some(2);
    for name in ["report", "clock"] {
        let service = bench.until(name, due);
        let ended = service["ended"].as_str().unwrap_or_default();
        assert!(
            ended.starts_with("ended with status 0, after "),
            "{service}"
        );
    }
    // Not at once, and not more often than it is due.
    let most = started.elapsed().as_secs() + 1;
    assert!(bench.service("report")["starts"].as_u64() <= Some(most));
    let clock = bench.until("clock", |clock| clock["due"].is_string());
    assert!(
        clock["due"].as_str().is_some_and(|due| due.ends_with('Z')),
        "{clock}"
    );
    // What hangs is stopped, and what was due meanwhile is skipped.
    let slow = bench.until("slow", |slow| slow["missed"].as_u64() > Some(0));
    let ended = slow["ended"].as_str().unwrap_or_default();
    assert!(ended.contains("(limit-time)"), "{slow}");
    let broken = bench.until("broken", due);
    assert!(
        broken["ended"]
            .as_str()
            .is_some_and(|ended| ended.contains("(trapped)")),
        "{broken}"
    );
    assert_eq!(gateway.stop(), 0);
    let log = bench.log();
    assert!(
        log.contains("countersign-gateway: report: > Hello"),
        "{log}"
    );
}

#[test]
fn tc41_the_operator_names_who_may_sign() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    let with = |rules: &str| {
        bench.configure(&[("pump", SOON)]);
        let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
        bench.configure_with(&format!("{text}\n{rules}"));
        bench.ran("check", &["--json"])
    };
    let device = "[[signer]]\ncomponents = [\"test:*\"]\ndevices = [\"test-device\"]\n";
    for refused in [
        &*device.replace("test-device", "other-device"),
        &*device.replace("test:*", "test:door"),
        &*format!("{device}at-least = 2\n"),
        &*format!("{device}types = [\"other\"]\n"),
        &*format!("{device}issuers = [\"{}\"]\n", "00".repeat(32)),
    ] {
        let checked = with(refused);
        let status = i32::from(Code::SignerNotNamed.exit_status());
        assert_eq!(checked.status, status, "{refused}: {checked:?}");
        assert!(checked.stdout.contains("signer-not-named"), "{checked:?}");
        // What an operator would have to write is in the reason.
        assert!(checked.stdout.contains("test-device"), "{checked:?}");
    }
    for wrong in [
        device.replace("test:*", "*"),
        format!("{device}at-least = 5\n"),
        format!("{device}issuers = [\"ab\"]\n"),
        device.replace("[\"test:*\"]", "[]"),
    ] {
        let checked = with(&wrong);
        assert_eq!(checked.status, 2, "{wrong}: {checked:?}");
    }
    assert_eq!(with(device).status, 0);
    let gateway = bench.start();
    bench.until("pump", healthy);
    with("");
    let (reloaded, _) = bench.reload();
    assert!(
        reloaded.stderr.contains("[[signer]] was changed"),
        "{reloaded:?}"
    );
    assert_eq!(gateway.stop(), 0);
    // Rules are for what ran before, too.
    with(&device.replace("test-device", "other-device"));
    let gateway = bench.start();
    assert_eq!(
        bench.until("pump", is("refused"))["code"],
        "signer-not-named"
    );
    assert_eq!(gateway.stop(), 0);
}

//! The built gateway: what it runs, what it refuses, what it remembers, and who may ask it.

#[path = "gateway/addresses.rs"]
mod addresses;
#[path = "gateway/audience.rs"]
mod audience;
#[path = "gateway/bench.rs"]
mod bench;
#[path = "gateway/bundles.rs"]
mod bundles;
#[path = "gateway/churn.rs"]
mod churn;
#[path = "gateway/clock.rs"]
mod clock;
#[path = "gateway/code.rs"]
mod code;
#[path = "gateway/counter.rs"]
mod counter;
#[path = "gateway/cuts.rs"]
mod cuts;
#[path = "gateway/downloads.rs"]
mod downloads;
#[path = "gateway/faults.rs"]
mod faults;
#[path = "gateway/folders.rs"]
mod folders;
#[path = "gateway/keys.rs"]
mod keys;
#[path = "gateway/kills.rs"]
mod kills;
#[path = "gateway/lists.rs"]
mod lists;
#[path = "gateway/messages.rs"]
mod messages;
#[path = "gateway/package.rs"]
mod package;
#[path = "gateway/page.rs"]
mod page;
#[path = "gateway/receipts.rs"]
mod receipts;
#[path = "gateway/records.rs"]
mod records;
#[path = "gateway/schedule.rs"]
mod schedule;
#[path = "gateway/small.rs"]
mod small;
#[path = "gateway/sockets.rs"]
mod sockets;
#[path = "gateway/squeezed.rs"]
mod squeezed;
#[path = "gateway/traces.rs"]
mod traces;
#[path = "gateway/unsynced.rs"]
mod unsynced;
#[path = "gateway/view.rs"]
mod view;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testing::{TestPki, write_program};
use countersign_trust_store::{AnchorSource, Code};
use serde_json::Value;
use tempfile::TempDir;

use crate::components::guest;
use crate::programs::{Ran, fill, program, run};
use bench::*;
pub(crate) use bench::{Bench, Gateway};

#[test]
fn services_run_are_started_again_and_one_bad_component_keeps_no_other() {
    let bench = Bench::new();
    for name in ["greeter", "stolen", "door"] {
        bench.sign(name, "hello", 1);
    }
    bench.sign("pump", "endless-loop", 1);
    // One bit is wrong.
    let path = bench.path("stolen.wasm");
    let mut bytes = fs::read(&path).expect("signed");
    bytes[2_000] ^= 1;
    fs::write(&path, bytes).expect("our own folder");
    // Properly signed, and in another's place.
    fs::copy(bench.path("greeter.wasm"), bench.path("door.wasm")).expect("our own folder");
    let arguments = format!("{SOON}\ngrants = {{ args = [\"you\"] }}");
    let services = [
        ("stolen", ""),
        ("greeter", &*arguments),
        ("door", ""),
        ("pump", SOON),
    ];
    bench.configure(&services);

    let checked = bench.ran("check", &["--json"]);
    assert_eq!(
        checked.status,
        i32::from(Code::DigestMismatch.exit_status()),
        "{checked:?}"
    );
    let verdicts: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    let codes: Vec<_> = verdicts["services"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|service| service["refused"]["code"].as_str())
        .collect();
    assert_eq!(
        codes,
        [Some("digest-mismatch"), None, Some("other-component"), None]
    );

    let gateway = bench.start();
    let greeter = bench.until("greeter", |service| service["starts"].as_u64() > Some(3));
    assert_eq!(greeter["component"], "test:greeter", "{greeter}");
    bench.until("pump", healthy);
    assert_eq!(bench.service("stolen")["code"], "digest-mismatch");
    assert_eq!(bench.service("door")["code"], "other-component");
    let shown = bench.ran("status", &[]);
    assert!(shown.stdout.contains("stolen: refused\n"), "{shown:?}");
    assert!(
        shown
            .stdout
            .contains("pump: running\n  test:pump 1.0.0, signed by "),
        "{shown:?}"
    );
    assert_eq!(gateway.stop(), 0);
    assert!(!bench.path("state/control.sock").exists());
    let log = bench.log();
    assert!(
        log.contains("countersign-gateway: greeter: > Hello, you!\n"),
        "{log}"
    );

    let records = bench.records();
    let count = |event: &str, name: &str| {
        let of = |record: &&Value| record["event"] == event && record["component"]["name"] == name;
        records.iter().filter(of).count()
    };
    assert_eq!(
        (
            count("accepted", "test:greeter"),
            count("accepted", "test:pump")
        ),
        (1, 1)
    );
    assert!(count("exited", "test:greeter") >= 3, "{records:?}");
    assert_eq!(count("stopped", "test:pump"), 1, "{records:?}");
    let refused = records.iter().filter(|record| record["event"] == "refused");
    assert_eq!(refused.count(), 2, "{records:?}");
}

#[test]
fn td07_td10_a_version_that_proved_healthy_does_not_fall_and_one_that_did_not_counts_for_nothing() {
    let bench = Bench::new();
    bench.configure(&[("pump", SOON)]);
    bench.sign("pump", "endless-loop", 3);
    let gateway = bench.start();
    bench.until("pump", healthy);

    // A newer one that does not live gives the place back, and raises nothing.
    bench.sign("pump", "trap", 9);
    let (reloaded, done) = bench.reload();
    assert_eq!(
        (reloaded.status, &done["exchanged"][0]),
        (0, &"pump".into()),
        "{reloaded:?}"
    );
    let pump = bench.until("pump", |service| service["newer"].is_string());
    assert_eq!(
        (&pump["version"], &pump["state"]),
        (&"3.0.0".into(), &"running".into()),
        "{pump}"
    );
    assert!(
        pump["newer"]
            .as_str()
            .is_some_and(|why| why.contains("9.0.0")),
        "{pump}"
    );

    // An older one is refused, and the one that runs goes on.
    bench.sign("pump", "endless-loop", 2);
    let (reloaded, done) = bench.reload();
    assert_eq!(
        reloaded.status,
        i32::from(Code::Rollback.exit_status()),
        "{reloaded:?}"
    );
    assert_eq!(done["refused"]["pump"]["code"], "rollback", "{done}");
    let pump = bench.service("pump");
    assert_eq!(
        (&pump["version"], &pump["state"]),
        (&"3.0.0".into(), &"running".into()),
        "{pump}"
    );
    // As it is after a restart, by what was remembered; the copy of what proved healthy runs.
    assert_eq!(gateway.stop(), 0);
    let gateway = bench.start();
    let pump = bench.until("pump", |service| service["newer"].is_string());
    assert_eq!(
        (&pump["version"], &pump["state"]),
        (&"3.0.0".into(), &"running".into()),
        "{pump}"
    );
    // And after one with the version that does not live in its place.
    bench.sign("pump", "trap", 9);
    assert_eq!(gateway.stop(), 0);
    let gateway = bench.start();
    let pump = bench.until("pump", |service| service["newer"].is_string());
    assert_eq!(
        (&pump["version"], &pump["state"]),
        (&"3.0.0".into(), &"running".into()),
        "{pump}"
    );
    // A copy that somebody changed is refused like any file.
    bench.sign("pump", "endless-loop", 2);
    assert_eq!(gateway.stop(), 0);
    let copy = bench.path("state/kept/pump.wasm");
    let mut bytes = fs::read(&copy).expect("a copy");
    bytes[2_000] ^= 1;
    fs::write(&copy, bytes).expect("ours");
    let gateway = bench.start();
    // It says before that, too, that nothing runs: nothing was tried yet.
    let pump = bench.until("pump", |service| service["code"].is_string());
    assert_eq!(pump["code"], "rollback", "{pump}");
    assert!(
        bench
            .records()
            .iter()
            .any(|record| record["code"] == "digest-mismatch")
    );
    // What was lost is not in the way of what is repaired.
    bench.sign("pump", "endless-loop", 4);
    assert_eq!(bench.reload().0.status, 0);
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th10_what_goes_beside_has_the_place_once_it_proved_healthy_and_what_ran_is_not_touched_before() {
    let bench = Bench::new();
    bench.configure(&[("pump", &format!("beside = true\n{SOON}"))]);
    bench.sign("pump", "endless-loop", 3);
    let gateway = bench.start();
    bench.until("pump", healthy);
    bench.sign("pump", "trap", 9);
    let (reloaded, done) = bench.reload();
    assert_eq!(reloaded.status, 118, "{reloaded:?}");
    let why = done["stayed"]["pump"].as_str();
    assert!(why.is_some_and(|why| why.contains("9.0.0")), "{done}");
    let pump = bench.service("pump");
    assert_eq!((&pump["version"], healthy(&pump)), (&"3.0.0".into(), true));
    let ended = |records: &[Value], version: u64| {
        let of = |record: &&Value| {
            record["event"] == "stopped" && record["component"]["security_version"] == version
        };
        records.iter().filter(of).count()
    };
    let records = bench.records();
    assert_eq!((ended(&records, 3), ended(&records, 9)), (0, 1));
    // Nothing was raised by what did not live.
    bench.sign("pump", "endless-loop", 4);
    let (_, done) = bench.reload();
    assert_eq!(done["exchanged"][0], "pump", "{done}");
    let pump = bench.service("pump");
    assert_eq!(pump["version"], "4.0.0", "{pump}");
    bench.until("pump", healthy);
    assert_eq!(ended(&bench.records(), 3), 1);
    // What is to touch something else does so at once.
    let other = format!("beside = true\n{SOON}\ngrants = {{ args = [\"x\"] }}");
    bench.configure(&[("pump", &other)]);
    let (_, done) = bench.reload();
    assert_eq!(done["exchanged"][0], "pump", "{done}");
    assert_eq!(ended(&bench.records(), 4), 1);
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th10_a_version_that_fails_three_times_is_not_tried_again_until_somebody_says_so() {
    let bench = Bench::new();
    bench.configure(&[("pump", SOON)]);
    bench.sign("pump", "endless-loop", 1);
    let gateway = bench.start();
    bench.until("pump", healthy);
    bench.sign("pump", "trap", 2);
    assert_eq!(bench.reload().0.status, 0);
    bench.until("pump", |service| service["newer"].is_string());
    let mut gateway = gateway;
    for _ in 0..3 {
        assert_eq!(gateway.stop(), 0);
        gateway = bench.start();
        bench.until("pump", |service| {
            service["version"] == "1.0.0" && service["newer"].is_string()
        });
    }
    let pump = bench.service("pump");
    let why = pump["newer"].as_str().expect("why");
    assert!(why.contains("failed three times"), "{pump}");
    bench.until("pump", healthy);
    let traps = |records: &[Value]| {
        let stopped = records.iter().filter(|record| record["code"] == "trapped");
        stopped.count()
    };
    assert_eq!(traps(&bench.records()), 3);
    // The operator's word, once more; and another file.
    assert_eq!(bench.reload().0.status, 0);
    bench.until("pump", |service| {
        service["version"] == "1.0.0" && service["newer"].is_string()
    });
    bench.sign("pump", "endless-loop", 3);
    assert_eq!(bench.reload().0.status, 0);
    bench.until("pump", |service| {
        healthy(service) && service["version"] == "3.0.0"
    });
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td15_a_newer_list_stops_what_runs_and_one_that_is_missing_lets_nothing_start() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    bench.configure(&[("pump", SOON)]);
    let lists = fs::read(bench.path("crls.pem")).expect("lists");
    let gateway = bench.start();
    bench.until("pump", healthy);
    let number = 1_000;
    fs::write(
        bench.path("newer.crl"),
        bench.pki.crl_against_device(number),
    )
    .expect("our own folder");
    let with = |lists: &str| {
        let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
        bench.configure_with(&text.replacen("lists = [\"crls.pem\"]", lists, 1));
    };
    // What runs is not the file in its place any more: its copy is judged.
    bench.sign("pump", "trap", 2);
    assert_eq!(bench.reload().0.status, 0);
    bench.until("pump", |service| service["newer"].is_string());
    fs::write(bench.path("pump.wasm"), b"gone").expect("our own folder");
    let (_, done) = bench.reload();
    assert_eq!(done["refused"]["pump"]["code"], "not-a-component", "{done}");
    assert_eq!(bench.service("pump")["state"], "running");
    with("lists = [\"crls.pem\", \"newer.crl\"]");
    let (reloaded, done) = bench.reload();
    assert_eq!(done["refused"]["pump"]["code"], "revoked", "{reloaded:?}");
    assert_eq!(done["stopped"][0], "pump", "{done}");
    assert_eq!(bench.service("pump")["state"], "refused");
    assert_eq!(gateway.stop(), 0);
    // A list that is missing is no list that says nothing.
    fs::remove_file(bench.path("newer.crl")).expect("ours");
    let gateway = bench.start();
    let pump = bench.until("pump", is("refused"));
    assert!(
        pump["why"]
            .as_str()
            .is_some_and(|why| why.contains("newer.crl")),
        "{pump}"
    );
    let (reloaded, _) = bench.reload();
    assert_eq!(reloaded.status, 2, "{reloaded:?}");
    assert_eq!(fs::read(bench.path("crls.pem")).expect("lists"), lists);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td15_a_predecessor_that_was_revoked_meanwhile_does_not_come_back() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    bench.configure(&[("pump", SOON)]);
    let gateway = bench.start();
    bench.until("pump", healthy);
    // One reload brings a version of another signer, which does not live, and a list against the signer of the one before.
    let other = TestPki::builder().seed(7).scope(&["test:*"]).build();
    let roots = [
        AnchorSource::new(bench.pki.root().to_vec()),
        other.anchor_source(),
    ];
    drop(gateway);
    fs::remove_file(bench.path("countersign-gateway")).expect("ours");
    fill(
        &program("countersign-gateway"),
        &bench.path("countersign-gateway"),
        &roots,
    );
    let gateway = bench.start();
    bench.until("pump", healthy);
    let mut manifest = other.manifest("test:pump");
    manifest.security_version = 2;
    let file = other.sign(&guest("trap"), &manifest);
    fs::write(bench.path("pump.wasm"), file).expect("our own folder");
    let lists = fs::read(bench.path("crls.pem")).expect("lists");
    fs::write(bench.path("newer.crl"), bench.pki.crl_against_device(1_000))
        .expect("our own folder");
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&text.replace("[\"crls.pem\"]", "[\"crls.pem\", \"newer.crl\"]"));
    let (reloaded, done) = bench.reload();
    assert_eq!(done["stopped"][0], "pump", "{reloaded:?}");
    bench.until("pump", |service| {
        service["state"] == "waiting" && service["version"] == "1.0.0"
    });
    let records = bench.records();
    let revoked = |record: &&Value| record["event"] == "refused" && record["code"] == "revoked";
    assert!(records.iter().any(|record| revoked(&record)), "{records:?}");
    // The list is remembered: an older one does not bring it back.
    bench.configure_with(&text);
    assert_eq!(fs::read(bench.path("crls.pem")).expect("lists"), lists);
    bench.sign("pump", "endless-loop", 3);
    let (reloaded, done) = bench.reload();
    assert_eq!(
        done["refused"]["pump"]["code"], "crl-rollback",
        "{reloaded:?}"
    );
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn te32_narrower_grants_hold_at_once_or_nothing_runs() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    fs::create_dir(bench.path("data")).expect("our own folder");
    let wide = format!(
        "{SOON}\ngrants = {{ directories = [{{ host = \"data\", guest = \"/data\", writable = true }}] }}"
    );
    bench.configure(&[("pump", &wide)]);
    let gateway = bench.start();
    bench.until("pump", healthy);
    // What is configured now cannot be had: the file is another, and there is a copy that can.
    fs::write(bench.path("pump.wasm"), b"gone").expect("our own folder");
    bench.configure(&[("pump", SOON)]);
    let (reloaded, done) = bench.reload();
    assert_eq!(
        (&done["stopped"][0], &done["started"][0]),
        (&"pump".into(), &"pump".into()),
        "{reloaded:?}"
    );
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th07_a_configuration_that_is_wrong_changes_nothing() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    bench.configure(&[("pump", SOON)]);
    let gateway = bench.start();
    bench.until("pump", healthy);
    let starts = bench.service("pump")["starts"].clone();
    let good = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&good.replace("component =", "componant ="));
    // The socket is found by the configuration; a good copy names it for whoever asks.
    let asked = ask(
        &bench.path("state/control.sock"),
        b"{\"question\":\"reload\"}\n",
    );
    assert!(
        asked.contains("gateway.toml:7:1: ") && asked.contains("componant"),
        "{asked}"
    );
    bench.configure_with(&good.replacen("[gateway]", "[gateway]\nsigners = 2", 1));
    let (reloaded, _) = bench.reload();
    assert!(reloaded.stderr.contains("needs a restart"), "{reloaded:?}");
    bench.configure_with(&good);
    let (_, done) = bench.reload();
    assert_eq!(done["unchanged"][0], "pump", "{done}");
    assert_eq!(bench.service("pump")["starts"], starts);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn th13_th16_one_gateway_to_a_folder_and_short_whole_questions_only() {
    let bench = Bench::new();
    bench.sign("greeter", "hello", 1);
    bench.configure(&[("greeter", ONCE)]);
    let gateway = bench.start();
    bench.until("greeter", is("ended"));
    let second = bench.ran("run", &[]);
    assert_eq!(second.status, 2, "{second:?}");
    assert!(
        second.stderr.contains("another countersign-gateway"),
        "{second:?}"
    );

    let socket = bench.path("state/control.sock");
    let long = [vec![b' '; 5_000], b"{\"question\":\"status\"}\n".to_vec()].concat();
    for bad in [
        &b"half"[..],
        b"",
        b"{}\n",
        b"{\"question\":\"stop\"}\n",
        b"\xff\xff\n",
        &long,
    ] {
        let answer = ask(&socket, bad);
        assert!(answer.contains("\"error\""), "{bad:?}: {answer}");
    }
    // Who asks nothing keeps nobody else from asking.
    let silent: Vec<_> = (0..7)
        .map(|_| UnixStream::connect(&socket).expect("connects"))
        .collect();
    assert_eq!(bench.service("greeter")["state"], "ended");
    drop(silent);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn tc40_th05_nothing_runs_without_a_root_under_a_development_root_or_without_its_memory() {
    let bench = Bench::new();
    bench.sign("greeter", "hello", 1);
    bench.configure(&[("greeter", ONCE)]);
    let unfilled = fs::read(program("countersign-gateway")).expect("a built program");
    write_program(&bench.path("countersign-gateway"), &unfilled);
    let ran = bench.ran("run", &[]);
    assert_eq!(ran.status, i32::from(Code::NoRoot.exit_status()), "{ran:?}");

    let bench = Bench::with(TestPki::builder().scope(&["test:*"]).development());
    bench.sign("greeter", "hello", 1);
    bench.configure(&[("greeter", ONCE)]);
    let ran = bench.ran("run", &[]);
    assert_eq!(
        ran.status,
        i32::from(Code::RootUnusable.exit_status()),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("development root"), "{ran:?}");

    let bench = Bench::without_state(TestPki::builder().scope(&["test:*"]));
    bench.sign("greeter", "hello", 1);
    bench.configure(&[("greeter", ONCE)]);
    for verb in ["run", "check"] {
        let ran = bench.ran(verb, &[]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.stderr.contains("countersign-gateway init"), "{ran:?}");
    }
}

#[test]
fn its_schema_is_the_published_one() {
    let printed = run(Command::new(program("countersign-gateway")).arg("schema"));
    let published = include_str!("../../docs/gateway.schema.json");
    assert!(
        printed.stdout == published,
        "countersign-gateway schema > docs/gateway.schema.json"
    );
}

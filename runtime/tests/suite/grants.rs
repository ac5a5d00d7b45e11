//! What both sides agree on, and what the operator is told of the rest: line by line, so that nothing is told wrongly.

use countersign_format::{DirectoryGrant, Grants, KeyGrant, Stdio};
use countersign_runtime::host::KeyCeiling;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Access, Ceiling, GuestContext, Input, Output, ReadyGuest};

use crate::support::Bench;

/// Loads a component without imports, and says what it got.
fn agreed(grants: Grants, ceiling: &Ceiling) -> ReadyGuest<GuestContext> {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let verified = bench.verified("(component)", grants, Default::default());
    let ready = bench.runtime.load(verified, ceiling, &linker);
    ready.expect("it loads")
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// How the operator is told of each, in the order of the alphabet.
const EVERYTHING: [&str; 13] = [
    "args",
    "directory /data",
    "directory /etc",
    "env PLANT",
    "env ZONE",
    "http-incoming",
    "http-outgoing",
    "key telemetry",
    "sockets",
    "stderr",
    "stdin",
    "stdout",
    "wall-clock",
];

/// All that a statement may ask for.
fn everything() -> Grants {
    Grants {
        args: true,
        stdio: Stdio {
            stdin: true,
            stdout: true,
            stderr: true,
        },
        env: texts(&["PLANT", "ZONE"]),
        directories: [("/data", true), ("/etc", false)]
            .map(|(guest, writable)| DirectoryGrant {
                guest: guest.to_owned(),
                writable,
            })
            .into(),
        http_outgoing: Some(texts(&["backup.example", "plant.example"])),
        http_incoming: true,
        sockets: Some(texts(&["tcp:192.0.2.7:502"])),
        wall_clock: true,
        keys: vec![KeyGrant {
            name: "telemetry".to_owned(),
            contexts: texts(&["reading/v1"]),
            per_minute: None,
        }],
    }
}

/// All that a host without a device may allow.
fn open(folder: &tempfile::TempDir) -> Ceiling {
    let ceiling = Ceiling::new()
        .args(["one"])
        .env("PLANT", "north")
        .env("ZONE", "7")
        .stdin(Input::Bytes(b"in".to_vec()))
        .stdout(Output::Stdout)
        .stderr(Output::Stderr)
        .http_outgoing(["plant.example", "backup.example"])
        .http_incoming()
        .sockets(["tcp:192.0.2.7:502"])
        .wall_clock();
    let ceiling = ceiling.directory(folder.path(), "/data", Access::ReadWrite);
    ceiling
        .and_then(|ceiling| ceiling.directory(folder.path(), "/etc", Access::Read))
        .expect("a folder opens")
}

#[test]
fn te32_what_both_sides_want_is_all_given() {
    let folder = tempfile::tempdir().unwrap();
    let grants = Grants {
        keys: Vec::new(),
        ..everything()
    };
    let ready = agreed(grants, &open(&folder));
    let granted = ready.granted();
    assert_eq!(granted.withheld(), [""; 0]);
    assert_eq!(
        granted.http_outgoing(),
        Some(&texts(&["backup.example", "plant.example"])[..])
    );
    assert!(granted.http_incoming());
    assert!(!granted.has_device());
}

#[test]
fn te32_what_the_host_does_not_allow_is_not_given_and_told() {
    let ready = agreed(everything(), &Ceiling::new());
    let granted = ready.granted();
    let mut told = granted.withheld().to_vec();
    told.sort();
    let expected = EVERYTHING
        .map(|what| format!("{what}: the component asks for it, this host does not allow it"));
    assert_eq!(told, expected);
    assert_eq!(granted.http_outgoing(), None);
    assert!(!granted.http_incoming() && !granted.has_device());
}

#[test]
fn te32_what_the_component_does_not_ask_for_is_not_given_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let ceiling = open(&folder).key("telemetry", KeyCeiling::default());
    let ready = agreed(Grants::default(), &ceiling);
    let granted = ready.granted();
    let mut told = granted.withheld().to_vec();
    told.sort();
    let expected = EVERYTHING
        .map(|what| format!("{what}: this host allows it, the component does not ask for it"));
    assert_eq!(told, expected);
    assert_eq!(granted.http_outgoing(), None);
    assert!(!granted.http_incoming());
}

#[test]
fn te32_of_lists_and_directories_only_what_both_name_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let told = |grants: Grants, ceiling: Ceiling| {
        let ready = agreed(grants, &ceiling);
        let granted = ready.granted();
        let hosts = granted.http_outgoing().map(<[String]>::to_vec);
        (hosts, granted.withheld().to_vec())
    };
    let asks =
        |what: &str| format!("{what}: the component asks for it, this host does not allow it");
    let allows =
        |what: &str| format!("{what}: this host allows it, the component does not ask for it");

    let grants = Grants {
        http_outgoing: everything().http_outgoing,
        env: texts(&["PLANT", "ZONE"]),
        ..Grants::default()
    };
    let ceiling = Ceiling::new()
        .http_outgoing(["plant.example", "other.example"])
        .env("ZONE", "7")
        .env("PATH", "/bin");
    assert_eq!(
        told(grants, ceiling),
        (
            Some(texts(&["plant.example"])),
            vec![
                allows("env PATH"),
                asks("env PLANT"),
                asks("http-outgoing backup.example")
            ]
        )
    );

    let grants = Grants {
        directories: everything().directories,
        ..Grants::default()
    };
    let ceiling = Ceiling::new();
    let ceiling = ceiling.directory(folder.path(), "/data", Access::Read);
    let ceiling = ceiling
        .and_then(|ceiling| ceiling.directory(folder.path(), "/etc", Access::ReadWrite))
        .and_then(|ceiling| ceiling.directory(folder.path(), "/tmp", Access::Read))
        .unwrap();
    assert_eq!(
        told(grants, ceiling),
        (
            None,
            vec![
                asks("writing to directory /data"),
                allows("writing to directory /etc"),
                allows("directory /tmp")
            ]
        )
    );

    // A key that both want and no device has: the component's wish is not met, and that is all.
    let grants = Grants {
        keys: everything().keys,
        ..Grants::default()
    };
    let ceiling = Ceiling::new().key("telemetry", KeyCeiling::default());
    assert_eq!(told(grants, ceiling), (None, vec![asks("key telemetry")]));
}

#[test]
fn what_is_allowed_is_shown_without_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let ceiling = Ceiling::new()
        .args(["hush", "hush"])
        .env("TOKEN", "hush")
        .directory(folder.path(), "/data", Access::Read)
        .unwrap();
    let shown = format!("{ceiling:?}");
    for part in ["args: Some(2)", "TOKEN", "/data:Read"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(!shown.contains("hush"), "{shown}");
}

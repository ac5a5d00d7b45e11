//! `component.toml` and `Cargo.toml`: what is read, and where errors point.

use countersign_format::{DirectoryGrant, KeyGrant};
use countersign_signer::Manifest;
use std::fs;

const HEAD: &str = "name = \"acme:valve\"\nversion = \"1.2.3\"\n";

#[test]
fn everything_that_can_be_said() {
    let manifest = Manifest::from_component_toml(
        r#"
name = "acme:valve"
version = "1.2.3-rc.1"
security-version = 7

[audience]
devices = ["gw-0007"]
types = ["gateway-x2", "gateway-x1"]

[grants]
args = true
env = ["TZ"]
stdio = ["stdin", "stderr"]
directories = [{ guest = "/data", writable = true }, { guest = "/config" }]
http-outgoing = ["api.example.org"]
http-incoming = true
sockets = []
wall-clock = true

[grants.keys.telemetry]
contexts = ["reading", "alarm"]
per-minute = 60

[grants.keys.identity]

[limits]
memory = "64MiB"
table-elements = 10000
run = "10s"
cpu = "1500ms"
handles = 100
hostcall = 65536
log = "1 MiB"

[[documents]]
path = "sbom.json"
media-type = "application/vnd.cyclonedx+json"
"#,
    )
    .unwrap();
    assert_eq!(manifest.name.to_string(), "acme:valve");
    assert_eq!(manifest.version.to_string(), "1.2.3-rc.1");
    assert_eq!(manifest.security_version, 7);
    assert_eq!(manifest.audience.types, ["gateway-x1", "gateway-x2"]);
    let grants = &manifest.grants;
    assert!(grants.args && grants.http_incoming && grants.wall_clock);
    assert!(grants.stdio.stdin && !grants.stdio.stdout && grants.stdio.stderr);
    let directory = |guest: &str, writable| DirectoryGrant {
        guest: guest.into(),
        writable,
    };
    assert_eq!(
        grants.directories,
        [directory("/config", false), directory("/data", true)]
    );
    assert_eq!(
        grants.http_outgoing.as_deref(),
        Some(["api.example.org".to_owned()].as_slice())
    );
    assert_eq!(
        grants.sockets,
        Some(vec![]),
        "an empty list is not the same as none"
    );
    let key = |name: &str, contexts: &[&str], per_minute| KeyGrant {
        name: name.into(),
        contexts: contexts.iter().map(|text| (*text).to_owned()).collect(),
        per_minute,
    };
    assert_eq!(
        grants.keys,
        [
            key("identity", &[], None),
            key("telemetry", &["alarm", "reading"], Some(60))
        ]
    );
    let limits = &manifest.limits;
    assert_eq!(limits.memory_bytes, Some(67_108_864));
    assert_eq!(limits.run_milliseconds, Some(10_000));
    assert_eq!(limits.cpu_milliseconds, Some(1500));
    assert_eq!(limits.hostcall_bytes, Some(65_536));
    assert_eq!(limits.log_bytes, Some(1_048_576));
    assert_eq!(
        (limits.table_elements, limits.handles),
        (Some(10_000), Some(100))
    );
}

#[test]
fn the_least_asks_for_nothing() {
    let manifest = Manifest::from_component_toml(HEAD).unwrap();
    assert_eq!(manifest.security_version, 0);
    assert_eq!(manifest.grants, Default::default());
    assert_eq!(manifest.limits, Default::default());
    assert!(manifest.audience.is_empty() && manifest.documents.is_empty());
    assert_eq!(manifest.grants.sockets, None);
}

#[test]
fn errors_point_to_the_place() {
    for (tail, line, column, words) in [
        ("verison = 1\n", 3, 1, "verison"),
        ("[grants]\nenv = [\"OK\", \"1BAD\"]\n", 4, 14, "1BAD"),
        (
            "[grants]\nstdio = [\"stdout\", \"stdlog\"]\n",
            4,
            20,
            "stdlog",
        ),
        ("[grants]\nnetwork = true\n", 4, 1, "network"),
        (
            "[grants]\ndirectories = [{ guest = \"data\" }]\n",
            4,
            16,
            "data",
        ),
        (
            "[grants]\ndirectories = [{ guest = \"/data\", writeable = true }]\n",
            4,
            35,
            "writeable",
        ),
        ("[grants]\nsockets = [\"tcp:x\"]\n", 4, 12, "tcp:x"),
        ("[grants]\nargs = \"yes\"\n", 4, 8, "boolean"),
        ("[grants.keys.\"a b\"]\n", 3, 14, "a b"),
        ("[audience]\ndevices = [\"a\", \"b c\"]\n", 4, 17, "b c"),
        ("[limits]\nmemory = \"64MB\"\n", 4, 10, "MiB"),
        ("[limits]\nmemory = -1\n", 4, 10, "size"),
        ("[limits]\nrun = 10\n", 4, 7, "unit"),
        ("[limits]\nrun = \"0s\"\n", 4, 7, "0s"),
        ("security-version = -1\n", 3, 20, "-1"),
        ("[grants\n", 3, 8, "]"),
        ("version = \"1.0.0\"\n", 3, 1, "duplicate"),
        ("[[documents]]\npath = \"x\"\n", 3, 1, "media-type"),
    ] {
        let error = Manifest::from_component_toml(&format!("{HEAD}{tail}")).unwrap_err();
        assert_eq!(
            (error.line(), error.column()),
            (Some(line), Some(column)),
            "{tail}: {error}"
        );
        assert!(error.to_string().contains(words), "{tail}: {error}");
    }
    for (text, line, column) in [
        ("name = \"Acme\"\nversion = \"1.0.0\"\n", 1, 8),
        ("name = \"acme:x\"\nversion = \"1.0\"\n", 2, 11),
        ("# Ünïcödé\nname = \"acme:x\"\nversion = 1\n", 3, 11),
    ] {
        let error = Manifest::from_component_toml(text).unwrap_err();
        assert_eq!(
            (error.line(), error.column()),
            (Some(line), Some(column)),
            "{error}"
        );
    }
    assert!(
        Manifest::from_component_toml("name = \"acme:x\"\n")
            .unwrap_err()
            .to_string()
            .contains("version")
    );
}

#[test]
fn the_same_entry_twice_is_refused() {
    for tail in [
        "[grants]\nenv = [\"A\", \"A\"]\n",
        "[grants]\ndirectories = [{ guest = \"/d\" }, { guest = \"/d\", writable = true }]\n",
        "[audience]\ntypes = [\"x\", \"x\"]\n",
    ] {
        assert!(
            Manifest::from_component_toml(&format!("{HEAD}{tail}")).is_err(),
            "{tail}"
        );
    }
}

#[test]
fn a_cargo_toml_lends_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Cargo.toml");
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        Manifest::load(&path)
    };
    let package = "[package]\nname = \"valve\"\nversion = \"2.0.1\"\nedition = \"2024\"\n[dependencies]\nx = { path = \"x\" }\n";
    let table = "[package.metadata.countersign]\nname = \"acme:valve\"\n";
    let manifest = load(&format!(
        "{package}{table}[[package.metadata.countersign.documents]]\npath = \"sbom.json\"\nmedia-type = \"a/b\"\n"
    ))
    .unwrap();
    assert_eq!(manifest.version.to_string(), "2.0.1");
    assert_eq!(
        manifest.documents.first().unwrap().path,
        folder.path().join("sbom.json")
    );
    assert_eq!(
        load(&format!("{package}{table}version = \"3.0.0\"\n"))
            .unwrap()
            .version
            .to_string(),
        "3.0.0"
    );

    for (text, words) in [
        (package.to_owned(), "[package.metadata.countersign]"),
        ("[workspace]\nmembers = []\n".to_owned(), "[package]"),
        (format!("{package}{table}grnats = {{}}\n"), "Cargo.toml:9:1"),
        (
            format!(
                "{}{table}",
                package.replace("version = \"2.0.1\"", "version.workspace = true")
            ),
            "inherited",
        ),
    ] {
        let error = load(&text).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let missing = Manifest::load(&folder.path().join("none.toml")).unwrap_err();
    assert!(
        missing.to_string().contains("none.toml: cannot be read"),
        "{missing}"
    );
    assert!(Manifest::load(folder.path()).is_err());
}

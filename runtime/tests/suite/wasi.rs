//! WASI without grants gives a guest nothing of the host's; with grants, what both sides agreed on.

use std::fs;

use crate::support::Bench;
use countersign_format::{DirectoryGrant, Grants, Stdio};
use countersign_runtime::trust_store::Code;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{
    Access, Captured, Ceiling, GuestContext, Input, LimitKind, Limits, LoadError, Output, RunError,
    RunningGuest,
};

const CURIOUS: &str = include_str!("../guests/curious.wat");
const HELLO: &str = include_str!("../guests/hello.wat");
const LINKER: &str = include_str!("../guests/linker.wat");
const WRITER: &str = include_str!("../guests/writer.wat");

async fn start(wat: &str, grants: Grants, ceiling: &Ceiling) -> RunningGuest<GuestContext> {
    let bench = Bench::new();
    let linker = Linker::new(bench.runtime.engine());
    let verified = bench.verified(wat, grants, Default::default());
    let ready = bench
        .runtime
        .load(verified, ceiling, &linker)
        .expect("it loads");
    bench.start(ready).await.expect("it starts")
}

async fn ask(guest: &mut RunningGuest<GuestContext>, what: &str) -> u32 {
    guest
        .call_export::<(), (u32,)>(None, what, ())
        .await
        .expect("it answers")
        .0
}

async fn date(guest: &mut RunningGuest<GuestContext>) -> u64 {
    guest
        .call_export::<(), (u64,)>(None, "date", ())
        .await
        .expect("it answers")
        .0
}

fn everything() -> Grants {
    Grants {
        args: true,
        env: vec!["PLANT".to_owned()],
        stdio: Stdio {
            stdin: true,
            stdout: true,
            stderr: true,
        },
        directories: vec![DirectoryGrant {
            guest: "/data".to_owned(),
            writable: true,
        }],
        wall_clock: true,
        ..Grants::default()
    }
}

fn all(directory: &tempfile::TempDir) -> Ceiling {
    Ceiling::new()
        .args(["program", "argument"])
        .env("PLANT", "north")
        .env("PATH", "/bin")
        .stdin(Input::Bytes(b"input".to_vec()))
        .directory(directory.path(), "/data", Access::ReadWrite)
        .expect("the directory opens")
        .wall_clock()
}

#[tokio::test]
async fn te32_nothing_of_the_hosts_without_a_grant() {
    assert!(
        std::env::vars().count() > 0 && std::env::args().count() > 0,
        "the host has something to leak"
    );
    let directory = tempfile::tempdir().unwrap();
    // Neither side alone is enough.
    for (grants, ceiling) in [
        (Grants::default(), Ceiling::new()),
        (everything(), Ceiling::new()),
        (Grants::default(), all(&directory)),
    ] {
        let mut guest = start(CURIOUS, grants, &ceiling).await;
        for what in ["environment", "arguments", "cwd", "directories", "stdin"] {
            assert_eq!(ask(&mut guest, what).await, 0, "{what} under {ceiling:?}");
        }
        assert_eq!(date(&mut guest).await, 0, "the date under {ceiling:?}");
    }
}

#[tokio::test]
async fn te32_what_both_sides_agree_on_is_there_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut guest = start(CURIOUS, everything(), &all(&directory)).await;
    assert_eq!(
        ask(&mut guest, "environment").await,
        1,
        "PLANT, and neither PATH nor the host's own"
    );
    assert_eq!(ask(&mut guest, "arguments").await, 2);
    assert_eq!(ask(&mut guest, "directories").await, 1);
    assert_eq!(ask(&mut guest, "stdin").await, 5);
    assert!(date(&mut guest).await > 1_700_000_000);
}

#[test]
fn what_only_one_side_wants_is_told() {
    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    let grants = Grants {
        wall_clock: true,
        args: true,
        ..Grants::default()
    };
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let verified = bench.verified(CURIOUS, grants, Default::default());
    let ready = bench
        .runtime
        .load(verified, &all(&directory), &linker)
        .expect("it loads");
    let withheld = ready.granted().withheld().join("\n");
    for expected in ["env PATH", "env PLANT", "stdin", "directory /data"] {
        assert!(withheld.contains(expected), "{withheld}");
    }
    assert!(
        !withheld.contains("wall-clock") && !withheld.contains("args"),
        "{withheld}"
    );
}

async fn hello(grants: Grants, ceiling: Ceiling) -> Result<u8, RunError> {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let verified = bench.verified(HELLO, grants, Default::default());
    bench
        .runtime
        .load(verified, &ceiling, &linker)
        .expect("it loads")
        .run_command()
        .await
}

#[tokio::test]
async fn a_command_prints_where_it_may() {
    let captured = Captured::new();
    let ceiling = Ceiling::new().stdout(Output::Capture(captured.clone()));
    assert_eq!(hello(everything(), ceiling).await.unwrap(), 0);
    assert_eq!(captured.contents(), b"hello from a verified guest\n");
}

#[tokio::test]
async fn te32_output_without_a_grant_is_discarded() {
    let captured = Captured::new();
    let ceiling = Ceiling::new().stdout(Output::Capture(captured.clone()));
    assert_eq!(
        hello(Grants::default(), ceiling).await.unwrap(),
        0,
        "the guest does not notice"
    );
    assert_eq!(captured.contents(), b"");
}

#[tokio::test]
async fn te29_output_has_a_limit() {
    let captured = Captured::new();
    let mut limits = Limits::default();
    limits.log_bytes = 27;
    let ceiling = Ceiling::new()
        .stdout(Output::Capture(captured.clone()))
        .limits(limits);
    let ended = hello(everything(), ceiling).await.unwrap_err();
    assert!(
        matches!(
            ended,
            RunError::Limit {
                kind: LimitKind::LogBytes,
                ..
            }
        ),
        "{ended:?}"
    );
    assert_eq!(ended.code(), Code::LimitOutput);
    assert_eq!(captured.contents(), b"");
}

#[tokio::test]
async fn a_component_that_is_no_command_is_told_apart() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let ready = bench
        .load("(component)", &Ceiling::new(), &linker)
        .expect("it loads");
    let error = ready.run_command().await.unwrap_err();
    assert!(
        matches!(&error, RunError::NoExport { name, .. } if name.contains("wasi:cli/run")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_command_exits_with_its_own_status() {
    let exit = |arguments: &str| {
        format!(
            r#"(component
                (import "wasi:cli/exit@0.2.0" (instance $e (export "exit" (func (param "status" (result))))))
                (core func $exit (canon lower (func $e "exit")))
                (core module $m (import "h" "exit" (func $exit (param i32)))
                    (func (export "run") (result i32) {arguments}))
                (core instance $i (instantiate $m (with "h" (instance (export "exit" (func $exit))))))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance $r (export "run" (func $run)))
                (export "wasi:cli/run@0.2.6" (instance $r)))"#
        )
    };
    for (body, status) in [
        ("(call $exit (i32.const 0)) unreachable", 0),
        ("(call $exit (i32.const 1)) unreachable", 1),
        ("(i32.const 0)", 0),
        ("(i32.const 1)", 1),
    ] {
        let bench = Bench::new();
        let linker = Linker::<GuestContext>::new(bench.runtime.engine());
        let ready = bench
            .load(&exit(body), &Ceiling::new(), &linker)
            .expect("it loads");
        assert_eq!(ready.run_command().await.expect(body), status, "{body}");
    }
}

#[tokio::test]
async fn te30_writing_needs_both_sides() {
    let denied = 31; // the error code `not-permitted`
    for (asked, allowed, expected) in [
        (true, Access::ReadWrite, 100),
        (true, Access::Read, denied),
        (false, Access::ReadWrite, denied),
        (false, Access::Read, denied),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let grants = Grants {
            directories: vec![DirectoryGrant {
                guest: "/data".to_owned(),
                writable: asked,
            }],
            ..Grants::default()
        };
        let ceiling = Ceiling::new()
            .directory(directory.path(), "/data", allowed)
            .unwrap();
        let mut guest = start(WRITER, grants, &ceiling).await;
        assert_eq!(
            ask(&mut guest, "write").await,
            expected,
            "{asked} {allowed:?}"
        );
        assert_eq!(directory.path().join("written").exists(), expected == 100);
    }
}

#[tokio::test]
async fn te30_a_path_that_is_renamed_after_the_grant_moves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let (granted, moved) = (parent.path().join("granted"), parent.path().join("moved"));
    fs::create_dir(&granted).unwrap();
    let ceiling = Ceiling::new()
        .directory(&granted, "/data", Access::ReadWrite)
        .unwrap();
    fs::rename(&granted, &moved).unwrap();
    fs::create_dir(&granted).unwrap();

    let mut guest = start(WRITER, everything(), &ceiling).await;
    assert_eq!(ask(&mut guest, "write").await, 100);
    assert!(
        moved.join("written").exists(),
        "the directory that was granted"
    );
    assert!(
        !granted.join("written").exists(),
        "not the one that now bears its name"
    );
}

/// Flags of `open-at` (WASI 0.2, `wasi:filesystem/types`).
const FOLLOW: u32 = 1;
const CREATE: u32 = 1;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;
const READ: u32 = 1;
const WRITE: u32 = 2;

/// Opens a path with these flags in the first granted directory, as [`WRITER`] does one of its own.
fn opener(path: &str, how: u32, open: u32, flags: u32) -> String {
    const PATH: &str = "\"written\"";
    const CALL: &str =
        "(i32.const 0) (i32.const 64) (i32.const 7)\n        (i32.const 5) (i32.const 3)";
    assert!(WRITER.contains(PATH) && WRITER.contains(CALL));
    let length = path.len();
    let call = format!(
        "(i32.const {how}) (i32.const 64) (i32.const {length}) (i32.const {open}) (i32.const {flags})"
    );
    let path = format!("\"{path}\"");
    WRITER
        .replace(CALL, &call)
        .replace(&format!("64) {PATH}"), &format!("64) {path}"))
}

/// A granted folder beside one that is not: a file in each, and links that lead from the one to the other.
struct Beside {
    parent: tempfile::TempDir,
}

impl Beside {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        for folder in ["granted", "granted/sub", "outside"] {
            fs::create_dir(path(folder)).unwrap();
        }
        fs::write(path("granted/there"), "there").unwrap();
        fs::write(path("outside/secret"), "secret").unwrap();
        let link = std::os::unix::fs::symlink::<std::path::PathBuf, _>;
        link("../outside".into(), path("granted/out")).unwrap();
        link(path("outside/secret"), path("granted/secret")).unwrap();
        Self { parent }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.parent.path().join(name)
    }

    async fn open(&self, access: Access, how: (&str, u32, u32, u32)) -> u32 {
        let granted = self.path("granted");
        let ceiling = Ceiling::new().directory(&granted, "/data", access).unwrap();
        let wat = opener(how.0, how.1, how.2, how.3);
        let mut guest = start(&wat, everything(), &ceiling).await;
        ask(&mut guest, "write").await
    }

    /// What is in both folders, by name.
    fn content(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for folder in ["granted", "granted/sub", "outside"] {
            for entry in fs::read_dir(self.path(folder)).unwrap() {
                let entry = entry.unwrap();
                let text = match entry.file_type().unwrap().is_file() {
                    true => fs::read_to_string(entry.path()).unwrap(),
                    false => String::new(),
                };
                all.push((format!("{folder}/{}", entry.file_name().display()), text));
            }
        }
        all.sort();
        all
    }
}

#[tokio::test]
async fn te30_no_path_leads_out_of_a_granted_directory() {
    let beside = Beside::new();
    let before = beside.content();
    let secret = beside.path("outside/secret");
    let absolute = secret.to_str().unwrap();
    for how in [
        ("../outside/secret", FOLLOW, 0, READ),
        ("../outside/new", 0, CREATE | EXCLUSIVE, READ | WRITE),
        ("sub/../../outside/secret", FOLLOW, 0, READ),
        ("..", FOLLOW, 0, READ),
        (absolute, FOLLOW, 0, READ),
        ("/", FOLLOW, 0, READ),
        // By links that somebody laid: to the folder, and to the file.
        ("out/secret", FOLLOW, 0, READ),
        ("out/secret", 0, 0, READ),
        ("out/new", FOLLOW, CREATE, READ | WRITE),
        ("secret", FOLLOW, 0, READ),
        ("secret", 0, 0, READ),
        ("secret", FOLLOW, TRUNCATE, READ | WRITE),
        // A file is no folder, and no file has a name that ends as a folder's.
        ("there/", 0, 0, READ),
        ("there/.", 0, 0, READ),
        ("new/", 0, CREATE, READ | WRITE),
    ] {
        assert_ne!(beside.open(Access::ReadWrite, how).await, 100, "{how:?}");
        assert_eq!(beside.content(), before, "{how:?}");
    }
    for how in [("there", 0, 0, READ), ("sub/../there", 0, 0, READ | WRITE)] {
        assert_eq!(beside.open(Access::ReadWrite, how).await, 100, "{how:?}");
    }
}

#[tokio::test]
async fn te30_what_may_be_read_is_neither_written_nor_emptied() {
    let beside = Beside::new();
    let before = beside.content();
    for how in [
        ("there", 0, 0, WRITE),
        ("there", 0, TRUNCATE, READ),
        ("there", 0, TRUNCATE, READ | WRITE),
        ("there", FOLLOW, CREATE, READ | WRITE),
        ("new", 0, CREATE, READ),
    ] {
        assert_ne!(beside.open(Access::Read, how).await, 100, "{how:?}");
        assert_eq!(beside.content(), before, "{how:?}");
    }
    assert_eq!(beside.open(Access::Read, ("there", 0, 0, READ)).await, 100);
    // Where it may be written, the same empties it.
    let emptied = beside.open(Access::ReadWrite, ("there", 0, TRUNCATE, READ | WRITE));
    assert_eq!(emptied.await, 100);
    assert_eq!(fs::read(beside.path("granted/there")).unwrap(), b"");
}

#[tokio::test]
async fn te30_a_file_that_may_be_read_gets_no_name_where_it_could_be_written() {
    for (first, second, expected) in [
        (Access::Read, Access::ReadWrite, false),
        (Access::ReadWrite, Access::Read, false),
        (Access::ReadWrite, Access::ReadWrite, true),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        let mut grants = Grants::default();
        let mut ceiling = Ceiling::new();
        for (folder, access) in [("a", first), ("b", second)] {
            fs::create_dir(path(folder)).unwrap();
            fs::write(path(&format!("{folder}/there")), folder).unwrap();
            let guest = format!("/{folder}");
            ceiling = ceiling.directory(path(folder), &guest, access).unwrap();
            let writable = true;
            grants.directories.push(DirectoryGrant { guest, writable });
        }
        let mut guest = start(LINKER, grants, &ceiling).await;
        let said = ask(&mut guest, "link").await;
        assert_eq!(said == 100, expected, "{first:?} {second:?}: {said}");
        let linked = ["a/linked", "b/linked"].map(|name| path(name).exists());
        assert_eq!(linked, [false, expected], "{first:?} {second:?}");
    }
}

#[test]
fn a_directory_that_is_none_is_refused_at_the_grant() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file, directory.path().join("missing")] {
        let error = Ceiling::new()
            .directory(&path, "/data", Access::Read)
            .unwrap_err();
        assert!(matches!(error, LoadError::GrantInvalid { .. }), "{error:?}");
        assert_eq!(error.code(), Code::GrantInvalid);
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    let twice = Ceiling::new()
        .directory(directory.path(), "/data", Access::Read)
        .and_then(|ceiling| ceiling.directory(directory.path(), "/data", Access::Read));
    assert!(matches!(twice, Err(LoadError::GrantInvalid { .. })));
}

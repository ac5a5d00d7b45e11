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

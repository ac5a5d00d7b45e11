//! Ill-behaved guests: each ends at its own limit, with its own code, and the host lives on.

use std::time::{Duration, Instant};

use crate::support::{Bench, core};
use countersign_format::GuestLimits;
use countersign_runtime::trust_store::Code;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::wasmtime::{FrameInfo, WasmBacktrace};
use countersign_runtime::{Ceiling, GuestContext, LimitKind, Limits, RunError};

fn ceiling(change: impl FnOnce(&mut Limits)) -> Ceiling {
    let mut limits = Limits::default();
    limits.run = Duration::from_secs(20);
    change(&mut limits);
    Ceiling::new().limits(limits)
}

fn millis(limits: &mut Limits) {
    limits.run = Duration::from_millis(100);
}

/// Starts the component and calls its `run`, which takes and returns nothing.
async fn run(wat: &str, ceiling: Ceiling) -> Result<(), RunError> {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let ready = bench.load(wat, &ceiling, &linker).expect("it loads");
    let mut guest = bench.start(ready).await?;
    guest.call_export::<(), ()>(None, "run", ()).await
}

async fn kind(wat: &str, ceiling: Ceiling) -> LimitKind {
    match run(wat, ceiling).await {
        Err(RunError::Limit { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

async fn times_out(wat: &str) {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let ready = bench
        .load(wat, &ceiling(millis), &linker)
        .expect("it loads");
    let started = Instant::now();
    let ended = match bench.start(ready).await {
        Ok(mut guest) => guest
            .call_export::<(), ()>(None, "run", ())
            .await
            .expect_err("it cannot end"),
        Err(ended) => ended,
    };
    let took = started.elapsed();
    assert_eq!(ended.code(), Code::LimitTime, "{ended}");
    // Start and call have 100 ms each; the rest is for a busy machine, and less than the bench's own limit.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn te01_endless_loop_in_an_export() {
    times_out(&core("(func (export \"run\") (loop (br 0)))")).await;
}

#[tokio::test]
async fn te01_endless_loop_in_a_start_function() {
    times_out(&core(
        "(func $s (loop (br 0))) (start $s) (func (export \"run\"))",
    ))
    .await;
}

#[tokio::test]
async fn te01_endless_loop_in_a_destructor() {
    times_out(
        r#"(component
            (core module $d (func (export "dtor") (param i32) (loop (br 0))))
            (core instance $d (instantiate $d))
            (type $r (resource (rep i32) (dtor (func $d "dtor"))))
            (core func $new (canon resource.new $r))
            (core func $drop (canon resource.drop $r))
            (core module $m
                (import "h" "new" (func $new (param i32) (result i32)))
                (import "h" "drop" (func $drop (param i32)))
                (func (export "run") (call $drop (call $new (i32.const 1)))))
            (core instance $i (instantiate $m
                (with "h" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
            (func (export "run") (canon lift (core func $i "run"))))"#,
    )
    .await;
}

#[tokio::test]
async fn te01_endless_loop_in_realloc() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let wat = r#"(component
        (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop (br 0)) unreachable)
            (func (export "take") (param i32 i32)))
        (core instance $i (instantiate $m))
        (func (export "take") (param "text" string)
            (canon lift (core func $i "take") (memory $i "memory") (realloc (func $i "realloc")))))"#;
    let ready = bench
        .load(wat, &ceiling(millis), &linker)
        .expect("it loads");
    let mut guest = bench.start(ready).await.expect("it starts");
    let ended = guest
        .call_export::<(String,), ()>(None, "take", ("text".to_owned(),))
        .await
        .unwrap_err();
    assert_eq!(ended.code(), Code::LimitTime, "{ended}");
}

#[tokio::test]
async fn te01_what_fills_and_copies_much_is_compiled_in_pieces() {
    let data = "d".repeat((1 << 20) + 1);
    let items = "$run ".repeat((1 << 14) + 1);
    // Out of bounds, each traps in the function that does it in pieces: the second one of its module.
    for operation in [
        "memory.fill",
        "memory.copy",
        "memory.init $data",
        "table.copy",
        "table.init $items",
    ] {
        let wat = core(&format!(
            r#"(memory 1) (table 1 funcref) (data $data "{data}") (elem $items func {items})
               (func $run (export "run") (local $length i32)
                  (local.set $length (i32.const -1))
                  ({operation} (i32.const 0) (i32.const 0) (local.get $length)))"#
        ));
        let ended = run(&wat, ceiling(|_| {})).await.expect_err("it traps");
        let RunError::Trapped { cause, .. } = &ended else {
            panic!("{operation}: {ended:?}")
        };
        let trace = cause.downcast_ref::<WasmBacktrace>().expect("frames");
        let frames: Vec<_> = trace.frames().iter().map(FrameInfo::func_index).collect();
        assert_eq!(frames, [1, 0], "{operation}");
    }
}

#[tokio::test]
async fn te01_processor_time_has_a_limit_of_its_own() {
    let wat = core("(func (export \"run\") (loop (br 0)))");
    let cpu = ceiling(|limits| limits.cpu = Duration::from_millis(50));
    assert_eq!(kind(&wat, cpu).await, LimitKind::Cpu);
}

#[tokio::test]
async fn te01_the_statement_can_ask_for_less_time() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let asked = GuestLimits {
        run_milliseconds: Some(50),
        ..GuestLimits::default()
    };
    let wat = core("(func (export \"run\") (loop (br 0)))");
    let verified = bench.verified(&wat, Default::default(), asked);
    let ready = bench
        .runtime
        .load(verified, &ceiling(|_| {}), &linker)
        .expect("it loads");
    let mut guest = bench.start(ready).await.expect("it starts");
    let started = Instant::now();
    let ended = guest
        .call_export::<(), ()>(None, "run", ())
        .await
        .unwrap_err();
    assert_eq!(ended.code(), Code::LimitTime);
    // And not at the operator's.
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn te02_unbounded_recursion() {
    let wat = core("(func $f (export \"run\") (call $f) (call $f))");
    assert_eq!(kind(&wat, ceiling(|_| {})).await, LimitKind::Stack);
}

const GROW: &str = r#"(memory 1)
    (func (export "run") (loop
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (br 0)))"#;

#[tokio::test]
async fn te03_a_memory_that_grows_without_end() {
    assert_eq!(
        kind(&core(GROW), ceiling(|limits| limits.memory_bytes = 8 << 20)).await,
        LimitKind::Memory
    );
}

#[tokio::test]
async fn te03_many_small_memories_are_one_large_one() {
    let instances: String = (0..20)
        .map(|i| format!("(core instance $x{i} (instantiate $big))\n"))
        .collect();
    let wat = format!(
        r#"(component
            (core module $big (memory 16))
            {instances}
            (core module $m (func (export "run")))
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "run"))))"#
    );
    // 20 memories of 1 MiB.
    assert_eq!(
        kind(&wat, ceiling(|limits| limits.memory_bytes = 10 << 20)).await,
        LimitKind::Memory
    );
    run(&wat, ceiling(|limits| limits.memory_bytes = 20 << 20))
        .await
        .expect("this much is allowed");
}

#[tokio::test]
async fn te03_memories_without_a_page_are_counted_as_well() {
    // Each takes addresses, whatever it holds.
    let of = |memories: u32| {
        let empty: String = (0..memories)
            .map(|i| format!("(core instance $x{i} (instantiate $empty))\n"))
            .collect();
        format!(
            r#"(component
                (core module $empty (memory 0))
                {empty}
                (core module $m (func (export "run")))
                (core instance $i (instantiate $m))
                (func (export "run") (canon lift (core func $i "run"))))"#
        )
    };
    run(&of(32), ceiling(|_| {})).await.expect("a few dozen");
    assert_eq!(kind(&of(33), ceiling(|_| {})).await, LimitKind::Instances);
}

#[tokio::test]
async fn te03_a_guest_that_copes_with_a_refusal_lives_on() {
    let wat = core(
        r#"(memory 1)
        (func (export "run") (if (i32.ne (memory.grow (i32.const 60000)) (i32.const -1)) (then unreachable)))"#,
    );
    run(&wat, ceiling(|limits| limits.memory_bytes = 1 << 20))
        .await
        .expect("the refusal is no trap");
}

#[tokio::test]
async fn te04_a_table_that_grows_without_end() {
    let wat = core(
        r#"(table 1 funcref)
        (func (export "run") (loop
            (if (i32.eq (table.grow (ref.null func) (i32.const 10000)) (i32.const -1)) (then unreachable))
            (br 0)))"#,
    );
    assert_eq!(
        kind(&wat, ceiling(|limits| limits.table_elements = 100_000)).await,
        LimitKind::Tables
    );
}

#[tokio::test]
async fn te04_a_table_larger_than_any_address_space() {
    let wat = core("(table 0xffffffff funcref) (func (export \"run\"))");
    assert_eq!(kind(&wat, ceiling(|_| {})).await, LimitKind::Tables);
}

/// Makes so many handles and keeps them.
fn handles(count: u32) -> String {
    format!(
        r#"(component
        (type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core module $m (import "h" "new" (func $new (param i32) (result i32)))
            (func (export "run") (local $made i32)
                (loop
                    (drop (call $new (i32.const 1)))
                    (local.set $made (i32.add (local.get $made) (i32.const 1)))
                    (br_if 0 (i32.lt_u (local.get $made) (i32.const {count}))))))
        (core instance $i (instantiate $m (with "h" (instance (export "new" (func $new))))))
        (func (export "run") (canon lift (core func $i "run"))))"#
    )
}

#[tokio::test]
async fn te05_a_million_handles() {
    assert_eq!(
        kind(&handles(1_000_000), ceiling(|_| {})).await,
        LimitKind::Handles
    );
    let few = || ceiling(|limits| limits.handles = 100);
    run(&handles(100), few())
        .await
        .expect("this many are allowed");
    assert_eq!(kind(&handles(101), few()).await, LimitKind::Handles);
}

#[tokio::test]
async fn te05_a_million_handles_of_the_host() {
    // Every call makes another output stream.
    let wat = r#"(component
        (import "wasi:io/streams@0.2.0" (instance $s (export "output-stream" (type (sub resource)))))
        (alias export $s "output-stream" (type $stream))
        (import "wasi:cli/stdout@0.2.0" (instance $o
            (alias outer 1 $stream (type $t))
            (export "output-stream" (type $u (eq $t)))
            (export "get-stdout" (func (result (own $u))))))
        (core func $get (canon lower (func $o "get-stdout")))
        (core module $m (import "h" "get" (func $get (result i32)))
            (func (export "run") (loop (drop (call $get)) (br 0))))
        (core instance $i (instantiate $m (with "h" (instance (export "get" (func $get))))))
        (func (export "run") (canon lift (core func $i "run"))))"#;
    assert_eq!(
        kind(wat, ceiling(|limits| limits.handles = 1_000)).await,
        LimitKind::Handles
    );
}

/// Several components inside one, each of which makes and keeps so many handles of its own when the last one calls it.
fn handles_in_instances(instances: u32, count: u32) -> String {
    let of = |numbered: &dyn Fn(u32) -> String| (0..instances).map(numbered).collect::<String>();
    let maker = handles(count).replacen("(component", "(component $maker", 1);
    let imports = of(&|i| format!("(import \"f{i}\" (func $f{i}))\n"));
    let lowered = of(&|i| format!("(core func $f{i} (canon lower (func $f{i})))\n"));
    let core_imports = of(&|i| format!("(import \"h\" \"f{i}\" (func $f{i}))\n"));
    let calls = of(&|i| format!("(call $f{i})\n"));
    let exports = of(&|i| format!("(export \"f{i}\" (func $f{i}))\n"));
    let makers = of(&|i| format!("(instance $i{i} (instantiate $maker))\n"));
    let with = of(&|i| format!("(with \"f{i}\" (func $i{i} \"run\"))\n"));
    format!(
        r#"(component
            {maker}
            (component $caller
                {imports} {lowered}
                (core module $m {core_imports} (func (export "run") {calls}))
                (core instance $i (instantiate $m (with "h" (instance {exports}))))
                (func (export "run") (canon lift (core func $i "run"))))
            {makers}
            (instance $caller (instantiate $caller {with}))
            (export "run" (func $caller "run")))"#
    )
}

#[tokio::test]
async fn te05_handles_are_counted_over_all_instances() {
    let limited = || ceiling(|limits| limits.handles = 100);
    run(&handles_in_instances(4, 25), limited())
        .await
        .expect("a hundred are allowed");
    for (instances, count) in [(4, 26), (2, 51), (10, 11)] {
        let wat = handles_in_instances(instances, count);
        assert_eq!(kind(&wat, limited()).await, LimitKind::Handles);
    }
}

#[tokio::test]
async fn te06_a_foreign_handle() {
    // A handle of one type where another is wanted, and one of the component beside.
    let of_another_type = r#"(component
        (type $a (resource (rep i32))) (type $b (resource (rep i32)))
        (core func $new-a (canon resource.new $a))
        (core func $drop-b (canon resource.drop $b))
        (core func $rep-b (canon resource.rep $b))
        (core module $m
            (import "h" "new" (func $new (param i32) (result i32)))
            (import "h" "drop" (func $drop (param i32)))
            (import "h" "rep" (func $rep (param i32) (result i32)))
            (func (export "run") BODY))
        (core instance $i (instantiate $m (with "h" (instance
            (export "new" (func $new-a)) (export "drop" (func $drop-b)) (export "rep" (func $rep-b))))))
        (func (export "run") (canon lift (core func $i "run"))))"#;
    for body in [
        "(call $drop (call $new (i32.const 1)))",
        "(drop (call $rep (call $new (i32.const 1))))",
    ] {
        let wat = of_another_type.replace("BODY", body);
        let ended = run(&wat, ceiling(|_| {})).await.expect_err(body);
        assert_eq!(ended.code(), Code::Trapped, "{body}: {ended}");
    }

    // The maker keeps a handle and tells its number; the thief tries that number in its own table.
    let of_another_instance = r#"(component
        (component $maker
            (type $r' (resource (rep i32)))
            (export $r "r" (type $r'))
            (core func $new (canon resource.new $r'))
            (core module $m (import "h" "new" (func $new (param i32) (result i32)))
                (func (export "make") (result i32) (call $new (i32.const 1))))
            (core instance $i (instantiate $m (with "h" (instance (export "new" (func $new))))))
            (func (export "make") (result u32) (canon lift (core func $i "make"))))
        (component $thief
            (import "maker" (instance $maker
                (export "r" (type $r (sub resource)))
                (export "make" (func (result u32)))))
            (alias export $maker "r" (type $r))
            (core func $make (canon lower (func $maker "make")))
            (core func $drop (canon resource.drop $r))
            (core module $m
                (import "h" "make" (func $make (result i32)))
                (import "h" "drop" (func $drop (param i32)))
                (func (export "run") (call $drop (call $make))))
            (core instance $i (instantiate $m (with "h" (instance
                (export "make" (func $make)) (export "drop" (func $drop))))))
            (func (export "run") (canon lift (core func $i "run"))))
        (instance $maker (instantiate $maker))
        (instance $thief (instantiate $thief (with "maker" (instance $maker))))
        (export "run" (func $thief "run")))"#;
    let ended = run(of_another_instance, ceiling(|_| {})).await.unwrap_err();
    assert_eq!(ended.code(), Code::Trapped, "{ended}");
}

#[tokio::test]
async fn te06_a_guessed_handle() {
    let with = |body: &str| {
        format!(
            r#"(component
            (type $r (resource (rep i32)))
            (core func $new (canon resource.new $r))
            (core func $drop (canon resource.drop $r))
            (core func $rep (canon resource.rep $r))
            (core module $m
                (import "h" "new" (func $new (param i32) (result i32)))
                (import "h" "drop" (func $drop (param i32)))
                (import "h" "rep" (func $rep (param i32) (result i32)))
                (func (export "run") (local $handle i32) {body}))
            (core instance $i (instantiate $m (with "h" (instance
                (export "new" (func $new)) (export "drop" (func $drop)) (export "rep" (func $rep))))))
            (func (export "run") (canon lift (core func $i "run"))))"#
        )
    };
    for body in [
        "(call $drop (i32.const 12345))",
        "(drop (call $rep (i32.const 0)))",
        "(drop (call $rep (i32.const -1)))",
        "(local.set $handle (call $new (i32.const 1))) (call $drop (local.get $handle)) (call $drop (local.get $handle))",
        "(local.set $handle (call $new (i32.const 1))) (call $drop (local.get $handle)) (drop (call $rep (local.get $handle)))",
    ] {
        let ended = run(&with(body), ceiling(|_| {})).await.expect_err(body);
        assert_eq!(ended.code(), Code::Trapped, "{body}: {ended}");
    }
}

#[tokio::test]
async fn a_trap_names_its_reason_and_place() {
    let ended = run(
        &core("(func $bad-place (export \"run\") unreachable)"),
        ceiling(|_| {}),
    )
    .await
    .unwrap_err();
    assert_eq!(ended.code(), Code::Trapped);
    let RunError::Trapped {
        reason, backtrace, ..
    } = &ended
    else {
        panic!("{ended:?}")
    };
    assert!(reason.contains("unreachable"), "{reason}");
    assert!(
        backtrace.iter().any(|name| name.contains("bad-place")),
        "{backtrace:?}"
    );
}

#[tokio::test]
async fn te11_a_stopped_guest_is_never_entered_again() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let ready = bench
        .load(
            &core("(func (export \"run\") (loop (br 0)))"),
            &ceiling(millis),
            &linker,
        )
        .expect("it loads");
    let mut guest = bench.start(ready.clone()).await.expect("it starts");
    guest
        .call_export::<(), ()>(None, "run", ())
        .await
        .unwrap_err();
    assert!(guest.is_stopped());
    assert!(guest.data_mut().is_none());
    assert!(matches!(
        guest.call_export::<(), ()>(None, "run", ()).await,
        Err(RunError::Stopped)
    ));
    // The same code starts afresh.
    bench.start(ready).await.expect("it starts again");
}

#[tokio::test]
async fn te11_a_call_that_the_host_drops_ends_the_guest() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let wat = core("(func (export \"run\") (loop (br 0)))");
    let ready = bench
        .load(&wat, &ceiling(|_| {}), &linker)
        .expect("it loads");
    let mut guest = bench.start(ready).await.expect("it starts");
    let call = guest.call_export::<(), ()>(None, "run", ());
    tokio::time::timeout(Duration::from_millis(50), call)
        .await
        .expect_err("it cannot end");
    assert!(matches!(
        guest.call_export::<(), ()>(None, "run", ()).await,
        Err(RunError::Stopped)
    ));
}

#[tokio::test]
async fn a_missing_export_leaves_the_guest_as_it_was() {
    let bench = Bench::new();
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    let ready = bench
        .load(&core("(func (export \"run\"))"), &ceiling(|_| {}), &linker)
        .expect("it loads");
    let mut guest = bench.start(ready).await.expect("it starts");
    for (interface, function) in [(None, "walk"), (Some("acme:a/b"), "run")] {
        let error = guest
            .call_export::<(), ()>(interface, function, ())
            .await
            .unwrap_err();
        assert!(matches!(error, RunError::NoExport { .. }), "{error:?}");
    }
    let error = guest
        .call_export::<(u32,), ()>(None, "run", (1,))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            RunError::NoExport {
                source: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    guest
        .call_export::<(), ()>(None, "run", ())
        .await
        .expect("it still runs");
}

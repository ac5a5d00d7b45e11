//! What one guest leaves for the next, and what many leave in the host: nothing.
//!
//! A guest sees its memories, tables and globals, so that these are what is marked and looked at. Stacks are used again, too,
//! but no guest can look at one: each of its locals begins as zero.

use std::fs;
use std::process::Command;

use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Ceiling, GuestContext, ReadyGuest, RunError, Runtime};

use crate::support::{Bench, core};

/// Pages of memory (4 MiB): more than is cleared in place, so that some of it is given back and had again.
const PAGES: u32 = 64;

/// Elements of the table.
const ELEMENTS: u32 = 20_000;

/// How often a guest is started and traps, if nothing was said.
const STARTS: u32 = 10_000;

/// The environment variable by which this program is told how often.
const CHILD: &str = "COUNTERSIGN_STARTS_CHILD";

/// Has all that a guest can keep hold something, and then traps where it is told to.
fn marks(start: bool) -> String {
    let begin = if start { "(start $mark)" } else { "" };
    core(&format!(
        r#"(memory 1 {PAGES})
           (table $t {ELEMENTS} funcref)
           (global $g (mut i64) (i64.const 0))
           (elem declare func $mark)
           (func $mark (export "run")
               (drop (memory.grow (i32.const {})))
               (memory.fill (i32.const 0) (i32.const 0xa5) (i32.const {}))
               (table.fill $t (i32.const 0) (ref.func $mark) (i32.const {ELEMENTS}))
               (global.set $g (i64.const -1))
               unreachable)
           {begin}"#,
        PAGES - 1,
        PAGES << 16,
    ))
}

/// Counts what it finds in all of that.
fn looks() -> String {
    format!(
        r#"(component
            (core module $m
                (memory 1 {PAGES})
                (table $t {ELEMENTS} funcref)
                (global $g (mut i64) (i64.const 0))
                (data (i32.const 0) "\00")
                (func (export "run") (result i32) (local $at i32) (local $found i32)
                    (drop (memory.grow (i32.const {})))
                    (loop $words
                        (local.set $found (i32.add (local.get $found)
                            (i64.ne (i64.load (local.get $at)) (i64.const 0))))
                        (local.set $at (i32.add (local.get $at) (i32.const 8)))
                        (br_if $words (i32.lt_u (local.get $at) (i32.const {}))))
                    (local.set $at (i32.const 0))
                    (loop $elements
                        (local.set $found (i32.add (local.get $found)
                            (i32.eqz (ref.is_null (table.get $t (local.get $at))))))
                        (local.set $at (i32.add (local.get $at) (i32.const 1)))
                        (br_if $elements (i32.lt_u (local.get $at) (i32.const {ELEMENTS}))))
                    (i32.add (local.get $found) (i64.ne (global.get $g) (i64.const 0)))))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#,
        PAGES - 1,
        PAGES << 16,
    )
}

/// Benches whose guests have memory of their own, and memory that is laid out once.
fn benches() -> [Bench; 2] {
    let alone = Bench::new();
    let mut pooled = Bench::new();
    pooled.runtime = Runtime::builder(pooled.pki.anchors())
        // One place, so that each guest has that of the one before.
        .for_serving(1)
        .build()
        .expect("our configuration is sound");
    [alone, pooled]
}

fn load(bench: &Bench, wat: &str) -> ReadyGuest<GuestContext> {
    let linker = Linker::<GuestContext>::new(bench.runtime.engine());
    bench.load(wat, &Ceiling::new(), &linker).expect("it loads")
}

/// Starts it and calls its `run`, which is not to come back.
async fn traps(bench: &Bench, ready: &ReadyGuest<GuestContext>) {
    let ended = match bench.start(ready.clone()).await {
        Ok(mut guest) => guest.call_export::<(), ()>(None, "run", ()).await,
        Err(ended) => Err(ended),
    };
    assert!(matches!(ended, Err(RunError::Trapped { .. })), "{ended:?}");
}

#[tokio::test]
async fn te12_nothing_of_a_guest_that_trapped_or_did_not_start_is_left_for_the_next() {
    for bench in benches() {
        let (marking, starting) = (load(&bench, &marks(false)), load(&bench, &marks(true)));
        let looking = load(&bench, &looks());
        for _ in 0..4 {
            for before in [&marking, &starting, &looking] {
                if !std::ptr::eq(before, &looking) {
                    traps(&bench, before).await;
                }
                let mut guest = bench.start(looking.clone()).await.expect("it starts");
                let found = guest.call_export::<(), (u32,)>(None, "run", ()).await;
                assert_eq!(found.expect("it looks").0, 0);
            }
        }
    }
}

#[test]
fn te13_many_starts_and_traps_leave_memory_descriptors_and_mappings_as_before() {
    let starts = std::env::var("COUNTERSIGN_STARTS").unwrap_or_else(|_| STARTS.to_string());
    // In a process of its own: other tests need memory at the same time.
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "reuse::child", "--nocapture"])
        .env(CHILD, starts)
        .output()
        .expect("this program");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("starts and traps"),
        "{said} {child:?}"
    );
    println!("{said}");
}

/// What is open and used in this process: resident memory in KiB, descriptors, mappings.
fn used() -> (u64, usize, usize) {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|line| line.trim().strip_suffix(" kB"));
    let open = fs::read_dir("/proc/self/fd").expect("Linux").count();
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux");
    (
        resident.expect("a size").parse().expect("a number"),
        open,
        maps.lines().count(),
    )
}

/// What the process does that is started for it; nothing in the tests' own.
#[tokio::test]
async fn child() {
    let Ok(starts) = std::env::var(CHILD) else {
        return;
    };
    let starts: u32 = starts.parse().expect("a number");
    for bench in benches() {
        let ready = load(
            &bench,
            &core(
                "(memory 2) (func (export \"run\") (i32.store (i32.const 70000) (i32.const 7)) unreachable)",
            ),
        );
        // Until allocators and caches have what they keep.
        for _ in 0..starts / 10 {
            traps(&bench, &ready).await;
        }
        let before = used();
        for _ in 0..starts / 2 {
            traps(&bench, &ready).await;
        }
        let after = used();
        // One per cent.
        assert!(after.0 <= before.0 + before.0 / 100, "{before:?} {after:?}");
        assert_eq!(after.1, before.1, "descriptors");
        assert!(after.2 <= before.2 + 8, "mappings: {before:?} {after:?}");
        println!("{} starts and traps: {before:?} {after:?}", starts / 2);
    }
}

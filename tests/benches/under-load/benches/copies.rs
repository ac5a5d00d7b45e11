//! What it costs that a deadline ends what copies and fills much: guests whose operations on memory are compiled in pieces, and that
//! hand strings to each other with a bound, beside the same components as Wasmtime compiles them.
#![forbid(unsafe_code)]

#[path = "support/bare.rs"]
mod bare;

use std::process::ExitCode;

use countersign_benches::{Bound, Report, Table, compare};
use countersign_runtime::wasmtime::component::{Instance, Linker, TypedFunc};
use countersign_runtime::wasmtime::{self, Store};
use countersign_runtime::{Ceiling, GuestContext, Limits, RunningGuest, Runtime};
use countersign_testing::TestPki;

const RUNS: usize = 31;

/// What is done, how many bytes each time, and how often in one measurement.
const WORK: &[(&str, &str, u32, u32)] = &[
    ("copies", "copy", 16, 1_000_000),
    ("copies", "copy", 256, 1_000_000),
    ("copies", "copy", 4 << 10, 100_000),
    ("copies", "copy", 1 << 20, 200),
    ("copies", "copy", 8 << 20, 20),
    ("fills", "fill", 16, 1_000_000),
    ("fills", "fill", 4 << 10, 100_000),
    ("fills", "fill", 8 << 20, 20),
    ("strings handed on", "hand", 16, 200_000),
    ("strings handed on", "hand", 64 << 10, 2_000),
];

/// Two components inside one: lengths are known to no compiler.
const COMPONENT: &str = r#"(component
    (component $taker
        (core module $m
            (memory (export "memory") 320)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16))
            (func (export "take") (param i32 i32)))
        (core instance $i (instantiate $m))
        (func (export "take") (param "text" string) (canon lift (core func $i "take")
            (memory $i "memory") (realloc (func $i "realloc")))))
    (component $giver
        (import "take" (func $take (param "text" string)))
        (core module $libc (memory (export "memory") 320))
        (core instance $libc (instantiate $libc))
        (core func $take (canon lower (func $take) (memory $libc "memory")))
        (core module $m
            (import "" "memory" (memory 1))
            (import "" "take" (func $take (param i32 i32)))
            (func (export "copy") (param $length i32) (param $times i32)
                (loop $on
                    (memory.copy (i32.const 0) (i32.const 10485760) (local.get $length))
                    (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                    (br_if $on (local.get $times))))
            (func (export "fill") (param $length i32) (param $times i32)
                (loop $on
                    (memory.fill (i32.const 0) (i32.const 97) (local.get $length))
                    (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                    (br_if $on (local.get $times))))
            (func (export "hand") (param $length i32) (param $times i32)
                (loop $on
                    (call $take (i32.const 0) (local.get $length))
                    (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                    (br_if $on (local.get $times)))))
        (core instance $i (instantiate $m (with "" (instance
            (export "memory" (memory $libc "memory")) (export "take" (func $take))))))
        (func (export "copy") (param "length" u32) (param "times" u32) (canon lift (core func $i "copy")))
        (func (export "fill") (param "length" u32) (param "times" u32) (canon lift (core func $i "fill")))
        (func (export "hand") (param "length" u32) (param "times" u32) (canon lift (core func $i "hand"))))
    (instance $taker (instantiate $taker))
    (instance $giver (instantiate $giver (with "take" (func $taker "take"))))
    (export "copy" (func $giver "copy"))
    (export "fill" (func $giver "fill"))
    (export "hand" (func $giver "hand")))"#;

fn main() -> ExitCode {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of Tokio");
    let component = wat::parse_str(COMPONENT).expect("a component");
    let runtime = {
        let pki = TestPki::new();
        let runtime = Runtime::builder(pki.anchors()).build().expect("a runtime");
        (pki, runtime)
    };
    let (mut guest, mut bare) = tokio.block_on(async {
        (
            verified(&runtime, &component).await,
            Bare::new(runtime.1.engine(), &component).await,
        )
    });
    let mut table = Table::new(&["", "verified guest", "bare Wasmtime", "ratio", "at most"]);
    for (what, function, length, times) in WORK {
        let theirs = bare.function(function);
        let (guest, bare) = (&mut guest, &mut bare);
        let medians = compare(
            RUNS,
            (
                || (),
                |()| {
                    tokio.block_on(async {
                        guest
                            .call_export::<_, ()>(None, function, (*length, *times))
                            .await
                            .expect("it is within its bounds");
                    });
                },
            ),
            (
                || (),
                |()| {
                    tokio.block_on(async {
                        let called = theirs.call_async(&mut bare.store, (*length, *times)).await;
                        called.expect("it is within its bounds");
                    });
                },
            ),
        );
        let row = format!("{what}, {length} bytes, {times} times");
        table.ratio(&row, medians, Bound::None, &[]);
    }
    let mut report = Report::default();
    report.print(
        "Operations on memory whose length no compiler knows, and strings between components of one file.",
        table,
    );
    report.finish()
}

async fn verified(
    (pki, runtime): &(TestPki, Runtime),
    component: &[u8],
) -> RunningGuest<GuestContext> {
    let signed = pki.sign(component, &pki.manifest("test:copies"));
    let verified = runtime
        .verify(signed, &pki.now(), &pki.state())
        .expect("it is verified");
    let linker = Linker::<GuestContext>::new(runtime.engine());
    let ceiling = Ceiling::new().limits(Limits::default());
    let ready = runtime
        .load(verified, &ceiling, &linker)
        .expect("it is loaded");
    let context = ready.context().expect("no folder is granted");
    let store = Store::new(ready.engine(), context);
    ready.start(store).await.expect("it starts")
}

/// The same component, as Wasmtime has it without us.
struct Bare {
    store: Store<()>,
    instance: Instance,
}

impl Bare {
    async fn new(engine: &wasmtime::Engine, component: &[u8]) -> Self {
        let mut store = Store::new(engine, ());
        // The engine interrupts guests; nothing here would else run at all.
        store.set_epoch_deadline(u64::MAX / 2);
        let component = bare::compile(engine, component);
        let instance = Linker::new(engine)
            .instantiate_async(&mut store, &component)
            .await
            .expect("it starts");
        Self { store, instance }
    }

    fn function(&mut self, name: &str) -> TypedFunc<(u32, u32), ()> {
        let function = self.instance.get_typed_func(&mut self.store, name);
        function.expect("exported")
    }
}

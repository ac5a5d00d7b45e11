//! From the bytes of a file to a component that is ready to be instantiated: verified and loaded by our runtime, beside
//! Wasmtime alone with the same engine, which compiles the same component and asks nobody.
//!
//! The component is the file that COUNTERSIGN_BENCH_COMPONENT names; `cargo xtask bench` fetches resvg.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use countersign_benches::{Bound, Report, Table, compare, time};
use countersign_runtime::wasmtime::component::{Component, Linker};
use countersign_runtime::{Ceiling, GuestContext, Output, Runtime};
use countersign_testing::TestPki;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

const RUNS: usize = 15;

fn main() -> ExitCode {
    let Some(path) = std::env::var_os("COUNTERSIGN_BENCH_COMPONENT") else {
        eprintln!("COUNTERSIGN_BENCH_COMPONENT names no component; `cargo xtask bench` sets it");
        return ExitCode::from(2);
    };
    let component = std::fs::read(path).expect("the component is read");
    let pki = TestPki::new();
    let mut manifest = pki.manifest("test:resvg");
    manifest.grants.stdio.stdout = true;
    manifest.grants.stdio.stderr = true;
    let signed = pki.sign(&component, &manifest);
    let runtime = Runtime::builder(pki.anchors()).build().expect("a runtime");

    let linker = Linker::<GuestContext>::new(runtime.engine());
    let (now, state) = (pki.now(), pki.state());
    let verified = |bytes: Vec<u8>| {
        let ceiling = Ceiling::new().stdout(Output::Stdout).stderr(Output::Stderr);
        let verified = runtime.verify(bytes, &now, &state).expect("it is verified");
        runtime
            .load(verified, &ceiling, &linker)
            .expect("it is loaded")
    };
    let unverified = |bytes: Vec<u8>| {
        let component = compile(runtime.engine(), &bytes);
        let mut linker = Linker::<Host>::new(runtime.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI is linked");
        linker.instantiate_pre(&component).expect("it is linked")
    };
    let costs = compare(
        RUNS,
        (|| signed.clone(), verified),
        (|| component.clone(), unverified),
    );
    let alone = time(
        RUNS,
        || signed.clone(),
        |bytes| runtime.verify(bytes, &now, &state).expect("it is verified"),
    );

    let mut table = Table::new(&[
        "component",
        "verified start",
        "unverified start",
        "ratio",
        "at most",
        "of it verification",
    ]);
    let what = format!("resvg, {:.1} MB", component.len() as f64 / 1e6);
    table.ratio(
        &what,
        costs,
        Bound::Ratio(1.03),
        &[countersign_benches::micros(alone)],
    );
    let mut report = Report::default();
    report.print("Cold start: compiling included, which both do.", table);
    report.finish()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the counterpart: what Wasmtime does without us"
)]
fn compile(engine: &countersign_runtime::wasmtime::Engine, bytes: &[u8]) -> Component {
    Component::from_binary(engine, bytes).expect("Wasmtime compiles it")
}

/// What a plain Wasmtime host holds.
#[derive(Default)]
struct Host {
    context: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.context,
            table: &mut self.table,
        }
    }
}

//! What one more guest costs: starting one beside a bare `InstancePre` of Wasmtime with the same engine and the same standard output, and a thousand that
//! live at the same time.
#![forbid(unsafe_code)]

#[path = "support/bare.rs"]
mod bare;

use std::process::{Command, ExitCode};
use std::time::Duration;

use countersign_benches::{Bound, Report, Table, compare, mib};
use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::{InstancePre, Linker};
use countersign_runtime::{Ceiling, GuestContext, Output, ReadyGuest, Runtime};
use countersign_testing::TestPki;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

const HELLO: &str = include_str!("../../../../runtime/tests/guests/hello.wat");

/// Processes, of which the middle one counts: where memory came to lie makes as much as a start costs more. In each so many pairs of
/// measurements, and starts in each of these.
const PROCESSES: usize = 7;
const RUNS: usize = 51;
const STARTS: usize = 500;
/// Guests that live at the same time, and what they may have together, in bytes (512 MB).
const MANY: usize = 1_000;
const ROOM: usize = 512_000_000;

fn main() -> ExitCode {
    // The bench starts itself: for the first table several times, for each side of the second once, since a process does not give
    // back all that it had.
    match std::env::args().nth(1).as_deref() {
        Some("--starts") => {
            let (ours, theirs) = starts_here();
            println!("{} {}", ours.as_nanos(), theirs.as_nanos());
            return ExitCode::SUCCESS;
        }
        Some("--a-thousand-verified") => return many(start_verified),
        Some("--a-thousand-bare") => return many(start_bare),
        _ => {}
    }
    let mut report = Report::default();
    starts(&mut report);
    residents(&mut report);
    report.finish()
}

/// Time to start one.
fn starts(report: &mut Report) {
    let mut all: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let said = said("--starts");
            let (ours, theirs) = said.trim().split_once(' ').expect("two numbers");
            let time = |nanos: &str| Duration::from_nanos(nanos.parse().expect("a number"));
            (time(ours), time(theirs))
        })
        .collect();
    let ratio = |(ours, theirs): &(Duration, Duration)| ours.as_secs_f64() / theirs.as_secs_f64();
    all.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
    let range = format!("{:.3} to {:.3}", ratio(&all[0]), ratio(&all[PROCESSES - 1]));
    let mut table = Table::new(&[
        "",
        "verified guest",
        "bare InstancePre",
        "ratio",
        "at most",
        "all processes",
    ]);
    let what = format!("{STARTS} starts");
    table.ratio(&what, all[PROCESSES / 2], Bound::Ratio(1.05), &[range]);
    report.print(
        "Starting a guest, with its context of WASI and a store, and dropping it; a small command.",
        table,
    );
}

/// The same in this process: the time of both sides.
fn starts_here() -> (Duration, Duration) {
    let tokio = tokio();
    let hosts = Hosts::new();
    compare(
        RUNS,
        (
            || (),
            |()| {
                tokio.block_on(async {
                    for _ in 0..STARTS {
                        drop(verified(&hosts.ready).await);
                    }
                });
            },
        ),
        (
            || (),
            |()| {
                tokio.block_on(async {
                    for _ in 0..STARTS {
                        drop(bare(&hosts.pre).await);
                    }
                });
            },
        ),
    )
}

/// Memory of many.
fn residents(report: &mut Report) {
    let (ours, theirs) = (
        measured("--a-thousand-verified"),
        measured("--a-thousand-bare"),
    );
    let mut table = Table::new(&["", "verified guests", "bare instances", "ratio", "at most"]);
    let ratio = ratio(ours, theirs);
    table.row(&[
        format!("{MANY} at the same time, whole process"),
        mib(ours),
        mib(theirs),
        format!("{ratio:.3}"),
        mib(ROOM),
    ]);
    report.print("Resident memory at its highest.", table);
    report.check(
        "MB of a thousand guests",
        ratio_of_bytes(ours),
        ratio_of_bytes(ROOM),
    );
}

fn ratio(one: usize, other: usize) -> f64 {
    ratio_of_bytes(one) / ratio_of_bytes(other)
}

/// In MB.
fn ratio_of_bytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).unwrap_or(u32::MAX)) / 1e3
}

/// The highest resident memory of this program when it plays one side, in bytes.
fn measured(side: &str) -> usize {
    said(side).trim().parse().expect("a number")
}

/// What this program says when it is started with this argument.
fn said(what: &str) -> String {
    let myself = std::env::current_exe().expect("this program's path");
    let output = Command::new(myself).arg(what).output().expect("it starts");
    assert!(output.status.success(), "{what}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn many<G>(start: impl FnOnce(&tokio::runtime::Runtime, &Hosts) -> Vec<G>) -> ExitCode {
    let (tokio, hosts) = (tokio(), Hosts::new());
    let living = start(&tokio, &hosts);
    assert_eq!(living.len(), MANY);
    println!("{}", highest_resident());
    ExitCode::SUCCESS
}

fn start_verified(
    tokio: &tokio::runtime::Runtime,
    hosts: &Hosts,
) -> Vec<countersign_runtime::RunningGuest<GuestContext>> {
    tokio.block_on(async {
        let mut all = Vec::new();
        for _ in 0..MANY {
            all.push(verified(&hosts.ready).await);
        }
        all
    })
}

fn start_bare(tokio: &tokio::runtime::Runtime, hosts: &Hosts) -> Vec<Store<Host>> {
    tokio.block_on(async {
        let mut all = Vec::new();
        for _ in 0..MANY {
            all.push(bare(&hosts.pre).await);
        }
        all
    })
}

/// What Linux says of this process, in bytes.
fn highest_resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: usize = kibibytes
        .and_then(|kib| kib.trim().parse().ok())
        .expect("a number");
    kibibytes * 1_024
}

async fn verified(
    ready: &ReadyGuest<GuestContext>,
) -> countersign_runtime::RunningGuest<GuestContext> {
    let context = ready.context().expect("no folder is granted");
    let store = Store::new(ready.engine(), context);
    ready.clone().start(store).await.expect("it starts")
}

async fn bare(pre: &InstancePre<Host>) -> Store<Host> {
    let mut store = Store::new(pre.engine(), Host::new());
    // The engine interrupts guests; nothing here would else run at all.
    store.set_epoch_deadline(u64::MAX / 2);
    pre.instantiate_async(&mut store).await.expect("it starts");
    store
}

/// Both sides, of one component and one engine.
struct Hosts {
    ready: ReadyGuest<GuestContext>,
    pre: InstancePre<Host>,
}

impl Hosts {
    fn new() -> Self {
        let component = wat::parse_str(HELLO).expect("a component");
        let pki = TestPki::new();
        let mut manifest = pki.manifest("test:hello");
        manifest.grants.stdio.stdout = true;
        let signed = pki.sign(&component, &manifest);
        let runtime = Runtime::builder(pki.anchors()).build().expect("a runtime");
        let verified = runtime
            .verify(signed, &pki.now(), &pki.state())
            .expect("it is verified");
        let ceiling = Ceiling::new().stdout(Output::Stdout);
        let linker = Linker::<GuestContext>::new(runtime.engine());
        let ready = runtime
            .load(verified, &ceiling, &linker)
            .expect("it is loaded");

        let mut linker = Linker::<Host>::new(runtime.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI is linked");
        let pre = linker
            .instantiate_pre(&bare::compile(runtime.engine(), &component))
            .expect("it is linked");
        Self { ready, pre }
    }
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of Tokio")
}

/// What a plain Wasmtime host holds, for a guest that writes to standard output.
struct Host {
    context: WasiCtx,
    table: ResourceTable,
}

impl Host {
    fn new() -> Self {
        Self {
            context: WasiCtxBuilder::new().inherit_stdout().build(),
            table: ResourceTable::new(),
        }
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.context,
            table: &mut self.table,
        }
    }
}

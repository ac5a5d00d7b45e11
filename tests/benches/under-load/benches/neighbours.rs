//! What a guest waits longer because of a bad neighbour in the same process: one that allocates, recurses, opens handles,
//! floods the log, or floods the signer, each as fast as it can and started again at once when a limit has ended it.
//!
//! The good guest is called once a millisecond. Its p99 beside a bad neighbour stands beside its own p99 alone, measured in
//! turns. Time is the wall's.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign_benches::{Bound, Report, Table};
use countersign_runtime::format::{BootId, DeviceIdentity, Grants, KeyGrant};
use countersign_runtime::host::{Device, KeyCeiling, LentKey, SigningRecord};
use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{
    Ceiling, GuestContext, Limits, LineSink, Output, ReadyGuest, RunningGuest, Runtime,
};
use countersign_testing::{Profile, TestPki};

/// Turns, and calls of the good guest in each.
const TURNS: usize = 5;
const CALLS: usize = 300;

/// Computes for some tenths of a millisecond.
const GOOD: &str = r#"(component
    (core module $m (func (export "run") (local $i i32)
        (loop $on
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $on (i32.lt_u (local.get $i) (i32.const 200000))))))
    (core instance $i (instantiate $m))
    (func (export "run") (canon lift (core func $i "run"))))"#;

/// Takes memory to its limit, writes all of it, and gives up.
const ALLOCATES: &str = r#"(component
    (core module $m (memory 1) (func (export "run")
        (loop $on
            (memory.fill
                (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)) (i32.const 7) (i32.const 65536))
            (br_if $on (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (unreachable)))
    (core instance $i (instantiate $m))
    (func (export "run") (canon lift (core func $i "run"))))"#;

const RECURSES: &str = r#"(component
    (core module $m (func $run (export "run") (call $run) (call $run)))
    (core instance $i (instantiate $m))
    (func (export "run") (canon lift (core func $i "run"))))"#;

/// Asks for standard output again and again, and keeps each handle.
const HANDLES: &str = r#"(component
    (import "wasi:io/streams@0.2.0" (instance $streams (export "output-stream" (type $stream (sub resource)))))
    (alias export $streams "output-stream" (type $stream))
    (import "wasi:cli/stdout@0.2.0" (instance $stdout
        (alias outer 1 $stream (type $outer))
        (export "output-stream" (type $own (eq $outer)))
        (export "get-stdout" (func (result (own $own))))))
    (core func $open (canon lower (func $stdout "get-stdout")))
    (core module $m (import "h" "open" (func $open (result i32)))
        (func (export "run") (loop $on (drop (call $open)) (br $on))))
    (core instance $i (instantiate $m (with "h" (instance (export "open" (func $open))))))
    (func (export "run") (canon lift (core func $i "run"))))"#;

const SIGNER: &str = include_str!("../../../../runtime/tests/guests/signer.wat");
const HELLO: &str = include_str!("../../../../runtime/tests/guests/hello.wat");
const KEY: &str = "telemetry";

/// What a bad neighbour does.
#[derive(Clone, Copy)]
enum Bad {
    /// Its `run`, which takes and returns nothing.
    Runs(&'static str),
    /// Signs messages.
    Signs,
    /// Writes lines to standard output.
    Writes,
}

/// What the good guest does.
#[derive(Clone, Copy)]
enum Good {
    Computes,
    /// One message, with the same key.
    Signs,
}

const NEIGHBOURS: &[(&str, Good, Bad)] = &[
    ("allocates", Good::Computes, Bad::Runs(ALLOCATES)),
    ("recurses", Good::Computes, Bad::Runs(RECURSES)),
    ("opens handles", Good::Computes, Bad::Runs(HANDLES)),
    ("floods the log", Good::Computes, Bad::Writes),
    ("floods the signer", Good::Computes, Bad::Signs),
    (
        "floods the signer of a guest that signs",
        Good::Signs,
        Bad::Signs,
    ),
];

fn main() -> ExitCode {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    let mut report = Report::default();
    tokio.block_on(async {
        let plant = Plant::new();
        let mut table = Table::new(&["a neighbour that", "p99", "p99 alone", "ratio", "at most", "what it did"]);
        for (what, good, bad) in NEIGHBOURS {
            plant.measure(what, *good, bad, &mut table).await;
        }
        let about = format!(
            "A small guest, called {CALLS} times in each of {TURNS} turns, beside a bad neighbour and alone (wall-clock time)."
        );
        report.print(&about, table);
    });
    report.finish()
}

struct Plant {
    pki: TestPki,
    runtime: Runtime,
    device: Device,
    lines: Arc<AtomicU64>,
}

impl Plant {
    fn new() -> Self {
        let devices = TestPki::builder().profile(Profile::GuestData).build();
        let identity = DeviceIdentity::parse("test-device").expect("an identity");
        let sink = |_: &SigningRecord| Ok(());
        let device = Device::builder(identity, BootId::new([7; 16]), sink)
            .key(
                KEY,
                LentKey::new(devices.device_key(), devices.chain().to_vec()),
            )
            .expect("the certificate is the key's")
            .build()
            .expect("threads");
        let pki = TestPki::new();
        let runtime = Runtime::builder(pki.anchors()).build().expect("a runtime");
        Self {
            pki,
            runtime,
            device,
            lines: Arc::default(),
        }
    }

    async fn measure(&self, what: &str, does: Good, bad: &Bad, table: &mut Table) {
        let neighbour = self.neighbour(bad);
        let good = match does {
            Good::Computes => self.load("test:good", GOOD, Ceiling::new()),
            Good::Signs => {
                let ceiling = self.with_key(Ceiling::new());
                self.load("test:signs", SIGNER, ceiling)
            }
        };
        let mut good = start(&good).await;
        let (mut beside, mut alone) = (Vec::new(), Vec::new());
        let mut done = 0;
        for _ in 0..TURNS {
            alone.push(p99(&mut good, does).await);
            let stop = Arc::new(AtomicBool::new(false));
            let at_work = tokio::spawn(pester(neighbour.clone(), *bad, Arc::clone(&stop)));
            tokio::time::sleep(Duration::from_millis(50)).await;
            beside.push(p99(&mut good, does).await);
            stop.store(true, Ordering::Relaxed);
            done += at_work.await.expect("it does not panic");
        }
        assert!(done > 0, "{what}: the neighbour did nothing");
        beside.sort_unstable();
        alone.sort_unstable();
        let costs = (beside[TURNS / 2], alone[TURNS / 2]);
        let lines = self.lines.swap(0, Ordering::Relaxed);
        let did = match bad {
            Bad::Writes => format!("{lines} lines"),
            Bad::Runs(_) | Bad::Signs => format!("{done} calls"),
        };
        table.ratio(what, costs, Bound::Ratio(2.0), &[did]);
    }

    fn neighbour(&self, bad: &Bad) -> ReadyGuest<GuestContext> {
        let mut limits = Limits::default();
        limits.memory_bytes = 64 << 20;
        limits.handles = 10_000;
        limits.log_bytes = 64 << 20;
        let lines = Arc::clone(&self.lines);
        let sink = LineSink::new(move |_| {
            lines.fetch_add(1, Ordering::Relaxed);
        });
        let ceiling = self
            .with_key(Ceiling::new())
            .stdout(Output::Lines(sink))
            .limits(limits);
        let component = match bad {
            Bad::Runs(component) => (*component).to_owned(),
            Bad::Signs => SIGNER.to_owned(),
            Bad::Writes => writes(),
        };
        self.load("test:bad", &component, ceiling)
    }

    fn with_key(&self, ceiling: Ceiling) -> Ceiling {
        ceiling
            .device(self.device.clone())
            .key(KEY, KeyCeiling::default().per_minute(60_000))
    }

    fn load(&self, name: &str, component: &str, ceiling: Ceiling) -> ReadyGuest<GuestContext> {
        let component = wat::parse_str(component).expect("a component");
        let mut manifest = self.pki.manifest(name);
        let mut grants = Grants::default();
        grants.stdio.stdout = true;
        if name != "test:good" {
            grants.keys = vec![KeyGrant {
                name: KEY.to_owned(),
                contexts: vec!["reading/v1".to_owned()],
                per_minute: None,
            }];
        }
        manifest.grants = grants;
        let signed = self.pki.sign(&component, &manifest);
        let verified = self
            .runtime
            .verify(signed, &self.pki.now(), &self.pki.state())
            .expect("it is verified");
        let linker = Linker::<GuestContext>::new(self.runtime.engine());
        self.runtime
            .load(verified, &ceiling, &linker)
            .expect("it is loaded")
    }
}

/// The command that prints a line, without an end.
fn writes() -> String {
    let begin = "(func (export \"run\") (result i32)";
    assert!(HELLO.contains(begin), "the guest was written anew");
    let endless = format!(
        "{begin} (local $out i32) (local.set $out (call $get-stdout))
        (loop $on (call $write (local.get $out) (i32.const 64) (i32.const 28) (i32.const 0)) (br $on))"
    );
    HELLO.replace(begin, &endless)
}

async fn start(ready: &ReadyGuest<GuestContext>) -> RunningGuest<GuestContext> {
    let context = ready.context().expect("no folder is granted");
    let store = Store::new(ready.engine(), context);
    ready.clone().start(store).await.expect("it starts")
}

/// The time that 99 of 100 calls stay below.
async fn p99(good: &mut RunningGuest<GuestContext>, does: Good) -> Duration {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let started = Instant::now();
        match does {
            Good::Computes => good
                .call_export::<(), ()>(None, "run", ())
                .await
                .expect("it runs"),
            Good::Signs => {
                let (signed,) = good
                    .call_export::<_, (u32,)>(None, "flood", signs(1))
                    .await
                    .expect("it signs");
                assert_eq!(signed, 1, "it has signed");
            }
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times[CALLS * 99 / 100]
}

/// What a guest is told that signs so many messages.
fn signs(messages: u32) -> (String, String, u32) {
    (KEY.to_owned(), "reading/v1".to_owned(), messages)
}

/// A bad neighbour at work until it is told to stop: started anew whenever it was ended. Returns how often it was called.
async fn pester(ready: ReadyGuest<GuestContext>, bad: Bad, stop: Arc<AtomicBool>) -> u64 {
    let mut calls = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut guest = start(&ready).await;
        while !guest.is_stopped() && !stop.load(Ordering::Relaxed) {
            calls += 1;
            // However it ends: the next one comes at once.
            match bad {
                Bad::Runs(_) => drop(guest.call_export::<(), ()>(None, "run", ()).await),
                Bad::Signs => {
                    drop(
                        guest
                            .call_export::<_, (u32,)>(None, "flood", signs(10))
                            .await,
                    );
                }
                Bad::Writes => {
                    let run = Some("wasi:cli/run@0.2.0");
                    drop(
                        guest
                            .call_export::<(), (Result<(), ()>,)>(run, "run", ())
                            .await,
                    );
                }
            }
        }
    }
    calls
}

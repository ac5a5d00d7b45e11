//! What a gateway takes that has nothing to do: the built program with ten small services that sleep, beside itself with one,
//! and how large it is on disk.
//!
//! COUNTERSIGN_BENCH_GATEWAY names the program; `cargo xtask bench` builds it as released.
#![forbid(unsafe_code)]

mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use countersign_benches::{Report, Table, mib};

use support::{Ended, Gateway};

const SERVICES: usize = 10;
/// Resident memory of all together, in bytes (16 MiB).
const ROOM: usize = 16 << 20;
/// How long the gateway may take until all services run.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it is left alone before it is measured.
const REST: Duration = Duration::from_secs(3);

/// Sleeps for an hour, again and again.
const SLEEPER: &str = r#"(component
    (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $own (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core module $m
        (import "h" "block" (func $block (param i32)))
        (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
        (memory 1)
        (func (export "run") (result i32)
            (loop $on (call $block (call $subscribe (i64.const 3600000000000))) (br $on))
            (unreachable)))
    (core instance $i (instantiate $m (with "h" (instance
        (export "block" (func $block)) (export "subscribe" (func $subscribe))))))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $command (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $command)))"#;

fn main() -> ExitCode {
    let Some(program) = std::env::var_os("COUNTERSIGN_BENCH_GATEWAY") else {
        eprintln!("COUNTERSIGN_BENCH_GATEWAY names no gateway; `cargo xtask bench` sets it");
        return ExitCode::from(2);
    };
    let program = Path::new(&program);
    let size = std::fs::metadata(program)
        .expect("the gateway is built")
        .len();
    let bench = Bench::new(program);
    let one = bench.resident(1);
    let all = bench.resident(SERVICES);

    let mut table = Table::new(&["a gateway with", "resident", "at most"]);
    table.row(&[
        "one service that sleeps".to_owned(),
        mib(one),
        String::new(),
    ]);
    table.row(&[
        format!("{SERVICES} services that sleep"),
        mib(all),
        mib(ROOM),
    ]);
    let mut report = Report::default();
    let about = format!(
        "The whole process at rest, read from /proc; the program has {} on disk.",
        mib(usize::try_from(size).unwrap_or(usize::MAX))
    );
    report.print(&about, table);
    report.check("MiB of ten services", in_mib(all), in_mib(ROOM));
    report.finish()
}

fn in_mib(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes / 1_024).unwrap_or(u32::MAX)) / 1_024.0
}

/// A gateway and ten services that sleep.
struct Bench(Gateway);

impl Bench {
    fn new(program: &Path) -> Self {
        let gateway = Gateway::new(program);
        let sleeper = wat::parse_str(SLEEPER).expect("a component");
        for number in 0..SERVICES {
            gateway.sign(&format!("s{number}"), &sleeper, false);
        }
        Self(gateway)
    }

    /// Resident memory, in bytes, of a gateway with so many services when it has come to rest.
    fn resident(&self, services: usize) -> usize {
        let text: String = (0..services)
            .map(|number| {
                format!(
                    "\n[[service]]\nname = \"s{number}\"\ncomponent = \"s{number}.wasm\"\nsigned-as = \"test:s{number}\"\n"
                )
            })
            .collect();
        let mut gateway = Ended::start(&mut self.0.run(&text));
        let until = Instant::now() + PATIENCE;
        while self.running() < services {
            assert!(Instant::now() < until, "the services do not run");
            let ended = gateway.0.try_wait().expect("it is ours");
            assert!(ended.is_none(), "the gateway ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        std::thread::sleep(REST);
        assert_eq!(self.running(), services);
        gateway.resident()
    }

    /// How many services run.
    fn running(&self) -> usize {
        let mut status = self.0.command("status");
        let status = status
            .args(["--config", "gateway.toml", "--json"])
            .output()
            .expect("it starts");
        let Ok(status) = serde_json::from_slice::<serde_json::Value>(&status.stdout) else {
            return 0;
        };
        let services = status["services"].as_array().map_or(&[][..], Vec::as_slice);
        services
            .iter()
            .filter(|service| service["state"] == "running")
            .count()
    }
}

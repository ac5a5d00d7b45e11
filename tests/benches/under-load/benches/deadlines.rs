//! How long after its deadline a guest still runs: guests that compute, fill, copy and grow memory, wait in the host, call it,
//! sleep, ask for random bytes, hand strings from one component inside them to another, read a file, wait for a peer or an answer,
//! and sign. Each beside a timer of Tokio alone that was set to the same time. The last four are the guest `dwell`, which
//! `COUNTERSIGN_BENCH_DWELL` names.
//!
//! Time is the wall's.
#![forbid(unsafe_code)]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use countersign_benches::{Report, Table, micros};
use countersign_runtime::format::{BootId, DeviceIdentity, DirectoryGrant, KeyGrant};
use countersign_runtime::host::{Device, KeyCeiling, LentKey, SigningRecord};
use countersign_runtime::trust_store::Code;
use countersign_runtime::wasmtime;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Access, Ceiling, GuestContext, Limits, ReadyGuest, Runtime};
use countersign_testing::{Profile, TestPki};

const LIMIT: Duration = Duration::from_millis(100);
/// How late the end may come.
const LATE: Duration = Duration::from_millis(10);
const RUNS: usize = 20;

/// Memory that a guest may have, in bytes (16 MiB and 256 MiB).
const SMALL: u64 = 16 << 20;
const LARGE: u64 = 256 << 20;

/// What guests do, each for ever, and how much memory they may have.
const GUESTS: &[(&str, u64, &str)] = &[
    ("computes", SMALL, "(loop $on (br $on))"),
    (
        "fills 255 MiB of its memory",
        LARGE,
        "(drop (memory.grow (i32.const 4079)))
         (loop $on
            (memory.fill (i32.const 0) (i32.const 7) (i32.const 267386880))
            (br $on))",
    ),
    (
        "copies 127 MiB of its memory",
        LARGE,
        "(drop (memory.grow (i32.const 4079)))
         (loop $on
            (memory.copy (i32.const 0) (i32.const 133693440) (i32.const 133169152))
            (br $on))",
    ),
    (
        "copies 16 MiB of its data",
        LARGE,
        "(drop (memory.grow (i32.const 4079)))
         (loop $on
            (memory.init $data (i32.const 0) (i32.const 0) (i32.const 16777216))
            (br $on))",
    ),
    (
        "grows its memory to 16 MiB",
        SMALL,
        "(loop $on (drop (memory.grow (i32.const 1))) (br $on))",
    ),
    (
        "grows its memory to 256 MiB",
        LARGE,
        "(loop $on (drop (memory.grow (i32.const 1))) (br $on))",
    ),
    ("waits in the host", SMALL, "(call $wait)"),
    (
        "calls the host all the time",
        SMALL,
        "(loop $on (call $nothing) (br $on))",
    ),
    (
        "sleeps",
        SMALL,
        "(call $block (call $subscribe (i64.const 3600000000000)))",
    ),
    (
        "takes random numbers all the time",
        SMALL,
        "(loop $on (drop (call $random)) (br $on))",
    ),
];

/// Who gets strings, for ever.
#[derive(Clone, Copy)]
enum Taker {
    /// A component in the same file, which has them in this encoding.
    Component(&'static str),
    Host,
}

/// Strings that are handed on: their encoding, who gets them, of which characters they are, at random, so that no processor guesses
/// right which one is next, and how many bytes of room a unit may need there.
const STRINGS: &[(&str, &str, Taker, &str, usize)] = &[
    (
        "hands strings on, UTF-8",
        "utf8",
        Taker::Component("utf8"),
        "aé€😀",
        1,
    ),
    (
        "hands strings on, UTF-8 as UTF-16",
        "utf8",
        Taker::Component("utf16"),
        "aé€😀",
        2,
    ),
    (
        "hands strings on, UTF-8 as Latin-1",
        "utf8",
        Taker::Component("latin1+utf16"),
        "aé",
        1,
    ),
    (
        "hands strings on, UTF-16",
        "utf16",
        Taker::Component("utf16"),
        "aé€😀",
        2,
    ),
    (
        "hands strings on, UTF-16 as UTF-8",
        "utf16",
        Taker::Component("utf8"),
        "aé€😀",
        3,
    ),
    (
        "hands strings on, UTF-16 as Latin-1",
        "utf16",
        Taker::Component("latin1+utf16"),
        "aé",
        2,
    ),
    (
        "hands strings to the host, UTF-8",
        "utf8",
        Taker::Host,
        "aé€😀",
        1,
    ),
    (
        "hands strings to the host, UTF-16",
        "utf16",
        Taker::Host,
        "aé€😀",
        3,
    ),
];

/// The most room that a string may need in a component inside another, in bytes: where all are UTF-8, and where not.
const COPIED: usize = 1 << 20;
const ENCODED: usize = 512 << 10;

/// What `dwell` does, and how it is told.
const DWELLS: &[(&str, &str)] = &[
    ("reads a file all the time", "file"),
    ("waits for a peer over TCP", "peer"),
    ("waits for an answer over HTTP", "answer"),
    ("signs all the time", "signature"),
];

fn main() -> ExitCode {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    let mut report = Report::default();
    let mut table = Table::new(&[
        "a guest that",
        "late, median",
        "late, longest",
        "a timer alone, longest",
    ]);
    let pki = TestPki::new();
    let runtime = Runtime::builder(pki.anchors()).build().expect("a runtime");
    let mut guests: Vec<_> = GUESTS
        .iter()
        .map(|(what, memory, body)| (*what, load(&pki, &runtime, *memory, body)))
        .collect();
    guests.extend(STRINGS.iter().map(|(what, encoding, taker, of, each)| {
        let limits = limits(LARGE);
        let most = match taker {
            Taker::Component("utf8") if *encoding == "utf8" => COPIED,
            Taker::Component(_) => ENCODED,
            Taker::Host => usize::try_from(limits.hostcall_bytes).expect("64 bits"),
        };
        let component = handing_strings(encoding, *taker, &at_random(of, encoding, most / each));
        let mut linker = Linker::<GuestContext>::new(runtime.engine());
        linker
            .root()
            .func_wrap("take", |_, (_,): (String,)| Ok(()))
            .expect("defined once");
        let ceiling = Ceiling::new().interface("take").limits(limits);
        (*what, loaded(&pki, &runtime, &component, &ceiling, &linker))
    }));
    // It takes connections, and says nothing.
    let peer = TcpListener::bind("127.0.0.1:0").expect("a free address");
    let address = peer.local_addr().expect("it is bound");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("much"), vec![7; 1 << 20]).expect("our own folder");
    let device = device();
    guests.extend(DWELLS.iter().map(|(what, how)| {
        let dwell = dwell(&pki, &runtime, &device, (*how, address), folder.path());
        (*what, dwell)
    }));
    for (what, ready) in guests {
        let (mut lates, mut timers) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let started = Instant::now();
            let ended = tokio.block_on(ready.clone().run_command());
            lates.push(started.elapsed().saturating_sub(LIMIT));
            let ended = ended.expect_err("it does not end by itself");
            assert_eq!(ended.code(), Code::LimitTime, "{what}: {ended}");

            let started = Instant::now();
            tokio.block_on(async { tokio::time::sleep(LIMIT).await });
            timers.push(started.elapsed().saturating_sub(LIMIT));
        }
        lates.sort_unstable();
        timers.sort_unstable();
        let (longest, timer) = (lates[RUNS - 1], timers[RUNS - 1]);
        table.row(&[
            what.to_owned(),
            micros(lates[RUNS / 2]),
            micros(longest),
            micros(timer),
        ]);
        report.check(what, longest.as_secs_f64() * 1e3, LATE.as_secs_f64() * 1e3);
    }
    let about = format!(
        "How long after its deadline of {LIMIT:?} a guest ends, {RUNS} runs each (wall-clock time). Promised are {LATE:?}."
    );
    report.print(&about, table);
    report.finish()
}

/// A device that lends one key.
fn device() -> Device {
    let devices = TestPki::builder().profile(Profile::GuestData).build();
    let identity = DeviceIdentity::parse("test-device").expect("an identity");
    let sink = |_: &SigningRecord| Ok(());
    let key = LentKey::new(devices.device_key(), devices.chain().to_vec());
    Device::builder(identity, BootId::new([7; 16]), sink)
        .key("telemetry", key)
        .expect("the certificate is the key's")
        .build()
        .expect("threads")
}

/// The guest `dwell`, told to do so at this address, with this folder.
fn dwell(
    pki: &TestPki,
    runtime: &Runtime,
    device: &Device,
    (how, address): (&str, SocketAddr),
    folder: &Path,
) -> ReadyGuest<GuestContext> {
    let component = std::env::var_os("COUNTERSIGN_BENCH_DWELL").expect("cargo xtask bench sets it");
    let component = std::fs::read(component).expect("the guest was built");
    let mut manifest = pki.manifest("test:dwell");
    manifest.grants.args = true;
    manifest.grants.directories = vec![DirectoryGrant {
        guest: "/lent".to_owned(),
        writable: false,
    }];
    manifest.grants.sockets = Some(vec![format!("tcp:{address}")]);
    manifest.grants.http_outgoing = Some(vec![address.to_string()]);
    manifest.grants.keys = vec![KeyGrant {
        name: "telemetry".to_owned(),
        contexts: vec!["reading/v1".to_owned()],
        per_minute: None,
    }];
    let signed = pki.sign(&component, &manifest);
    let verified = runtime
        .verify(signed, &pki.now(), &pki.state())
        .expect("it is verified");
    let ceiling = Ceiling::new()
        .args(["dwell".to_owned(), how.to_owned(), address.to_string()])
        .directory(folder, "/lent", Access::Read)
        .expect("our own folder")
        .sockets([format!("tcp:{address}")])
        .http_outgoing([address.to_string()])
        .device(device.clone())
        .key("telemetry", KeyCeiling::default().per_minute(u32::MAX))
        .limits(limits(Limits::default().memory_bytes));
    let linker = Linker::<GuestContext>::new(runtime.engine());
    runtime
        .load(verified, &ceiling, &linker)
        .expect("it is loaded")
}

fn load(pki: &TestPki, runtime: &Runtime, memory: u64, body: &str) -> ReadyGuest<GuestContext> {
    let data = match body.contains("$data") {
        true => format!("(data $data \"{}\")", "d".repeat(16 << 20)),
        false => String::new(),
    };
    let component = format!(
        r#"(component
    (import "wait" (func $wait))
    (import "nothing" (func $nothing))
    (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $own (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
    (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
    (core func $wait (canon lower (func $wait)))
    (core func $nothing (canon lower (func $nothing)))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core func $random (canon lower (func $random "get-random-u64")))
    (core module $m
        (import "h" "wait" (func $wait))
        (import "h" "nothing" (func $nothing))
        (import "h" "block" (func $block (param i32)))
        (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
        (import "h" "random" (func $random (result i64)))
        (memory 1)
        {data}
        (func (export "run") (result i32) {body} (i32.const 0)))
    (core instance $i (instantiate $m (with "h" (instance
        (export "wait" (func $wait)) (export "nothing" (func $nothing)) (export "block" (func $block))
        (export "subscribe" (func $subscribe)) (export "random" (func $random))))))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $command (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $command)))"#
    );
    let mut linker = Linker::<GuestContext>::new(runtime.engine());
    linker
        .root()
        .func_wrap_async("wait", |_, (): ()| {
            Box::new(std::future::pending::<wasmtime::Result<()>>())
        })
        .expect("defined once");
    linker
        .root()
        .func_wrap("nothing", |_, (): ()| Ok(()))
        .expect("defined once");
    let ceiling = Ceiling::new()
        .interface("wait")
        .interface("nothing")
        .limits(limits(memory));
    loaded(pki, runtime, &component, &ceiling, &linker)
}

/// So many units of a string of these characters, in this encoding.
fn at_random(of: &str, encoding: &str, units: usize) -> Vec<Vec<u8>> {
    let of: Vec<_> = of.chars().collect();
    let mut random = 88_172_645_463_325_252_u64;
    let mut text = Vec::new();
    let mut had = 0;
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let one = of[usize::try_from(random >> 33).expect("31 bits") % of.len()];
        let (unit, bytes) = match encoding {
            "utf16" => {
                let units = one.encode_utf16(&mut [0; 2]).to_vec();
                (
                    units.len(),
                    units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
                )
            }
            _ => (one.len_utf8(), one.to_string().into_bytes()),
        };
        had += unit;
        if had > units {
            return text;
        }
        text.push(bytes);
    }
}

/// A command that hands this string on, again and again. Where a component inside it gets it, its memory grows with each, so that
/// pages are new.
fn handing_strings(from: &str, taker: Taker, text: &[Vec<u8>]) -> String {
    let bytes = text.concat();
    let units = match from {
        "utf16" => bytes.len() / 2,
        _ => bytes.len(),
    };
    let pages = bytes.len() / (64 << 10) + 1;
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let taken_by = match taker {
        Taker::Host => String::from(r#"(import "take" (func $take (param "text" string)))"#),
        Taker::Component(to) => format!(
            r#"(component $taker
                (core module $m
                    (memory (export "memory") 1)
                    (global $at (mut i32) (i32.const 65536))
                    (func (export "realloc") (param $old i32) (param $had i32) (param i32) (param $size i32) (result i32)
                        (if (local.get $had) (then (return (local.get $old))))
                        (if (i32.eq (memory.grow (i32.const 17)) (i32.const -1))
                            (then (global.set $at (i32.const 65536))))
                        (global.set $at (i32.add (global.get $at) (i32.const 1114112)))
                        (i32.sub (global.get $at) (i32.const 1114112)))
                    (func (export "take") (param i32 i32)))
                (core instance $i (instantiate $m))
                (func (export "take") (param "text" string) (canon lift (core func $i "take")
                    (memory $i "memory") (realloc (func $i "realloc")) string-encoding={to})))
            (instance $taker (instantiate $taker))
            (alias export $taker "take" (func $take))"#
        ),
    };
    format!(
        r#"(component
    {taken_by}
    (component $giver
        (import "take" (func $take (param "text" string)))
        (core module $libc (memory (export "memory") {pages}) (data (i32.const 0) "{text}"))
        (core instance $libc (instantiate $libc))
        (core func $take (canon lower (func $take) (memory $libc "memory") string-encoding={from}))
        (core module $m
            (import "" "take" (func $take (param i32 i32)))
            (func (export "run") (result i32)
                (loop $on (call $take (i32.const 0) (i32.const {units})) (br $on))
                (unreachable)))
        (core instance $i (instantiate $m (with "" (instance (export "take" (func $take))))))
        (func (export "run") (result (result)) (canon lift (core func $i "run"))))
    (instance $giver (instantiate $giver (with "take" (func $take))))
    (instance $command (export "run" (func $giver "run")))
    (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}

fn limits(memory: u64) -> Limits {
    let mut limits = Limits::default();
    limits.run = LIMIT;
    limits.memory_bytes = memory;
    limits
}

fn loaded(
    pki: &TestPki,
    runtime: &Runtime,
    component: &str,
    ceiling: &Ceiling,
    linker: &Linker<GuestContext>,
) -> ReadyGuest<GuestContext> {
    let component = wat::parse_str(component).expect("a component");
    let signed = pki.sign(&component, &pki.manifest("test:guest"));
    let verified = runtime
        .verify(signed, &pki.now(), &pki.state())
        .expect("it is verified");
    runtime
        .load(verified, ceiling, linker)
        .expect("it is loaded")
}

//! `cargo xtask bench`: the figures of `docs/performance.md`.
//!
//! Every figure stands beside its counterpart of the same run. A figure over its bound fails the command.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{cargo, run, say, target};
use crate::released::{self, Released};
use crate::setup::{self, Need};
use crate::tools;
use crate::{demo, guests};

/// One bench: its name, and what plays it.
type Bench = (&'static str, fn() -> Result<()>);

/// All of them, in the order of the page; first those that need no Wasmtime.
const BENCHES: &[Bench] = &[
    ("verify", || ours("verify")),
    ("sign", || ours("sign")),
    ("refuse", || ours("refuse")),
    ("growth", || ours("growth")),
    ("audit_log", || ours("audit_log")),
    ("issuing", issuing),
    ("authority", authority),
    ("lookups", lookups),
    ("tpm_sign", tpm_sign),
    ("cold_start", cold_start),
    ("warm_start", warm_start),
    ("sizes", sizes),
    ("guest_sign", guest_sign),
    ("instances", || under_load("instances")),
    ("deadlines", deadlines),
    ("copies", || under_load("copies")),
    ("neighbours", || under_load("neighbours")),
    ("http", http),
    ("idle", idle),
];

/// Wasmtime's command in the version of the library that is built in here.
const WASMTIME: &str = "48.0.8";

/// The package of benches of whole processes.
const STARTS: &str = "countersign-cold-start";
/// The package of benches of what runs for long.
const UNDER_LOAD: &str = "countersign-under-load";

/// What is printed of sizes, and the most bytes that a program may have (5 MB).
const SIZES: &[(Released, Option<u64>)] = &[
    (released::SMALL_HOST, Some(5_000_000)),
    (released::HOST, None),
    (released::SMALL_GATEWAY, None),
    (released::GATEWAY, None),
];

/// The names, for the help.
pub(crate) fn help() -> String {
    let names: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Runs the benches of these names, or all.
pub(crate) fn play(only: &[&str]) -> Result<()> {
    let is_known = |only: &&&str| BENCHES.iter().any(|(name, _)| name == *only);
    if let Some(unknown) = only.iter().find(|only| !is_known(only)) {
        bail!("there is no bench {unknown}; there are {}", help());
    }
    let mut over = Vec::new();
    for (name, bench) in BENCHES {
        if only.is_empty() || only.contains(name) {
            say(name);
            if let Err(error) = bench() {
                eprintln!("{name}: {error:#}");
                over.push(*name);
            }
        }
    }
    if !over.is_empty() {
        bail!("over a bound, or broken: {}", over.join(", "));
    }
    Ok(())
}

/// The bench `name` of a package.
fn of_package(package: &str, name: &str) -> Command {
    let mut bench = cargo();
    bench.args(["bench", "--locked", "--package", package, "--bench", name]);
    bench
}

/// In the package of those that need no Wasmtime.
fn ours(name: &str) -> Result<()> {
    run(&mut of_package("countersign-benches", name))
}

/// In the issuing package, and needs a database server and the programs that it is compared with.
fn issuing() -> Result<()> {
    setup::ensure(&[Need::Cfssl, Need::OpenSsl, Need::PostgreSql])?;
    run(&mut of_package("countersign-issuing", "issuing"))
}

/// In the authority's package: the program over HTTPS, beside the core.
fn authority() -> Result<()> {
    setup::ensure(&[Need::Curl, Need::OpenSsl, Need::PostgreSql])?;
    run(&mut of_package("countersign-authority", "authority"))
}

/// In the registry's package, and needs a database server. It fills a million devices first, twice.
fn lookups() -> Result<()> {
    setup::ensure(&[Need::PostgreSql])?;
    run(&mut of_package("countersign-registry", "lookups"))
}

/// In the TPM store's own package, and needs a TPM.
fn tpm_sign() -> Result<()> {
    setup::ensure(&[Need::Tpm])?;
    run(&mut of_package("countersign-backend-tpm", "tpm_sign"))
}

/// Apart from the others, because it builds Wasmtime once more, as released.
fn cold_start() -> Result<()> {
    setup::ensure(&[Need::Python])?;
    let component = demo::fetch_resvg(target().join("bench"))?;
    let mut bench = of_package(STARTS, "cold_start");
    bench.env("COUNTERSIGN_BENCH_COMPONENT", component);
    run(&mut bench)
}

/// Whole processes: our host as released, and Wasmtime's command as released, which is built once (many minutes).
fn warm_start() -> Result<()> {
    setup::ensure(&[Need::Python])?;
    let component = demo::fetch_resvg(target().join("bench"))?;
    let wasmtime = tools::released("wasmtime", "wasmtime-cli", WASMTIME)?;
    let (small, host) = (released::SMALL_HOST.build()?, released::HOST.build()?);
    let mut bench = of_package(STARTS, "warm_start");
    bench.env("COUNTERSIGN_BENCH_SMALL", small);
    bench.env("COUNTERSIGN_BENCH_COMPONENT", component);
    bench.env("COUNTERSIGN_BENCH_HOST", host);
    bench.env("COUNTERSIGN_BENCH_WASMTIME", wasmtime);
    run(&mut bench)
}

/// How large the programs are that run components, as released and stripped.
fn sizes() -> Result<()> {
    let mut over = Vec::new();
    println!("\n| program | bytes | at most |\n|---|---|---|");
    for (released, most) in SIZES {
        let bytes = std::fs::metadata(released.build()?)?.len();
        let bound = most.map_or_else(|| "none".to_owned(), |most| most.to_string());
        println!("| {released} | {bytes} | {bound} |");
        if most.is_some_and(|most| bytes > most) {
            over.push(released.to_string());
        }
    }
    if !over.is_empty() {
        bail!("larger than promised: {}", over.join(", "));
    }
    Ok(())
}

/// Builds Wasmtime as released, too, and needs a TPM.
fn guest_sign() -> Result<()> {
    setup::ensure(&[Need::Tpm])?;
    run(&mut of_package("countersign-guest-sign", "guest_sign"))
}

/// Builds Wasmtime as released, too.
fn under_load(name: &str) -> Result<()> {
    run(&mut of_package(UNDER_LOAD, name))
}

/// Guests at their deadlines, in calls of the host too.
fn deadlines() -> Result<()> {
    guests::build_named(&["dwell"])?;
    let mut bench = of_package(UNDER_LOAD, "deadlines");
    bench.env("COUNTERSIGN_BENCH_DWELL", guests::wasm("dwell"));
    run(&mut bench)
}

/// The gateway as released, beside Wasmtime's own server.
fn http() -> Result<()> {
    guests::build_named(&["hello-http"])?;
    let wasmtime = tools::released("wasmtime", "wasmtime-cli", WASMTIME)?;
    let mut bench = of_package(UNDER_LOAD, "http");
    bench.env("COUNTERSIGN_BENCH_GATEWAY", released::GATEWAY.build()?);
    bench.env("COUNTERSIGN_BENCH_WASMTIME", wasmtime);
    bench.env("COUNTERSIGN_BENCH_COMPONENT", guests::wasm("hello-http"));
    run(&mut bench)
}

/// The gateway as released, with services that do nothing.
fn idle() -> Result<()> {
    let mut bench = of_package(UNDER_LOAD, "idle");
    bench.env("COUNTERSIGN_BENCH_GATEWAY", released::GATEWAY.build()?);
    run(&mut bench)
}

//! `cargo xtask bench`: the figures of `docs/performance.md`.
//!
//! Every figure stands beside its counterpart of the same run. A figure over its bound fails the command.

use anyhow::{Result, bail};

use crate::demo;
use crate::process::{cargo, run, say, target};
use crate::setup::{self, Need};

/// What needs no Wasmtime, in the order of the page.
const BENCHES: &[&str] = &["verify", "sign", "refuse", "growth", "audit_log"];

/// In the package that builds Wasmtime as released, with many guests or bad ones.
const UNDER_LOAD: &[&str] = &["instances", "deadlines", "neighbours"];

/// Runs one bench, or all.
pub(crate) fn play(only: Option<&str>) -> Result<()> {
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let known = BENCHES.iter().chain([
        &"issuing",
        &"lookups",
        &"tpm_sign",
        &"cold_start",
        &"guest_sign",
        &"idle",
    ]);
    let known = known.chain(UNDER_LOAD);
    if !known.clone().any(|name| wanted(name)) {
        bail!(
            "there is no such bench; there are {}",
            known.copied().collect::<Vec<_>>().join(", ")
        );
    }
    let mut over = Vec::new();
    for name in BENCHES.iter().filter(|name| wanted(name)) {
        say(name);
        let mut bench = cargo();
        bench.args([
            "bench",
            "--locked",
            "--package",
            "countersign-benches",
            "--bench",
            name,
        ]);
        if run(&mut bench).is_err() {
            over.push(*name);
        }
    }
    if wanted("issuing") && issuing().is_err() {
        over.push("issuing");
    }
    if wanted("lookups") && lookups().is_err() {
        over.push("lookups");
    }
    if wanted("tpm_sign") && tpm_sign().is_err() {
        over.push("tpm_sign");
    }
    if wanted("cold_start") && cold_start().is_err() {
        over.push("cold_start");
    }
    if wanted("guest_sign") && guest_sign().is_err() {
        over.push("guest_sign");
    }
    for name in UNDER_LOAD.iter().filter(|name| wanted(name)) {
        if under_load(name).is_err() {
            over.push(*name);
        }
    }
    if wanted("idle") && idle().is_err() {
        over.push("idle");
    }
    if !over.is_empty() {
        bail!("over a bound, or broken: {}", over.join(", "));
    }
    Ok(())
}

/// In the issuing package, and needs a database server and the programs that it is compared with.
fn issuing() -> Result<()> {
    say("issuing");
    setup::ensure(&[Need::Cfssl, Need::OpenSsl, Need::PostgreSql])?;
    run(cargo().args([
        "bench",
        "--locked",
        "--package",
        "countersign-issuing",
        "--bench",
        "issuing",
    ]))
}

/// In the registry's package, and needs a database server. It fills a million devices first, twice.
fn lookups() -> Result<()> {
    say("lookups");
    setup::ensure(&[Need::PostgreSql])?;
    run(cargo().args([
        "bench",
        "--locked",
        "--package",
        "countersign-registry",
        "--bench",
        "lookups",
    ]))
}

/// In the TPM store's own package, and needs a TPM.
fn tpm_sign() -> Result<()> {
    say("tpm_sign");
    setup::ensure(&[Need::Tpm])?;
    run(cargo().args([
        "bench",
        "--locked",
        "--package",
        "countersign-backend-tpm",
        "--bench",
        "tpm_sign",
    ]))
}

/// Apart from the others, because it builds Wasmtime once more, as released.
fn cold_start() -> Result<()> {
    say("cold_start");
    setup::ensure(&[Need::Python])?;
    let component = demo::fetch_resvg(target().join("bench"))?;
    let mut bench = cargo();
    bench.args(["bench", "--locked", "--package", "countersign-cold-start"]);
    bench.env("COUNTERSIGN_BENCH_COMPONENT", component);
    run(&mut bench)
}

/// Builds Wasmtime as released, too, and needs a TPM.
fn guest_sign() -> Result<()> {
    say("guest_sign");
    setup::ensure(&[Need::Tpm])?;
    run(cargo().args(["bench", "--locked", "--package", "countersign-guest-sign"]))
}

/// Builds Wasmtime as released, too.
fn under_load(name: &str) -> Result<()> {
    say(name);
    run(cargo().args([
        "bench",
        "--locked",
        "--package",
        "countersign-under-load",
        "--bench",
        name,
    ]))
}

/// The gateway as released, with services that do nothing.
fn idle() -> Result<()> {
    say("idle");
    run(cargo().args([
        "build",
        "--locked",
        "--profile",
        "bench",
        "--package",
        "countersign-gateway",
    ]))?;
    let mut bench = cargo();
    bench.args(["bench", "--locked", "--package", "countersign-under-load"]);
    bench.args(["--bench", "idle"]);
    // Cargo puts what the profile `bench` makes where released programs are.
    bench.env(
        "COUNTERSIGN_BENCH_GATEWAY",
        target().join("release/countersign-gateway"),
    );
    run(&mut bench)
}

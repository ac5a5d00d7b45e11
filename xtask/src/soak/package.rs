//! `soak package`: the Debian package of the gateway is installed on a machine of its own and used there as an operator would:
//! systemd, its watchdog, bundles from a stick, one that fails, a signer who is revoked, power cuts, an upgrade with components running,
//! removal; with keys and a counter in a TPM.
//!
//! The machine is emulated (QEMU), a minimal Debian made by debootstrap. What is done
//! in it is walk.sh beside this file, which prints a line for each thing that must hold.

mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{built, root, run, say, target};
use crate::programs::{self, Selection};
use crate::setup::{self, Need};
use crate::{guests, package};
use machine::Machine;

/// What is signed: a command, one that answers requests, one that signs with a key of the device's, and one that traps.
const GUESTS: [&str; 4] = ["hello", "hello-http", "telemetry", "trap"];

/// Signs what is installed, with an authority that is made for it.
const GOODS: &str = include_str!("package/goods.sh");

/// What is done on the machine.
const WALK: &str = include_str!("package/walk.sh");

/// How each line begins that says of one thing that it holds, or does not.
const HOLDS: &str = "ok - ";
const DOES_NOT: &str = "not ok - ";

/// How the last line begins of a walk that went to its end.
const END: &str = "the end";

/// Takes from the command line the gateway to pack, where it is not to be the one of daily work.
pub(super) fn play(words: &[&str]) -> Result<()> {
    let gateway = match words {
        [] => None,
        [gateway] => Some(PathBuf::from(gateway)),
        _ => bail!("a gateway, no more"),
    };
    setup::ensure(&[
        Need::DebianTools,
        Need::GuestToolchain,
        Need::Tpm,
        Need::VirtualMachine,
    ])?;
    programs::build(Selection::WithChips)?;
    let is_built = |name: &&str| root().join(format!("target/guests/{name}.wasm")).exists();
    if !GUESTS.iter().all(is_built) {
        guests::build_named(&GUESTS)?;
    }
    let stage = target().join("machines/goods");
    let _ = fs::remove_dir_all(&stage);
    fs::create_dir_all(&stage)?;
    let gateway = match gateway {
        Some(gateway) => gateway,
        None => stripped(&stage)?,
    };
    sign(&stage)?;
    let mut packages = Vec::new();
    for revision in ["1", "2"] {
        let made = package::make(&stage.join("desk/roots.toml"), Some(&gateway), revision)?;
        let path = stage.join(format!("gateway-{revision}.deb"));
        fs::copy(&made, &path).with_context(|| format!("cannot copy {}", made.display()))?;
        packages.push(path);
    }
    lint(&packages)?;
    fs::write(stage.join("walk.sh"), WALK)?;

    let machine = Machine::prepare(&release()?, &packages)?;
    say("walking");
    judge(&machine.play(&stage)?)
}

/// The release of this machine's Debian. A package is for the one on which it was made: the next has libraries of other names.
fn release() -> Result<String> {
    let about = fs::read_to_string("/etc/os-release").context("this is no Debian")?;
    let name = |line: &str| line.strip_prefix("VERSION_CODENAME=").map(str::to_owned);
    let release = about.lines().find_map(name);
    release.context("/etc/os-release names no release of Debian")
}

/// The gateway of daily work, as a release is: without what debuggers read.
fn stripped(stage: &Path) -> Result<PathBuf> {
    let gateway = stage.join("countersign-gateway");
    let mut strip = Command::new("strip");
    run(strip
        .arg("-o")
        .arg(&gateway)
        .arg(built("countersign-gateway")))?;
    Ok(gateway)
}

/// Makes the authority, and what it lets be signed.
fn sign(stage: &Path) -> Result<()> {
    let (desk, bin) = (stage.join("desk"), stage.join("bin"));
    for folder in [&desk, &bin] {
        fs::create_dir_all(folder)?;
    }
    for program in ["countersign", "countersign-ca"] {
        fs::copy(built(program), bin.join(program))
            .with_context(|| format!("{program} is not built"))?;
    }
    let mut shell = Command::new("sh");
    shell.args(["-e", "-u", "-c", GOODS, "goods"]);
    shell.arg(root().join("target/guests")).current_dir(&desk);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin).chain(std::env::split_paths(&path));
    run(shell.env("PATH", std::env::join_paths(folders)?))
}

/// Whether lintian finds no error in the packages.
fn lint(packages: &[PathBuf]) -> Result<()> {
    say("lintian");
    run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error"])
        .args(packages))
}

/// Whether everything held, and the walk went to its end.
fn judge(said: &str) -> Result<()> {
    let count = |with: &str| said.lines().filter(|line| line.starts_with(with)).count();
    let (held, failed) = (count(HOLDS), count(DOES_NOT));
    println!("{held} held, {failed} did not");
    ensure!(failed == 0, "{failed} did not hold");
    ensure!(count(END) == 1, "the walk did not come to its end");
    Ok(())
}

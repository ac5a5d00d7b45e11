//! `cargo xtask package ROOTS [BINARY]`: a Debian package of the gateway, with its roots.
//!
//! What goes into it is listed in runtime/gateway/Cargo.toml, and lies in packaging/. A package without roots, or with roots for
//! development, is not made: what it would install runs nothing.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{capture, cargo, root, run, say, target};
use crate::setup::{self, Need};
use crate::{roots, tools};

/// The version of cargo-deb that is installed where there is none.
const CARGO_DEB: &str = "3.8.0";

/// The revision of a package if nothing is said: the first of its version.
pub(crate) const FIRST: &str = "1";

/// Shells, as the program calls them.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Makes the package of this revision, shows what is in it, and returns where it is.
pub(crate) fn make(source: &Path, binary: Option<&Path>, revision: &str) -> Result<PathBuf> {
    setup::ensure(&[Need::DebianTools])?;
    let built = match binary {
        Some(binary) => binary.to_owned(),
        None => build()?,
    };
    // Where the list of assets says, whatever folder builds go to.
    let stage = root().join("target/package");
    let _ = fs::remove_dir_all(&stage);
    for folder in ["man", "completions"] {
        fs::create_dir_all(stage.join(folder))?;
    }
    let program = stage.join("countersign-gateway");
    fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    roots::fill(&program, source)?;
    demand(&program)?;

    run(Command::new(&program).arg("man").arg(stage.join("man")))?;
    for shell in SHELLS {
        let script = File::create(stage.join(format!("completions/countersign-gateway.{shell}")))?;
        run(Command::new(&program)
            .args(["completions", shell])
            .stdout(script))?;
    }
    fs::write(stage.join("changelog"), changelog(revision)?)?;
    say("packing");
    let cargo_deb = tools::program("cargo-deb", CARGO_DEB, &["--no-default-features"])?;
    let output = target().join("debian");
    let _ = fs::remove_dir_all(&output);
    fs::create_dir_all(&output)?;
    let mut pack = Command::new(cargo_deb);
    pack.current_dir(root().join("runtime/gateway"));
    pack.args(["--no-build", "--no-strip", "--locked"]);
    pack.args(["--deb-revision", revision, "--output"]);
    run(pack.arg(&output))?;
    let package = only(&output)?;
    run(Command::new("dpkg-deb").arg("--info").arg(&package))?;
    run(Command::new("dpkg-deb").arg("--contents").arg(&package))?;
    println!("{}", package.display());
    Ok(package)
}

/// A changelog of Debian's form (deb-changelog(5)), with the one entry that is due: what changed stands in CHANGELOG.md.
fn changelog(revision: &str) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let when =
        capture(
            Command::new("git")
                .current_dir(root())
                .args(["log", "-1", "--format=%cD"]),
        )?;
    Ok(format!(
        "countersign-gateway ({version}-{revision}) unstable; urgency=medium\n\n  * What changed is in changelog.gz beside this.\n\n \
         -- Countersign <packages@countersign.invalid>  {}\n",
        when.trim()
    ))
}

/// A release of the gateway with keys in TPMs.
fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build.args([
        "build",
        "--locked",
        "--release",
        "--package",
        "countersign-gateway",
    ]);
    run(build.args(["--features", "countersign-gateway/tpm"]))?;
    Ok(target().join("release/countersign-gateway"))
}

/// Asks the program itself whether its roots let anything run, and whether it knows TPMs, for whose keys the package is: whatever file
/// was named, this is what is packed.
fn demand(program: &Path) -> Result<()> {
    let mut asked = Command::new(program);
    asked.args(["doctor", "--json", "--config", "/nonexistent"]);
    // There is no configuration, which it says by its status.
    let answer = asked
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let found: Value = serde_json::from_slice(&answer.stdout)
        .with_context(|| format!("{} is no gateway", program.display()))?;
    let findings = found["findings"].as_array();
    let about = |what: &str| {
        let all = findings.into_iter().flatten();
        let mut about = all.filter(|finding| finding["what"] == what);
        about
            .next()
            .with_context(|| format!("{} says nothing of {what}", program.display()))
    };
    let (build, roots) = (about("this build")?, about("roots")?);
    if roots["weight"] == "refuse" {
        bail!("no package is made: {}", roots["said"]);
    }
    if !build["said"]
        .as_str()
        .unwrap_or_default()
        .contains("and TPMs")
    {
        bail!(
            "no package is made of a program with {}: build it with --features tpm",
            build["said"]
        );
    }
    println!("roots: {}\nbuild: {}", roots["said"], build["said"]);
    Ok(())
}

/// The one package in a folder.
fn only(folder: &Path) -> Result<PathBuf> {
    let is_package = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "deb");
    let mut paths = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    paths
        .find(is_package)
        .with_context(|| format!("{} holds no package", folder.display()))
}

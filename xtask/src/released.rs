//! Programs as they are released. `cargo xtask release` builds the host of components as it ought to be: told by its own practice
//! which of its code is used.
//!
//! The compiler places and inlines code better where it knows what runs often (rustc's book, "Profile-guided Optimization"). So the
//! host is built twice: first as a program that counts, which starts small components of ours (the bench's component is none of
//! them), then as the one that is released. It does the same as any other build of it, in less time.

use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{capture, cargo, root, run, say, target};
use crate::{guests, llvm};

/// A host for boxes that have no room for a compiler.
pub(crate) const SMALL_HOST: Released = Released {
    compiler: false,
    build: Build::Plain { profile: "small" },
    ..HOST
};

/// The host of one component.
pub(crate) const HOST: Released = Released {
    program: "countersign-run",
    compiler: true,
    build: Build::Practised,
};

/// The gateway for boxes that have no room for a compiler.
pub(crate) const SMALL_GATEWAY: Released = Released {
    compiler: false,
    ..GATEWAY
};

/// The gateway.
pub(crate) const GATEWAY: Released = Released {
    program: "countersign-gateway",
    compiler: true,
    build: Build::Plain { profile: "release" },
};

/// What the host practises with: components of seconds that start, do something, and end, one of them badly.
const PRACTICE: [&str; 3] = ["hello", "hoard", "trap"];

/// What has a host practise: a package, its example, and where that is.
const PRACTISE: (&str, &str, &str) = (
    "countersign-cold-start",
    "practise",
    "tests/benches/cold-start/examples/practise.rs",
);

/// A program as it is released.
pub(crate) struct Released {
    program: &'static str,
    compiler: bool,
    build: Build,
}

/// How a program is built.
enum Build {
    /// By one command of cargo's.
    Plain { profile: &'static str },
    /// With what it did while it practised.
    Practised,
}

impl fmt::Display for Released {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = if self.compiler {
            ""
        } else {
            ", without a compiler"
        };
        write!(to, "{}{without}", self.program)
    }
}

impl Released {
    /// Builds it: where it is.
    ///
    /// # Errors
    /// If it is not built, or does not practise.
    pub(crate) fn build(&self) -> Result<PathBuf> {
        match self.build {
            Build::Plain { profile } => {
                run(&mut self.cargo_build(profile))?;
                Ok(target().join(profile).join(self.program))
            }
            Build::Practised => self.practised(&[]),
        }
    }

    /// Builds it with these features, after a build that counts what is used has practised.
    fn practised(&self, features: &[&str]) -> Result<PathBuf> {
        let triple = triple()?;
        let build = |folder: &str, flag: String| {
            let folder = target().join(folder);
            let mut build = self.cargo_build("release");
            // What only builds is not instrumented where the target is named.
            build.args(["--target", &triple]);
            for features in features {
                build.args(["--features", features]);
            }
            build.arg("--target-dir").arg(&folder);
            // Those of the environment stay; a folder's name may have spaces in it.
            let named = match std::env::var("CARGO_ENCODED_RUSTFLAGS") {
                Ok(encoded) => encoded,
                Err(_) => std::env::var("RUSTFLAGS")
                    .unwrap_or_default()
                    .replace(' ', "\x1f"),
            };
            let flags: Vec<&str> = named
                .split('\x1f')
                .filter(|flag| !flag.is_empty())
                .chain([flag.as_str()])
                .collect();
            build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
            run(&mut build)?;
            Ok::<_, anyhow::Error>(folder.join(&triple).join("release").join(self.program))
        };
        say("building the host that counts what it uses (some ten minutes the first time)");
        let counts = target().join("practice/counts");
        let counting = build(
            "practice",
            format!("-Cprofile-generate={}", counts.display()),
        )?;
        let profile = practise(&counting, &counts)?;
        say("building the host that is released (as long again)");
        build("released", format!("-Cprofile-use={}", profile.display()))
    }

    fn cargo_build(&self, profile: &str) -> Command {
        let mut build = cargo();
        build.args(["build", "--locked", "--profile", profile]);
        build.args(["--package", self.program]);
        if !self.compiler {
            build.arg("--no-default-features");
        }
        build
    }
}

/// `cargo xtask release`: the host of one component with these features, and where it is.
///
/// # Errors
/// As [`Released::build`].
pub(crate) fn host(features: &[&str]) -> Result<()> {
    println!("{}", HOST.practised(features)?.display());
    Ok(())
}

/// Has a program practise that counts, unless this one did so with these components: the file with what it counted. Its name is
/// another for other programs and components, by which cargo sees that something is to be built anew.
fn practise(program: &Path, counts: &Path) -> Result<PathBuf> {
    guests::build_named(&PRACTICE)?;
    let (package, example, source) = PRACTISE;
    let components = PRACTICE.map(guests::wasm);
    let mut hash = DefaultHasher::new();
    for path in [program, &root().join(source)]
        .into_iter()
        .chain(components.iter().map(PathBuf::as_path))
    {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        bytes.hash(&mut hash);
    }
    let name = format!("{:016x}", hash.finish());
    let profile = counts.with_file_name(format!("{name}.profdata"));
    if profile.exists() {
        return Ok(profile);
    }
    say("letting it practise");
    let counts = counts.join(&name);
    let mut play = cargo();
    play.env("LLVM_PROFILE_FILE", counts.join("%m-%p.profraw"));
    play.args(["run", "--quiet", "--locked", "--package", package]);
    play.args(["--example", example, "--"]).arg(program);
    run(play.args(components))?;
    let merged = profile.with_extension("merged");
    let mut merge = Command::new(llvm::profdata()?);
    run(merge.args(["merge", "-o"]).arg(&merged).arg(&counts))?;
    fs::rename(&merged, &profile)?;
    fs::remove_dir_all(&counts)?;
    Ok(profile)
}

/// What the compiler builds for if nothing is said.
fn triple() -> Result<String> {
    let version = capture(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

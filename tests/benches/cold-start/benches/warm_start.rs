//! Whole processes, from the command to the exit of a component of 4.5 MB: `countersign-run` with its sealed cache, beside
//! Wasmtime's own command, which loads precompiled code that nobody vouches for, or its own cache, which nobody authenticated;
//! and both without a cache.
//!
//! COUNTERSIGN_BENCH_COMPONENT, _HOST and _WASMTIME name the component and the two programs; `cargo xtask bench` sets them.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use countersign_benches::{Bound, Report, Table};
use countersign_testing::TestPki;

/// Runs of each side, in turns.
const WARM_RUNS: usize = 41;
const COLD_RUNS: usize = 9;

fn main() -> ExitCode {
    let named = |name: &str| {
        let name = format!("COUNTERSIGN_BENCH_{name}");
        std::env::var_os(&name)
            .unwrap_or_else(|| panic!("{name} is not set; use cargo xtask bench"))
    };
    let wasmtime = PathBuf::from(named("WASMTIME"));
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::new(
        folder.path(),
        Path::new(&named("COMPONENT")),
        Path::new(&named("HOST")),
    );
    let cached = folder.path().join("wasmtime.toml");
    let code = folder.path().join("component.cwasm");
    let store = folder.path().join("wasmtime-cache");
    let text = format!("[cache]\ndirectory = {store:?}\n");
    std::fs::write(&cached, text).expect("our own folder");
    succeed(
        Command::new(&wasmtime)
            .args(["compile", "-o"])
            .arg(&code)
            .arg(&bench.component),
    );

    let ours = |cache: bool| {
        let mut run = Command::new(&bench.host);
        run.arg(&bench.signed);
        if cache {
            run.arg("--cache").arg(folder.path().join("cache"));
        }
        run
    };
    let theirs = |options: &[&OsStr], file: &Path| {
        let mut run = Command::new(&wasmtime);
        run.arg("run").args(options).arg(file);
        run
    };
    let precompiled = || theirs(&["--allow-precompiled".as_ref()], &code);
    let option = format!("cache-config={}", cached.display());
    let with_cache = || theirs(&["-C".as_ref(), option.as_ref()], &bench.component);
    let without = || theirs(&["-C".as_ref(), "cache=n".as_ref()], &bench.component);

    let mut table = Table::new(&["start", "ours", "Wasmtime's command", "ratio", "at most"]);
    for (what, runs, cache, counterpart, bound) in [
        (
            "warm, beside `--allow-precompiled`",
            WARM_RUNS,
            true,
            &precompiled as &dyn Fn() -> Command,
            1.3,
        ),
        (
            "warm, beside its own cache",
            WARM_RUNS,
            true,
            &with_cache,
            0.6,
        ),
        (
            "cold, beside `-C cache=n`",
            COLD_RUNS,
            false,
            &without,
            1.05,
        ),
    ] {
        let costs = in_turns(runs, || ours(cache), counterpart);
        table.ratio(what, costs, Bound::Ratio(bound), &[]);
    }
    let mut report = Report::default();
    report.print(
        "Whole processes, the wall's time, medians of runs in turns: from the command to the exit of resvg, 4.5 MB.",
        table,
    );
    report.finish()
}

/// A host with a root, and a component that it trusts.
struct Bench {
    component: PathBuf,
    signed: PathBuf,
    host: PathBuf,
}

impl Bench {
    fn new(folder: &Path, component: &Path, host: &Path) -> Self {
        let pki = TestPki::new();
        let mut manifest = pki.manifest("test:resvg");
        manifest.grants.stdio.stdout = true;
        manifest.grants.stdio.stderr = true;
        let bytes = std::fs::read(component).expect("the component is read");
        let signed = folder.join("component.signed.wasm");
        std::fs::write(&signed, pki.sign(&bytes, &manifest)).expect("our own folder");
        let filled = folder.join("countersign-run");
        let mut program = std::fs::read(host).expect("the host is read");
        countersign_roots_file::fill(&mut program, &[pki.anchor_source()]).expect("it takes roots");
        std::fs::write(&filled, program).expect("our own folder");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&filled, executable).expect("our own file");
        Self {
            component: component.to_owned(),
            signed,
            host: filled,
        }
    }
}

/// The medians of both sides, after a run of each that fills its cache.
fn in_turns(
    runs: usize,
    ours: impl Fn() -> Command,
    theirs: &dyn Fn() -> Command,
) -> (Duration, Duration) {
    time(&mut ours());
    time(&mut theirs());
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        of_ours.push(time(&mut ours()));
        of_theirs.push(time(&mut theirs()));
    }
    (median(of_ours), median(of_theirs))
}

/// From the start of a process to its end. Without arguments the component says how it is used, and exits.
fn time(command: &mut Command) -> Duration {
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status().expect("it starts");
    let taken = started.elapsed();
    // What it says of a call without arguments; a refusal has a status from 110 on.
    assert!(
        status.code().is_some_and(|code| code < 110),
        "{command:?}: {status}"
    );
    taken
}

fn succeed(command: &mut Command) {
    let status = command.status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

//! Whole processes, from the command to the exit of a component of 4.5 MB: `countersign-run` with its sealed cache, beside
//! Wasmtime's own command, which loads precompiled code that nobody vouches for, or its own cache, which nobody authenticated;
//! and both without a cache.
//!
//! A host without a compiler is started, too, with code that was signed for it: what a small machine does at every start.
//!
//! COUNTERSIGN_BENCH_COMPONENT, _HOST, _SMALL (the same without a compiler) and _WASMTIME name the component and the programs;
//! `cargo xtask bench` sets them.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use countersign_benches::{Bound, Report, Table};
use countersign_runtime::format::PrecompiledStatement;
use countersign_runtime::trust_store::{AnchorSource, Purpose};
use countersign_runtime::{CodeTarget, Runtime};
use countersign_testing::{TestPki, write_program};

/// The guest's name and arguments: it says how it is used, and exits.
const SAYS_HOW: [&str; 2] = ["resvg", "--help"];

/// Runs of each side, in turns.
const WARM_RUNS: usize = 41;
const COLD_RUNS: usize = 21;

fn main() -> ExitCode {
    let named = |name: &str| {
        let name = format!("COUNTERSIGN_BENCH_{name}");
        std::env::var_os(&name)
            .unwrap_or_else(|| panic!("{name} is not set; use cargo xtask bench"))
    };
    let wasmtime = PathBuf::from(named("WASMTIME"));
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::new(folder.path(), Path::new(&named("COMPONENT")));
    let host = bench.filled(Path::new(&named("HOST")), "countersign-run");
    let small = bench.filled(Path::new(&named("SMALL")), "countersign-run-small");
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
        let mut run = Command::new(&host);
        if cache {
            run.arg("--cache").arg(folder.path().join("cache"));
        }
        run.arg(&bench.signed).arg("--").args(SAYS_HOW);
        run
    };
    let from_code = || {
        let mut run = Command::new(&small);
        run.arg(&bench.with_code).arg("--").args(SAYS_HOW);
        run
    };
    let theirs = |options: &[&OsStr], file: &Path| {
        let mut run = Command::new(&wasmtime);
        // Its command gives the guest the file's name as its own.
        run.arg("run").args(options).arg(file).args(&SAYS_HOW[1..]);
        run
    };
    let precompiled = || theirs(&["--allow-precompiled".as_ref()], &code);
    let option = format!("cache-config={}", cached.display());
    let with_cache = || theirs(&["-C".as_ref(), option.as_ref()], &bench.component);
    let without = || theirs(&["-C".as_ref(), "cache=n".as_ref()], &bench.component);
    // Its code looks whether its time is up, as ours does.
    let with_an_end = || {
        let options = ["-C", "cache=n", "-W", "timeout=60s"];
        theirs(&options.map(AsRef::as_ref), &bench.component)
    };

    let mut table = Table::new(&["start", "ours", "Wasmtime's command", "ratio", "at most"]);
    let (warm, cold) = (|| ours(true), || ours(false));
    for (what, runs, ours, counterpart, bound) in [
        (
            "warm, beside `--allow-precompiled`",
            WARM_RUNS,
            &warm as &dyn Fn() -> Command,
            &precompiled as &dyn Fn() -> Command,
            Bound::Ratio(1.3),
        ),
        (
            "warm, beside its own cache",
            WARM_RUNS,
            &warm,
            &with_cache,
            Bound::Ratio(0.6),
        ),
        (
            "cold, beside `-C cache=n`",
            COLD_RUNS,
            &cold,
            &without,
            Bound::Ratio(1.05),
        ),
        (
            "cold, beside `-C cache=n -W timeout=60s`",
            COLD_RUNS,
            &cold,
            &with_an_end,
            Bound::None,
        ),
        (
            "without a compiler, signed code, beside `--allow-precompiled`",
            WARM_RUNS,
            &from_code,
            &precompiled,
            Bound::None,
        ),
    ] {
        table.ratio(what, in_turns(runs, ours, counterpart), bound, &[]);
    }
    let mut report = Report::default();
    report.print(
        "Whole processes, the wall's time, medians of runs in turns: from the command to the exit of resvg, 4.5 MB.",
        table,
    );
    report.finish()
}

/// A component that is trusted, alone and with code beside it.
struct Bench {
    folder: PathBuf,
    roots: Vec<AnchorSource>,
    component: PathBuf,
    signed: PathBuf,
    /// The same, in a folder where its code lies, too.
    with_code: PathBuf,
}

impl Bench {
    fn new(folder: &Path, component: &Path) -> Self {
        let (pki, for_code) = (TestPki::new(), TestPki::builder().seed(2).build());
        let mut manifest = pki.manifest("test:resvg");
        manifest.grants.args = true;
        manifest.grants.stdio.stdout = true;
        manifest.grants.stdio.stderr = true;
        let bytes = std::fs::read(component).expect("the component is read");
        let file = pki.sign(&bytes, &manifest);
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).expect("our own folder");
            path
        };
        let signed = put("component.signed.wasm", &file);

        let runtime = Runtime::builder(pki.anchors()).build().expect("a runtime");
        let verified = runtime.verify(file.clone(), &pki.now(), &pki.state());
        let code = runtime
            .precompile(&verified.expect("it is verified"), CodeTarget::Native)
            .expect("it is compiled");
        let (statement, code) = PrecompiledStatement::parse_unsigned(&code).expect("just made");
        std::fs::create_dir(folder.join("small")).expect("our own folder");
        let beside = format!("small/component.signed.wasm.{}.code", runtime.code_target());
        put(&beside, &for_code.sign_code(&statement, code));
        let with_code = put("small/component.signed.wasm", &file);

        let for_code = AnchorSource {
            purpose: Purpose::PrecompiledCode,
            ..for_code.anchor_source()
        };
        Self {
            folder: folder.to_owned(),
            roots: vec![pki.anchor_source(), for_code],
            component: component.to_owned(),
            signed,
            with_code,
        }
    }

    /// A program, with the roots.
    fn filled(&self, program: &Path, name: &str) -> PathBuf {
        let mut program = std::fs::read(program).expect("the program is built");
        countersign_roots_file::fill(&mut program, &self.roots).expect("it takes roots");
        let path = self.folder.join(name);
        write_program(&path, &program);
        path
    }
}

/// The medians of both sides, after a run of each that fills its cache.
fn in_turns(
    runs: usize,
    ours: &dyn Fn() -> Command,
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

/// From the start of a process to its end.
fn time(command: &mut Command) -> Duration {
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status().expect("it starts");
    let taken = started.elapsed();
    assert!(status.success(), "{command:?}: {status}");
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

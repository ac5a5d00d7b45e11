//! What docs/embedding.md shows, run: `cargo run -p countersign-runtime --example embedding`.
//!
//! The pieces of Rust on that page stand here, or in the other examples, line by line; `tests/suite/page.rs` looks that they
//! do.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_roots::{build_time, roots, system_time};
use countersign_runtime::trust_store::{Anchors, Code, Now, TrustState, pem};
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{
    Access, Captured, Ceiling, CodeCache, GuestContext, Limits, LineSink, LoadError, Output,
    RunError, Runtime,
};
use countersign_testing::TestPki;

/// The largest component that this program takes, in bytes (32 MiB).
const LARGEST: u64 = 32 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let here = |name: &str| folder.path().join(name);
    println!("this program's root: {}", own_root()?);

    // From here on with a root that is thrown away, because something must be signed under it.
    let pki = TestPki::new();
    let files = pki.write(folder.path());
    let mut manifest = pki.manifest("test:hello");
    manifest.grants.args = true;
    manifest.grants.stdio.stdout = true;
    let hello = wat::parse_str(include_str!("../tests/guests/hello.wat"))?;
    std::fs::write(here("hello.signed.wasm"), pki.sign(&hello, &manifest))?;
    let anchors = Anchors::new(countersign_roots::from_pem(&std::fs::read(
        files.roots_pem,
    )?)?)?;

    let runtime = build(anchors, &here("code"))?;
    let state = remembered(&files.crls)?;
    let path = here("hello.signed.wasm");
    run(&runtime, &state, &path, folder.path()).await?;
    run_twice(runtime, &state, &path).await?;

    // And one that must not run.
    let runtime = build(TestPki::new().anchors(), &here("code"))?;
    let refused = run(&runtime, &state, &path, folder.path()).await;
    let refused = refused.expect_err("another root").to_string();
    println!("{refused}");
    assert!(refused.contains("(untrusted-root)"), "{refused}");
    Ok(())
}

fn own_root() -> Result<String, Box<dyn Error>> {
    let anchors = Anchors::new(roots!("roots.pem")?)?;
    let [anchor] = &anchors.iter().collect::<Vec<_>>()[..] else {
        return Err("one root is compiled in".into());
    };
    Ok(anchor.subject())
}

fn build(anchors: Anchors, cache: &Path) -> Result<Runtime, Box<dyn Error>> {
    let runtime = Runtime::builder(anchors)
        .code_cache(CodeCache::open(cache, 256 << 20)?)
        .audit(|record| eprint!("{}", record.line(system_time())))
        .build()?;
    Ok(runtime)
}

fn remembered(lists: &Path) -> Result<TrustState, Box<dyn Error>> {
    let mut state = TrustState::remembering();
    for list in pem::crls(&std::fs::read(lists)?)? {
        state.add_crl(&list)?;
    }
    Ok(state)
}

async fn run(
    runtime: &Runtime,
    state: &TrustState,
    path: &Path,
    folder: &Path,
) -> Result<(), Box<dyn Error>> {
    let now = Now::new(build_time(), Some(system_time()));
    let verified = runtime
        .verify(read(path)?, &now, state)
        .map_err(|refused| explain(refused.code(), &refused))?;
    println!(
        "{} {}, signed by {}",
        verified.statement().name(),
        verified.statement().version(),
        verified.signers().len()
    );

    let mut limits = Limits::default();
    limits.memory_bytes = 16 << 20;
    limits.run = Duration::from_secs(10);
    let written = Captured::new();
    let ceiling = Ceiling::new()
        .args(["hello", "--short"])
        .env("LANG", "en")
        .directory(folder, "/data", Access::Read)?
        .stdout(Output::Capture(written.clone()))
        .stderr(Output::Lines(LineSink::new(|line| {
            eprintln!("guest: {}", line.escape_debug());
        })))
        .limits(limits);

    let linker = Linker::<GuestContext>::new(runtime.engine());
    let ready = runtime
        .load(verified, &ceiling, &linker)
        .map_err(|refused| explain(refused.code(), &refused))?;
    for line in ready.granted().withheld() {
        println!("not given: {line}");
    }
    let withheld = ready.granted().withheld().len();
    match ready.run_command().await {
        Ok(status) => println!("exited with {status}"),
        Err(ended) => return Err(explain(ended.code(), &ended).into()),
    }
    assert_eq!(written.contents(), b"hello from a verified guest\n");
    // LANG, /data and standard error, which the statement does not ask for.
    assert_eq!(withheld, 3);
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a user is shown of a refusal or an end.
fn explain(code: Code, why: &dyn Error) -> String {
    // Some of the words are a component's: escaped, so that they cannot play with a terminal.
    let why = why.to_string().escape_debug().to_string();
    let (what, next) = (code.meaning(), code.next_step());
    format!("{what} ({code})\n  why:  {why}\n  next: {next}")
}

async fn run_twice(runtime: Runtime, state: &TrustState, path: &Path) -> Result<(), Failure> {
    let now = Now::new(build_time(), Some(system_time()));
    let verified = runtime
        .verify(read(path)?, &now, state)
        .map_err(LoadError::from)?;
    let ceiling = Ceiling::new();
    let runtime = Arc::new(runtime);
    let loading = Arc::clone(&runtime);
    let ready = tokio::task::spawn_blocking(move || {
        let linker = Linker::<GuestContext>::new(loading.engine());
        loading.load(verified, &ceiling, &linker)
    })
    .await??;
    let again = ready.clone();
    let (one, other) = tokio::join!(ready.run_command(), again.run_command());
    assert_eq!((one?, other?), (0, 0));
    Ok(())
}

/// What a program makes of the library's errors: one of its own, whatever happened.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the component was refused")]
    Refused(#[from] LoadError),
    #[error("the component did not end well")]
    Ended(#[from] RunError),
    #[error("the component could not be read")]
    Unreadable(#[from] io::Error),
    #[error("a thread of this program failed")]
    Thread(#[from] tokio::task::JoinError),
}

//! Verify a signed command and run it: `cargo run -p countersign-runtime --example command`.
//!
//! The signed file and the root are made on the spot by the throw-away PKI of `countersign-testing`. A real host has
//! its roots compiled in and reads the file from disk; the rest is the same.

use std::error::Error;
use std::time::Duration;

use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Captured, Ceiling, GuestContext, Limits, Output, Runtime};
use countersign_testing::TestPki;

/// A command that prints one line.
const HELLO: &str = include_str!("../tests/guests/hello.wat");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pki = TestPki::new();
    // What the signer does: the statement asks for standard output and for nothing else.
    let mut manifest = pki.manifest("test:hello");
    manifest.grants.stdio.stdout = true;
    let signed = pki.sign(&wat::parse_str(HELLO)?, &manifest);

    // What a host does. The lists of what was revoked came with the root here; others are added to the trust state.
    let runtime = Runtime::builder(pki.anchors())
        .audit(|record| {
            eprintln!(
                "host: accepted={} code={:?}",
                record.is_accepted(),
                record.code()
            )
        })
        .build()?;
    let verified = runtime.verify(signed, &pki.now(), &pki.state())?;
    let statement = verified.statement();
    eprintln!(
        "host: verified {} {}",
        statement.name(),
        statement.version()
    );

    // A guest gets what its statement asks for and the ceiling allows: here, somewhere to write, memory and time.
    let written = Captured::new();
    let mut limits = Limits::default();
    limits.memory_bytes = 16 << 20;
    limits.run = Duration::from_secs(10);
    let ceiling = Ceiling::new()
        .stdout(Output::Capture(written.clone()))
        .limits(limits);
    let linker = Linker::<GuestContext>::new(runtime.engine());
    let ready = runtime.load(verified, &ceiling, &linker)?;
    let status = ready.run_command().await?;

    print!("{}", String::from_utf8_lossy(&written.contents()));
    eprintln!("host: the guest exited with status {status}");
    assert_eq!(status, 0);
    assert_eq!(written.contents(), b"hello from a verified guest\n");
    Ok(())
}

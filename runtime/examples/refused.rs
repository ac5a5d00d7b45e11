//! What a refusal looks like to a host: `cargo run -p countersign-runtime --example refused`.
//!
//! Four components that must not run, and what the host learns of each: a stable code, the facts, the next step, and
//! the exit status for a program that ends there.

use std::error::Error;

use countersign_runtime::trust_store::Code;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Ceiling, GuestContext, LoadError, Runtime};
use countersign_testing::TestPki;

fn main() -> Result<(), Box<dyn Error>> {
    let pki = TestPki::new();
    let runtime = Runtime::builder(pki.anchors()).build()?;

    let component = wat::parse_str("(component)")?;
    let signed = pki.sign(&component, &pki.manifest("test:guest"));

    let mut tampered = signed;
    if let Some(byte) = tampered.last_mut() {
        *byte ^= 1;
    }
    let stranger = TestPki::new();
    let foreign = stranger.sign(&component, &stranger.manifest("test:guest"));
    let greedy = wat::parse_str(
        r#"(component (import "acme:plant/valves@0.1.0" (instance (export "open" (func)))))"#,
    )?;
    let greedy = pki.sign(&greedy, &pki.manifest("test:greedy"));

    refused(
        &runtime,
        &pki,
        "unsigned",
        component,
        Code::SignatureMissing,
    );
    refused(
        &runtime,
        &pki,
        "one bit changed",
        tampered,
        Code::SignatureInvalid,
    );
    refused(
        &runtime,
        &pki,
        "signed under another root",
        foreign,
        Code::UntrustedRoot,
    );
    refused(
        &runtime,
        &pki,
        "wants more than it was granted",
        greedy,
        Code::ImportDenied,
    );
    Ok(())
}

fn refused(runtime: &Runtime, pki: &TestPki, what: &str, file: Vec<u8>, expected: Code) {
    let linker = Linker::<GuestContext>::new(runtime.engine());
    let error = runtime
        .verify(file, &pki.now(), &pki.state())
        .map_err(LoadError::from)
        .and_then(|verified| runtime.load(verified, &Ceiling::new(), &linker))
        .expect_err("nothing of this may run");
    let code = error.code();
    println!(
        "{what}:\n  refused: {code} (exit status {})",
        code.exit_status()
    );
    println!("  because: {error}\n  next:    {}\n", code.next_step());
    assert_eq!(code, expected);
}

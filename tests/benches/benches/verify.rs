//! Verifying a component, beside the SHA-256 of it that no verifier can do without, by the same library.

use std::process::ExitCode;

use countersign_benches::{Bound, PeakAlloc, PeakBytes as _, Report, Table, compare, mib};
use countersign_testing::TestPki;
use countersign_trust_store::{Policy, UnverifiedComponent};
use sha2::{Digest, Sha256};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

mod components;

fn main() -> ExitCode {
    let pki = TestPki::new();
    let (anchors, now, state) = (pki.anchors(), pki.now(), pki.state());
    let verify = |bytes: Vec<u8>| {
        UnverifiedComponent::parse(bytes)
            .and_then(|component| anchors.verify(component, &Policy::default(), &now, &state))
            .expect("the component is good")
    };
    let mut table = Table::new(&[
        "component",
        "verify",
        "SHA-256",
        "ratio",
        "at most",
        "memory beside the buffer",
    ]);
    let mut report = Report::default();
    for (what, size, runs, bound) in [
        ("100 kB", 100_000, 101, Bound::None),
        ("1 MB", 1_000_000, 51, Bound::None),
        ("10 MB", 10_000_000, 21, Bound::None),
        ("100 MB", 100_000_000, 9, Bound::Ratio(1.2)),
    ] {
        let component = components::of_size(size);
        let signed = pki.sign(&component, &pki.manifest("test:component"));
        let costs = compare(
            runs,
            (|| signed.clone(), &verify),
            (|| (), |()| Sha256::digest(&component)),
        );
        let buffer = signed.clone();
        let memory = HEAP.peak_bytes(|| verify(buffer));
        report.check(
            &format!("{what}, MiB beside the buffer"),
            memory as f64 / f64::from(1 << 20),
            16.0,
        );
        table.ratio(what, costs, bound, &[mib(memory)]);
    }
    report.print(
        "Verifying: framing, digest, a chain of two certificates and the root, two revocation lists, one signature (P-256 throughout).",
        table,
    );
    report.finish()
}

//! Signing a file, beside the SHA-256 of its bytes, by the same library.

use std::process::ExitCode;

use countersign_benches::{Bound, PeakAlloc, PeakBytes as _, Report, Table, compare, mib};
use countersign_signer::{Overwrite, SignOptions, sign_file};
use countersign_testing::TestPki;
use sha2::{Digest, Sha256};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

mod components;

fn main() -> ExitCode {
    let pki = TestPki::new();
    let manifest = pki.manifest("test:component");
    let keys = [pki.certified_key()];
    let options = SignOptions {
        overwrite: Overwrite::Replace,
        ..SignOptions::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (
        folder.path().join("in.wasm"),
        folder.path().join("out.wasm"),
    );
    let mut table = Table::new(&[
        "component",
        "sign",
        "SHA-256",
        "ratio",
        "at most",
        "memory in all",
    ]);
    let mut report = Report::default();
    for (what, size, runs) in [
        ("100 kB", 100_000, 51),
        ("1 MB", 1_000_000, 31),
        ("10 MB", 10_000_000, 11),
        ("100 MB", 100_000_000, 5),
    ] {
        let component = components::of_size(size);
        std::fs::write(&input, &component).expect("the component is written");
        let sign =
            |()| sign_file(&input, &output, &manifest, &keys, &options).expect("it is signed");
        let costs = compare(
            runs,
            (|| (), sign),
            (|| (), |()| Sha256::digest(&component)),
        );
        let memory = HEAP.peak_bytes(|| sign(()));
        report.check(
            &format!("{what}, MiB in all"),
            memory as f64 / f64::from(1 << 20),
            16.0,
        );
        table.ratio(what, costs, Bound::None, &[mib(memory)]);
    }
    report.print(
        "Signing from file to file: the component is hashed while it is copied, signed, and the output read back and hashed again before it takes its name. The processor time is the kernel's reading and writing too.",
        table,
    );
    report.finish()
}

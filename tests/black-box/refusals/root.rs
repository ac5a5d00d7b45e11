//! Hosts without a root, with a damaged one, with one for development, and builds that must fail.

use std::path::PathBuf;
use std::process::Command;

use countersign_testing::{TestPki, TestPkiBuilder, write_program};
use countersign_trust_store::Code;

use super::bench::{Bench, hello};
use crate::programs::{program, run};

#[test]
fn ta28_a_host_without_a_root_refuses_everything() {
    let bench = Bench::trusting(TestPki::new(), &[]);
    let path = bench.path("hello.wasm");
    std::fs::write(&path, bench.sign(&hello())).expect("our own folder");
    let record = bench.run_refuses(&path, &[], Code::NoRoot);
    assert_eq!(
        record["anchors"].as_array().map(Vec::len),
        Some(0),
        "{record}"
    );
    let (ran, _) = bench.run(&path, &[]);
    assert!(
        ran.stderr.contains("COUNTERSIGN_ROOTS="),
        "says how to build one: {ran:?}"
    );

    // A file that is no component at all gets no other answer.
    std::fs::write(&path, b"hello").expect("our own folder");
    bench.run_refuses(&path, &[], Code::NoRoot);
}

#[test]
fn ta28_a_damaged_root_is_refused_and_is_no_panic() {
    let bench = Bench::new(TestPki::new());
    let path = bench.path("hello.wasm");
    std::fs::write(&path, bench.sign(&hello())).expect("our own folder");
    let good = std::fs::read(&bench.host).expect("our own file");
    let root = bench.pki.root();
    let at = good
        .windows(root.len())
        .position(|window| window == root)
        .expect("the root is in the host");
    // In the header, in the certificate, in the padding.
    for at in [at - 60, at + 100, at + 100_000] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        write_program(&bench.host, &bad);
        let record = bench.run_refuses(&path, &[], Code::RootUnusable);
        assert!(
            record["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("damaged")),
            "{record}"
        );
        // Nor is it filled over.
        countersign_roots_file::fill(&mut bad, &[bench.pki.anchor_source()]).expect_err("damaged");
    }
}

#[test]
fn th17_no_variable_changes_what_is_trusted() {
    let (bench, stranger) = (Bench::new(TestPki::new()), Bench::new(TestPki::new()));
    let (unsigned, strange) = (bench.path("unsigned.wasm"), bench.path("strange.wasm"));
    std::fs::write(&unsigned, hello()).expect("our own folder");
    std::fs::write(&strange, stranger.sign(&hello())).expect("our own folder");
    for (file, code) in [
        (&unsigned, Code::SignatureMissing),
        (&strange, Code::UntrustedRoot),
    ] {
        let mut host = Command::new(&bench.host);
        host.arg(file);
        for name in ["COUNTERSIGN_ROOTS", "SSL_CERT_FILE", "COUNTERSIGN_TRUST"] {
            host.env(name, &stranger.files.roots_toml);
        }
        host.env("SSL_CERT_DIR", stranger.path(""))
            .env("COUNTERSIGN_INSECURE", "1")
            .env("COUNTERSIGN_SKIP_VERIFY", "1")
            .env("SOURCE_DATE_EPOCH", "0")
            .env("WASMTIME_BACKTRACE_DETAILS", "1")
            .env("RUST_LOG", "trace");
        let ran = run(&mut host);
        assert_eq!(ran.status, i32::from(code.exit_status()), "{ran:?}");
        assert!(
            ran.stderr.contains(&format!("was refused: {code}\n")),
            "{ran:?}"
        );
        assert_eq!(ran.stdout, "", "{ran:?}");
    }
}

#[test]
fn tc40_a_development_root_is_announced_at_every_start() {
    let bench = Bench::with(TestPkiBuilder::default().development());
    let path = bench.path("hello.wasm");
    std::fs::write(&path, bench.sign(&hello())).expect("our own folder");
    let (ran, records) = bench.run(&path, &[]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stderr
            .contains("warning: this host trusts a DEVELOPMENT root"),
        "{ran:?}"
    );
    assert!(
        records.iter().all(|record| record["development"] == true),
        "{records:?}"
    );

    // Also when it refuses.
    std::fs::write(&path, hello()).expect("our own folder");
    let record = bench.run_refuses(&path, &[], Code::SignatureMissing);
    assert_eq!(record["development"], true, "{record}");
}

#[test]
fn ta28_a_bad_root_file_fails_the_build() {
    // The built build script, as cargo runs it.
    let script = build_script();
    let bench = Bench::new(TestPki::new());
    let empty = bench.path("empty.pem");
    std::fs::write(&empty, "").expect("our own folder");
    let tell = |roots: &std::path::Path| {
        run(Command::new(&script)
            .env("COUNTERSIGN_ROOTS", roots)
            .env("OUT_DIR", bench.path("")))
    };
    let good = tell(&bench.files.roots_toml);
    assert_eq!(good.status, 0, "{good:?}");
    assert!(good.stdout.contains("COUNTERSIGN_BUILD_TIME="), "{good:?}");
    assert_eq!(
        std::fs::metadata(bench.path("section"))
            .expect("written")
            .len(),
        128 << 10
    );
    for (roots, words) in [
        (bench.path("missing.pem"), "No such file"),
        (bench.path(""), "is a directory"),
        (empty, "empty"),
        (bench.files.key.clone(), "private key"),
        (bench.files.chain.clone(), "cannot be trusted"),
        (PathBuf::from("roots.pem"), "absolute"),
    ] {
        let failed = tell(&roots);
        assert_ne!(failed.status, 0, "{failed:?}");
        let line = failed
            .stdout
            .lines()
            .find(|line| line.starts_with("cargo::error="));
        assert!(
            line.is_some_and(|line| line.contains(words)),
            "{words}: {failed:?}"
        );
    }
}

/// The newest build script of countersign-roots below target/PROFILE/build.
fn build_script() -> PathBuf {
    let profile = program("countersign-run")
        .parent()
        .expect("target/PROFILE")
        .join("build");
    std::fs::read_dir(&profile)
        .expect("cargo has built")
        .map(|entry| entry.expect("can be listed").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("countersign-roots-"))
        })
        .map(|path| path.join("build-script-build"))
        .filter(|path| path.is_file())
        .max_by_key(|path| {
            path.metadata()
                .and_then(|metadata| metadata.modified())
                .expect("a file")
        })
        .expect("countersign-roots has a build script")
}

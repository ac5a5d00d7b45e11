//! Programs in C, compiled with every warning an error, and linked with either library.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign_testing::TestPki;
use tempfile::TempDir;

const HELLO: &str = include_str!("../../../tests/guests/hello.wat");

/// Exports what takes and returns bytes and text: each byte turned over, the text as it was, and nothing ever.
const PLUG_IN: &str = r#"(component
    (core module $m
        (memory (export "memory") 2)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (if (i32.gt_u (local.get 3) (i32.const 65536)) (then (unreachable)))
            (i32.const 65536))
        (func $answer (param $at i32) (param $length i32) (result i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $length))
            (i32.const 0))
        (func (export "text") (param $at i32) (param $length i32) (result i32)
            (call $answer (local.get $at) (local.get $length)))
        (func (export "endless") (param $at i32) (param $length i32) (result i32)
            (loop $for-ever (br $for-ever)) (unreachable))
        (func (export "bytes") (param $at i32) (param $length i32) (result i32)
            (local $i i32)
            (block $done
                (loop $next
                    (br_if $done (i32.eq (local.get $i) (local.get $length)))
                    (i32.store8 (i32.add (local.get $at) (local.get $i))
                        (i32.xor (i32.const 255) (i32.load8_u (i32.add (local.get $at) (local.get $i)))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next)))
            (call $answer (local.get $at) (local.get $length))))
    (core instance $i (instantiate $m))
    (func (export "bytes") (param "bytes" (list u8)) (result (list u8))
        (canon lift (core func $i "bytes") (memory $i "memory") (realloc (func $i "realloc"))))
    (func (export "text") (param "text" string) (result string)
        (canon lift (core func $i "text") (memory $i "memory") (realloc (func $i "realloc"))))
    (func (export "endless") (param "text" string) (result string)
        (canon lift (core func $i "endless") (memory $i "memory") (realloc (func $i "realloc")))))"#;

const GREEDY: &str =
    r#"(component (import "acme:plant/valves@0.1.0" (instance (export "open" (func)))))"#;

/// A folder with a PKI's files and signed components.
struct Bench {
    folder: TempDir,
    roots: PathBuf,
    lists: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let pki = TestPki::new();
        let files = pki.write(folder.path());
        let put =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let mut manifest = pki.manifest("test:hello");
        manifest.security_version = 2;
        manifest.grants.stdio.stdout = true;
        manifest.grants.args = true;
        let hello = binary(HELLO);
        put("unsigned.wasm", &hello);
        put("revoked.crl", &pki.crl_against_device(9));
        put("hello.wasm", &pki.sign(&hello, &manifest));
        put("stranger.wasm", &TestPki::new().sign(&hello, &manifest));
        put(
            "greedy.wasm",
            &pki.sign(&binary(GREEDY), &pki.manifest("test:greedy")),
        );
        put(
            "plug-in.wasm",
            &pki.sign(&binary(PLUG_IN), &pki.manifest("test:plug-in")),
        );
        Self {
            roots: files.roots_pem,
            lists: files.crls,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of pkg-config's for the libraries where they were built.
    fn described(&self) {
        let text = include_str!("../../countersign.pc.in")
            .replace("@PREFIX@", &self.path("prefix").display().to_string())
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
        let library = self.path("prefix/lib");
        std::fs::create_dir_all(library.join("pkgconfig")).unwrap();
        std::fs::create_dir_all(self.path("prefix/include")).unwrap();
        std::fs::write(library.join("pkgconfig/countersign.pc"), text).unwrap();
        let header = source("include/countersign.h");
        std::fs::copy(header, self.path("prefix/include/countersign.h")).unwrap();
        let link =
            |from: &Path, to: &str| std::os::unix::fs::symlink(from, library.join(to)).unwrap();
        link(&built("libcountersign.a"), "libcountersign.a");
        // As a package installs it: under the name by which programs ask for it, and the one by which linkers do.
        link(&built("libcountersign.so"), "libcountersign.so.0");
        link(&built("libcountersign.so"), "libcountersign.so");
    }

    /// What pkg-config says, as words.
    fn flags(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(arguments).arg("countersign");
        command.env("PKG_CONFIG_PATH", self.path("prefix/lib/pkgconfig"));
        let output = succeeded(&mut command);
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn compile(&self, file: &str, program: &str, flags: &[String]) -> PathBuf {
        let out = self.path(program);
        let mut command = Command::new("cc");
        command.args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-O1",
        ]);
        command.arg("-D_POSIX_C_SOURCE=200809L");
        command.arg(format!(
            "-DEXPECTED_VERSION=\"{}\"",
            env!("CARGO_PKG_VERSION")
        ));
        command.args(self.flags(&["--cflags"]));
        command.arg(source(file)).arg("-o").arg(&out);
        succeeded(command.args(flags));
        out
    }

    fn run(&self, program: &Path, arguments: &[&Path]) -> Output {
        Command::new(program)
            .env("LD_LIBRARY_PATH", self.path("prefix/lib"))
            .args(arguments)
            .output()
            .unwrap()
    }
}

/// One test, because linking takes longer than all the rest.
#[test]
fn programs_in_c_get_an_answer_to_every_call_and_run_what_is_verified() {
    let bench = Bench::new();
    bench.described();
    let shared = bench.flags(&["--libs"]);
    let mut whole = vec![built("libcountersign.a").display().to_string()];
    let others = bench.flags(&["--libs", "--static"]);
    whole.extend(others.into_iter().filter(|flag| flag != "-lcountersign"));

    // With what notices memory that is lost, used after it was freed, or not aligned.
    let mut watched = vec!["-fsanitize=address,undefined".to_owned()];
    watched.append(&mut whole);
    let calls = bench.compile("tests/c/calls.c", "calls", &watched);
    let output = bench.run(&calls, &[&bench.roots, &bench.lists, bench.folder.path()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"every call answered\n", "{output:?}");

    let host = bench.compile("examples/host.c", "host", &shared);
    let run = |file: &str| bench.run(&host, &[&bench.roots, &bench.lists, &bench.path(file)]);
    let output = run("hello.wasm");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        output.stdout, b"hello from a verified guest\n",
        "{output:?}"
    );
    let output = run("stranger.wasm");
    assert_eq!(output.status.code(), Some(112), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("host: untrusted-root\n  why:  "), "{said}");
    assert!(said.contains("\n  next: "), "{said}");
}

fn binary(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"))
}

/// A file of this package.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A library as it was built for these tests, beside them.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.with_file_name(name);
    assert!(library.is_file(), "{} is not built", library.display());
    library
}

fn succeeded(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

//! A file that ran here before, recognised without being read whole; and all that is only like it.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_hosting::recognise;
use countersign_runtime::trust_store::VerifiedComponent;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{Ceiling, CodeCache, CodeOrigin, GuestContext, Runtime};
use countersign_testing::TestPki;
use tempfile::TempDir;

/// Bytes of code that are kept at most (64 MiB).
const PLENTY: u64 = 64 << 20;

/// A machine with a signed file, and a runtime that keeps code.
struct Machine {
    pki: TestPki,
    runtime: Runtime,
    folder: TempDir,
    /// The signed file's bytes.
    signed: Vec<u8>,
}

impl Machine {
    /// One on which a component with so many bytes that are no code has run.
    fn with_padding(padding: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = TestPki::new();
        let cache = CodeCache::open(&folder.path().join("code"), PLENTY).expect("made");
        let runtime = Runtime::builder(pki.anchors()).code_cache(cache).build();
        let text = format!(
            r#"(component
                (core module $m (func (export "run") (result i32) i32.const 7))
                (core instance $i (instantiate $m))
                (func (export "run") (result u32) (canon lift (core func $i "run")))
                (@custom "padding" "{}"))"#,
            "p".repeat(padding)
        );
        let component = wat::parse_str(text).expect("a component");
        let signed = pki.sign(&component, &pki.manifest("test:guest"));
        let machine = Self {
            pki,
            runtime: runtime.expect("our configuration is sound"),
            folder,
            signed,
        };
        let first = recognise(&machine.put(&machine.signed), &machine.runtime);
        assert!(first.component.is_none() && first.code.is_none());
        let (now, state) = (machine.pki.now(), machine.pki.state());
        let verified = machine.runtime.verify(machine.signed.clone(), &now, &state);
        let compiled = machine.load(verified.expect("its own root is trusted"));
        assert_eq!(compiled, CodeOrigin::Compiled);
        machine
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("guest.wasm")
    }

    /// Where these bytes lie now.
    fn put(&self, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(), bytes).expect("ours");
        self.path()
    }

    fn load(&self, verified: VerifiedComponent) -> CodeOrigin {
        let linker = Linker::<GuestContext>::new(self.runtime.engine());
        let ready = self.runtime.load(verified, &Ceiling::new(), &linker);
        ready.expect("it is admitted").code_origin().clone()
    }

    fn is_recognised(&self, path: &Path) -> bool {
        recognise(path, &self.runtime).component.is_some()
    }
}

#[test]
fn te15_a_file_that_ran_here_is_recognised_whatever_its_size() {
    // Shorter than what is read of its end, of about one piece, and of several.
    for padding in [0, 128 << 10, 600_000] {
        let machine = Machine::with_padding(padding);
        let path = machine.put(&machine.signed);
        let component = recognise(&path, &machine.runtime).component;
        let component = component.expect("it ran here");
        let (now, state) = (machine.pki.now(), machine.pki.state());
        let verified = machine.runtime.verify_recognised(component, &now, &state);
        let verified = verified.expect("it is trusted");
        assert_eq!(machine.load(verified), CodeOrigin::Cached, "{padding}");
    }
}

#[test]
fn te15_ta30_what_is_only_like_it_is_not_recognised() {
    let machine = Machine::with_padding(300_000);
    let signed = &machine.signed;
    assert!(machine.is_recognised(&machine.put(signed)));
    // A bit of the first byte, at both sides of each piece's end, and of the last before the signature.
    let signature = signed.len() - 2_000;
    for at in [0, 8, 131_071, 131_072, 262_143, 262_144, 290_000, signature] {
        let mut bad = signed.clone();
        bad[at] ^= 1;
        assert!(!machine.is_recognised(&machine.put(&bad)), "{at}");
    }
    // Cut anywhere, with more before or behind it, or nothing at all.
    for at in [0, 1, 100, signed.len() / 2, signed.len() - 1] {
        assert!(!machine.is_recognised(&machine.put(&signed[..at])), "{at}");
        assert!(
            !machine.is_recognised(&machine.put(&signed[at + 1..])),
            "{at}"
        );
    }
    assert!(!machine.is_recognised(&machine.put(&[signed, &b"\0"[..]].concat())));
    assert!(!machine.is_recognised(&machine.put(&[signed.as_slice(), signed].concat())));
    machine.put(signed);
    assert!(machine.is_recognised(&machine.path()));
}

#[test]
fn te15_what_is_no_file_of_bytes_is_not_recognised_and_not_waited_for() {
    let machine = Machine::with_padding(0);
    let folder = machine.folder.path();
    assert!(!machine.is_recognised(folder));
    assert!(!machine.is_recognised(&folder.join("none")));
    assert!(!machine.is_recognised(Path::new("/dev/zero")));
    // A pipe whose other end nobody opens.
    let pipe = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("coreutils").success());
    assert!(!machine.is_recognised(&pipe));
    // Larger than any component may be, and nothing in it.
    let large = folder.join("large");
    let file = fs::File::create(&large).expect("ours");
    file.set_len(1 << 40).expect("a hole");
    assert!(!machine.is_recognised(&large));
}

//! A host with a root of its own, and guests signed under that root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

/// Made once for all tests of this process.
pub(crate) static HOST: LazyLock<Host> = LazyLock::new(Host::new);

/// A copy of the built host, and the development PKI whose root it holds.
pub(crate) struct Host {
    folder: tempfile::TempDir,
}

/// A signed guest in a folder of its own.
pub(crate) struct Signed {
    host: PathBuf,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) seconds: f64,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pki = folder.path().join("pki");
        let mut dev = Command::new(program("countersign-ca"));
        run(dev
            .args(["dev", "--scope", "examples:*", "--dir"])
            .arg(&pki))
        .succeeded();

        let roots = countersign_roots_file::parse(&pki.join("roots.toml")).expect("usable roots");
        let built = program("countersign-run");
        let mut bytes = std::fs::read(&built).expect("the built host can be read");
        countersign_roots_file::fill(&mut bytes, &roots).expect("the built host takes roots");
        let host = folder.path().join("countersign-run");
        std::fs::write(&host, bytes).expect("a temporary folder takes files");
        let permissions = std::fs::metadata(&built)
            .expect("it is there")
            .permissions();
        std::fs::set_permissions(&host, permissions).expect("our own file");
        Self { folder }
    }

    /// The guest of guest-examples/NAME, signed as its component.toml says.
    pub(crate) fn sign(&self, name: &str) -> Signed {
        let wasm = target().join("guests").join(format!("{name}.wasm"));
        assert!(
            wasm.is_file(),
            "{} is not built; run `cargo xtask guests` first",
            wasm.display()
        );
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../guest-examples")
            .join(name);

        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("guest.signed.wasm");
        let pki = self.folder.path().join("pki");
        let mut sign = Command::new(program("countersign"));
        sign.arg("sign")
            .arg(wasm)
            .arg("--manifest")
            .arg(source.join("component.toml"));
        sign.arg("--key").arg(pki.join("device.key.pem"));
        sign.arg("--chain").arg(pki.join("device.chain.pem"));
        run(sign.arg("--output").arg(&file)).succeeded();
        let host = self.folder.path().join("countersign-run");
        Signed {
            host,
            file,
            _folder: folder,
        }
    }
}

impl Signed {
    /// Runs the guest with these arguments after the file's name.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(Command::new(&self.host).arg(&self.file).args(arguments))
    }
}

impl Ran {
    #[track_caller]
    fn succeeded(&self) {
        assert_eq!(self.status, 0, "{self:?}");
    }
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let started = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Ran {
        status: output
            .status
            .code()
            .expect("ended by itself, not by a signal"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// A built program: beside the folder of the running test, target/PROFILE/deps.
pub(crate) fn program(name: &str) -> PathBuf {
    let program = profile().join(name);
    assert!(
        program.is_file(),
        "{} is not built; run `cargo build --workspace` first",
        program.display()
    );
    program
}

/// target/PROFILE.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows where it is");
    test.parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps/NAME")
        .to_path_buf()
}

/// The build folder, above target/PROFILE.
pub(crate) fn target() -> PathBuf {
    profile().parent().expect("target/PROFILE").to_path_buf()
}

//! A host with a root of its own, and guests signed under that root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::components::guest;
use crate::programs::{Ran, fill_host, program, run};

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
        fill_host(&folder.path().join("countersign-run"), &roots);
        Self { folder }
    }

    /// The guest of guest-examples/NAME, signed as its component.toml says.
    pub(crate) fn sign(&self, name: &str) -> Signed {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../guest-examples")
            .join(name);

        let folder = tempfile::tempdir().expect("a temporary folder");
        let wasm = folder.path().join("guest.wasm");
        std::fs::write(&wasm, guest(name)).expect("a temporary folder takes files");
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
        run(self.command().args(arguments))
    }

    /// The command that runs it, without arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.host);
        command.arg(&self.file);
        command
    }
}

impl Ran {
    #[track_caller]
    fn succeeded(&self) {
        assert_eq!(self.status, 0, "{self:?}");
    }
}

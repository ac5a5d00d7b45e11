//! Installs what a command needs and the machine does not have.
//!
//! Each need is looked for first, so that a machine that has everything loses no time. What is missing is
//! installed with apt-get by root on Debian; anyone else is told the one line to run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::guests::c;
use crate::process::{capture, root, run, say, succeeds, target};

/// The virtual environment of the tests.
const TESTS: &str = "tests";

/// Something that a command needs from the machine.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    /// Chromium and its driver: the operator's page in a browser.
    Browser,
    /// A C compiler: what stands in for a bus of Linux, and programs that embed the runtime.
    CCompiler,
    /// A C++ compiler: libFuzzer is built from its source.
    CppCompiler,
    /// curl: a client of the authority that is not ours.
    Curl,
    /// cfssl: another authority with a database, that ours is measured beside.
    Cfssl,
    /// dpkg's tools for making packages: a Debian package of the gateway.
    DebianTools,
    /// Debian's docker-registry: an OCI registry that bundles are pulled from.
    DockerRegistry,
    /// faketime: the demo shows what a host says two days from now.
    Faketime,
    /// A toolchain for guests: rustup's target where installed, Debian's own Rust otherwise.
    GuestToolchain,
    /// A C compiler for guests, with its libraries.
    GuestToolchainC,
    /// Mosquitto: the broker that devices talk to over TLS.
    Mosquitto,
    /// Node.js and npm: guests in JavaScript.
    Node,
    /// llvm-cov and llvm-profdata of the compiler's LLVM: coverage.
    LlvmTools,
    /// OpenSSL: the reference that certificates, requests and revocation lists are held against.
    OpenSsl,
    /// OpenSSL's library, for the tests that ask it in their own process.
    OpenSslLibrary,
    /// A compiler's parts for 64-bit ARM, and an emulator: the tests on another processor.
    OtherProcessor,
    /// libtss2, swtpm and tpm2-tools: TPM 2.0 without a chip, and the tools that judge what is made with it.
    Tpm,
    /// PostgreSQL: the registry of several replicas; each test starts a server of its own.
    PostgreSql,
    /// SoftHSM and OpenSC's tools: PKCS#11 tokens without hardware, made by others than us; and what a second module is
    /// built with.
    Pkcs11Tokens,
    /// strace: the gateway is killed, and its disk fails, at each change that is to last.
    Strace,
    /// systemd's tools: they judge the gateway's unit.
    Systemd,
    /// strongSwan's pki: a client of EST that is not ours.
    StrongSwanPki,
    /// QEMU, debootstrap and lintian: the Debian package on a machine of its own.
    VirtualMachine,
    /// Python with pip and venv: the demo's foreign component comes from PyPI, and so does what makes a component of
    /// a guest in Python.
    Python,
}

/// Where Debian keeps the tools of the LLVM that the compiler uses, version 22.
pub(crate) const LLVM: &str = "/usr/lib/llvm-22/bin";

/// The library by which the bindings to a C library are made when it is built.
const LIBCLANG: &str = "/usr/lib/llvm-22/lib/libclang-22.so.1";

/// Makes sure that everything in `needs` is there.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<Need> = needs
        .iter()
        .copied()
        .filter(|need| !need.is_there())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.packages())
        .copied()
        .collect();
    if !succeeds("apt-get", &["--version"]) || !is_root() {
        let lines: Vec<String> = missing.iter().map(|need| need.line_to_run()).collect();
        bail!(
            "something is missing on this machine; please run\n\n    {}\n",
            lines.join("\n    ")
        );
    }
    say(&format!("installing {}", packages.join(" ")));
    install(&packages)?;
    match missing.iter().find(|need| !need.is_there()) {
        None => Ok(()),
        Some(need) => bail!(
            "{} were installed and are still not enough for {}",
            need.packages().join(" "),
            need.purpose()
        ),
    }
}

impl Need {
    fn is_there(self) -> bool {
        match self {
            Self::Browser => {
                succeeds("chromium", &["--version"]) && succeeds("chromedriver", &["--version"])
            }
            Self::CCompiler => succeeds("cc", &["--version"]),
            Self::CppCompiler => succeeds("c++", &["--version"]),
            Self::Curl => succeeds("curl", &["--version"]),
            Self::Cfssl => succeeds("cfssl", &["version"]),
            Self::DebianTools => {
                succeeds("dpkg-deb", &["--version"]) && succeeds("dpkg-shlibdeps", &["--version"])
            }
            Self::DockerRegistry => succeeds("docker-registry", &["--version"]),
            Self::Faketime => succeeds("faketime", &["--version"]),
            Self::GuestToolchain => rustup_has_guest_target() || debian_has_guest_toolchain(),
            Self::GuestToolchainC => debian_has_guest_toolchain_c(),
            // Debian puts it where only an administrator's PATH leads; asked for its help, it ends with status 3.
            Self::Mosquitto => {
                Path::new("/usr/sbin/mosquitto").exists()
                    || Command::new("mosquitto").arg("-h").output().is_ok()
            }
            Self::Node => succeeds("node", &["--version"]) && succeeds("npm", &["--version"]),
            Self::LlvmTools => Path::new(LLVM).join("llvm-profdata").exists(),
            Self::OpenSsl => succeeds("openssl", &["version"]),
            Self::OpenSslLibrary => succeeds("pkg-config", &["--exists", "openssl"]),
            Self::OtherProcessor => {
                debian_has_guest_toolchain()
                    && succeeds("aarch64-linux-gnu-gcc", &["--version"])
                    && succeeds("qemu-aarch64", &["--version"])
            }
            Self::Tpm => {
                succeeds(
                    "pkg-config",
                    &["--exists", "tss2-sys", "tss2-esys", "tss2-mu"],
                ) && succeeds("swtpm", &["--version"])
                    && succeeds("tpm2_checkquote", &["--version"])
                    && shared_library_exists("libtss2-tcti-swtpm.so.0")
            }
            Self::Pkcs11Tokens => {
                succeeds("softhsm2-util", &["--version"])
                    && succeeds("opensc-tool", &["--version"])
                    && succeeds("pkg-config", &["--exists", "openssl", "sqlite3"])
                    && Path::new(LIBCLANG).exists()
            }
            Self::PostgreSql => std::fs::read_dir("/usr/lib/postgresql")
                .is_ok_and(|mut versions| versions.next().is_some()),
            Self::Strace => succeeds("strace", &["-V"]),
            Self::StrongSwanPki => succeeds("pki", &["--help"]),
            Self::Systemd => succeeds("systemd-analyze", &["--version"]),
            Self::VirtualMachine => {
                succeeds("qemu-system-x86_64", &["--version"])
                    && succeeds("debootstrap", &["--version"])
                    && succeeds("lintian", &["--version"])
                    && succeeds("mkfs.ext4", &["-V"])
            }
            Self::Python => {
                succeeds("python3", &["-m", "pip", "--version"])
                    && succeeds("python3", &["-c", "import ensurepip, venv"])
            }
        }
    }

    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Browser => &["chromium", "chromium-driver"],
            Self::CCompiler => &["gcc", "libc6-dev"],
            Self::CppCompiler => &["g++"],
            Self::Curl => &["curl"],
            Self::Cfssl => &["golang-cfssl"],
            Self::DebianTools => &["dpkg-dev"],
            Self::DockerRegistry => &["docker-registry"],
            Self::Faketime => &["faketime"],
            // rust-lld is a dangling link without lld-22; the standard library is built from its source.
            Self::GuestToolchain => &["rustc-web", "rust-web-src", "rust-web-llvm", "lld-22"],
            Self::GuestToolchainC => &[
                "clang-22",
                "libclang-rt-22-dev-wasm32",
                "lld-22",
                "wasi-libc",
            ],
            Self::Mosquitto => &["mosquitto"],
            Self::Node => &["nodejs", "npm"],
            Self::LlvmTools => &["llvm-22"],
            Self::OpenSsl => &["openssl"],
            Self::OpenSslLibrary => &["libssl-dev", "pkg-config"],
            Self::OtherProcessor => &[
                "rustc-web",
                "rust-web-src",
                "rust-web-llvm",
                "lld-22",
                "gcc-aarch64-linux-gnu",
                "libc6-dev-arm64-cross",
                "qemu-user",
            ],
            Self::Tpm => &[
                "libtss2-dev",
                "libtss2-tcti-swtpm0",
                "pkg-config",
                "swtpm",
                "swtpm-tools",
                "tpm2-tools",
            ],
            Self::Pkcs11Tokens => &[
                "softhsm2",
                "opensc",
                "libclang1-22",
                "libsqlite3-dev",
                "libssl-dev",
                "pkg-config",
            ],
            Self::PostgreSql => &["postgresql"],
            Self::Strace => &["strace"],
            Self::Systemd => &["systemd"],
            // The plugins compute what is signed; without them it knows no algorithm.
            Self::StrongSwanPki => &["strongswan-pki", "libstrongswan-standard-plugins"],
            Self::VirtualMachine => &["qemu-system-x86", "debootstrap", "lintian", "e2fsprogs"],
            Self::Python => &["python3", "python3-pip", "python3-venv"],
        }
    }

    fn line_to_run(self) -> String {
        match self {
            Self::GuestToolchain if succeeds("rustup", &["--version"]) => {
                format!("rustup target add {}", crate::guests::RUSTUP_TARGET)
            }
            _ => format!("sudo apt-get install -y {}", self.packages().join(" ")),
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Browser => "looking at the operator's page",
            Self::CCompiler => "building programs in C",
            Self::CppCompiler => "building libFuzzer",
            Self::Curl => "asking the authority",
            Self::Cfssl => "comparing with another authority",
            Self::DebianTools => "making a Debian package",
            Self::DockerRegistry => "pulling bundles from a registry",
            Self::Faketime => "setting a clock ahead",
            Self::GuestToolchain => "building guests",
            Self::GuestToolchainC => "building guests in C",
            Self::Mosquitto => "MQTT over TLS",
            Self::Node => "building guests in JavaScript",
            Self::LlvmTools => "reading coverage",
            Self::OpenSsl | Self::OpenSslLibrary => "comparing with OpenSSL",
            Self::OtherProcessor => "tests on another processor",
            Self::Tpm => "keys in a TPM",
            Self::Pkcs11Tokens => "keys in PKCS#11 tokens",
            Self::PostgreSql => "a registry in PostgreSQL",
            Self::Strace => "killing the gateway at each write",
            Self::StrongSwanPki => "enrolling by EST",
            Self::Systemd => "judging the gateway's unit",
            Self::VirtualMachine => "a machine of its own",
            Self::Python => "fetching a package from PyPI",
        }
    }
}

/// Installs the Python packages of tests/python into a virtual environment in the build folder.
pub(crate) fn python_packages() -> Result<()> {
    install_python_packages(
        &python_environment(TESTS),
        &root().join("tests/python/requirements.txt"),
    )
}

/// Installs Python packages into a virtual environment, once for each content of the file that names them.
pub(crate) fn install_python_packages(environment: &Path, requirements: &Path) -> Result<()> {
    let wanted = std::fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let installed = environment.join("requirements.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(environment))?;
    let mut pip = Command::new(environment.join("bin/python3"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ]);
    run(pip.arg(requirements))?;
    std::fs::write(&installed, wanted)?;
    Ok(())
}

/// PATH with the virtual environment of [`python_packages`] in front.
pub(crate) fn path_with_python() -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(python_environment(TESTS).join("bin"));
    Ok(std::env::join_paths(
        folders.chain(std::env::split_paths(&path)),
    )?)
}

/// The virtual environment of this name in the build folder.
pub(crate) fn python_environment(name: &str) -> PathBuf {
    target().join("python").join(name)
}

/// Whether rustup's active toolchain can build guests.
pub(crate) fn rustup_has_guest_target() -> bool {
    rustup_has_target(crate::guests::RUSTUP_TARGET)
}

/// Whether rustup's active toolchain can build for this target.
pub(crate) fn rustup_has_target(name: &str) -> bool {
    capture(Command::new("rustup").args(["target", "list", "--installed"]))
        .is_ok_and(|list| list.lines().any(|target| target == name))
}

fn debian_has_guest_toolchain() -> bool {
    Path::new("/usr/bin/rustc").exists()
        && Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml").exists()
        && Path::new("/usr/bin/rust-lld").exists()
}

fn debian_has_guest_toolchain_c() -> bool {
    succeeds(c::CLANG, &["--version"])
        && succeeds("wasm-ld-22", &["--version"])
        && Path::new(c::LIBRARIES).join("libc.a").exists()
        && capture(
            Command::new(c::CLANG).args(["--target=wasm32-wasip1", "-print-libgcc-file-name"]),
        )
        .is_ok_and(|path| Path::new(path.trim()).is_file())
}

/// Whether the loader finds a library of this name.
fn shared_library_exists(name: &str) -> bool {
    capture(Command::new("ldconfig").arg("-p")).is_ok_and(|list| list.contains(name))
}

fn is_root() -> bool {
    capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn install(packages: &[&str]) -> Result<()> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    run(apt().arg("update"))?;
    run(apt()
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages))
}

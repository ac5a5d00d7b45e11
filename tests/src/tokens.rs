//! PKCS#11 tokens for tests, in software, made by the modules' own tools: SoftHSM and Kryoptic.
//!
//! A module reads its configuration once in a process, from the place that an environment variable names. So a test
//! that loads one runs in a process of its own: [`in_own_process`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The PIN of every token here.
pub const PIN: &str = "4711-0815";

/// The PIN of its security officer.
const SO_PIN: &str = "87654321";

/// Names the folder with the tokens to the process that a test starts for itself.
const FOLDER: &str = "COUNTERSIGN_TEST_TOKENS";

/// A PKCS#11 module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// SoftHSM 2, Debian's package.
    SoftHsm,
    /// Kryoptic, built by `cargo xtask test`.
    Kryoptic,
}

/// A folder with a module's configuration and its tokens, removed afterwards.
pub struct Tokens {
    module: Module,
    folder: Folder,
}

enum Folder {
    Own(tempfile::TempDir),
    OfParent(PathBuf),
}

impl Tokens {
    /// A configuration, and no token yet.
    ///
    /// # Panics
    /// When a file cannot be written.
    #[must_use]
    pub fn none(module: Module) -> Self {
        let folder = tempfile::tempdir().expect("a folder for tokens");
        let tokens = Self {
            module,
            folder: Folder::Own(folder),
        };
        let at = |name: &str| tokens.folder().join(name);
        let text = match module {
            Module::SoftHsm => {
                fs::create_dir(at("tokens")).expect("a folder");
                format!(
                    "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                    at("tokens").display()
                )
            }
            Module::Kryoptic => (0..2)
                .map(|slot| {
                    format!(
                        "[[slots]]\nslot = {slot}\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n",
                        at(&format!("token-{slot}.sql")).display()
                    )
                })
                .collect(),
        };
        fs::write(at("conf"), text).expect("a configuration");
        fs::write(at("pin"), format!("{PIN}\n")).expect("a PIN file");
        tokens
    }

    /// A configuration and a token of this label.
    ///
    /// # Panics
    /// When the module's tool fails.
    #[must_use]
    pub fn with(module: Module, label: &str) -> Self {
        let tokens = Self::none(module);
        tokens.initialise(label);
        tokens
    }

    /// Makes another token.
    ///
    /// # Panics
    /// When the module's tool fails.
    pub fn initialise(&self, label: &str) {
        match self.module {
            Module::SoftHsm => self.run(
                "softhsm2-util",
                &[
                    "--init-token",
                    "--free",
                    "--label",
                    label,
                    "--so-pin",
                    SO_PIN,
                    "--pin",
                    PIN,
                ],
            ),
            Module::Kryoptic => {
                let slot = usize::from(self.path("token-0.sql").exists()).to_string();
                self.tool(&[
                    "--slot",
                    &slot,
                    "--init-token",
                    "--label",
                    label,
                    "--so-pin",
                    SO_PIN,
                ]);
                self.tool(&[
                    "--slot",
                    &slot,
                    "--login",
                    "--login-type",
                    "so",
                    "--so-pin",
                    SO_PIN,
                    "--init-pin",
                    "--pin",
                    PIN,
                ]);
            }
        }
    }

    /// Removes a token with all its keys. SoftHSM only.
    ///
    /// # Panics
    /// When the module's tool fails.
    pub fn remove(&self, label: &str) {
        assert_eq!(self.module, Module::SoftHsm, "it alone has a tool for that");
        self.run("softhsm2-util", &["--delete-token", "--token", label]);
    }

    /// Runs OpenSC's `pkcs11-tool` on the module, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn tool(&self, arguments: &[&str]) {
        let module = self.module_path();
        let module = module.to_str().expect("UTF-8");
        self.run("pkcs11-tool", &[&["--module", module], arguments].concat());
    }

    /// Where the module reads its configuration: for the environment of whoever loads it.
    #[must_use]
    pub fn environment(&self) -> (&'static str, PathBuf) {
        let variable = match self.module {
            Module::SoftHsm => "SOFTHSM2_CONF",
            Module::Kryoptic => "KRYOPTIC_CONF",
        };
        (variable, self.path("conf"))
    }

    /// The URI of a key in a token: `pkcs11:token=LABEL;object=KEY?module-path=…`, with the PIN from a file.
    #[must_use]
    pub fn uri(&self, label: &str, key: &str) -> String {
        format!(
            "{}&pin-source=file:{}",
            self.uri_without_pin(label, key),
            self.path("pin").display()
        )
    }

    /// The same without the PIN's file.
    #[must_use]
    pub fn uri_without_pin(&self, label: &str, key: &str) -> String {
        format!(
            "pkcs11:token={label};object={key}?module-path={}",
            self.module_path().display()
        )
    }

    /// A file of the folder: `conf`, `pin`, or what a test writes.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The module's file.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn module_path(&self) -> PathBuf {
        let (path, remedy) = match self.module {
            Module::SoftHsm => (
                PathBuf::from("/usr/lib/softhsm/libsofthsm2.so"),
                "install softhsm2",
            ),
            Module::Kryoptic => (
                target().join("tools/kryoptic/libkryoptic_pkcs11.so"),
                "run `cargo xtask test`, or `cargo xtask kryoptic` alone",
            ),
        };
        assert!(path.is_file(), "{} is missing; {remedy}", path.display());
        path
    }

    fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Own(folder) => folder.path(),
            Folder::OfParent(path) => path,
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let (variable, conf) = self.environment();
        let output = Command::new(program)
            .args(arguments)
            .env(variable, conf)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Runs the rest of this test in a process of its own, in whose environment the module finds these tokens: starts the
/// test's own program again for this one test. `test` gets the tokens there.
///
/// # Panics
/// When the test fails there.
pub fn in_own_process(module: Module, label: &str, test: impl FnOnce(&Tokens)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return test(&Tokens {
            module,
            folder: Folder::OfParent(folder.into()),
        });
    }
    let tokens = Tokens::with(module, label);
    let (variable, conf) = tokens.environment();
    let name = std::thread::current()
        .name()
        .expect("libtest names the thread after the test")
        .to_owned();
    let output = Command::new(std::env::current_exe().expect("the test knows where it lies"))
        .args(["--exact", &name, "--nocapture", "--test-threads=1"])
        .env(variable, conf)
        .env(FOLDER, tokens.folder())
        .stdin(Stdio::null())
        .output()
        .expect("the test's own program");
    let said = String::from_utf8_lossy(&output.stdout);
    // That it ran one test, too: a name that fits none would pass.
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{name} failed in its own process:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The build folder: above target/PROFILE/deps, where the running test lies.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows where it lies");
    test.ancestors()
        .nth(3)
        .expect("target/PROFILE/deps/NAME")
        .to_path_buf()
}

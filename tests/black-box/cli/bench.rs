//! A folder of its own for one test, and the built program run in it.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The smallest component, with a custom section to have bytes to change in.
pub(crate) const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\0\x0d\x04notea remark";

/// A folder that is removed after the test.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("the test's own folder takes files");
    }

    /// A file that its owner alone can read, as a key must be.
    pub(crate) fn write_private(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.write(name, bytes);
        self.set_mode(name, 0o600);
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode))
            .expect("the test's own file");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The names in the folder, sorted: to show that nothing was left half-written.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .expect("readable")
            .map(|entry| {
                entry
                    .expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// Runs `countersign` with these arguments, in this folder, without a terminal.
    pub(crate) fn countersign<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Ran {
        let mut command = Command::new(program("countersign"));
        command.args(arguments).env_remove("NO_COLOR");
        self.run(command, b"")
    }

    /// Arguments in one string, separated by blanks; for those that hold none themselves.
    pub(crate) fn line(&self, arguments: &str) -> Ran {
        self.countersign(arguments.split_whitespace())
    }

    /// Runs `openssl`, which must succeed.
    pub(crate) fn openssl(&self, arguments: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        assert!(
            output.status.success(),
            "openssl {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Runs `countersign` at a terminal of its own and types each line once `prompt` has appeared again.
    /// What is shown there, both streams in one, is the standard output.
    pub(crate) fn at_a_terminal(&self, arguments: &str, prompt: &str, lines: &[&str]) -> Ran {
        self.at_a_terminal_with(&[], arguments, prompt, lines)
    }

    /// The same with these variables in its environment. The arguments are a shell's words.
    pub(crate) fn at_a_terminal_with(
        &self,
        environment: &[(&str, &OsStr)],
        arguments: &str,
        prompt: &str,
        lines: &[&str],
    ) -> Ran {
        let mut child = Command::new("script")
            .envs(environment.iter().copied())
            .arg("-qec")
            .arg(format!("{} {arguments}", program("countersign").display()))
            .arg("/dev/null")
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is part of every Linux");
        let mut keyboard = child.stdin.take().expect("piped");
        let mut screen = child.stdout.take().expect("piped");
        let mut shown = Vec::new();
        let mut typed = 0;
        let mut byte = [0];
        while screen.read(&mut byte).expect("readable") == 1 {
            shown.push(byte[0]);
            if let Some(line) = lines.get(typed)
                && shown.ends_with(prompt.as_bytes())
            {
                // The prompt is printed just before the echo is switched off, which nobody sees from here.
                std::thread::sleep(Duration::from_secs(1));
                writeln!(keyboard, "{line}").expect("the program reads");
                typed += 1;
            }
        }
        Ran {
            status: child.wait().expect("ended").code().expect("by itself"),
            stdout: String::from_utf8(shown).expect("UTF-8"),
            stderr: String::new(),
        }
    }

    /// Runs any program in this folder.
    pub(crate) fn run(&self, mut command: Command, input: &[u8]) -> Ran {
        let mut child = command
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // A program that does not read its input closes the pipe; that is its right.
        let _ = child.stdin.take().expect("piped").write_all(input);
        Ran::from(child.wait_with_output().expect("the program ends"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output
                .status
                .code()
                .expect("ended by itself, not by a signal"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Ran {
    /// Status 0, or the test fails with what the program said.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.status, 0, "{self:#?}");
        self
    }

    /// This status, all of these words on standard error, and no panic.
    #[track_caller]
    pub(crate) fn failed(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        for word in words {
            assert!(
                self.stderr.contains(word),
                "standard error lacks `{word}`: {self:#?}"
            );
        }
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let value: serde_json::Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        assert_eq!(value["version"], 1, "{value}");
        value
    }
}

/// A built program: two folders above the running test, `target/PROFILE/deps/black-box-…`.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test knows where it lies");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is not built; run `cargo build -p {name}` first",
        program.display()
    );
    program
}

//! The folder that the demo plays in, and commands run and shown there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::guests;
use crate::process::shown;

/// The demo's folder; its programs are in `bin`.
pub(crate) struct Stage {
    folder: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
}

/// What a command did.
pub(crate) struct Outcome {
    shown: String,
    /// The exit status; none where a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Stage {
    /// An empty folder: what an earlier demo left is removed, because its keys and outputs would be refused
    /// as existing.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder.join("bin"))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            folder,
            environment: Vec::new(),
        })
    }

    /// Gives the demo's programs, from now on, this variable.
    pub(crate) fn set_environment(&mut self, name: &'static str, value: &Path) {
        self.environment.push((name, value.to_path_buf()));
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Copies a built program to bin/NAME.
    pub(crate) fn take(&self, program: &Path, name: &str) -> Result<()> {
        std::fs::copy(program, self.folder.join("bin").join(name))
            .with_context(|| format!("cannot copy {}", program.display()))?;
        Ok(())
    }

    /// Copies a guest, and its component.toml as `manifest`.
    pub(crate) fn copy_guest(&self, name: &str, manifest: &str) -> Result<()> {
        std::fs::copy(guests::wasm(name), self.path(&format!("{name}.wasm")))?;
        std::fs::copy(
            guests::source(name).join("component.toml"),
            self.path(manifest),
        )?;
        Ok(())
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        std::fs::write(self.path(name), content).with_context(|| format!("cannot write {name}"))
    }

    /// One of the demo's programs, started in the demo's folder.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join("bin").join(program));
        command.current_dir(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The same, with a clock that is `ahead`; monotonic clocks run on as they are.
    pub(crate) fn command_at(&self, ahead: &str, program: &str) -> Command {
        let mut command = Command::new("faketime");
        command.current_dir(&self.folder);
        command.args(["--exclude-monotonic", "-f", ahead]);
        command.arg(Path::new("bin").join(program));
        command
    }

    /// Shows a command, runs it, and shows what it said.
    pub(crate) fn show(&self, command: &mut Command) -> Result<Outcome> {
        let shown = shown(command);
        println!("$ {shown}");
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {shown}"))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        print!("{stderr}{stdout}");
        std::io::stdout().flush()?;
        Ok(Outcome {
            shown,
            status: output.status.code(),
            stdout,
            stderr,
        })
    }
}

impl Outcome {
    /// This outcome, if the exit status was 0.
    pub(crate) fn must_succeed(self) -> Result<Self> {
        match self.status {
            Some(0) => Ok(self),
            Some(status) => bail!("`{}` ended with exit status {status}", self.shown),
            None => bail!("`{}` was ended by a signal", self.shown),
        }
    }
}

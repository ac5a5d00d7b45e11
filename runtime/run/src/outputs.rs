//! Which of this program's outputs a guest may write to: none where records go, or it could write records, too, and break
//! off those of others.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;

use countersign_hosting::AuditLog;

use crate::args::Run;

/// The outputs that carry records, and are not the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Taken {
    /// What the audit log and the lines of `--json` take. They may reach an output by its number, as a file that is the
    /// same (`2>>FILE`, `/dev/stderr`), or as the same pipe (`2>&1`). A terminal is both outputs by custom, and no log:
    /// there the guest keeps its standard output.
    pub(crate) fn by(run: &Run, log: &AuditLog) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let file = log.file().and_then(place);
        let is_log = |output: &dyn Fn() -> Option<Place>| file.is_some() && output() == file;
        let at_stderr = run.json || log.is_stderr() || is_log(&|| place(&stderr));
        let same = || place(&stdout).is_some() && place(&stdout) == place(&stderr);
        Self {
            stdout: is_log(&|| place(&stdout)) || (at_stderr && !stdout.is_terminal() && same()),
            stderr: at_stderr,
        }
    }

    /// What the operator hears of a component that wants an output.
    pub(crate) fn notes(self, stdout: bool, stderr: bool) -> Vec<String> {
        let outputs = [
            ("stdout", self.stdout && stdout),
            ("stderr", self.stderr && stderr),
        ];
        let lost = outputs.iter().filter(|(_, is_lost)| *is_lost);
        lost.map(|(name, _)| {
            format!(
                "what the component writes to {name} is thrown away, because records go there; \
                 give --audit a file of its own and leave out --json to see it"
            )
        })
        .collect()
    }
}

/// A file, pipe or device: its file system and its number there.
type Place = (u64, u64);

fn place(output: &impl AsFd) -> Option<Place> {
    let opened = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
    let metadata = opened(output.as_fd()).and_then(|file| file.metadata());
    metadata.ok().map(|of| (of.dev(), of.ino()))
}

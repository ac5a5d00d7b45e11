//! The text of a configuration: read from a file that is its owner's alone, and the places in it that are wrong.

use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The largest configuration that is read, in bytes (1 MiB).
const MAX_BYTES: u64 = 1 << 20;

/// The text of the file. Whoever may write it decides what components may touch: its owner must be this user or root, and
/// alone. What is asked is the file that was opened, whatever has its name by then.
pub(super) fn read_owned(path: &Path) -> Result<String, String> {
    let unreadable =
        |error: std::io::Error| format!("it cannot be read: {error}; name the file with --config");
    // A FIFO would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let ours = std::fs::metadata("/proc/self").map_err(unreadable)?.uid();
    if ![0, ours].contains(&metadata.uid()) {
        return Err(format!(
            "it belongs to user {}, and may only be root's or that of the gateway's user",
            metadata.uid()
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "others than its owner may write it (mode {:o}); take that away with chmod go-w",
            metadata.mode() & 0o777
        ));
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) place: Option<Range<usize>>,
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn at(span: Range<usize>, message: String) -> Self {
        Self {
            place: Some(span),
            message,
        }
    }
}

/// Line and column of a place in a text, both from 1; columns are characters.
pub(super) fn place(text: &str, span: Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The configuration cannot be used.
#[derive(Debug)]
pub(crate) struct ConfigError {
    pub(super) file: PathBuf,
    pub(super) place: Option<(usize, usize)>,
    pub(super) message: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

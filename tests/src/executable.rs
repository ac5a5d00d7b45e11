//! Programs that a test writes and then starts.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program to `path`, mode 0755, replacing what is there.
///
/// A process of its own writes it: what this one holds open for writing, a child that another thread starts at that
/// moment holds open too until it has begun, and no file is started that anybody holds open for writing (execve(2), ETXTBSY).
///
/// # Panics
/// When the file cannot be written.
pub fn write_program(path: &Path, program: &[u8]) {
    let mut writer = Command::new("sh")
        .args(["-c", r#"cat > "$1" && chmod 755 "$1""#, "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    let mut input = writer.stdin.take().expect("its input is ours");
    let written = input.write_all(program);
    drop(input);
    let ended = writer.wait().expect("it was started here");
    assert!(
        written.is_ok() && ended.success(),
        "{} is not written: {ended}",
        path.display()
    );
}

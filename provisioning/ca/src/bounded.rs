//! Files of other people's making, read to a bound: what a name leads to may have no end, and its size may be a lie.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;

/// The whole of a file of at most `most` bytes. No more than that, and one byte, is ever read.
pub(crate) fn read(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    anyhow::ensure!(
        !path.is_dir(),
        "{} is a folder: name a file",
        path.display()
    );
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes))
        .with_context(|| format!("{} could not be read", path.display()))?;
    anyhow::ensure!(
        u64::try_from(read).is_ok_and(|read| read <= most),
        "{} is more than {most} bytes, and nothing that is expected here is",
        path.display()
    );
    Ok(bytes)
}

/// The same of a text.
pub(crate) fn read_text(path: &Path, most: u64) -> anyhow::Result<String> {
    String::from_utf8(read(path, most)?)
        .with_context(|| format!("{} is no text in UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_or_lies_about_its_size_is_read_to_the_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 10]).expect("written");
        assert_eq!(read(&path, 10).expect("as long as allowed"), [7; 10]);
        for (path, most) in [
            (path.as_path(), 9),
            (Path::new("/dev/zero"), 1 << 20),
            // Its size is 0 by its metadata.
            (Path::new("/proc/self/maps"), 20),
        ] {
            let error = read(path, most).expect_err("too long");
            assert!(error.to_string().contains("more than"), "{error}");
        }
    }
}

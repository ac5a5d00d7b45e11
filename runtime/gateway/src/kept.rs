//! Copies of the files that proved healthy, with the code that came with them: what runs when the file in its place cannot.
//!
//! A copy is verified like any other file before it runs. It is a second place to look, and no reason to trust.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use countersign_durable as durable;
use countersign_format::Digest;
use countersign_hosting::{MAX_FILE_BYTES, Read, read};

use crate::config::Place;

/// The length of what is held back: two digests in hexadecimal, and a blank.
const MAX_HELD: u64 = 129;

/// How the names of files of code end; before that stands the digest of the signed file that it is for.
const CODE: &str = "code";

/// The folder of the copies.
#[derive(Clone, Debug)]
pub(crate) struct Kept(PathBuf);

impl Kept {
    /// The copies in this state's folder, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn in_state(state: &Path) -> anyhow::Result<Self> {
        let folder = state.join("kept");
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("{} cannot be made", folder.display()))
            }
            made => {
                if made.is_ok() {
                    // Before a version is remembered of which the copy lies in it.
                    durable::sync_folder(state)
                        .with_context(|| format!("{} cannot be kept", folder.display()))?;
                }
                Ok(Self(folder))
            }
        }
    }

    /// Where the copy of a service lies, if there is one. The name is a service's: letters, digits and hyphens.
    pub(crate) fn of(&self, service: &str) -> Option<PathBuf> {
        let path = self.place(service, "wasm");
        path.is_file().then_some(path)
    }

    /// Puts down the very bytes that are about to run for the first time. A start that changes nothing writes nothing, and so
    /// needs no room on the disk.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn put_down(&self, service: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let there = |kind| fs::read(self.place(service, kind)).is_ok_and(|there| there == bytes);
        if there("wasm") || there("next") {
            return Ok(());
        }
        Ok(durable::replace(&self.place(service, "next"), bytes)?)
    }

    /// Puts down the code that came with the file of this digest, before that is put down.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn put_down_code(
        &self,
        service: &str,
        file_sha256: &str,
        code: &[u8],
    ) -> anyhow::Result<()> {
        let place = self.place(service, &format!("{file_sha256}.{CODE}"));
        if fs::read(&place).is_ok_and(|there| there == code) {
            return Ok(());
        }
        Ok(durable::replace(&place, code)?)
    }

    /// Removes the code of files that are not there any more.
    pub(crate) fn tidy_code(&self, service: &str) {
        let all = self.code(service);
        if all.is_empty() {
            return;
        }
        let digests: Vec<_> = ["next", "wasm", "before"]
            .iter()
            .filter_map(
                |kind| match read(&self.place(service, kind), MAX_FILE_BYTES) {
                    Ok(Read::Whole(bytes)) => Some(Digest::of(&bytes).to_string()),
                    _ => None,
                },
            )
            .collect();
        for path in all {
            let of = |digest| path == self.place(service, &format!("{digest}.{CODE}"));
            if !digests.iter().any(of) {
                // What cannot be removed is found by nobody, since no copy is what it is for.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// The code that was put down for a service, of whichever file.
    fn code(&self, service: &str) -> Vec<PathBuf> {
        let (begin, end) = (format!("{service}."), format!(".{CODE}"));
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let named = entries.filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.starts_with(&begin) && name.ends_with(&end))
        });
        named.map(|entry| entry.path()).collect()
    }

    /// Makes what was put down the copy, if it is the file with this digest: it proved healthy. Does nothing where the copy is
    /// that file already.
    ///
    /// # Errors
    /// If neither is; the copy before is there still.
    pub(crate) fn keep(&self, service: &str, file_sha256: &str) -> anyhow::Result<()> {
        let (next, copy) = (self.place(service, "next"), self.place(service, "wasm"));
        if is(&next, file_sha256)? {
            self.keep_before(service)?;
            durable::rename(&next, &copy)?;
            self.tidy_code(service);
            return Ok(());
        }
        if !is(&copy, file_sha256)? {
            bail!("no copy of it is there to be kept");
        }
        Ok(())
    }

    /// Copies of what proved healthy, the last first.
    pub(crate) fn copies(&self, service: &str) -> Vec<Place> {
        let code = self.code(service);
        let places = ["wasm", "before"].map(|kind| self.place(service, kind));
        places
            .into_iter()
            .filter(|path| path.is_file())
            .map(|component| Place {
                component,
                code: code.clone(),
            })
            .collect()
    }

    /// Gives the copy a second name, under which it stays when another takes its place.
    fn keep_before(&self, service: &str) -> anyhow::Result<()> {
        let (copy, link) = (self.place(service, "wasm"), self.place(service, "linked"));
        if !copy.is_file() {
            return Ok(());
        }
        // Of an end in between.
        let _ = fs::remove_file(&link);
        fs::hard_link(&copy, &link)
            .with_context(|| format!("{} cannot be made", link.display()))?;
        Ok(durable::rename(&link, &self.place(service, "before"))?)
    }

    /// Remembers that the files with these digests, two at most, are not to run for a service.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn hold(&self, service: &str, files: &[&str]) -> anyhow::Result<()> {
        let held = self.place(service, "held");
        Ok(durable::replace(&held, files.join(" ").as_bytes())?)
    }

    /// The digests of the files that are not to run for a service, a blank between them.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn held(&self, service: &str) -> anyhow::Result<Option<String>> {
        let path = self.place(service, "held");
        if !path.exists() {
            return Ok(None);
        }
        match read(&path, MAX_HELD)? {
            Read::Whole(text) => Ok(Some(String::from_utf8(text)?)),
            Read::TooLarge { size } => bail!("{} has {size} bytes", path.display()),
        }
    }

    /// Whether an operator went back from the file with this digest. One that cannot be told from it is taken for it.
    pub(crate) fn is_held(&self, service: &str, file_sha256: &str) -> bool {
        self.held(service).map_or(true, |held| {
            held.is_some_and(|held| names(&held, file_sha256))
        })
    }

    /// Forgets that.
    ///
    /// # Errors
    /// If it cannot be taken away.
    pub(crate) fn release(&self, service: &str) -> anyhow::Result<()> {
        let path = self.place(service, "held");
        fs::remove_file(&path)
            .and_then(|()| durable::sync_folder(&self.0))
            .with_context(|| format!("{} cannot be taken away", path.display()))
    }

    fn place(&self, service: &str, kind: &str) -> PathBuf {
        self.0.join(format!("{service}.{kind}"))
    }
}

/// Whether a digest is one of those that are held back.
pub(crate) fn names(held: &str, file_sha256: &str) -> bool {
    held.split(' ').any(|digest| digest == file_sha256)
}

fn is(path: &Path, file_sha256: &str) -> anyhow::Result<bool> {
    if !path.is_file() {
        return Ok(false);
    }
    Ok(match read(path, MAX_FILE_BYTES)? {
        Read::Whole(bytes) => Digest::of(&bytes).to_string() == file_sha256,
        Read::TooLarge { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn td10_only_the_file_that_proved_healthy_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::in_state(folder.path()).expect("made");
        Kept::in_state(folder.path()).expect("there already");
        let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
        assert_eq!(kept.of("pump"), None);
        kept.keep("pump", &digest(b"healthy"))
            .expect_err("nothing was put down");
        kept.put_down("pump", b"healthy").expect("put down");
        kept.keep("pump", &digest(b"healthy")).expect("kept");
        kept.keep("pump", &digest(b"healthy")).expect("it is there");
        // Another was put down before this one proved anything.
        kept.put_down("pump", b"another").expect("put down");
        kept.keep("pump", &digest(b"third"))
            .expect_err("it is another");
        kept.keep("pump", &digest(b"healthy")).expect("it is there");
        let copy = kept.of("pump").expect("a copy");
        assert_eq!(fs::read(&copy).expect("readable"), b"healthy");
        kept.keep("pump", &digest(b"another")).expect("kept");
        assert_eq!(fs::read(&copy).expect("readable"), b"another");
        // The one before it is there still, behind it.
        let copies: Vec<_> = kept
            .copies("pump")
            .into_iter()
            .map(|place| fs::read(place.component).expect("readable"))
            .collect();
        assert_eq!(copies, [b"another", b"healthy"]);
        // Code stays for as long as the file that it came with.
        for (file, code) in [
            (&b"another"[..], &b"1"[..]),
            (b"healthy", b"2"),
            (b"gone", b"3"),
        ] {
            kept.put_down_code("pump", &digest(file), code)
                .expect("put down");
        }
        assert_eq!(kept.copies("pump")[1].code.len(), 3);
        kept.tidy_code("pump");
        let mut code: Vec<_> = kept.copies("pump")[1]
            .code
            .iter()
            .map(|path| fs::read(path).expect("readable"))
            .collect();
        code.sort();
        assert_eq!(code, [b"1", b"2"]);
        assert_eq!(kept.held("pump").expect("readable"), None);
        let (one, two) = (digest(b"another"), digest(b"in place"));
        kept.hold("pump", &[&one, &two]).expect("written");
        assert!(kept.is_held("pump", &one) && kept.is_held("pump", &two));
        assert!(!kept.is_held("pump", &digest(b"healthy")));
        kept.hold("pump", &[&one]).expect("written");
        assert_eq!(
            kept.held("pump").expect("readable"),
            Some(digest(b"another"))
        );
        kept.release("pump").expect("taken away");
        assert_eq!(kept.held("pump").expect("readable"), None);
        assert_eq!(kept.of("door"), None);
    }
}

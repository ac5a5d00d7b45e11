//! Copies of the files that proved healthy, with the code that came with them: what runs when the file in its place cannot.
//!
//! A copy is verified like any other file before it runs. It is a second place to look, and no reason to trust.
//!
//! Decides that what is about to run is put down beside what else may still prove healthy, under its digest, and stays there for as long
//! as somebody may say so.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use countersign_durable as durable;
use countersign_format::Digest;
use countersign_hosting::{MAX_FILE_BYTES, Read, read};

use crate::config::Place;
use crate::say::warn;

/// The length of what is held back: two digests in hexadecimal, and a blank.
const MAX_HELD: u64 = 129;

/// How the names of files of code end; before that stands the digest of the signed file that it is for.
const CODE: &str = "code";

/// How the names of files end that may prove healthy yet; before that stands the digest of the file.
const CANDIDATE: &str = "next";

/// How the second name of a copy ends while another takes its place.
const LINKED: &str = "linked";

/// The folder of the copies.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    /// Whoever changes the folder holds this, for as long as it takes to read and hash what lies there.
    changing: Arc<Mutex<()>>,
    /// What may prove healthy yet, each as often as somebody may say so. Held for a moment only: whoever looks after all services asks
    /// for it.
    candidates: Arc<Mutex<Vec<(String, String)>>>,
}

/// A file that may prove healthy yet. When the last of these is dropped, what was put down of it can go.
#[derive(Debug)]
pub(crate) struct Candidate {
    kept: Kept,
    service: String,
    file_sha256: String,
}

impl Candidate {
    /// Puts down the code that came with it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn put_down_code(&self, code: &[u8]) -> anyhow::Result<()> {
        let _changing = self.kept.change();
        self.kept.tidy(&self.service);
        let kind = format!("{}.{CODE}", self.file_sha256);
        let place = self.kept.place(&self.service, &kind);
        if self.is_there(&place, code) {
            return Ok(());
        }
        Ok(durable::replace(&place, code)?)
    }

    /// Puts down its very bytes, which are about to run for the first time. A start that changes nothing writes nothing, and so needs
    /// no room on the disk.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn put_down(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let _changing = self.kept.change();
        self.kept.tidy(&self.service);
        let kind = format!("{}.{CANDIDATE}", self.file_sha256);
        let place = self.kept.place(&self.service, &kind);
        let copy = self.kept.place(&self.service, "wasm");
        if self.is_there(&copy, bytes) || self.is_there(&place, bytes) {
            return Ok(());
        }
        Ok(durable::replace(&place, bytes)?)
    }

    /// Whether a file is these very bytes. One that cannot be read is not, and is written anew.
    fn is_there(&self, path: &Path, bytes: &[u8]) -> bool {
        match fs::read(path) {
            Ok(there) => there == bytes,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let path = path.display();
                    let why = format!("{path} could not be read, and is written anew: {error}");
                    warn(&self.service, &why);
                }
                false
            }
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let mut candidates = self.kept.lock();
        let own = |(service, file): &(String, String)| {
            *service == self.service && *file == self.file_sha256
        };
        if let Some(place) = candidates.iter().position(own) {
            candidates.swap_remove(place);
        }
    }
}

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
                let kept = Self {
                    folder,
                    changing: Arc::default(),
                    candidates: Arc::default(),
                };
                kept.go_on();
                Ok(kept)
            }
        }
    }

    /// Where the copy of a service lies, if there is one. The name is a service's: letters, digits and hyphens.
    pub(crate) fn of(&self, service: &str) -> Option<PathBuf> {
        let path = self.place(service, "wasm");
        path.is_file().then_some(path)
    }

    /// That somebody may say of the file with this digest that it proved healthy.
    pub(crate) fn candidate(&self, service: &str, file_sha256: &str) -> Candidate {
        let own = (service.to_owned(), file_sha256.to_owned());
        self.lock().push(own);
        Candidate {
            kept: self.clone(),
            service: service.to_owned(),
            file_sha256: file_sha256.to_owned(),
        }
    }

    /// Makes what was put down the copy, if the file with this digest was: it proved healthy. Does nothing where the copy is that
    /// file already.
    ///
    /// # Errors
    /// If neither is; the copy before is there still.
    pub(crate) fn keep(&self, service: &str, file_sha256: &str) -> anyhow::Result<()> {
        let _changing = self.change();
        let put_down = self.place(service, &format!("{file_sha256}.{CANDIDATE}"));
        let copy = self.place(service, "wasm");
        if is(&copy, file_sha256)? {
            return Ok(());
        }
        if !is(&put_down, file_sha256)? {
            bail!("no copy of it is there to be kept");
        }
        // In this order: at every moment in between, what may run is among the copies, be it the one before that it was gone
        // back to.
        let linked = self.link(service)?;
        durable::rename(&put_down, &copy)?;
        if linked {
            self.keep_before(service)?;
        }
        self.tidy(service);
        Ok(())
    }

    /// Removes what is left of files of which nobody can say any more that they proved healthy, and the code of those that are not
    /// there any more. Whoever may say so from now on puts it down anew: nobody else changes the folder meanwhile.
    fn tidy(&self, service: &str) {
        let candidates: Vec<_> = {
            let all = self.lock();
            let of_service = all.iter().filter(|(of, _)| of == service);
            of_service.map(|(_, file)| file.clone()).collect()
        };
        let may_prove = |digest: &str| candidates.iter().any(|file| file == digest);
        // What cannot be removed is looked for by nobody.
        for (digest, path) in self.named(service, CANDIDATE) {
            if !may_prove(&digest) {
                let _ = fs::remove_file(path);
            }
        }
        let code = self.named(service, CODE);
        if code.is_empty() {
            return;
        }
        let mut copies = Vec::new();
        for path in ["wasm", "before"].map(|kind| self.place(service, kind)) {
            match digest_of(&path) {
                Ok(digest) => copies.extend(digest),
                // Whose code that is may show when it can be read again.
                Err(error) => {
                    let left = "so the code of copies is left as it is";
                    warn(service, &format!("{error:#}, {left}"));
                    return;
                }
            }
        }
        for (digest, path) in code {
            if !copies.contains(&digest) && !may_prove(&digest) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The files of a service whose names end so, and the digests before that.
    fn named(&self, service: &str, kind: &str) -> Vec<(String, PathBuf)> {
        let (begin, end) = (format!("{service}."), format!(".{kind}"));
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| {
            let name = entry.file_name();
            let digest = name.to_str()?.strip_prefix(&begin)?.strip_suffix(&end)?;
            Some((digest.to_owned(), entry.path()))
        });
        named.collect()
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        // What was cut off is found out about at the next start, as after a power cut.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        // It is whole between any two statements.
        self.candidates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies of what proved healthy, the last first.
    pub(crate) fn copies(&self, service: &str) -> Vec<Place> {
        let code = self.named(service, CODE);
        let code: Vec<_> = code.into_iter().map(|(_, path)| path).collect();
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

    /// Gives the copy a second name, under which it stays when another takes its place; false if there is none.
    fn link(&self, service: &str) -> anyhow::Result<bool> {
        let (copy, link) = (self.place(service, "wasm"), self.place(service, LINKED));
        if !copy.is_file() {
            return Ok(false);
        }
        // Of an end in between.
        let _ = fs::remove_file(&link);
        fs::hard_link(&copy, &link)
            .with_context(|| format!("{} cannot be made", link.display()))?;
        Ok(true)
    }

    /// Makes what has that second name the copy before.
    fn keep_before(&self, service: &str) -> anyhow::Result<()> {
        let link = self.place(service, LINKED);
        Ok(durable::rename(&link, &self.place(service, "before"))?)
    }

    /// Ends what was cut off: where another took the copy's place, that is the one before.
    fn go_on(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let service = name.to_str().and_then(|name| name.strip_suffix(LINKED));
            let Some(service) = service.and_then(|name| name.strip_suffix('.')) else {
                continue;
            };
            let bytes = |path: &Path| match read(path, MAX_FILE_BYTES) {
                Ok(Read::Whole(bytes)) => Some(bytes),
                _ => None,
            };
            // By their bytes: where a folder was copied, each name is a file of its own.
            let linked = bytes(&entry.path());
            let was_replaced = linked.is_some() && linked != bytes(&self.place(service, "wasm"));
            // Where that fails, a version is not there to go back to.
            if !was_replaced || self.keep_before(service).is_err() {
                let _ = fs::remove_file(entry.path());
            }
        }
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
            .and_then(|()| durable::sync_folder(&self.folder))
            .with_context(|| format!("{} cannot be taken away", path.display()))
    }

    fn place(&self, service: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{service}.{kind}"))
    }
}

/// Whether a digest is one of those that are held back.
pub(crate) fn names(held: &str, file_sha256: &str) -> bool {
    held.split(' ').any(|digest| digest == file_sha256)
}

fn is(path: &Path, file_sha256: &str) -> anyhow::Result<bool> {
    Ok(digest_of(path)?.as_deref() == Some(file_sha256))
}

/// SHA-256 of a file; none where there is no file that may be one of these.
fn digest_of(path: &Path) -> anyhow::Result<Option<String>> {
    let unread = || format!("{} could not be read", path.display());
    if !path.try_exists().with_context(unread)? {
        return Ok(None);
    }
    Ok(match read(path, MAX_FILE_BYTES).with_context(unread)? {
        Read::Whole(bytes) => Some(Digest::of(&bytes).to_string()),
        Read::TooLarge { .. } => None,
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
        let put_down = |bytes: &[u8]| {
            let candidate = kept.candidate("pump", &digest(bytes));
            candidate.put_down(bytes).expect("put down");
            candidate
        };
        let _healthy = put_down(b"healthy");
        kept.keep("pump", &digest(b"healthy")).expect("kept");
        kept.keep("pump", &digest(b"healthy")).expect("it is there");
        // Another was put down before this one proved anything.
        let another = put_down(b"another");
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
        // Cut off between any two steps of that, what may run is among them, and the one before is not lost.
        let files = || {
            let copies = kept.copies("pump").into_iter();
            let files = copies.map(|place| fs::read(place.component).expect("readable"));
            files.collect::<Vec<_>>()
        };
        assert!(kept.link("pump").expect("a copy"));
        Kept::in_state(folder.path()).expect("there already");
        assert_eq!(files(), [b"another", b"healthy"]);
        fs::write(kept.place("pump", LINKED), b"another").expect("a copy of the folder");
        Kept::in_state(folder.path()).expect("there already");
        assert_eq!(files(), [b"another", b"healthy"]);
        assert!(kept.link("pump").expect("a copy"));
        let _healthy = put_down(b"healthy");
        let next = kept.place("pump", &format!("{}.{CANDIDATE}", digest(b"healthy")));
        fs::rename(next, kept.place("pump", "wasm")).expect("ours");
        assert_eq!(files(), [b"healthy", b"healthy"]);
        Kept::in_state(folder.path()).expect("there already");
        assert_eq!(files(), [b"healthy", b"another"]);
        another.put_down(b"another").expect("put down");
        kept.keep("pump", &digest(b"another")).expect("kept");
        // Code stays for as long as the file that it came with.
        for (file, code) in [
            (&b"another"[..], &b"1"[..]),
            (b"healthy", b"2"),
            (b"gone", b"3"),
        ] {
            let of = kept.place("pump", &format!("{}.{CODE}", digest(file)));
            fs::write(of, code).expect("ours");
        }
        let code = || {
            let code = kept.copies("pump")[1].code.clone();
            let mut code: Vec<_> = code
                .iter()
                .map(|path| fs::read(path).expect("readable"))
                .collect();
            code.sort();
            code
        };
        assert_eq!(code(), [b"1", b"2", b"3"]);
        // A copy that cannot be read may be what the third belongs to.
        let (before, away) = (kept.place("pump", "before"), folder.path().join("away"));
        fs::rename(&before, &away).expect("ours");
        fs::create_dir(&before).expect("ours");
        another.put_down(b"another").expect("it is there");
        fs::remove_dir(&before).expect("ours");
        fs::rename(&away, &before).expect("ours");
        assert_eq!(code(), [b"1", b"2", b"3"]);
        another.put_down(b"another").expect("it is there");
        assert_eq!(code(), [b"1", b"2"]);
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

    #[test]
    fn nobody_who_names_or_gives_up_a_file_waits_for_others_that_are_hashed() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::in_state(folder.path()).expect("made");
        let (told, asked) = std::sync::mpsc::channel();
        let hashing = kept.change();
        let asking = kept.clone();
        let thread = std::thread::spawn(move || {
            drop(asking.candidate("pump", "digest"));
            told.send(()).expect("somebody waits");
        });
        let in_time = asked.recv_timeout(std::time::Duration::from_secs(60));
        drop(hashing);
        thread.join().expect("no panic");
        in_time.expect("nobody waited");
    }

    #[test]
    fn td10_each_of_several_that_were_put_down_can_prove_healthy_until_nobody_can_say_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::in_state(folder.path()).expect("made");
        let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
        let runs = kept.candidate("pump", &digest(b"runs"));
        runs.put_down_code(b"code").expect("put down");
        runs.put_down(b"runs").expect("put down");
        // Newer ones come, and do not take its place.
        for newer in [&b"refused"[..], b"as well"] {
            let newer_one = kept.candidate("pump", &digest(newer));
            newer_one.put_down_code(b"theirs").expect("put down");
            newer_one.put_down(newer).expect("put down");
            let other = kept.candidate("door", &digest(newer));
            other.put_down(newer).expect("put down");
        }
        kept.keep("pump", &digest(b"runs")).expect("it is there");
        let copies = kept.copies("pump");
        assert_eq!(fs::read(&copies[0].component).expect("ours"), b"runs");
        assert_eq!(copies[0].code.len(), 1);
        // Nothing is left of the others.
        kept.keep("pump", &digest(b"refused")).expect_err("gone");
        let names = fs::read_dir(folder.path().join("kept")).expect("ours");
        let names = names.map(|entry| entry.expect("ours").file_name());
        let names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
        assert_eq!(
            names
                .iter()
                .filter(|name| name.starts_with("pump."))
                .count(),
            2
        );
        // Where a process ended before, what it had put down is found again, and nothing is written for it.
        let again = kept.candidate("door", &digest(b"as well"));
        again.put_down(b"as well").expect("it is there");
        kept.keep("door", &digest(b"as well")).expect("it is there");
    }
}

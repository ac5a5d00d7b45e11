//! `receipt` and `apply --receipt`: a receipt of the running gateway into a file on a stick.
//!
//! Decides where it goes: it appears whole under its name or not at all, replaces nothing, and no link leads it elsewhere. What
//! stands in it is decided in `view`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use countersign_durable::{self as durable, Access, DurableError, Existing, Unfinished};
use serde_json::{Value, json};

use crate::config::{Config, Purpose};
use crate::control::{self, Question};
use crate::gateway::NotStarted;
use crate::overview;

/// Most names that are tried in a folder where the first is taken.
const NAMES: u32 = 100;

/// Has the running gateway make a receipt. The exit status: that of the refusal, if there is none.
pub(crate) fn receipt(
    config: &Path,
    path: &Path,
    nonce: Option<String>,
    json: bool,
) -> Result<u8, NotStarted> {
    let config = Config::load(config)?;
    let wish = Wish::open(&config, path)?;
    let answer = wish.fulfil(&config, nonce)?;
    Ok(overview::print_receipt(&answer, json))
}

/// A receipt that is wanted, with the place where it is to go.
pub(crate) struct Wish {
    /// The folder, by a descriptor: what is done to its name meanwhile changes nothing.
    folder: File,
    /// The folder, as it was named.
    shown: PathBuf,
    /// The receipt's own name, if one was given.
    name: Option<OsString>,
}

impl Wish {
    /// Looks at everything that can be wrong before anything is done.
    ///
    /// # Errors
    /// If this gateway has no key that attests, or nothing can be written there.
    pub(crate) fn open(config: &Config, path: &Path) -> anyhow::Result<Self> {
        let mut keys = config.known.keys.values();
        if !keys.any(|key| key.purpose == Purpose::Attestation) {
            bail!(
                "this gateway has no key that attests, so it gives no receipts; give it a [[key]] with purpose = \"attestation\""
            );
        }
        Self::at(path)
    }

    fn at(path: &Path) -> anyhow::Result<Self> {
        // Without what stands for the folder itself at its end, behind which a link would be followed.
        let path: PathBuf = path.components().collect();
        let (shown, name) = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => (path, None),
            Ok(found) if found.is_symlink() => bail!(
                "{} is a link, and receipts follow none; name the folder itself",
                path.display()
            ),
            Ok(_) => bail!(
                "{} is there already; name another file, or a folder",
                path.display()
            ),
            Err(_) => {
                let Some(Component::Normal(name)) = path.components().next_back() else {
                    bail!("{} is no name of a file", path.display());
                };
                (durable::folder_of(&path).to_owned(), Some(name.to_owned()))
            }
        };
        let failed = || format!("no receipt can be written in {}", shown.display());
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(&shown)
            .with_context(failed)?;
        let wish = Self {
            folder,
            shown,
            name,
        };
        // Begun and thrown away: it can be written.
        let probe = wish.place(OsStr::new("receipt"));
        Unfinished::create(&probe, Access::Umask, Existing::Replace)
            .with_context(|| format!("no receipt can be written in {}", wish.shown.display()))?;
        Ok(wish)
    }

    /// Has the gateway make it, and writes it: what came of that.
    ///
    /// # Errors
    /// If no gateway answers, or it cannot be written.
    pub(crate) fn fulfil(&self, config: &Config, nonce: Option<String>) -> anyhow::Result<Value> {
        let mut answer = control::ask(&config.control, &Question::Receipt { nonce })?;
        let Some(receipt) = answer.get("receipt").and_then(Value::as_str) else {
            return Ok(answer);
        };
        let none = "the gateway's answer is no receipt";
        let bytes = hex::decode(receipt).context(none)?;
        let device = answer.get("device").and_then(Value::as_str);
        let number = answer.get("number").and_then(Value::as_u64);
        let (device, number) = device.zip(number).context(none)?;
        let name = format!("{}-{number}", file_name(device));
        let file = self.write(&name, &bytes)?;
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("receipt");
            answer.insert("file".to_owned(), json!(file.display().to_string()));
        }
        Ok(answer)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let names: Vec<OsString> = match &self.name {
            Some(name) => vec![name.clone()],
            None => (1..=NAMES)
                .map(|copy| match copy {
                    1 => format!("{name}.receipt").into(),
                    _ => format!("{name}-{copy}.receipt").into(),
                })
                .collect(),
        };
        for name in names {
            // It is brought to somebody else, who must be able to read it.
            let place = self.place(&name);
            match durable::write(&place, bytes, Access::Umask, Existing::Refuse) {
                Ok(()) => return Ok(self.shown.join(name)),
                Err(DurableError::Exists { .. }) => {}
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("the receipt cannot be written in {}", self.shown.display())
                    });
                }
            }
        }
        bail!(
            "the receipt's name in {} is taken; name another file, or a folder",
            self.shown.display()
        )
    }

    fn place(&self, name: &OsStr) -> PathBuf {
        let folder = self.folder.as_raw_fd().to_string();
        Path::new("/proc/self/fd").join(folder).join(name)
    }
}

/// A device's identity as the beginning of a file's name, which is no path on any system.
fn file_name(device: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    device.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_receipt_replaces_nothing_and_follows_no_link() {
        let stick = tempfile::tempdir().expect("a folder");
        let at = |name: &str| stick.path().join(name);
        let write = |path: &Path| Wish::at(path)?.write("gw-7-1", b"receipt");
        // In a folder: a name of its own each time.
        assert_eq!(write(stick.path()).expect("written"), at("gw-7-1.receipt"));
        assert_eq!(
            write(stick.path()).expect("written"),
            at("gw-7-1-2.receipt")
        );
        // Under a name: once.
        assert_eq!(write(&at("mine")).expect("written"), at("mine"));
        let refused = write(&at("mine")).expect_err("it is there");
        assert!(refused.to_string().contains("there already"), "{refused}");
        assert_eq!(fs::read(at("mine")).expect("ours"), b"receipt");
        // A stick's links lead nowhere: to a folder, to a file, to nothing; nor does one in place of a receipt.
        let elsewhere = tempfile::tempdir().expect("a folder");
        symlink(elsewhere.path(), at("folder")).expect("made");
        symlink(elsewhere.path().join("file"), at("nothing")).expect("made");
        symlink(elsewhere.path().join("file"), at("gw-7-1-3.receipt")).expect("made");
        for link in ["folder", "folder/", "nothing"] {
            let refused = write(&at(link)).expect_err("a link");
            assert!(refused.to_string().contains("is a link"), "{refused}");
        }
        assert!(write(&at("folder/file")).is_err());
        assert_eq!(
            write(stick.path()).expect("written"),
            at("gw-7-1-4.receipt")
        );
        assert_eq!(fs::read_dir(elsewhere.path()).expect("ours").count(), 0);
        // Nothing unfinished is left.
        let names = fs::read_dir(stick.path()).expect("ours").flatten();
        let mut names = names.map(|entry| entry.file_name());
        assert!(!names.any(|name| name.as_encoded_bytes().starts_with(b".unfinished")));
    }

    #[test]
    fn a_name_of_a_file_is_no_path() {
        assert_eq!(file_name("../a b:c"), "___a_b_c");
    }
}

//! Names and passwords for registries, in a file that is its owner's alone.
//!
//! Decides that a file which others may read or write is not used, and that a password goes to the registry that it is for, over TLS
//! and not otherwise. None is ever on a command line or in a message.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use reqwest::RequestBuilder;
use serde::Deserialize;

/// The largest file, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// What anybody but the owner may do with it.
const OTHERS: u32 = 0o077;

/// Who this machine is to which registry.
#[derive(Default)]
pub(super) struct Logins(BTreeMap<String, Login>);

/// A name and a password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// The registry, as references name it: its host, and its port where they do.
    host: String,
    name: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default)]
    registry: Vec<Login>,
}

impl Logins {
    /// Those in this file.
    ///
    /// # Errors
    /// If it cannot be read, is not its owner's alone, or is of another form; no message repeats what stands in it.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .with_context(|| format!("the registries' passwords in {shown} cannot be read"))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            bail!(
                "{shown} is no file of passwords: it is none, or has more than {MAX_BYTES} bytes"
            );
        }
        if metadata.mode() & OTHERS != 0 {
            bail!(
                "others than its owner may use {shown}, which holds passwords (mode {:o}); take that away: chmod go= {shown}",
                metadata.mode() & 0o7777
            );
        }
        let ours = std::fs::metadata("/proc/self")?.uid();
        if ![0, ours].contains(&metadata.uid()) {
            bail!(
                "{shown}, which holds passwords, belongs to user {}; give it to root, or to who applies bundles",
                metadata.uid()
            );
        }
        let mut text = String::new();
        (&mut file)
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .with_context(|| format!("{shown} cannot be read"))?;
        Self::parse(&text).with_context(|| format!("{shown} cannot be used"))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let whole: Whole = match toml::from_str(text) {
            Ok(whole) => whole,
            // Its own words would show the line, and the line a password.
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let line = text.get(..at).map_or(0, |before| before.lines().count());
                bail!(
                    "about line {}: write [[registry]], and then host, name and password, each once",
                    line.max(1)
                );
            }
        };
        let mut logins = BTreeMap::new();
        for login in whole.registry {
            // RFC 7617 §2: a name ends at the first colon.
            if login.name.contains(':') || login.name.is_empty() || login.password.is_empty() {
                bail!(
                    "{}: a name without colons and a password are needed",
                    login.host
                );
            }
            let host = login.host.clone();
            if logins.insert(host.clone(), login).is_some() {
                bail!("{host} is named twice");
            }
        }
        Ok(Self(logins))
    }

    /// That for a registry.
    pub(super) fn of(&self, host: &str) -> Option<&Login> {
        self.0.get(host)
    }
}

impl Login {
    /// Adds name and password to a request (RFC 7617).
    pub(super) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(&self.name, Some(&self.password))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const TEXT: &str =
        "[[registry]]\nhost = \"registry.example\"\nname = \"plant\"\npassword = \"very secret\"\n";

    #[test]
    fn th19_a_file_of_passwords_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("registries.toml");
        fs::write(&path, TEXT).expect("ours");
        for (mode, is_good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            let read = Logins::read(&path);
            assert_eq!(read.is_ok(), is_good, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        let logins = Logins::read(&path).expect("good");
        assert!(logins.of("registry.example").is_some());
        assert!(logins.of("registry.example.evil").is_none());
        let link = folder.path().join("link");
        symlink(&path, &link).expect("made");
        assert!(Logins::read(&link).is_err());
        assert!(Logins::read(folder.path()).is_err());
    }

    #[test]
    fn no_message_repeats_a_password() {
        for text in [
            TEXT.replace("password =", "pasword ="),
            TEXT.replace("\"very secret\"", "very secret"),
            TEXT.replace("\"plant\"", "\"a:b\""),
            [TEXT, TEXT].concat(),
        ] {
            let error = Logins::parse(&text).err().expect("refused");
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
    }
}

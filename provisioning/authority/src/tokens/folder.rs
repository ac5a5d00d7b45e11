//! Where tokens are kept: a private folder with a file for each, named by its hash.
//!
//! Files rather than rows, so that an operator can make a token while the authority runs and has the database to itself.
//! That a token is used once is not decided here: its hash is the name under which the registry answers a request, so
//! that a second request gets the first one's certificate or none.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_durable::{Access, Existing};
use countersign_trust_store::UnixTime;
use serde::{Deserialize, Serialize};

use crate::tokens::{Scope, TokenHash};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The fewest digits by which a token is named: as many as the audit log has.
const SHORTEST: usize = 16;

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    /// The first second in which it is no longer accepted, since 1970.
    expires: u64,
    scope: Scope,
}

/// The folder.
#[derive(Clone, Debug)]
pub struct TokenFolder(PathBuf);

impl TokenFolder {
    /// The folder at `path`, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or others may look into it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if !path.exists() {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(path)
                .with_context(|| format!("{shown} could not be made"))?;
        }
        let metadata =
            fs::symlink_metadata(path).with_context(|| format!("{shown} could not be read"))?;
        anyhow::ensure!(
            metadata.is_dir(),
            "{shown} is not a folder: name one, and not through a link"
        );
        anyhow::ensure!(
            metadata.mode() & 0o077 == 0,
            "others may look into the folder of tokens {shown}; run: chmod 700 {shown}"
        );
        Ok(Self(path.to_owned()))
    }

    /// Keeps a token.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&self, hash: &TokenHash, scope: Scope, expires: UnixTime) -> anyhow::Result<()> {
        let kept = Kept {
            version: 1,
            expires: expires.as_secs(),
            scope,
        };
        let path = self.path(hash);
        let kept = serde_json::to_vec(&kept)
            .with_context(|| format!("{} could not be written", path.display()))?;
        Ok(countersign_durable::write(
            &path,
            &kept,
            Access::Owner,
            Existing::Refuse,
        )?)
    }

    /// The scope of a token that has not expired at `now`.
    ///
    /// # Errors
    /// When its file is there and cannot be read.
    pub fn find(&self, hash: &TokenHash, now: UnixTime) -> anyhow::Result<Option<Scope>> {
        let kept = read(&self.path(hash))?;
        Ok(kept
            .filter(|kept| now.as_secs() < kept.expires)
            .map(|kept| kept.scope))
    }

    /// Takes back the token whose hash, in hexadecimal, begins like this. Whoever shows it from now on is nobody.
    ///
    /// # Errors
    /// When none begins so, or more than one, and when the folder cannot be read or written.
    pub fn remove(&self, beginning: &str) -> anyhow::Result<()> {
        let is_hash =
            beginning.len() >= SHORTEST && beginning.bytes().all(|c| c.is_ascii_hexdigit());
        anyhow::ensure!(
            is_hash,
            "that is no token's name: give the {SHORTEST} digits that the audit log has, or more"
        );
        let beginning = beginning.to_ascii_lowercase();
        let mut found = self.files()?;
        found.retain(|path| name_of(path).starts_with(&beginning));
        match found.as_slice() {
            [one] => self.forget(std::slice::from_ref(one)),
            [] => anyhow::bail!(
                "there is no token {beginning}: it was taken back, or is another authority's"
            ),
            _ => anyhow::bail!("several tokens begin with {beginning}: give more of its digits"),
        }
    }

    /// Removes the tokens that are no longer accepted at `now`; how many.
    ///
    /// # Errors
    /// When the folder cannot be read or written, and for a file that is damaged.
    pub fn remove_expired(&self, now: UnixTime) -> anyhow::Result<usize> {
        let mut expired = Vec::new();
        for path in self.files()? {
            if read(&path)?.is_some_and(|kept| now.as_secs() >= kept.expires) {
                expired.push(path);
            }
        }
        self.forget(&expired)?;
        Ok(expired.len())
    }

    /// The tokens' files.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let failed = || format!("{} could not be read", self.0.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                files.push(path);
            }
        }
        Ok(files)
    }

    fn forget(&self, files: &[PathBuf]) -> anyhow::Result<()> {
        for path in files {
            fs::remove_file(path)
                .with_context(|| format!("{} could not be removed", path.display()))?;
        }
        // A token that was taken back does not come again with the power.
        fs::File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("{} could not be written", self.0.display()))
    }

    fn path(&self, hash: &TokenHash) -> PathBuf {
        self.0.join(format!("{}.json", hex::encode(hash.0)))
    }
}

/// What a file keeps; none where there is no file.
fn read(path: &Path) -> anyhow::Result<Option<Kept>> {
    let failed = || format!("{} could not be read", path.display());
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(failed)?,
    };
    anyhow::ensure!(metadata.is_file() && metadata.len() <= MAX_BYTES, failed());
    serde_json::from_slice(&fs::read(path).with_context(failed)?)
        .map(Some)
        .with_context(|| {
            format!(
                "{} is damaged: remove it, and make another token",
                path.display()
            )
        })
}

/// A file's name, which is its token's hash and an ending.
fn name_of(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{self, Action};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn tg01_tokens_are_kept_as_hashes_and_end_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens");
        let tokens = TokenFolder::open(&path).expect("opens");
        let token = tokens::generate().expect("randomness");
        let scope = Scope {
            actions: [Action::Enrol].into(),
            devices: vec!["a-*".to_owned()],
            profiles: ["tls".to_owned()].into(),
            order: Some("17".to_owned()),
        };
        let at = UnixTime::from_secs;
        tokens
            .add(&token.hash, scope.clone(), at(100))
            .expect("kept");
        assert_eq!(tokens.find(&token.hash, at(99)).expect("read"), Some(scope));
        assert_eq!(tokens.find(&token.hash, at(100)).expect("read"), None);
        let other = tokens::generate().expect("randomness");
        assert_eq!(tokens.find(&other.hash, at(0)).expect("read"), None);
        for entry in fs::read_dir(&path).expect("a folder") {
            let file = entry.expect("an entry").path();
            let text = fs::read_to_string(&file).expect("a file");
            assert!(
                !text.contains(&token.text[5..]),
                "the secret lies in {}",
                file.display()
            );
            assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o077, 0);
        }
    }

    #[test]
    fn tg01_a_token_that_was_taken_back_or_is_over_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = TokenFolder::open(&folder.path().join("tokens")).expect("opens");
        let scope = Scope {
            actions: [Action::Read].into(),
            devices: vec!["*".to_owned()],
            profiles: ["tls".to_owned()].into(),
            order: None,
        };
        let at = UnixTime::from_secs;
        let [first, second, third] = [100, 200, 300].map(|expires| {
            let token = tokens::generate().expect("randomness");
            tokens
                .add(&token.hash, scope.clone(), at(expires))
                .expect("kept");
            token.hash
        });
        let is_there = |hash| tokens.find(hash, at(0)).expect("read").is_some();
        tokens.remove(&second.short()).expect("taken back");
        assert!(is_there(&first) && !is_there(&second) && is_there(&third));
        for unknown in [second.short().as_str(), "", "../../x", &first.short()[1..]] {
            tokens.remove(unknown).expect_err(unknown);
        }
        assert_eq!(tokens.remove_expired(at(100)).expect("removed"), 1);
        assert!(!is_there(&first) && is_there(&third));
        assert_eq!(tokens.remove_expired(at(100)).expect("removed"), 0);
    }

    #[test]
    fn tg18_a_folder_of_tokens_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens");
        TokenFolder::open(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).expect("chmod");
        assert!(TokenFolder::open(&path).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).expect("a link");
        assert!(TokenFolder::open(&link).is_err());
    }
}

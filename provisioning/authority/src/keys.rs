//! The authority's keys: opened at the start, and kept apart from each other.
//!
//! A key file that others may read, that somebody else owns or that is reached through a link refuses the start, and so
//! does one key with two purposes. Hardware that is absent does not: the authority answers what needs no key, refuses to
//! issue with 503, and tries again; it never uses another key instead.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_backend_file::FileKey;
use countersign_keys::{Error, ErrorKind, KeyUri, Secret, SigningKey};
use countersign_provisioning::quick_key;
use countersign_stores::{SecretFor, Stores};
use zeroize::Zeroizing;

/// The largest passphrase file that is read, in bytes.
const MAX_PASSPHRASE_FILE: u64 = 4096;

/// Opens a key by its URI.
///
/// # Errors
/// For a file that is not private; else as [`Stores::open`].
pub fn open(uri: &str, passphrase_file: Option<&Path>) -> Result<SigningKey, Error> {
    let parsed = parse(uri)?;
    check_private(&parsed)?;
    stores(passphrase_file).open(&parsed)
}

fn parse(uri: &str) -> Result<KeyUri, Error> {
    uri.parse().map_err(|error| {
        Error::new(
            ErrorKind::Malformed,
            format!("{uri:?} is not a key URI: {error}"),
        )
    })
}

/// Demands that a key file is a file of our own that nobody else may read or change.
///
/// # Errors
/// [`ErrorKind::Permissions`] otherwise; keys elsewhere than in files always pass.
fn check_private(uri: &KeyUri) -> Result<(), Error> {
    match uri {
        KeyUri::File(path) => private_file(path),
        _ => Ok(()),
    }
}

/// Demands the same of a file by its path.
///
/// # Errors
/// [`ErrorKind::Permissions`] otherwise, and when it cannot be looked at.
pub fn private_file(path: &Path) -> Result<(), Error> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("{shown} could not be read: {error}"))
    };
    let exposed = |reason: String| Error::new(ErrorKind::Permissions, reason);
    let metadata = fs::symlink_metadata(path).map_err(unreadable)?;
    if metadata.is_symlink() {
        return Err(exposed(format!(
            "{shown} is a symbolic link, which may be turned to another key; name the file itself"
        )));
    }
    // /proc/self belongs to whom this process acts for.
    let own = fs::metadata("/proc/self").map_err(unreadable)?.uid();
    if metadata.uid() != own {
        return Err(exposed(format!(
            "{shown} belongs to user {}, and the authority runs as {own}; run: chown {own} {shown}",
            metadata.uid()
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(exposed(format!(
            "{shown} has mode {:04o}, so others may read or change it; run: chmod 600 {shown}",
            metadata.mode() & 0o7777
        )));
    }
    Ok(())
}

/// The stores, whose passphrases and PINs come from one file.
fn stores(passphrase_file: Option<&Path>) -> Stores {
    let Some(path) = passphrase_file.map(PathBuf::from) else {
        return Stores::without_secrets();
    };
    Stores::new(move |wanted| {
        if let SecretFor::Pin { token, tries } = wanted
            && !tries.allow_stored()
        {
            return Err(Error::new(
                ErrorKind::LockedOut,
                format!(
                    "the token {token:?} was given a wrong PIN and may lock itself, so the PIN in {} was not tried; \
                     correct the file, and unlock the token with its own tools",
                    path.display()
                ),
            ));
        }
        first_line(&path).map(Some)
    })
}

fn first_line(path: &Path) -> Result<Secret, Error> {
    private_file(path)?;
    let failed = |reason: String| {
        Error::new(
            ErrorKind::Passphrase,
            format!(
                "the passphrase in {} could not be read: {reason}",
                path.display()
            ),
        )
    };
    let size = fs::metadata(path)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if size > MAX_PASSPHRASE_FILE {
        return Err(failed("the file is too large".to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| failed(error.to_string()))?);
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(failed("its first line is empty".to_owned()));
    }
    Ok(Secret::new(line.as_bytes()))
}

/// Demands that no two of these keys are the same: each has one purpose.
///
/// # Errors
/// Which two are.
pub fn check_apart(keys: &[(&str, &[u8])]) -> anyhow::Result<()> {
    for (place, (name, key)) in keys.iter().enumerate() {
        for (other, before) in keys.iter().take(place) {
            anyhow::ensure!(
                key != before,
                "the key of {name} is the key of {other} too, and a key has one purpose: make another for {name}"
            );
        }
    }
    Ok(())
}

/// Opens the issuer's key and demands that it belongs to the certificate.
///
/// # Errors
/// As [`open`], and [`ErrorKind::OtherKey`].
pub fn open_issuer(
    uri: &str,
    passphrase_file: Option<&Path>,
    spki: &[u8],
) -> Result<SigningKey, Error> {
    let key = match parse(uri)? {
        // The same key, by an implementation that is some times as fast.
        KeyUri::File(path) => {
            private_file(&path)?;
            quick_key(FileKey::load(&path, || match passphrase_file {
                Some(path) => first_line(path),
                None => Err(Error::new(
                    ErrorKind::Passphrase,
                    "the issuer's key is encrypted; name the file of its passphrase in [issuer]",
                )),
            })?)?
        }
        _ => open(uri, passphrase_file)?,
    };
    if key.public_key().to_spki_der() != spki {
        return Err(Error::new(
            ErrorKind::OtherKey,
            "the issuer's key is not that of its certificate; nothing was signed; name the right one in [issuer]",
        ));
    }
    Ok(key)
}

/// Whether an error of opening the issuer's key is one of hardware, which may come back, rather than of configuration.
#[must_use]
pub fn may_come_back(uri: &str, error: &Error) -> bool {
    !matches!(uri.parse(), Ok(KeyUri::File(_)) | Err(_))
        && !matches!(
            error.kind(),
            ErrorKind::Malformed
                | ErrorKind::OtherKey
                | ErrorKind::Permissions
                | ErrorKind::Unsupported
        )
}

/// A file that must be there.
///
/// # Errors
/// With the file's name.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} could not be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn tg18_key_files_of_others_and_links_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        fs::write(&path, "x").expect("written");
        let set =
            |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        set(0o600);
        assert!(private_file(&path).is_ok());
        for mode in [0o640, 0o604, 0o620, 0o602, 0o601] {
            set(mode);
            let error = private_file(&path).expect_err("open to others");
            assert_eq!(error.kind(), ErrorKind::Permissions, "{mode:o}");
        }
        set(0o600);
        let link = folder.path().join("link.pem");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert_eq!(
            private_file(&link).expect_err("a link").kind(),
            ErrorKind::Permissions
        );
        // Somebody else's file: root's when we are not root, and nobody's when we are.
        if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
            assert_eq!(
                private_file(&path).expect_err("another's").kind(),
                ErrorKind::Permissions
            );
        }
    }

    #[test]
    fn tg18_a_key_file_is_looked_at_however_it_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        fs::write(&path, "x").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let path = path.display();
        for uri in [
            format!("{path}"),
            format!("file:{path}"),
            format!("FILE:{path}"),
            format!("file://{path}"),
        ] {
            for refused in [open(&uri, None), open_issuer(&uri, None, b"")] {
                let error = refused.expect_err("open to others");
                assert_eq!(error.kind(), ErrorKind::Permissions, "{uri}");
                assert!(!may_come_back(&uri, &error));
            }
            let absent = Error::new(ErrorKind::NotFound, "");
            assert!(!may_come_back(&uri, &absent), "{uri}");
        }
    }

    #[test]
    fn tg28_one_key_for_two_purposes_is_refused() {
        assert!(check_apart(&[("a", b"1"), ("b", b"2"), ("c", b"3")]).is_ok());
        let error = check_apart(&[("a", b"1"), ("b", b"2"), ("c", b"1")]).expect_err("twice");
        assert!(
            error
                .to_string()
                .contains("the key of c is the key of a too")
        );
    }
}

//! Whose code runs for a key: modules that are loaded into this process, and programs of one's own.
//!
//! For programs that look at them before anything of them runs. Whether they may be trusted is theirs to say.

use std::env;
use std::path::{Path, PathBuf};

use countersign_keys::KeyUri;

/// The files whose code runs when this key is opened, as far as they are there. A token that the URI does not tie to a module is
/// looked for in all that this machine has.
#[must_use]
pub fn programs_of(key: &KeyUri) -> Vec<PathBuf> {
    match key {
        // Why there is none is said when the key is opened.
        KeyUri::Pkcs11(key) => {
            countersign_backend_pkcs11::modules_of(&key.token()).unwrap_or_default()
        }
        KeyUri::Exec(command) => command
            .split_ascii_whitespace()
            .next()
            .and_then(|program| found(program, env::var_os("PATH").as_deref()))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// Where a program is: a name without a slash is looked for as execvp(3) does.
fn found(program: &str, path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    let folders = path.map(env::split_paths).into_iter().flatten();
    folders
        .map(|folder| folder.join(program))
        .find(|file| Path::is_file(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_the_system_looks_for_them() {
        let programs = |uri: &str| programs_of(&uri.parse().expect("a URI"));
        assert_eq!(
            programs("exec:/opt/sign --slot 3"),
            [Path::new("/opt/sign")]
        );
        assert_eq!(programs("file:/etc/key"), [""; 0].map(PathBuf::from));
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("sign"), "").expect("ours");
        let path = env::join_paths([Path::new("/nonexistent"), folder.path()]).expect("a path");
        assert_eq!(found("sign", Some(&path)), Some(folder.path().join("sign")));
        assert_eq!(found("other", Some(&path)), None);
        assert_eq!(found("sign", None), None);
        let module = folder.path().join("module.so");
        std::fs::write(&module, "").expect("ours");
        let uri = format!("pkcs11:token=a;object=b?module-path={}", module.display());
        assert_eq!(programs(&uri), [module]);
        assert_eq!(
            programs("pkcs11:token=a;object=b?module-path=/nonexistent"),
            [""; 0].map(PathBuf::from)
        );
    }
}

//! Modules: where they are, and loading each once.

use countersign_keys::{Error, ErrorKind, Pkcs11Token};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as LibraryError, RvError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where p11-kit's register of modules lies: a file for each, with a line `module: PATH`. The first is the
/// administrator's, and a file of the same name in it counts instead of the package's.
const REGISTERS: [&str; 2] = ["/etc/pkcs11/modules", "/usr/share/p11-kit/modules"];

/// Folders in which packages put modules; `*` stands for the folder of the architecture, such as x86_64-linux-gnu.
const FOLDERS: [&str; 7] = [
    "/usr/lib/*/pkcs11",
    "/usr/lib/*/softhsm",
    "/usr/lib/*",
    "/usr/lib/pkcs11",
    "/usr/lib64/pkcs11",
    "/usr/lib",
    "/usr/local/lib",
];

/// Modules that are looked for in [`FOLDERS`] though nothing registers them: SoftHSM, OP-TEE's, a TPM's, YubiKey's.
const WELL_KNOWN: [&str; 5] = [
    "libsofthsm2.so",
    "libckteec.so.0",
    "libtpm2_pkcs11.so",
    "libykcs11.so",
    "opensc-pkcs11.so",
];

/// Modules that hold no signing keys of anybody: the system's trusted certificates, and OpenSC's tool for tracing.
const NOT_FOR_KEYS: [&str; 2] = ["p11-kit-trust.so", "pkcs11-spy.so"];

/// Every module that this process has loaded. They stay until it ends: a module's state is the process's, not a
/// provider's, so that finalising or unloading one would take it away from others.
static LOADED: Mutex<BTreeMap<PathBuf, Arc<Mutex<Option<Pkcs11>>>>> = Mutex::new(BTreeMap::new());

/// The modules in which a URI's token may be: the one that it names, or all that the system has. None is loaded here.
///
/// # Errors
/// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::Unsupported`] if the one that is named has no absolute path.
pub fn candidates(token: &Pkcs11Token) -> Result<Vec<PathBuf>, Error> {
    if let Some(path) = token.get("module-path") {
        let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
        if !path.is_absolute() {
            // The loader would look for a bare name in places that others choose (LD_LIBRARY_PATH).
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "module-path={} in a pkcs11: URI is not an absolute path; write it from / on",
                    path.display()
                ),
            ));
        }
        if !path.is_file() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no PKCS#11 module {}; install the one of the token's maker, or correct module-path in the URI",
                    path.display()
                ),
            ));
        }
        return Ok(vec![path]);
    }
    let known = registered();
    let Some(name) = token.get("module-name") else {
        if known.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                "this machine has no PKCS#11 module in the usual places; install the one of the token's maker, or name it by module-path=/… in the URI",
            ));
        }
        return Ok(known);
    };
    // RFC 7512 §2.3: the name without what the platform puts around it.
    let name = String::from_utf8_lossy(name).into_owned();
    let named: Vec<PathBuf> = known
        .into_iter()
        .filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let stem = file.split_once(".so").map_or(&*file, |(stem, _)| stem);
            stem == name || stem.strip_prefix("lib") == Some(&name)
        })
        .collect();
    if named.is_empty() {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "there is no PKCS#11 module of the name \"{name}\" in the usual places; name its file by module-path=/… in the URI"
            ),
        ));
    }
    Ok(named)
}

/// The modules that this machine has, in the order of their paths, each file once.
pub(crate) fn registered() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut files = BTreeSet::new();
    let folders: Vec<PathBuf> = FOLDERS.iter().flat_map(|pattern| expand(pattern)).collect();
    let in_folders = |name: &str| {
        let path = folders.iter().map(|folder| folder.join(name));
        path.into_iter().find(|path| path.is_file())
    };
    let from_registers = REGISTERS
        .iter()
        .flat_map(|register| listed(Path::new(register)))
        .filter(|(file, _)| files.insert(file.clone()))
        .map(|(_, module)| module);
    for name in from_registers.chain(WELL_KNOWN.map(str::to_owned)) {
        let Some(path) = (if name.starts_with('/') {
            Some(PathBuf::from(name)).filter(|path| path.is_file())
        } else {
            in_folders(&name)
        }) else {
            continue;
        };
        let path = path.canonicalize().unwrap_or(path);
        let for_keys = !NOT_FOR_KEYS.iter().any(|name| path.ends_with(name));
        if for_keys && !found.contains(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// File name and module of each entry of a register.
fn listed(register: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(register).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "module"))
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            let module = text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == "module").then(|| value.trim().to_owned())
            })?;
            Some((entry.file_name().to_string_lossy().into_owned(), module))
        })
        .collect()
}

fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let entries = std::fs::read_dir(before).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("-linux-"))
        .map(|path| path.join(after.trim_start_matches('/')))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The module in this file, loaded and initialised.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, Error> {
    let entry = {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(loaded.entry(path.to_owned()).or_default())
    };
    // A module that hangs while it is loaded keeps others from this module alone.
    let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = path.display();
    let module = match entry.take() {
        Some(module) => module,
        None => Pkcs11::new(path).map_err(|error| {
            Error::with_source(
                ErrorKind::Unsupported,
                format!("{shown} cannot be loaded as a PKCS#11 module; name the module of the token's maker, for this machine's architecture"),
                error,
            )
        })?,
    };
    // Each time, because another part of the process may have ended what it began.
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(LibraryError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => {
            let name = match &error {
                LibraryError::Pkcs11(value, _) => crate::failure::name(*value),
                _ => "no code".to_owned(),
            };
            // Kept all the same: who else uses it may have begun already.
            *entry = Some(module);
            return Err(Error::with_source(
                ErrorKind::Device,
                format!(
                    "the PKCS#11 module {shown} does not start ({name}); see its own configuration and log, and whether this user may read them"
                ),
                error,
            ));
        }
    }
    *entry = Some(module.clone());
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(attribute: &str, value: &str) -> Pkcs11Token {
        Pkcs11Token::default()
            .with(attribute, value.as_bytes())
            .expect("a token's attribute")
    }

    #[test]
    fn a_module_is_loaded_from_a_whole_path_only() {
        let kind = |attribute, value| {
            candidates(&token(attribute, value))
                .expect_err("refused")
                .kind()
        };
        assert_eq!(
            kind("module-path", "libsofthsm2.so"),
            ErrorKind::Unsupported
        );
        assert_eq!(kind("module-path", "./m.so"), ErrorKind::Unsupported);
        assert_eq!(
            kind("module-path", "/nonexistent/m.so"),
            ErrorKind::NotFound
        );
        assert_eq!(kind("module-path", "/usr/lib"), ErrorKind::NotFound);
        assert_eq!(kind("module-name", "no-such-module"), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_module_is_said_to_be_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.so");
        std::fs::write(&path, "not a library").expect("written");
        let error = load(&path).expect_err("no module");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("cannot be loaded"), "{error}");
    }

    #[test]
    fn a_register_is_read_line_by_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        write(
            "a.module",
            "# module: no.so\n\n module :  /x/y.so \npriority: 1\n",
        );
        write("b.module", "priority: 1\n");
        write("c.conf", "module: z.so\n");
        assert_eq!(
            listed(folder.path()),
            [("a.module".to_owned(), "/x/y.so".to_owned())]
        );
        assert!(listed(Path::new("/nonexistent")).is_empty());
    }
}

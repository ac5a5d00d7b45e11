//! The corpus as folders: what is made goes to target/corpus, where verifiers of other authors find it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use der::pem::LineEnding;

use crate::attack::{Attack, Content, Expected, Hostile};
use crate::components::target;
use crate::good::Good;

/// Where one attack lies.
pub(crate) struct Folder {
    path: PathBuf,
    /// The root to judge it under, PEM.
    pub(crate) roots: PathBuf,
    /// The revocation lists to judge it with, DER.
    pub(crate) lists: Vec<PathBuf>,
}

/// The folder of the whole corpus.
pub(crate) fn corpus() -> PathBuf {
    target().join("corpus")
}

/// Makes the corpus's folder, removes attacks that are in no table any more, and writes what all attacks share.
pub(crate) fn prepare(good: &Good, attacks: &[Attack]) {
    let corpus = corpus();
    std::fs::create_dir_all(&corpus).expect("the build folder takes folders");
    for entry in std::fs::read_dir(&corpus).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        let known = |attack: &Attack| path.file_name().is_some_and(|name| *name == *attack.name);
        if path.is_dir() && !attacks.iter().any(known) {
            remove(&path);
        }
    }
    write_root(&corpus, good.pki.root());
    write_lists(&corpus, good.pki.crls());
}

impl Folder {
    /// Writes an attack, in place of an earlier one.
    pub(crate) fn write(good: &Good, attack: &Attack, hostile: &Hostile) -> Self {
        let path = corpus().join(&attack.name);
        remove(&path);
        std::fs::create_dir(&path).expect("the corpus takes folders");
        let roots = match &hostile.root {
            Some(root) => write_root(&path, root),
            None => corpus().join(ROOTS),
        };
        let lists = match &hostile.lists {
            Some(lists) => write_lists(&path, lists),
            None => list_names(&corpus(), good.pki.crls().len()),
        };
        let folder = Self { path, roots, lists };
        for (name, bytes) in &hostile.beside {
            put(&folder.path.join(name), bytes);
        }
        match &hostile.file {
            Content::Bytes(bytes) => put(&folder.file(), bytes),
            Content::Sparse(start, size) => {
                let mut file = File::create(folder.file()).expect("our own folder");
                file.write_all(start).expect("our own file");
                file.set_len(*size).expect("a file with a hole");
            }
        }
        let expected = folder.expected(good, attack, hostile);
        put(&folder.path.join("expected.toml"), expected.as_bytes());
        folder
    }

    /// The file to judge.
    pub(crate) fn file(&self) -> PathBuf {
        self.path.join("hostile.wasm")
    }

    /// What must come of it, for people and for other programs.
    fn expected(&self, good: &Good, attack: &Attack, hostile: &Hostile) -> String {
        let (verdict, code, status) = match attack.expected {
            Expected::Accepted => ("accepted", None, 0),
            Expected::Refused(code) => ("refused", Some(code.as_str()), code.exit_status()),
            Expected::ListUnusable => ("list-unusable", Some("crl-invalid"), 2),
        };
        // A path as TOML's own escapes write it.
        let quoted = |path: &PathBuf| match path.strip_prefix(&self.path) {
            Ok(inside) => format!("{:?}", inside.display().to_string()),
            Err(_) => format!(
                "\"../{}\"",
                path.file_name().expect("a file").to_string_lossy()
            ),
        };
        let lists: Vec<String> = self.lists.iter().map(quoted).collect();
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            writeln!(text, "{key} = {value}").expect("a String takes everything");
        };
        line("attack", format!("{:?}", attack.name));
        line("what", format!("{:?}", attack.what));
        line("verdict", format!("{verdict:?}"));
        if let Some(code) = code {
            line("code", format!("{code:?}"));
        }
        line("exit_status", status.to_string());
        line("roots", quoted(&self.roots));
        line("crls", format!("[{}]", lists.join(", ")));
        line("signers", hostile.signers.to_string());
        line("made_at", format!("{:?}", good.pki.time().to_string()));
        text
    }
}

const ROOTS: &str = "roots.pem";

fn write_root(folder: &Path, root: &[u8]) -> PathBuf {
    let path = folder.join(ROOTS);
    let pem = der::pem::encode_string("CERTIFICATE", LineEnding::LF, root).expect("PEM");
    put(&path, pem.as_bytes());
    path
}

fn write_lists(folder: &Path, lists: &[Vec<u8>]) -> Vec<PathBuf> {
    let names = list_names(folder, lists.len());
    for (path, list) in names.iter().zip(lists) {
        put(path, list);
    }
    names
}

fn list_names(folder: &Path, count: usize) -> Vec<PathBuf> {
    (0..count)
        .map(|number| folder.join(format!("{number}.crl")))
        .collect()
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn remove(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            panic!("{}: {error}", folder.display())
        }
        _ => {}
    }
}

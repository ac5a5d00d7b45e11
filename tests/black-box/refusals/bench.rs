//! A PKI, a host with its root, and the two programs that judge a file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_signer::Manifest;
use countersign_testing::{Files, TestPki, TestPkiBuilder};
use countersign_trust_store::{AnchorSource, Code};
use serde_json::Value;
use tempfile::TempDir;

use crate::components;
use crate::programs::{Ran, fill_host, program, run};

/// A folder with a PKI, and a host into which its root was filled.
pub(super) struct Bench {
    pub(super) pki: TestPki,
    pub(super) files: Files,
    pub(super) host: PathBuf,
    folder: PathBuf,
    /// Removes the folder, unless it is kept for all tests of a module.
    _removed: Option<TempDir>,
    next: AtomicUsize,
}

impl Bench {
    /// A host that trusts the PKI's root, with its revocation lists.
    pub(super) fn new(pki: TestPki) -> Self {
        let source = pki.anchor_source();
        Self::trusting(pki, &[source])
    }

    /// The same for a PKI with one thing wrong.
    pub(super) fn with(builder: TestPkiBuilder) -> Self {
        Self::new(builder.build())
    }

    /// A host that trusts these roots.
    pub(super) fn trusting(pki: TestPki, roots: &[AnchorSource]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let path = folder.path().to_path_buf();
        Self::make(pki, roots, path, Some(folder))
    }

    /// A bench for all tests of a module. A static is never dropped, so its folder has a fixed name below target/,
    /// where the next run replaces it: hosts of 50 MB must not pile up.
    pub(super) fn kept(module: &str, pki: TestPki) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("refusals-{module}"));
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                panic!("{}: {error}", folder.display())
            }
            _ => std::fs::create_dir(&folder).expect("it was removed"),
        }
        let source = pki.anchor_source();
        Self::make(pki, &[source], folder, None)
    }

    fn make(
        pki: TestPki,
        roots: &[AnchorSource],
        folder: PathBuf,
        removed: Option<TempDir>,
    ) -> Self {
        let files = pki.write(&folder);
        let host = folder.join("countersign-run");
        fill_host(&host, roots);
        Self {
            pki,
            files,
            host,
            folder,
            _removed: removed,
            next: AtomicUsize::new(0),
        }
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A path in the folder that no other test uses.
    pub(super) fn fresh(&self, suffix: &str) -> PathBuf {
        self.path(&format!(
            "{}.{suffix}",
            self.next.fetch_add(1, Ordering::Relaxed)
        ))
    }

    /// What [`Self::sign`] says about a component: it asks for its standard output.
    pub(super) fn manifest(&self) -> Manifest {
        let mut manifest = self.pki.manifest("test:hello");
        manifest.grants.stdio.stdout = true;
        manifest
    }

    /// Signs without asking whether the chain is one that a signer would send.
    pub(super) fn sign(&self, component: &[u8]) -> Vec<u8> {
        self.pki
            .forge(component, self.pki.statement(component, &self.manifest()))
    }

    /// Both programs refuse this file with this code and its exit status, and the host leaves one record, which is
    /// returned.
    #[track_caller]
    pub(super) fn refuses(&self, file: &[u8], code: Code) -> Value {
        let path = self.fresh("wasm");
        std::fs::write(&path, file).expect("our own folder");
        self.refuses_file(&path, code)
    }

    /// The same for a file on disk.
    #[track_caller]
    pub(super) fn refuses_file(&self, file: &Path, code: Code) -> Value {
        self.verify_refuses(file, code);
        self.run_refuses(file, &[], code)
    }

    /// `countersign verify` refuses the file.
    #[track_caller]
    pub(super) fn verify_refuses(&self, file: &Path, code: Code) {
        let mut verify = Command::new(program("countersign"));
        verify
            .arg("verify")
            .arg(file)
            .arg("--roots")
            .arg(&self.files.roots_toml)
            .arg("--json");
        let judged = run(&mut verify);
        assert_eq!(
            judged.status,
            i32::from(code.exit_status()),
            "{code}: {judged:?}"
        );
        if !judged.stdout.is_empty() {
            let json: Value = serde_json::from_str(&judged.stdout).expect("JSON");
            assert_eq!(json["version"], 1, "{judged:?}");
            assert_eq!(json["verdict"], "refused", "{judged:?}");
            assert_eq!(json["refusal"]["code"], code.as_str(), "{judged:?}");
        }
        assert!(
            judged.stderr.contains(&format!("code: {code}")),
            "{code}: {judged:?}"
        );
        assert!(judged.stderr.contains(code.next_step()), "{judged:?}");
    }

    /// The host refuses the file, before the guest can say anything, and leaves one record, which is returned.
    #[track_caller]
    pub(super) fn run_refuses(&self, file: &Path, arguments: &[&str], code: Code) -> Value {
        let (ran, records) = self.run(file, arguments);
        assert_eq!(ran.status, i32::from(code.exit_status()), "{code}: {ran:?}");
        assert_eq!(ran.stdout, "", "a refused guest says nothing: {ran:?}");
        assert!(
            ran.stderr.contains(&format!("was refused: {code}\n")),
            "{code}: {ran:?}"
        );
        assert!(
            ran.stderr.contains("\n  why:  ") && ran.stderr.contains(code.next_step()),
            "{ran:?}"
        );
        let [record] = records.as_slice() else {
            panic!("{} records: {records:?}", records.len())
        };
        assert_eq!(record["version"], 1, "{record}");
        assert_eq!(record["event"], "refused", "{record}");
        assert_eq!(record["code"], code.as_str(), "{record}");
        assert!(
            record["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty()),
            "{record}"
        );
        assert!(
            record["time"]
                .as_str()
                .is_some_and(|time| time.starts_with("20") && time.ends_with('Z')),
            "{record}"
        );
        record.clone()
    }

    /// Both programs accept the file, and the host leaves a record of the acceptance and one of the end.
    #[track_caller]
    pub(super) fn runs(&self, file: &[u8]) -> Ran {
        let path = self.fresh("wasm");
        std::fs::write(&path, file).expect("our own folder");
        let mut verify = Command::new(program("countersign"));
        let judged = run(verify
            .arg("verify")
            .arg(&path)
            .arg("--roots")
            .arg(&self.files.roots_toml));
        assert_eq!(judged.status, 0, "{judged:?}");
        let (ran, records) = self.run(&path, &[]);
        assert_eq!(ran.status, 0, "{ran:?}");
        let [accepted, exited] = records.as_slice() else {
            panic!("{} records: {records:?}", records.len())
        };
        assert_eq!(accepted["event"], "accepted", "{accepted}");
        assert_eq!(accepted["component"]["name"], "test:hello", "{accepted}");
        assert_eq!(
            (&exited["event"], &exited["guest_status"]),
            (&"exited".into(), &0.into()),
            "{exited}"
        );
        ran
    }

    /// Runs the host, and gives what it left behind and its records.
    pub(super) fn run(&self, file: &Path, arguments: &[&str]) -> (Ran, Vec<Value>) {
        let log = self.fresh("jsonl");
        let ran = run(Command::new(&self.host)
            .arg(file)
            .arg("--audit")
            .arg(&log)
            .args(arguments));
        (ran, records(&log))
    }
}

/// The records in an audit log.
pub(super) fn records(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).expect("the host opened it");
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "a line that is cut off: {text}"
    );
    text.lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect()
}

/// A component that greets: guest-examples/hello as its compiler wrote it.
pub(super) fn hello() -> Vec<u8> {
    components::guest("hello")
}

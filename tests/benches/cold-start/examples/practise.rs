//! Has a host start components, so that a build of it that counts knows what is used: `practise HOST COMPONENT…`.
//!
//! Each is signed, compiled a few times, and then started from the cache, as by who runs it often. A component may
//! trap; one that the host refuses ends the practice.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use countersign_runtime::format::DirectoryGrant;
use countersign_runtime::trust_store::Code;
use countersign_testing::{TestPki, write_program};

/// Starts of each component that compile it, and that find it in the cache.
const COLD: usize = 4;
const WARM: usize = 40;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(program) = arguments.next() else {
        eprintln!("practise HOST COMPONENT…");
        return ExitCode::from(2);
    };
    let folder = tempfile::tempdir().expect("a folder");
    let pki = TestPki::new();
    let host = folder.path().join("host");
    let mut bytes = std::fs::read(&program).expect("the host is built");
    countersign_roots_file::fill(&mut bytes, &[pki.anchor_source()]).expect("it takes roots");
    write_program(&host, &bytes);

    for component in arguments {
        let signed = sign(&pki, &component, folder.path());
        let data = folder.path().join("data");
        let cache = folder.path().join("cache");
        for start in 0..COLD + WARM {
            let _ = std::fs::remove_dir_all(&data);
            std::fs::create_dir(&data).expect("our own folder");
            let mut run = Command::new(&host);
            if start >= COLD {
                run.arg("--cache").arg(&cache);
            }
            run.arg("--dir")
                .arg(format!("{}::/data:rw=64KiB", data.display()));
            run.arg(&signed).args(["--", "stream", "files"]);
            start_of(&mut run);
        }
    }
    ExitCode::SUCCESS
}

/// Signs a component that is granted what any of them asks for.
fn sign(pki: &TestPki, component: &Path, folder: &Path) -> PathBuf {
    let name = component.file_stem().expect("a file").to_string_lossy();
    let mut manifest = pki.manifest(&format!("test:{name}"));
    manifest.grants.args = true;
    manifest.grants.stdio.stdout = true;
    manifest.grants.stdio.stderr = true;
    manifest.grants.directories = vec![DirectoryGrant {
        guest: "/data".to_owned(),
        writable: true,
    }];
    let bytes = std::fs::read(component).expect("the component is built");
    let path = folder.join(format!("{name}.signed.wasm"));
    std::fs::write(&path, pki.sign(&bytes, &manifest)).expect("our own folder");
    path
}

/// A start that the host did not refuse: the component ended well, or trapped.
fn start_of(run: &mut Command) {
    let output = run.stdin(Stdio::null()).output().expect("it starts");
    let trapped = i32::from(Code::Trapped.exit_status());
    let status = output.status.code();
    assert!(
        status == Some(0) || status == Some(trapped),
        "{run:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

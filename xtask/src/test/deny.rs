//! cargo-deny over all packages: bans, licences and sources always; advisories where a database is given.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{cargo, root, run, target};
use crate::tools;

/// The version that is installed where there is none.
const VERSION: &str = "0.20.2";

/// Names the folder that holds a clone of an advisory database, where there is one.
const DATABASES: &str = "COUNTERSIGN_ADVISORIES";

/// Checks everything that deny.toml says.
pub(crate) fn check() -> Result<()> {
    // What only its network calls need is left out.
    let program = tools::program("cargo-deny", VERSION, &["--no-default-features"])?;
    // It looks at the packages of every platform, of which a build has fetched those of its own.
    run(cargo().args(["fetch", "--locked", "--quiet"]))?;
    run(deny(&program).args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    match std::env::var_os(DATABASES) {
        // cargo-deny takes the place of its databases from the configuration only.
        Some(folder) => {
            let configuration = with_databases(Path::new(&folder))?;
            run(deny(&program)
                .arg("check")
                .arg("--config")
                .arg(configuration)
                .arg("advisories"))
        }
        None => {
            println!("advisories were not checked: {DATABASES} names no folder of databases");
            Ok(())
        }
    }
}

fn deny(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // Two versions of a package are worth a look now and then, not a page at every run.
    command.args([
        "--log-level",
        "error",
        "--workspace",
        "--locked",
        "--offline",
    ]);
    command
}

/// deny.toml with the place of the advisory databases, in the build folder.
fn with_databases(folder: &Path) -> Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    let path = root().join("deny.toml");
    let text = std::fs::read_to_string(&path).context("deny.toml cannot be read")?;
    let place = format!(
        "[advisories]\ndb-path = {:?}\n",
        folder.display().to_string()
    );
    let written = target().join("deny-with-advisories.toml");
    std::fs::write(&written, text.replacen("[advisories]\n", &place, 1))?;
    Ok(written)
}

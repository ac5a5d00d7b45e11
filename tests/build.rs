//! Lists the guests of guest-examples/ and the cases of tests/pki/ for the tests that take each of them, so that none is
//! without a test.

use std::path::{Path, PathBuf};

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    write(
        "guests.rs",
        &macro_of("guest", "", &guests(&here.join("../guest-examples"))),
    );
    write(
        "cases.rs",
        &macro_of("case", "#[macro_export]\n", &cases(&here.join("pki"))),
    );
}

/// The folders that hold a guest, in whatever language: those with a component.toml.
fn guests(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = entries(folder)
        .into_iter()
        .filter(|path| path.join("component.toml").is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.replace('-', "_")))
        .collect();
    names.sort();
    names
}

/// The names in all files. That these are all cases, and no more, is tested where the files are read in earnest.
fn cases(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = entries(folder)
        .into_iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(&path).expect("the cases are text");
            let name = |line: &str| {
                Some(
                    line.strip_prefix("name = \"")?
                        .strip_suffix('"')?
                        .to_owned(),
                )
            };
            text.lines().filter_map(name).collect::<Vec<_>>()
        })
        .collect();
    names.sort();
    names
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    println!("cargo::rerun-if-changed={}", folder.display());
    std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect()
}

/// A macro that hands all names to another one.
fn macro_of(what: &str, attribute: &str, names: &[String]) -> String {
    format!(
        "/// Hands the names of all {what}s to a macro.\n{attribute}macro_rules! foreach_{what} {{\n    ($mac:ident) => {{\n        \
         $mac! {{\n            {}\n        }}\n    }};\n}}\n",
        names.join("\n            ")
    )
}

fn write(name: &str, text: &str) {
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join(name), text).expect("OUT_DIR can be written");
}

//! Lists the guests of guest-examples/ for the black-box tests, so that a guest without a test does not
//! compile.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-examples");
    println!("cargo::rerun-if-changed={}", guests.display());

    let mut names: Vec<String> = std::fs::read_dir(&guests)
        .expect("guest-examples/ is beside tests/")
        .map(|entry| entry.expect("guest-examples/ can be listed").path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.replace('-', "_")))
        .collect();
    names.sort();

    let mut list = String::from(
        "/// Hands the names of all guests to a macro.\nmacro_rules! foreach_guest {\n    ($mac:ident) => {\n        $mac! {\n",
    );
    for name in names {
        writeln!(list, "            {name}").expect("a String takes everything");
    }
    list.push_str("        }\n    };\n}\n");
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("guests.rs"), list).expect("OUT_DIR can be written");
}

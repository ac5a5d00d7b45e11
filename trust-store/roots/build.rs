//! Writes the section of compiled-in roots from `COUNTERSIGN_ROOTS`, or fails the build with the reason.

use std::path::PathBuf;

use countersign_roots_file::{BuildInput, build};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=COUNTERSIGN_ROOTS");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let input = BuildInput {
        roots: std::env::var_os("COUNTERSIGN_ROOTS"),
        source_date_epoch: std::env::var_os("SOURCE_DATE_EPOCH"),
    };
    let written = build(&input)
        .map_err(|error| error.to_string())
        .and_then(|built| {
            for file in &built.files {
                println!("cargo:rerun-if-changed={}", file.display());
            }
            println!(
                "cargo:rustc-env=COUNTERSIGN_BUILD_TIME={}",
                built.time.as_secs()
            );
            let out =
                PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?)
                    .join("section");
            std::fs::write(&out, built.section)
                .map_err(|error| format!("cannot write {}: {error}", out.display()))
        });
    if let Err(reason) = written {
        println!(
            "cargo::error=no host is built with these roots: {}",
            reason.replace('\n', " ")
        );
        std::process::exit(1);
    }
}

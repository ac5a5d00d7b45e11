//! Leaves out of a program that unwinds nothing what unwinding would need: a sixth of it.
//!
//! Cargo does not tell a profile's way of panicking to a build script. The one profile that is optimised as far for size ends where it
//! panics; built so with another profile, a program would end there just the same.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let for_linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if !is("OPT_LEVEL", "z") || !for_linux {
        return;
    }
    let folder = std::env::var("OUT_DIR").expect("Cargo says where");
    let script = Path::new(&folder).join("no-unwinding.ld");
    let text = "SECTIONS { /DISCARD/ : { *(.eh_frame .eh_frame.*) } }\nINSERT AFTER .text;\n";
    std::fs::write(&script, text).expect("Cargo's own folder");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    // One bit for each address that is relocated, instead of 24 bytes; glibc reads that since 2.36.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}

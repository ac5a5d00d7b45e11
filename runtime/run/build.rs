//! Leaves out of a program that unwinds nothing what unwinding would need: a sixth of it.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let cfg = |name: &str| std::env::var(format!("CARGO_CFG_{name}")).unwrap_or_default();
    if cfg("PANIC") != "abort" || cfg("TARGET_OS") != "linux" || cfg("TARGET_ENV") != "gnu" {
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

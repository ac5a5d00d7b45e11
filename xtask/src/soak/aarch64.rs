//! `soak aarch64`: what verifies and runs components, compiled for 64-bit ARM and run on an emulated one (row TE35).
//!
//! Cranelift writes other code there than on x86-64, and has had faults there alone. The compiler, its standard library's source, the
//! linker and the emulator are Debian's. Emulated is not measured, and no processor of its own.

use anyhow::{Result, bail};

use crate::process::{cargo, run, target};
use crate::setup::{self, Need};

/// The machine, as Rust calls it.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// What is tested there: everything between a file's bytes and the end of its guest.
const PACKAGES: &[&str] = &[
    "countersign-format",
    "countersign-keys",
    "countersign-trust-store",
    "countersign-runtime",
];

/// What the emulator does not do: start a program of its own kind from within, unless the kernel knows how; and write without waiting
/// (RWF_NOWAIT), for which there is another way that is taken then.
const BEYOND_EMULATION: &[&str] = &[
    "a_program_that_does_not_compile_when_it_is_started_so_refuses_the_component",
    "te13_many_starts_and_traps_leave_memory_descriptors_and_mappings_as_before",
    "what_the_system_does_not_take_at_once_is_left",
];

/// Runs the tests whose names contain the word, or all.
pub(super) fn play(words: &[&str]) -> Result<()> {
    let filter = match words {
        [] => None,
        [filter] => Some(*filter),
        _ => bail!("one part of the tests' names, if any"),
    };
    setup::ensure(&[Need::OtherProcessor])?;
    let mut tests = cargo();
    tests.args(["test", "--locked", "--no-fail-fast", "--target", TARGET]);
    tests.args(["--lib", "--tests", "-Zbuild-std=std,panic_unwind"]);
    tests.args(PACKAGES.iter().flat_map(|package| ["--package", *package]));
    tests.env("CARGO_TARGET_DIR", target().join("aarch64"));
    tests.env("RUSTC", "/usr/bin/rustc");
    // -Zbuild-std is open to stable cargo only with this.
    tests.env("RUSTC_BOOTSTRAP", "1");
    for (name, value) in [
        (
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            "aarch64-linux-gnu-gcc",
        ),
        (
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            "qemu-aarch64 -L /usr/aarch64-linux-gnu",
        ),
        ("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc"),
    ] {
        tests.env(name, value);
    }
    tests.arg("--").args(filter);
    tests.args(BEYOND_EMULATION.iter().flat_map(|name| ["--skip", *name]));
    run(&mut tests)
}

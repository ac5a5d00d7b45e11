//! `cargo xtask soak`: what takes minutes to hours, and so is no part of `cargo xtask test`.
//!
//! Each form says at its end what it saw, in figures; `docs/assurance.md` holds those of the last run.

mod aarch64;
mod coverage;
mod differential;
mod faults;
pub(crate) mod fuzz;
mod gateway;
mod issuing;
mod mutants;
mod package;
mod tamper;
mod without_compiler;

use anyhow::{Result, bail};

/// One kind of long run.
struct Form {
    /// The word after `soak`.
    name: &'static str,
    /// What may follow the name.
    arguments: &'static str,
    /// What it does, in one line.
    about: &'static str,
    run: fn(&[&str]) -> Result<()>,
}

/// All of them, in the order in which `cargo xtask soak` without a name runs them.
const FORMS: &[Form] = &[
    Form {
        name: "aarch64",
        arguments: "[TEXT]",
        about: "the tests of what verifies and runs components on an emulated 64-bit ARM",
        run: aarch64::play,
    },
    Form {
        name: "coverage",
        arguments: "",
        about: "which lines of the verifying packages their tests run",
        run: coverage::play,
    },
    Form {
        name: "differential",
        arguments: "[COUNT]",
        about: "OpenSSL, webpki and another CBOR decoder beside ours, over mutated chains and statements",
        run: differential::play,
    },
    Form {
        name: "faults",
        arguments: "[COUNT]",
        about: "so many signatures (1,000,000) of a secure element and of a TPM, each with a bit turned on its way",
        run: faults::play,
    },
    Form {
        name: "fuzz",
        arguments: "[SECONDS] [TARGET]",
        about: "fuzz the verifying path, guided by coverage: each target for so many seconds (60)",
        run: fuzz::play,
    },
    Form {
        name: "gateway",
        arguments: "[KILLS [MINUTES]]",
        about: "so many kills of a gateway (10,000), all that a power cut may leave, 2,000 faults of its disk, so many minutes of changes (30)",
        run: gateway::play,
    },
    Form {
        name: "issuing",
        arguments: "[KILLS [ROUNDS]]",
        about: "so many kills of a process that issues (10,000), so many rounds of 100 enrolments of one device (1,000)",
        run: issuing::play,
    },
    Form {
        name: "mutants",
        arguments: "[PACKAGE [TEXT]]",
        about: "whether a test fails for each small change of the verifying code",
        run: mutants::play,
    },
    Form {
        name: "package",
        arguments: "[GATEWAY]",
        about: "the Debian package on an emulated machine with systemd and a TPM; as root",
        run: package::play,
    },
    Form {
        name: "tamper",
        arguments: "",
        about: "every bit of three signed components, 100,000 of a large one",
        run: tamper::all,
    },
    Form {
        name: "without-compiler",
        arguments: "",
        about: "a gateway that was built without a compiler runs what somebody vouched for, and nothing else",
        run: without_compiler::play,
    },
];

/// Runs the form that the words name, or all of them.
pub(crate) fn play(words: &[&str]) -> Result<()> {
    let Some((name, arguments)) = words.split_first() else {
        return FORMS.iter().try_for_each(|form| (form.run)(&[]));
    };
    match FORMS.iter().find(|form| form.name == *name) {
        Some(form) => (form.run)(arguments),
        None => bail!("there is no long run of the name {name}\n\n{}", help()),
    }
}

/// The forms, for the help.
pub(crate) fn help() -> String {
    FORMS
        .iter()
        .map(|form| {
            let usage = format!("{} {}", form.name, form.arguments);
            format!("  soak {:<31} {}\n", usage.trim_end(), form.about)
        })
        .collect()
}

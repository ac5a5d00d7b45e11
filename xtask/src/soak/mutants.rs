//! Mutation testing: one operator, value or match arm at a time is made wrong, and a test of the same package must
//! fail for it. A mutant that no test notices is a check that nobody would miss.
//!
//! cargo-mutants says which mutants there are; what is left out, and why, is said in `.cargo/mutants.toml`. A build for
//! each would take hours. So all that compile together become one program, in which a number in the environment
//! switches one of them on ([`switch`]); the others are built one by one ([`tree`]). For each, the tests run that call the
//! changed function ([`judge`]).
//!
//! Documentation tests are left out: each is a program of its own to build, and those that say `compile_fail` show what
//! the compiler refuses, which no mutant of a function's body changes.

mod judge;
mod source;
mod switch;
mod tree;

use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};

use crate::process::{say, target};
use crate::tools;
use judge::{Suite, Verdict};
use source::Mutant;

/// The version that is installed where there is none.
const VERSION: &str = "27.1.0";

/// What is changed, and what must notice.
struct Package {
    name: &'static str,
    /// The files; all of the package if there are none.
    files: &'static [&'static str],
    /// What cargo builds of the tests.
    tests: &'static [&'static str],
}

/// The packages that decide, in the order in which a file meets them.
const PACKAGES: [Package; 3] = [
    Package {
        name: "countersign-format",
        files: &[],
        tests: &["--package", "countersign-format", "--lib", "--tests"],
    },
    Package {
        name: "countersign-trust-store",
        files: &[],
        tests: &["--package", "countersign-trust-store", "--lib", "--tests"],
    },
    Package {
        name: "countersign-runtime",
        files: &["runtime/src/load.rs", "runtime/src/grants.rs"],
        tests: &["--package", "countersign-runtime", "--lib", "--tests"],
    },
];

/// Reads `[PACKAGE [TEXT]]`: all packages, one, or those mutants of it whose name holds a text, such as a file's.
pub(crate) fn play(words: &[&str]) -> Result<()> {
    let (name, part) = match words {
        [] => (None, ""),
        [name] => (Some(*name), ""),
        [name, part] => (Some(*name), *part),
        _ => bail!("a package and a part of its mutants' names, if any"),
    };
    let chosen: Vec<_> = PACKAGES
        .iter()
        .filter(|package| name.is_none_or(|name| name == package.name))
        .collect();
    ensure!(
        !chosen.is_empty(),
        "mutants are made of {}",
        PACKAGES.map(|package| package.name).join(", ")
    );
    let program = tools::program("cargo-mutants", VERSION, &[])?;
    let mut judged = Vec::new();
    for package in chosen {
        let mutants = source::list(&program, package.name, package.files)?;
        judged.push((package.name, all(package, &mutants, part)?));
    }
    report(&judged)
}

/// A mutant, whether it was built by itself, and what became of it.
struct Judged {
    name: String,
    alone: bool,
    verdict: Verdict,
}

fn all(package: &Package, mutants: &[Mutant], part: &str) -> Result<Vec<Judged>> {
    let tree = tree::Tree::make(package.tests)?;
    say(&format!("{}: {} mutants", package.name, mutants.len()));
    let built = tree.build_together(mutants)?;
    let is_alone = |mutant: &&Mutant| {
        !built.together.contains_key(&mutant.number) && !built.broken.contains(&mutant.number)
    };
    say(&format!(
        "{} in one program, {} do not compile, {} to be built alone",
        built.together.len(),
        built.broken.len(),
        mutants.iter().filter(is_alone).count(),
    ));
    let mut judged = Vec::new();
    let mut note = |mutant: &Mutant, alone, verdict| {
        println!("{verdict}: {}", mutant.name);
        judged.push(Judged {
            name: mutant.name.clone(),
            alone,
            verdict,
        });
    };
    let suite = Suite::record(built.tests, &tree.called())?;
    say(&format!(
        "{} tests, which pass without a mutant",
        suite.len()
    ));
    let wanted = |mutant: &&Mutant| mutant.name.contains(part);
    for mutant in mutants.iter().filter(wanted) {
        if built.broken.contains(&mutant.number) {
            note(mutant, false, Verdict::NotCompiled);
        } else if let Some(function) = built.together.get(&mutant.number) {
            note(mutant, false, suite.judge(mutant.number, *function)?);
        }
    }
    if mutants
        .iter()
        .filter(is_alone)
        .any(|mutant| wanted(&mutant))
    {
        tree.restore(mutants)?;
    }
    for mutant in mutants.iter().filter(is_alone).filter(wanted) {
        let verdict = match tree.build_alone(mutant)? {
            Some(tests) => judge::alone(&tests)?,
            None => Verdict::NotCompiled,
        };
        note(mutant, true, verdict);
    }
    Ok(judged)
}

fn report(packages: &[(&str, Vec<Judged>)]) -> Result<()> {
    let mut lines = String::new();
    let mut table = format!(
        "\n{:<25} {:>8} {:>8} {:>8} {:>9} {:>13} {:>12}\n",
        "package", "mutants", "caught", "missed", "for ever", "no compiling", "built alone"
    );
    let mut missed = 0_usize;
    for (package, judged) in packages {
        let count = |verdict| judged.iter().filter(|one| one.verdict == verdict).count();
        writeln!(
            table,
            "{package:<25} {:>8} {:>8} {:>8} {:>9} {:>13} {:>12}",
            judged.len(),
            count(Verdict::Caught),
            count(Verdict::Missed),
            count(Verdict::ForEver),
            count(Verdict::NotCompiled),
            judged.iter().filter(|one| one.alone).count(),
        )?;
        missed = missed.saturating_add(count(Verdict::Missed));
        for one in judged {
            writeln!(lines, "{}: {}", one.verdict, one.name)?;
        }
        for one in judged.iter().filter(|one| one.verdict == Verdict::Missed) {
            writeln!(table, "    missed: {}", one.name)?;
        }
    }
    let folder = target().join("soak/mutants");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("verdicts.txt"), lines)?;
    print!("{table}");
    ensure!(missed == 0, "mutants that no test noticed: {missed}");
    Ok(())
}

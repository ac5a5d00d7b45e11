//! The rules that the compiler does not know: who may depend on whom, what may not be in whose tree, what is
//! locked, where `unsafe` and Wasmtime's compiler may be used, and which hostile inputs have tests.

mod packages;
mod rust;
mod sources;
mod threats;

use anyhow::{Result, bail};

use crate::process::say;
pub(crate) use packages::BESIDE;

/// Whether the generated index of docs/threats.md is only compared, or written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    Compared,
    Written,
}

/// Applies every rule and lists all that are broken, not only the first.
pub(crate) fn all(index: Index) -> Result<()> {
    say("checking the packages' arrows, the sources' rules and the table of threats");
    let mut broken = Vec::new();
    packages::arrows(&mut broken)?;
    packages::trees(&mut broken)?;
    packages::locks(&mut broken);
    sources::unsafe_code(&mut broken)?;
    sources::compiler_calls(&mut broken)?;
    threats::page(&mut broken, index == Index::Written)?;
    if broken.is_empty() {
        println!(
            "arrows, dependency trees, lock files, unsafe code, compiler calls, table of threats: all as they must be"
        );
        return Ok(());
    }
    bail!("{} broken:\n  {}", count(broken.len()), broken.join("\n  "));
}

fn count(rules: usize) -> String {
    if rules == 1 {
        "one rule is".to_owned()
    } else {
        format!("{rules} rules are")
    }
}

//! The rules about packages that the compiler does not know: who may depend on whom, what may not be in
//! whose tree, and where `unsafe` and Wasmtime's compiler may be used.

mod packages;
mod sources;

use anyhow::{Result, bail};

use crate::process::say;

/// Applies every rule and lists all that are broken, not only the first.
pub(crate) fn all() -> Result<()> {
    say("checking the packages' arrows and the sources' rules");
    let mut broken = Vec::new();
    packages::arrows(&mut broken)?;
    packages::trees(&mut broken)?;
    sources::unsafe_code(&mut broken)?;
    sources::compiler_calls(&mut broken)?;
    if broken.is_empty() {
        println!("arrows, dependency trees, unsafe code, compiler calls: all as allowed");
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

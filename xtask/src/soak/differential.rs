//! `soak differential`: mutated chains judged by us, OpenSSL and webpki alone; mutated statements read by us and ciborium.

use anyhow::{Context, Result, bail};

use crate::process::{cargo, run};
use crate::setup::{self, Need};

/// How many chains, and how many statements, if nothing was said.
const COUNT: u64 = 100_000;

/// Takes the count from the command line.
pub(super) fn play(words: &[&str]) -> Result<()> {
    match words {
        [] => all(COUNT),
        [count] => all(count
            .parse()
            .with_context(|| format!("{count} is no count"))?),
        _ => bail!("one count, if any"),
    }
}

/// Judges so many chains and reads so many statements.
pub(crate) fn all(count: u64) -> Result<()> {
    setup::ensure(&[Need::OpenSslLibrary])?;
    for kind in ["statements", "chains"] {
        let mut soak = cargo();
        soak.args(["run", "--locked", "--package", "countersign-differential"]);
        soak.args(["--example", "soak", "--", kind, &count.to_string()]);
        run(&mut soak)?;
    }
    Ok(())
}

//! `soak faults`: signatures of hardware while single bits are turned, on the bus and in the chip. No bad one may leave.
//!
//! The work is in the tests of the stores, which make fewer signatures in `cargo xtask test`.

use anyhow::{Context, Result, bail};

use crate::process::{cargo, run};

/// How many signatures of each kind of hardware, if nothing was said.
const COUNT: u64 = 1_000_000;

/// Names the count to the tests.
const VARIABLE: &str = "COUNTERSIGN_FAULTS";

/// The tests' names have this in common.
const TESTS: &str = "signatures_with_a_bit_turned";

/// Takes the count from the command line.
pub(super) fn play(words: &[&str]) -> Result<()> {
    let count = match words {
        [] => COUNT,
        [count] => count
            .parse()
            .with_context(|| format!("{count} is no count"))?,
        _ => bail!("one count, if any"),
    };
    let mut tests = cargo();
    tests.env(VARIABLE, count.to_string());
    // As everywhere, all packages are built alike; these are the tests of the two stores.
    tests.args([
        "test",
        "--locked",
        "--workspace",
        "--test",
        "chip",
        "--test",
        "tpm",
    ]);
    // With what they print: that is the result.
    run(tests.args(["--", TESTS, "--nocapture"]))
}

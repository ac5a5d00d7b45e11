//! `cargo xtask soak tamper`: every bit of three signed components, and random bits of a large one.
//!
//! The work is in `tests/tamper`, in the tests that `cargo xtask test` leaves out; this makes what they need.

use anyhow::{Result, ensure};

use crate::process::{cargo, run, say, target};
use crate::programs::{self, Selection};
use crate::setup::{self, Need};
use crate::{demo, guests};

/// Runs all of it.
pub(crate) fn all(arguments: &[&str]) -> Result<()> {
    ensure!(arguments.is_empty(), "soak tamper takes no arguments");
    setup::ensure(&[Need::Python])?;
    programs::build(Selection::Everything)?;
    guests::build_rust()?;
    demo::fetch_resvg(target().join("soak/resvg"))?;
    say("flipping bits, with two threads");
    let mut tests = cargo();
    tests.args(["test", "--locked", "--workspace", "--test", "tamper", "--"]);
    // One test after the other, since each uses two threads, and with what they print: that is the result.
    tests.args(["--include-ignored", "--nocapture", "--test-threads=1"]);
    run(&mut tests)
}

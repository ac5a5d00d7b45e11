//! `soak issuing`: a process that issues is killed at every step and at any moment, and one device is enrolled a hundred
//! times at once. No certificate without its row and its leaf, no serial twice, one certificate for the device.
//!
//! The work is in the tests of `countersign-issuing`, which do one per cent of it in `cargo xtask test`.

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, run};
use crate::setup::{self, Need};

/// How many kills, half of them with SQLite and half with PostgreSQL, if nothing was said.
const KILLS: u64 = 10_000;

/// How many rounds with each of the two.
const ROUNDS: u64 = 1_000;

/// Takes the counts from the command line.
pub(super) fn play(words: &[&str]) -> Result<()> {
    ensure!(words.len() <= 2, "kills and rounds, no more");
    let count = |place: usize, or: u64| {
        words.get(place).map_or(Ok(or), |word| {
            word.parse::<u64>()
                .with_context(|| format!("{word} is no count"))
        })
    };
    let (kills, rounds) = (count(0, KILLS)?, count(1, ROUNDS)?);
    setup::ensure(&[Need::PostgreSql])?;
    let mut tests = cargo();
    tests.env("COUNTERSIGN_KILLS", kills.to_string());
    tests.env("COUNTERSIGN_ROUNDS", rounds.to_string());
    // As everywhere, all packages are built alike. One after the other, and with what they print: that is the result.
    tests.args(["test", "--locked", "--workspace", "--test", "issuing"]);
    tests.args(["--", "--nocapture", "--test-threads=1"]);
    run(tests.args(["killed_at", "a_hundred_at_once"]))
}

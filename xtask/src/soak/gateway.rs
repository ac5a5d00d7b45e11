//! `soak gateway`: a gateway is killed at any moment, loses what its disk had not flushed, has a disk that is full or fails, is kept
//! busy with changes and faults, and starts and stops a guest a million times. What ran or what was about to runs afterwards;
//! nothing grows.
//!
//! The work is in the black-box tests of the gateway and the tests of the runtime, which do one per cent of it in
//! `cargo xtask test`.

use anyhow::{Context, Result, ensure};

use crate::guests;
use crate::process::{cargo, run};
use crate::programs::{self, Selection, TPM};
use crate::setup::{self, Need};

/// How many kills, if nothing was said.
const KILLS: u64 = 10_000;

/// How many minutes of changes and faults.
const MINUTES: u64 = 30;

/// How many starts and traps of a guest.
const STARTS: u64 = 1_000_000;

/// How many faults of a disk.
const FAULTS: u64 = 2_000;

/// More images of a disk than there are: all of them.
const IMAGES: u64 = 1_000_000;

/// Takes kills and minutes from the command line.
pub(super) fn play(words: &[&str]) -> Result<()> {
    ensure!(words.len() <= 2, "kills and minutes, no more");
    let count = |place: usize, or: u64| {
        words.get(place).map_or(Ok(or), |word| {
            word.parse::<u64>()
                .with_context(|| format!("{word} is no count"))
        })
    };
    let (kills, minutes) = (count(0, KILLS)?, count(1, MINUTES)?);
    setup::ensure(&[Need::Faketime, Need::GuestToolchain, Need::Strace])?;
    programs::build(Selection::WithChips)?;
    guests::build()?;
    let mut tests = cargo();
    tests.env("COUNTERSIGN_KILLS", kills.to_string());
    tests.env("COUNTERSIGN_FAULTS", FAULTS.to_string());
    tests.env("COUNTERSIGN_IMAGES", IMAGES.to_string());
    tests.env("COUNTERSIGN_MINUTES", minutes.to_string());
    tests.env("COUNTERSIGN_STARTS", STARTS.to_string());
    // As everywhere, all packages are built alike. Two at a time, since each waits more than it works; and with what they print: that
    // is the result.
    tests.args(["test", "--locked", "--workspace"]).args(TPM);
    tests.args(["--test", "gateway", "--test", "suite"]);
    tests.args(["--", "--nocapture", "--test-threads=2", "--include-ignored"]);
    run(tests.args([
        "kills::",
        "unsynced::",
        "gateway::faults::",
        "churn::",
        "reuse::",
    ]))
}

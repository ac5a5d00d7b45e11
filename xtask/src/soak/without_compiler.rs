//! `soak without-compiler`: a gateway that is built without a compiler, as released, runs what somebody vouched for, and nothing else.
//!
//! Its build links many minutes, and so is no part of the suite, in which the test is left out.

use anyhow::{Result, ensure};

use crate::guests;
use crate::process::{cargo, run};
use crate::programs::{self, Selection, TPM};
use crate::released::SMALL_GATEWAY;

pub(super) fn play(words: &[&str]) -> Result<()> {
    ensure!(words.is_empty(), "nothing follows");
    let gateway = SMALL_GATEWAY.build()?;
    guests::build_named(&["endless-loop"])?;
    // As the tests have them.
    programs::build(Selection::WithChips)?;
    let mut tests = cargo();
    tests.env("COUNTERSIGN_GATEWAY_WITHOUT_COMPILER", gateway);
    tests.args(["test", "--locked", "--workspace"]).args(TPM);
    tests.args(["--test", "gateway", "--", "--include-ignored"]);
    run(tests.arg("te15_without_a_compiler"))
}

//! The hostile corpus: files that must be refused, each changed in one thing from a file that is accepted.
//!
//! Every attack becomes a folder of target/corpus with the file and what must come of it, and is a test of its own:
//! the built desk tool and the built host both answer with the one code that the attack's table names.

mod attack;
mod attacks;
mod cbor;
#[path = "../shared/components.rs"]
mod components;
mod der;
mod folder;
mod good;
mod handmade;
mod judge;
#[path = "../shared/programs.rs"]
mod programs;
mod wasm;

use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use libtest_mimic::{Arguments, Trial};

use crate::attack::Attack;
use crate::good::Good;
use crate::judge::Court;

/// Made by the first test that needs it, so that listing the tests needs nothing built.
static COURT: LazyLock<Court> = LazyLock::new(|| {
    let good = Good::new(components::guest("hello"));
    Court::new(good, &attacks::all())
});

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = attacks::all().into_iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(attack: Attack) -> Trial {
    let attack = Arc::new(attack);
    Trial::test(attack.name.clone(), move || {
        COURT.judge(&attack);
        Ok(())
    })
}

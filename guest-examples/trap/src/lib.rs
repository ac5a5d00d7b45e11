//! Says that it is about to trap, and traps.

use std::io::Write;

use wasip2::cli::stdout;
use wasip2::exports::cli::run::Guest;

struct Trap;

wasip2::cli::command::export!(Trap);

impl Guest for Trap {
    fn run() -> Result<(), ()> {
        writeln!(stdout::get_stdout(), "about to trap").map_err(|_| ())?;
        // With `panic = "abort"` a panic is the instruction `unreachable`.
        panic!("this guest always panics")
    }
}

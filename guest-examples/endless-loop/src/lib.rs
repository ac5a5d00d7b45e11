//! Never returns, and calls nothing while it runs: only the host's deadline can end it.

use std::hint::black_box;

use wasip2::exports::cli::run::Guest;

struct EndlessLoop;

wasip2::cli::command::export!(EndlessLoop);

impl Guest for EndlessLoop {
    fn run() -> Result<(), ()> {
        let mut turns: u64 = 0;
        while black_box(true) {
            turns = black_box(turns.wrapping_add(1));
        }
        Ok(())
    }
}

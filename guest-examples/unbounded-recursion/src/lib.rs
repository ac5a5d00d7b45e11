//! Calls itself until the stack that the host lends is used up.

use std::hint::black_box;

use wasip2::exports::cli::run::Guest;

struct UnboundedRecursion;

wasip2::cli::command::export!(UnboundedRecursion);

impl Guest for UnboundedRecursion {
    fn run() -> Result<(), ()> {
        if descend(black_box(1)) == 0 {
            Err(())
        } else {
            Ok(())
        }
    }
}

/// Not a tail call, and the optimiser may assume nothing of `depth`: each level needs a frame of its own.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    if black_box(depth) == 0 {
        return 0;
    }
    descend(black_box(depth.wrapping_add(2))).wrapping_add(1)
}

//! Takes memory, a mebibyte at a time, and writes to all of it, until the host ends it.

use std::hint::black_box;

use wasip2::exports::cli::run::Guest;

/// Bytes taken at a time.
const STEP: usize = 1 << 20;

struct UnboundedMemory;

wasip2::cli::command::export!(UnboundedMemory);

impl Guest for UnboundedMemory {
    fn run() -> Result<(), ()> {
        let mut taken: Vec<Vec<u8>> = Vec::new();
        while black_box(true) {
            taken.push(black_box(vec![0xA5; STEP]));
        }
        Ok(())
    }
}

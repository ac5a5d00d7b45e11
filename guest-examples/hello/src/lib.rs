//! Greets everyone named in its arguments, or the world.

use std::io::Write;

use wasip2::cli::{environment, stdout};
use wasip2::exports::cli::run::Guest;

struct Hello;

wasip2::cli::command::export!(Hello);

impl Guest for Hello {
    fn run() -> Result<(), ()> {
        // The first argument is the program's own name.
        let names: Vec<String> = environment::get_arguments().into_iter().skip(1).collect();
        let whom = if names.is_empty() {
            "world".to_owned()
        } else {
            names.join(" and ")
        };
        let mut out = stdout::get_stdout();
        writeln!(out, "Hello, {whom}!")
            .and_then(|()| Write::flush(&mut out))
            .map_err(|_| ())
    }
}

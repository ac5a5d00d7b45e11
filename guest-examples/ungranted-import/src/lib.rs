//! Imports `acme:vault/secrets`, which no host of this project offers, and would print what it gets.

use std::io::Write;

use wasip2::cli::stdout;
use wasip2::exports::cli::run::Guest;

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package acme:vault;

            interface secrets {
                reveal: func(name: string) -> string;
            }

            world thief {
                import secrets;
            }
        ",
        world: "thief",
    });
}

struct UngrantedImport;

wasip2::cli::command::export!(UngrantedImport);

impl Guest for UngrantedImport {
    fn run() -> Result<(), ()> {
        let secret = bindings::acme::vault::secrets::reveal("root-key");
        writeln!(stdout::get_stdout(), "the secret is {secret}").map_err(|_| ())
    }
}

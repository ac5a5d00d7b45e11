//! Runs a target over the inputs in folders, and says how often each verdict was given:
//! `cargo run --example verdicts -- TARGET FOLDER …`.

use std::fs;

use countersign_fuzz::{
    bundle, certificate_and_chain, component_toml, crl, envelope_and_statement, framing, key_uris,
    tally, whole_verification,
};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().unwrap_or_default();
    let check: fn(&[u8]) = match target.as_str() {
        "framing" => framing::check,
        "envelope_and_statement" => envelope_and_statement::check,
        "certificate_and_chain" => certificate_and_chain::check,
        "crl" => crl::check,
        "bundle" => bundle::check,
        "whole_verification" => whole_verification::check,
        "component_toml" => component_toml::check,
        "key_uris" => key_uris::check,
        _ => return Err(std::io::Error::other("there is no such target")),
    };
    let mut inputs = 0;
    for folder in arguments {
        for entry in fs::read_dir(folder)? {
            check(&fs::read(entry?.path())?);
            inputs += 1;
        }
    }
    println!("{inputs} inputs");
    for (verdict, count) in tally::counts() {
        println!("{count:>8}  {verdict}");
    }
    Ok(())
}

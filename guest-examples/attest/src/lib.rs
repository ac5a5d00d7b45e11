//! Answers a nonce with evidence of its device's state, and prints it as a line of hexadecimal.
//!
//! The only argument is the nonce, in hexadecimal digits, as whoever asks made it. `countersign attest verify` judges the
//! answer, once the line is turned into bytes again.

use std::io::Write;

use wasip2::cli::{environment, stderr, stdout};
use wasip2::exports::cli::run::Guest;

use bindings::countersign::device::attestation::{self, Error};

mod bindings {
    #![allow(
        missing_docs,
        reason = "generated; the documentation is in wit/device.wit"
    )]
    wit_bindgen::generate!({
        path: "../../wit",
        world: "countersign:device/attester",
    });
}

struct Attest;

wasip2::cli::command::export!(Attest);

impl Guest for Attest {
    fn run() -> Result<(), ()> {
        let answer = nonce().and_then(|nonce| attestation::evidence(&nonce).map_err(variant));
        match answer {
            Ok(evidence) => {
                let line: String = evidence.iter().map(|byte| format!("{byte:02x}")).collect();
                let mut out = stdout::get_stdout();
                let _ = writeln!(out, "{line}").and_then(|()| Write::flush(&mut out));
                Ok(())
            }
            Err(said) => {
                let _ = writeln!(stderr::get_stderr(), "{said}");
                Err(())
            }
        }
    }
}

/// The nonce of the first argument; what comes before that is the program's own name.
fn nonce() -> Result<Vec<u8>, String> {
    let text = environment::get_arguments().into_iter().nth(1);
    let text = text.ok_or("the nonce is missing: give it in hexadecimal digits")?;
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let digits = std::str::from_utf8(pair).ok().filter(|_| pair.len() == 2)?;
        u8::from_str_radix(digits, 16).ok()
    };
    pairs
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| "the nonce is no even number of hexadecimal digits".to_owned())
}

/// The error's name as the interface spells it.
fn variant(error: Error) -> String {
    match error {
        Error::NotGranted => "not-granted".to_owned(),
        Error::NonceInvalid => "nonce-invalid".to_owned(),
        Error::QuotaExceeded(wait) => format!("quota-exceeded: try again in {wait} ms"),
        Error::Busy => "busy".to_owned(),
        Error::HardwareFailure => "hardware-failure".to_owned(),
    }
}

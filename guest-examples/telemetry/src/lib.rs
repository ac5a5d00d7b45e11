//! Signs readings with the device's key and prints each COSE_Sign1 as a line of hexadecimal.
//!
//! Every argument is a reading; without one there is a reading of its own. Who checks a signature learns from its claims
//! which device and which component said so, and as what: the context `reading/v1`. The last line is for what would be
//! too long for one message: a log of all the readings, signed by its digest as `log/v1`, after the argument `--log`.

use std::io::Write;

use wasip2::cli::{environment, stderr, stdout};
use wasip2::exports::cli::run::Guest;

use bindings::countersign::device::signing::{self, Error, Key};

mod bindings {
    #![allow(
        missing_docs,
        reason = "generated; the documentation is in wit/device.wit"
    )]
    wit_bindgen::generate!({
        path: "../../wit",
        world: "countersign:device/signer",
    });
}

/// The names by which `component.toml` asks for the key and its contexts.
const KEY: &str = "telemetry";
const READING: &str = "reading/v1";
const LOG: &str = "log/v1";

const DEFAULT_READING: &str = "temperature=21.5";

struct Telemetry;

wasip2::cli::command::export!(Telemetry);

impl Guest for Telemetry {
    fn run() -> Result<(), ()> {
        sign_all().map_err(|error| {
            let _ = writeln!(stderr::get_stderr(), "{}", variant(error));
        })
    }
}

fn sign_all() -> Result<(), Error> {
    // The first argument is the program's own name.
    let mut readings: Vec<String> = environment::get_arguments().into_iter().skip(1).collect();
    let log = readings.first().is_some_and(|first| first == "--log");
    if log {
        readings.remove(0);
    }
    if readings.is_empty() {
        readings.push(DEFAULT_READING.to_owned());
    }
    let key = signing::open(KEY)?;
    for reading in &readings {
        print(&key.sign(READING, reading.as_bytes())?);
    }
    if log {
        print(&sign_log(&key, &readings)?);
    }
    Ok(())
}

/// Signs all readings, a line for each, by their digest.
fn sign_log(key: &Key, readings: &[String]) -> Result<Vec<u8>, Error> {
    let message = key.begin(LOG)?;
    for reading in readings {
        message.write(reading.as_bytes())?;
        message.write(b"\n")?;
    }
    signing::Message::finish(message)
}

fn print(signed: &[u8]) {
    let line: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut out = stdout::get_stdout();
    let _ = writeln!(out, "{line}").and_then(|()| Write::flush(&mut out));
}

/// The error's name as the interface spells it.
fn variant(error: Error) -> String {
    match error {
        Error::NotGranted => "not-granted".to_owned(),
        Error::UnknownKey => "unknown-key".to_owned(),
        Error::ContextInvalid => "context-invalid".to_owned(),
        Error::MessageTooLarge => "message-too-large".to_owned(),
        Error::QuotaExceeded(wait) => format!("quota-exceeded: try again in {wait} ms"),
        Error::Busy => "busy".to_owned(),
        Error::HardwareFailure => "hardware-failure".to_owned(),
    }
}

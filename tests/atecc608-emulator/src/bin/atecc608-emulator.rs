//! An emulated ATECC608 behind a Unix socket, or one on each of many buses, until it is stopped.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Parser;
use countersign_atecc608_emulator::{Clock, Emulator, Factory, Fault, shim, socket};

/// Serves an emulated ATECC608 on a Unix socket. Programs reach it as /dev/i2c-N through the shim.
#[derive(Parser)]
#[command(name = "atecc608-emulator")]
struct Arguments {
    /// Where the socket is made.
    #[arg(long)]
    socket: PathBuf,
    /// The file that keeps the chip's memory; without one it is forgotten.
    #[arg(long)]
    state: Option<PathBuf>,
    /// So many chips instead of one, on the buses from 1 on, each with a serial number of its own.
    #[arg(long, conflicts_with = "state")]
    buses: Option<u16>,
    /// The 7-bit address on the bus.
    #[arg(long, default_value = "0x60", value_parser = address)]
    address: u8,
    /// A chip that is configured for signing and locked, instead of a blank one.
    #[arg(long)]
    provisioned: bool,
    /// Compiles the shim, for `LD_PRELOAD`, into a file of this name, which must be libi2c_shim.so.
    #[arg(long)]
    shim: Option<PathBuf>,
    /// A fault that shows from the start; may be given several times.
    #[arg(long)]
    fault: Vec<Fault>,
}

fn address(text: &str) -> Result<u8, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u8::from_str_radix(digits, 16)
        .ok()
        .filter(|address| (0x08..=0x77).contains(address))
        .ok_or_else(|| "an address is 0x08 to 0x77".to_owned())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let factory = |number: u16| {
        let factory = if arguments.provisioned {
            Factory::provisioned(number.into())
        } else {
            Factory::blank(number.into())
        };
        factory.at(arguments.address).unpredictable()
    };
    let chip = |number| match &arguments.state {
        Some(path) => Emulator::with_state(factory(number), Clock::real(), path),
        None => Ok(Emulator::with_clock(factory(number), Clock::real())),
    };
    let count = arguments.buses;
    let chips = (0..count.unwrap_or(1))
        .map(|number| chip(number.saturating_add(u16::from(count.is_some()))))
        .collect::<Result<Vec<_>>>()?;
    for chip in &chips {
        for fault in &arguments.fault {
            chip.inject(fault.always());
        }
    }
    if let Some(shim) = &arguments.shim {
        let made = shim::build(shim.parent().unwrap_or(Path::new(".")))?;
        ensure!(made == *shim, "the shim is made as {}", made.display());
    }
    socket::serve_buses(&arguments.socket, move |bus| match count {
        // One chip is on every bus.
        None => chips.first().cloned(),
        Some(_) => chips.get(usize::from(bus).checked_sub(1)?).cloned(),
    })?;
    println!("listening on {}", arguments.socket.display());
    loop {
        std::thread::park();
    }
}

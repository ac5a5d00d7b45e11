//! An emulated ATECC608 behind a Unix socket, until it is stopped.

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
    let factory = if arguments.provisioned {
        Factory::provisioned(0)
    } else {
        Factory::blank(0)
    };
    let factory = factory.at(arguments.address).unpredictable();
    let emulator = match &arguments.state {
        Some(path) => Emulator::with_state(factory, Clock::real(), path)?,
        None => Emulator::with_clock(factory, Clock::real()),
    };
    for fault in arguments.fault {
        emulator.inject(fault.always());
    }
    if let Some(shim) = &arguments.shim {
        let made = shim::build(shim.parent().unwrap_or(Path::new(".")))?;
        ensure!(made == *shim, "the shim is made as {}", made.display());
    }
    socket::serve(&emulator, &arguments.socket)?;
    println!("listening on {}", arguments.socket.display());
    loop {
        std::thread::park();
    }
}

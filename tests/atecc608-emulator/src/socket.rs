//! Chips behind a Unix socket, for programs that talk to `/dev/i2c-N` through the shim.
//!
//! A connection begins with `B ‖ 0 ‖ N (2, little-endian)`, which says whose bus it is, and is answered by 0 if there is one.
//! After that, a request is `direction ‖ address ‖ length (2, little-endian)`, with the bytes of a write behind it; an answer is one
//! byte (0 done, 1 not acknowledged, 2 bus stuck), with the bytes of a successful read behind it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::bus::{BusFault, Emulator};

/// Answers every connection to the socket at `path`, each in a thread of its own, until the process ends: this chip is on
/// every bus. Returns once the socket is there.
///
/// # Errors
/// If the socket cannot be made.
pub fn serve(emulator: &Emulator, path: &Path) -> Result<()> {
    let emulator = emulator.clone();
    serve_buses(path, move |_| Some(emulator.clone()))
}

/// The same, where each bus has what `on_bus` says of its number.
///
/// # Errors
/// If the socket cannot be made.
pub fn serve_buses(
    path: &Path,
    on_bus: impl Fn(u16) -> Option<Emulator> + Send + Sync + 'static,
) -> Result<()> {
    let listener = UnixListener::bind(path)
        .with_context(|| format!("cannot make the socket {}", path.display()))?;
    let on_bus = Arc::new(on_bus);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let on_bus = Arc::clone(&on_bus);
            // A client that goes away ends its own thread.
            std::thread::spawn(move || answer(on_bus.as_ref(), stream));
        }
    });
    Ok(())
}

fn answer(
    on_bus: &impl Fn(u16) -> Option<Emulator>,
    mut stream: UnixStream,
) -> std::io::Result<()> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let [b'B', _, low, high] = head else {
        return Ok(());
    };
    let Some(emulator) = on_bus(u16::from_le_bytes([low, high])) else {
        return stream.write_all(&[1]);
    };
    stream.write_all(&[0])?;
    loop {
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        let [direction, address, low, high] = head;
        let mut bytes = vec![0; usize::from(u16::from_le_bytes([low, high]))];
        let outcome = if direction == b'W' {
            stream.read_exact(&mut bytes)?;
            let outcome = emulator.write(address, &bytes);
            bytes.clear();
            outcome
        } else {
            emulator.read(address, &mut bytes)
        };
        let status = match outcome {
            Ok(()) => 0,
            Err(BusFault::NoAcknowledge) => 1,
            Err(BusFault::Stuck) => 2,
        };
        stream.write_all(&[status])?;
        if status == 0 {
            stream.write_all(&bytes)?;
        }
    }
}

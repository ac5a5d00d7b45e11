//! From a counter's name to the counter.

use countersign_keys::{CounterUri, Error, ErrorKind, MonotonicCounter};

pub(crate) fn open(counter: &CounterUri) -> Result<Box<dyn MonotonicCounter>, Error> {
    match counter {
        CounterUri::Tpm { index, tcti } => crate::tpm::counter(*index, tcti.as_ref(), false),
        CounterUri::Atecc608 {
            bus,
            address,
            counter,
        } => chip(bus, *address, *counter),
        other => Err(unsupported(other)),
    }
}

pub(crate) fn make(counter: &CounterUri) -> Result<Box<dyn MonotonicCounter>, Error> {
    match counter {
        CounterUri::Tpm { index, tcti } => crate::tpm::counter(*index, tcti.as_ref(), true),
        other => open(other),
    }
}

fn unsupported(counter: &CounterUri) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "this build has no way to the counter {counter}; use another build, or another counter"
        ),
    )
}

#[cfg(target_os = "linux")]
fn chip(
    bus: &std::path::Path,
    address: u8,
    counter: u8,
) -> Result<Box<dyn MonotonicCounter>, Error> {
    use countersign_backend_atecc608::{Atecc608Provider, Counter};
    let counter = match counter {
        0 => Counter::First,
        _ => Counter::Second,
    };
    let chip = Atecc608Provider::open_bus(bus, address)?;
    Ok(Box::new(chip.counter(counter)))
}

#[cfg(not(target_os = "linux"))]
fn chip(bus: &std::path::Path, _: u8, counter: u8) -> Result<Box<dyn MonotonicCounter>, Error> {
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "counter {counter} of the secure element on {} is reached through Linux's I2C, and this is another system; use it on Linux",
            bus.display()
        ),
    ))
}

//! Looking for chips on this machine.
#![cfg(target_os = "linux")]

use super::{Atecc608Provider, KeyProvider as _, failure};
use crate::{Atecc608, LinuxBus, LinuxDelay};
use countersign_keys::{Detected, ErrorKind, Found};
use std::format;
use std::path::{Path, PathBuf};
use std::string::{String, ToString as _};
use std::vec;
use std::vec::Vec;

/// The addresses that these chips come with: blank ones, and those that the maker configured (TNGTLS, TFLXTLS).
pub(super) const ADDRESSES: [u8; 3] = [0x60, 0x35, 0x36];

/// Every I²C bus of this machine, with the chip on it or the reason why there is none. Each bus gets wake pulses, which
/// are writes to address 0.
#[must_use]
pub fn detect() -> Vec<Detected> {
    let mut buses: Vec<PathBuf> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("i2c-"))
        .map(|entry| entry.path())
        .collect();
    buses.sort();
    if buses.is_empty() {
        return vec![missing(
            "/dev/i2c-*".to_string(),
            "this machine has no I2C bus; enable one (on Debian: modprobe i2c-dev, and the bus in the device tree or firmware)".to_string(),
        )];
    }
    detect_among(&buses)
}

/// The same for these buses.
#[must_use]
pub fn detect_among(buses: &[PathBuf]) -> Vec<Detected> {
    buses.iter().flat_map(|bus| look(bus)).collect()
}

fn look(bus: &Path) -> Vec<Detected> {
    let place = bus.display().to_string();
    let mut found = Vec::new();
    let mut reason = None;
    for address in ADDRESSES {
        let i2c = match LinuxBus::open(bus) {
            Ok(i2c) => i2c,
            Err(error) => return vec![missing(place, failure::of_bus(bus, error).to_string())],
        };
        let provider = Atecc608Provider::new(Atecc608::new(i2c, LinuxDelay, address), bus, address);
        match (provider.describe(), provider.example().parse()) {
            (Ok(description), Ok(example)) => found.push(Detected {
                place: format!("{place}, address {address:#04x}"),
                found: Found::Ready {
                    description,
                    example,
                },
            }),
            (Ok(_), Err(_)) => {}
            // Nobody there: the next address. Anything else is said.
            (Err(error), _) if error.kind() == ErrorKind::NotFound => {}
            (Err(error), _) => reason = Some(error.to_string()),
        }
    }
    if found.is_empty() {
        let reason = reason.unwrap_or_else(|| {
            format!(
                "nobody answers on {place} at 0x60, 0x35 or 0x36; check wiring and supply, and that the bus runs at 100 kHz"
            )
        });
        found.push(missing(place, reason));
    }
    found
}

fn missing(place: String, reason: String) -> Detected {
    Detected {
        place,
        found: Found::Missing { reason },
    }
}

//! Counters in hardware that only go up: by them a machine notices that what it remembers was put back from a copy.
//!
//! Decided here: how a counter is named, and what every counter offers. What is counted is its user's matter.

use crate::{Error, Tcti};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest name that is read, in bytes, as of a key.
const MAX_URI_BYTES: usize = 4200;

/// A counter that nobody can set back.
pub trait MonotonicCounter: Send + Sync {
    /// What it stands at.
    ///
    /// # Errors
    /// If there is none, or the hardware does not answer.
    fn read(&self) -> Result<u64, Error>;

    /// Counts on by one: what it stands at then. After an error it may have counted or not; [`Self::read`] tells.
    ///
    /// # Errors
    /// As [`Self::read`]; or if it is locked, at its end, or the hardware lets nobody write at present.
    fn increment(&self) -> Result<u64, Error>;

    /// Where it ends.
    fn end(&self) -> u64;
}

/// The name of a counter.
///
/// | URI | counter |
/// |---|---|
/// | `tpm:0x01800100` | an NV index of a TPM 2.0; `?tcti=…` names another TPM than the machine's |
/// | `atecc608:/dev/i2c-1?address=0x60&counter=0` | one of the two of a secure element on an I²C bus |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CounterUri {
    /// In a TPM 2.0.
    Tpm {
        /// The NV index. Which ones may be counters, the TPM's back end says.
        index: u32,
        /// The way to the TPM, if the name says one.
        tcti: Option<Tcti>,
    },
    /// In an ATECC608.
    Atecc608 {
        /// The device file of the bus, such as `/dev/i2c-1`.
        bus: PathBuf,
        /// The 7-bit address on the bus, 0x08 to 0x77; 0x60 unless named.
        address: u8,
        /// 0 or 1; 0 unless named.
        counter: u8,
    },
}

/// The text names no counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the name of a counter; write tpm:0x01800100 (an NV index of eight digits; ?tcti=… for another TPM) or atecc608:/dev/i2c-1?address=0x60&counter=0"
)]
pub struct CounterUriInvalid;

impl FromStr for CounterUri {
    type Err = CounterUriInvalid;

    fn from_str(text: &str) -> Result<Self, CounterUriInvalid> {
        if text.len() > MAX_URI_BYTES || text.contains('\0') {
            return Err(CounterUriInvalid);
        }
        let uri = match text.split_once(':') {
            Some(("tpm", rest)) => tpm(rest),
            Some(("atecc608", rest)) => atecc608(rest),
            _ => None,
        };
        uri.ok_or(CounterUriInvalid)
    }
}

fn tpm(rest: &str) -> Option<CounterUri> {
    let (index, tcti) = match rest.split_once('?') {
        Some((index, query)) => (index, Some(query.strip_prefix("tcti=")?.parse().ok()?)),
        None => (rest, None),
    };
    let digits = index
        .strip_prefix("0x")
        .filter(|digits| digits.len() == 8)?;
    let index = u32::from_str_radix(digits, 16).ok()?;
    Some(CounterUri::Tpm { index, tcti })
}

fn atecc608(rest: &str) -> Option<CounterUri> {
    let (bus, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut address, mut counter) = (None, None);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        let value = match value.strip_prefix("0x") {
            Some(digits) => u8::from_str_radix(digits, 16).ok()?,
            None => value.parse().ok()?,
        };
        let before = match name {
            "address" if (0x08..=0x77).contains(&value) => address.replace(value),
            "counter" if value <= 1 => counter.replace(value),
            _ => return None,
        };
        if before.is_some() {
            return None;
        }
    }
    bus.starts_with('/').then(|| CounterUri::Atecc608 {
        bus: PathBuf::from(bus),
        address: address.unwrap_or(0x60),
        counter: counter.unwrap_or(0),
    })
}

impl fmt::Display for CounterUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tpm { index, tcti } => {
                write!(f, "tpm:{index:#010x}")?;
                match tcti {
                    Some(tcti) => write!(f, "?tcti={}", tcti.as_str()),
                    None => Ok(()),
                }
            }
            Self::Atecc608 {
                bus,
                address,
                counter,
            } => write!(
                f,
                "atecc608:{}?address={address:#04x}&counter={counter}",
                bus.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_has_one_spelling_that_survives_a_round_trip() {
        for text in [
            "tpm:0x01800100",
            "tpm:0x01800100?tcti=swtpm:host=127.0.0.1,port=2321",
            "atecc608:/dev/i2c-1?address=0x60&counter=0",
            "atecc608:/dev/i2c-1?address=0x35&counter=1",
        ] {
            let uri: CounterUri = text.parse().expect(text);
            assert_eq!(uri.to_string(), text);
        }
        assert_eq!("atecc608:/dev/i2c-1".parse::<CounterUri>(), {
            "atecc608:/dev/i2c-1?counter=0&address=96".parse()
        });
        for bad in [
            "",
            "tpm:",
            "tpm:0x0180010",
            "tpm:name",
            "tpm:0x01800100?port=1",
            "tpm:0x01800100?tcti=nowhere",
            "atecc608:i2c-1",
            "atecc608:/dev/i2c-1?counter=2",
            "atecc608:/dev/i2c-1?slot=0",
            "atecc608:/dev/i2c-1?counter=0&counter=1",
            "file:/counter",
        ] {
            assert_eq!(bad.parse::<CounterUri>(), Err(CounterUriInvalid), "{bad}");
        }
    }
}
